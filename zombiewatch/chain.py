"""The chain behind a sidecar, for trying it out: Prometheus, Alertmanager, and who is told.

All of it real, on free ports, and ended with us; only faster than in production: a lab has a
minute, not an hour.
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Self

import yaml

from alerts.alertmanager.config import Telling, config
from alerts.rules.links import Links
from alerts.rules.write import OBJECTIVE, rules
from detectors._kit import load
from zombiewatch._servers import ServerError, command, server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMETHEUS: Final = ("prometheus",)
ALERTMANAGER: Final = ("prometheus-alertmanager", "alertmanager")
"""What each is called: by Debian, and by those who made it."""

TOLD: Final = "told.json"
"""Where the alerts stay that somebody was told of, as Alertmanager sent them."""

HOW: Final = "apt-get install prometheus prometheus-alertmanager"

_TIERS: Final = ("critical", "warning", "info")


def missing() -> list[str]:
    """Return what of Prometheus and Alertmanager is not on PATH."""
    return [names[0] for names in (PROMETHEUS, ALERTMANAGER) if command(*names) is None]


def soon(written: str, window: str = "5m") -> str:
    """Return rules with each evaluated every second, and holding for one at most.

    What is bridged for five minutes is bridged for *window*.
    """
    said = yaml.safe_load(written.replace("[5m]", f"[{window}]"))
    for group in said["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "1s"
    return str(yaml.safe_dump(said))


def told_soon(said: dict[str, Any]) -> dict[str, Any]:
    """Return Alertmanager's configuration with our groups told within seconds."""
    text = yaml.safe_dump(said).replace("group_wait: 30s", "group_wait: 2s")
    return dict(yaml.safe_load(text.replace("group_interval: 5m", "group_interval: 1s")))


def scraping(sidecar: str, rule_file: Path, alertmanager: str | None = None) -> dict[str, Any]:
    """Return how Prometheus scrapes the *sidecar* each second, evaluates rules, and tells."""
    made: dict[str, Any] = {
        "global": {"scrape_interval": "1s"},
        "rule_files": [str(rule_file)],
        "scrape_configs": [{"job_name": "zombiewatch", **_at(sidecar)}],
    }
    if alertmanager:
        made["alerting"] = {"alertmanagers": [_at(alertmanager)]}
    return made


def _at(url: str) -> dict[str, Any]:
    return {"static_configs": [{"targets": [url.removeprefix("http://")]}]}


class Told:
    """A webhook: keeps what Alertmanager posts, by the path that it posts to."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.messages.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def receivers(self, *tiers: str) -> dict[str, Any]:
        """Return what tells us of each of *tiers*, under its name."""
        return {tier: {"webhook_configs": [{"url": f"{self.url}/{tier}"}]} for tier in tiers}

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


@dataclass(slots=True)
class Chain:
    """What runs behind the sidecar at *sidecar*, in *folder*: `with Chain(…) as chain`.

    Raises ServerError.
    """

    sidecar: str
    folder: Path
    prometheus: str = ""
    alertmanager: str = ""
    _told: Told | None = None
    _seen: int = 0
    _running: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        commands = command(*PROMETHEUS), command(*ALERTMANAGER)
        if None in commands:
            raise ServerError(f"there is no {' and no '.join(missing())} on PATH: {HOW}")
        prometheus, alertmanager = (str(one) for one in commands)
        with ExitStack() as stack:
            self._told = told = Told()
            stack.callback(told.close)
            telling = Telling(told.receivers(*_TIERS))
            self.alertmanager, _ = stack.enter_context(
                server(
                    [alertmanager, "--cluster.listen-address="],
                    self.folder / "alertmanager",
                    told_soon(config(telling)),
                    "--storage.path",
                )
            )
            links = Links(self.sidecar, self.alertmanager)
            written = rules(load(), links, "prometheus-2.42", objective=OBJECTIVE)
            rule_file = self.folder / "rules.yml"
            rule_file.write_text(soon(written))
            self.prometheus, _ = stack.enter_context(
                server(
                    [prometheus],
                    self.folder / "prometheus",
                    scraping(self.sidecar, rule_file, self.alertmanager),
                    "--storage.tsdb.path",
                )
            )
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        (self.folder / TOLD).write_text(json.dumps(self.told(), indent=2) + "\n")
        self._running.close()

    def news(self) -> Iterator[str]:
        """Yield what somebody was told since the last time, an alert a line."""
        new = self._messages()[self._seen :]
        self._seen += len(new)
        for path, message in new:
            for alert in message["alerts"]:
                over = "" if alert["status"] == "firing" else " (over)"
                said = re.sub(r"\s+", " ", alert["annotations"].get("description", ""))
                yield f"{path[1:]}: {alert['labels']['alertname']}{over}: {said}"

    def told(self) -> list[dict[str, Any]]:
        """Return all alerts that somebody was told of, as Alertmanager sent them."""
        return [alert for _, message in self._messages() for alert in message["alerts"]]

    def _messages(self) -> list[tuple[str, dict[str, Any]]]:
        return self._told.messages if self._told else []
