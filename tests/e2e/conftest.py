"""Sidecars for tests: one that many share, and as many of one's own as a test needs."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e._sidecar import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHARED_BODY_BYTES = 4 << 20
"""The largest OTLP body that the shared sidecar takes."""


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sidecar that is told much by many tests: each looks for IDs of its own."""
    settings = {"otlp": {"max_body_bytes": SHARED_BODY_BYTES}}
    with Running(tmp_path_factory.mktemp("shared"), settings) as sidecar:
        yield sidecar
        assert sidecar.stop() == 0, sidecar.log


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Return what starts a sidecar with settings; it is killed after the test, if it still runs.

    `start=False` only prepares it.
    """
    with ExitStack() as made:

        def begin(settings: dict[str, Any] | None = None, *, start: bool = True) -> Running:
            sidecar = Running(tmp_path / "sidecar", settings or {})
            made.callback(sidecar.kill)
            if start:
                sidecar.start()
            return sidecar

        yield begin


class Disk:
    """A file system of our own, small enough to be filled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Leave not one byte."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size)
        assert shutil.disk_usage(self.path).free == 0

    def free(self) -> None:
        """Give back all that `fill` took."""
        self._filler.unlink()

    def lock(self) -> None:
        """Let nobody write any more."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Return a file system of 48 MiB in memory; skips where none can be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "zombiewatch-e2e", str(path)]
        done = subprocess.run(mount, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no mount on PATH")
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    yield Disk(path)
    # lazily: the sidecar may not have been ended yet
    subprocess.run(["umount", "--lazy", str(path)], check=True)
