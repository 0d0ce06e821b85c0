"""Celery installations and sidecars beside them, ended after each test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.celery._installation import Installation, Redis, settings, show
from tests.celery._rabbitmq import RabbitMq, Vhost
from tests.e2e._sidecar import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def celery(tmp_path: Path) -> Iterator[Installation]:
    """Return an installation with one Redis for broker and results; no worker runs yet."""
    made = Installation(tmp_path, Redis(tmp_path))
    made.broker.start()
    yield made
    made.stop()


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Installation]:
    """Return an installation whose results are kept by a Redis of their own."""
    made = Installation(tmp_path, Redis(tmp_path), Redis(tmp_path))
    made.broker.start()
    assert made.backend is not None
    made.backend.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    """Return a RabbitMQ that tests share, each with a virtual host of its own."""
    made = RabbitMq(tmp_path_factory.mktemp("rabbitmq"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def on_rabbitmq(tmp_path: Path, server: RabbitMq) -> Iterator[Installation]:
    """Return an installation on RabbitMQ whose results are kept by a Redis; no worker runs yet."""
    made = Installation(tmp_path, Vhost(server, tmp_path.name), Redis(tmp_path))
    made.broker.start()
    assert made.backend is not None
    made.backend.start()
    yield made
    made.stop()


@pytest.fixture
def on_its_own_rabbitmq(tmp_path: Path) -> Iterator[Callable[[str], Installation]]:
    """Return what makes an installation on a RabbitMQ that nobody else uses, set as told."""
    with ExitStack() as made:

        def begin(more: str = "") -> Installation:
            folder = tmp_path / "rabbitmq"
            folder.mkdir()
            server = RabbitMq(folder, more=more)
            one = Installation(tmp_path, Vhost(server, "/"), Redis(tmp_path))
            made.callback(server.stop)
            made.callback(one.stop)
            assert one.backend is not None
            one.backend.start()
            one.broker.start()
            return one

        yield begin


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Return what starts a sidecar beside an installation; *detectors* and settings as needed."""
    with ExitStack() as made:

        def begin(
            of: Installation, detectors: dict[str, Any] | None = None, **celery: Any
        ) -> Running:
            one = Running(tmp_path / "sidecar", settings(of, detectors, **celery))
            made.callback(lambda: show("sidecar", one.log))
            made.callback(one.kill)
            one.start()
            return one

        yield begin
