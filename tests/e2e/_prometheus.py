"""A real Prometheus, and a real Alertmanager, on free ports, started and stopped by a test."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import yaml

from tests.e2e._sidecar import call, eventually
from tests.needs import need
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@contextmanager
def prometheus(
    folder: Path, config: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield the address of a Prometheus with *config*, and its process; else it scrapes none."""
    with _server("prometheus", folder, config or {"global": {}}, "--storage.tsdb.path") as made:
        yield made


@contextmanager
def alertmanager(
    folder: Path, config: Mapping[str, Any], *, port: int | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield the address of an Alertmanager with *config*, and its process."""
    name, alone = "prometheus-alertmanager", "--cluster.listen-address="
    with _server(name, folder, config, "--storage.path", alone, port=port) as made:
        yield made


@contextmanager
def _server(
    name: str,
    folder: Path,
    config: Mapping[str, Any],
    storage: str,
    *more: str,
    port: int | None = None,
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    folder.mkdir(exist_ok=True)
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(dict(config)))
    address = f"127.0.0.1:{port or free_port()}"
    url = f"http://{address}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                need(name, f"apt-get install {name}"),
                f"--config.file={path}",
                f"{storage}={folder / 'data'}",
                f"--web.listen-address={address}",
                *more,
            ],
            stdout=log,
            stderr=log,
        )
    try:
        eventually(True, lambda: _answers(f"{url}/-/ready"))
        yield url, process
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return call("GET", url).status == HTTPStatus.OK
    except OSError:
        return False


def scraping(sidecar: str, rules: Path, alertmanager: str | None = None) -> dict[str, Any]:
    """Return how Prometheus scrapes the *sidecar* each second, evaluates *rules* and tells."""
    made: dict[str, Any] = {
        "global": {"scrape_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "zombiewatch", **_at(sidecar)}],
    }
    if alertmanager:
        made["alerting"] = {"alertmanagers": [_at(alertmanager)]}
    return made


def _at(url: str) -> dict[str, Any]:
    return {"static_configs": [{"targets": [url.removeprefix("http://")]}]}


def firing(url: str) -> dict[str, dict[str, Any]]:
    """Return the alerts that fire, by name."""
    answer = call("GET", f"{url}/api/v1/alerts").json()
    return {
        one["labels"]["alertname"]: one
        for one in answer["data"]["alerts"]
        if one["state"] == "firing"
    }


def soon(rules: str, window: str = "5m") -> str:
    """Return *rules* with each evaluated every second, and holding for one at most.

    What is bridged for five minutes is bridged for *window*.
    """
    said = yaml.safe_load(rules.replace("[5m]", f"[{window}]"))
    for group in said["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "1s"
    return str(yaml.safe_dump(said))
