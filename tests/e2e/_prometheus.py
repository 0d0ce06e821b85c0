"""A real Prometheus on a free port, started and stopped by the test that needs it."""

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
    folder.mkdir(exist_ok=True)
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(dict(config or {"global": {}})))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                need("prometheus", "apt-get install prometheus"),
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
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
