"""A broker's stream of events where the network is not as it should be."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from collector.receivers.celery.redis import connect, stream
from tests.celery._installation import Redis
from tests.celery._publisher import event, message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Network:
    """Hands on between a client and *port*, as a network does: in pieces, or not any more."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.piece_bytes = 1 << 20
        self.pause_s = 0.0
        self.open = threading.Event()
        self.open.set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._sockets = [self._server]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._to))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                for at in range(0, len(data), self.piece_bytes):
                    self.open.wait()
                    target.sendall(data[at : at + self.piece_bytes])
                    time.sleep(self.pause_s)  # the pace of a slow path
        except OSError:
            pass

    def close(self) -> None:
        """End it."""
        self.open.set()
        for one in self._sockets:
            one.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    """Return a real Redis."""
    made = Redis(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def network(server: Redis) -> Iterator[Network]:
    """Return a way to it."""
    made = Network(server.port)
    yield made
    made.close()


def _batch(size: int) -> str:
    said = json.loads(message({"hostname": "w@h"}))
    said["body"] = base64.b64encode(json.dumps([event(at) for at in range(size)]).encode()).decode()
    return json.dumps(said)


def test_a_message_that_comes_in_pieces_is_one_message(server: Redis, network: Network) -> None:
    """Nothing is given up that has begun to come, and the connection stays."""
    with connect(f"redis://127.0.0.1:{network.port}/0", "broker") as client:
        heard = stream.Stream(client)
        connections = network.connections
        network.piece_bytes, network.pause_s = 700, 0.005
        with server.client() as other:
            for _ in range(3):
                other.publish("/0.celeryev/task.multi", _batch(60))
        found: list[Any] = []
        until = time.monotonic() + 20
        while len(found) < 180 and time.monotonic() < until:
            found += heard.read(0.5)
        assert len(found) == 180
        assert network.connections == connections
        heard.close()


def test_a_path_that_carries_nothing_any_more_is_a_lost_stream(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody says so: a broker that is silent is asked, and has to answer."""
    monkeypatch.setattr(stream, "_SILENT_S", 0.2)
    monkeypatch.setattr(stream, "_REST_S", 0.5)
    with connect(f"redis://127.0.0.1:{network.port}/0", "broker") as client:
        heard = stream.Stream(client)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            heard.read(0.1)
        proven_s = heard.proven_s
        assert time.monotonic() - proven_s < 1.0, "it has answered, though no event came"
        network.open.clear()
        reads = (heard.read(0.1) for _ in range(100))
        with pytest.raises(TimeoutError, match="does not answer"):
            list(reads)
        assert heard.proven_s - proven_s < 0.5, "since then nothing was heard"
        network.open.set()
        heard.close()
