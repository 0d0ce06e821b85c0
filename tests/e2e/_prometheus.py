"""A real Prometheus, and a real Alertmanager, on free ports, started and stopped by a test."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.e2e._sidecar import call
from tests.needs import need
from zombiewatch._servers import server
from zombiewatch.chain import scraping, soon

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["alertmanager", "firing", "prometheus", "scraping", "soon"]


@contextmanager
def prometheus(
    folder: Path, config: Mapping[str, Any] | None = None, *more: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield the address of a Prometheus with *config*, and its process; else it scrapes none.

    *more* is said on its command line.
    """
    command = need("prometheus", "apt-get install prometheus")
    with server([command, *more], folder, config or {"global": {}}, "--storage.tsdb.path") as made:
        yield made


@contextmanager
def alertmanager(
    folder: Path, config: Mapping[str, Any], *, port: int | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield the address of an Alertmanager with *config*, and its process."""
    name = "prometheus-alertmanager"
    command = need(name, f"apt-get install {name}")
    alone = [command, "--cluster.listen-address="]
    with server(alone, folder, config, "--storage.path", port) as made:
        yield made


def firing(url: str) -> dict[str, dict[str, Any]]:
    """Return the alerts that fire, by name."""
    answer = call("GET", f"{url}/api/v1/alerts").json()
    return {
        one["labels"]["alertname"]: one
        for one in answer["data"]["alerts"]
        if one["state"] == "firing"
    }
