"""Sidecars for tests: one that many share, and as many of one's own as a test needs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e._sidecar import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHARED_BODY_BYTES = 4 << 20
"""The largest OTLP body that the shared sidecar takes."""


@pytest.fixture(scope="session")
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
