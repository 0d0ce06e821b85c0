"""A real RabbitMQ from Debian's package, on free ports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from urllib.request import Request, urlopen

from tests.e2e._sidecar import eventually
from tests.needs import need
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE: Final = "apt-get install rabbitmq-server"
_SERVER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's own command insists on being root or rabbitmq, and on its folders."""

_START_S: Final = 90.0
_SETTINGS: Final = """
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {api}
collect_statistics_interval = 1000
"""


@dataclass(slots=True)
class RabbitMq:
    """A server with its management API, and an epmd of its own. *more* goes into its settings."""

    folder: Path
    more: str = ""
    amqp: int = field(default_factory=free_port)
    api: int = field(default_factory=free_port)
    _epmd_port: int = field(default_factory=free_port)
    _dist_port: int = field(default_factory=free_port)
    _epmd: subprocess.Popen[bytes] | None = None
    _server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until both answer; what was durable is there again."""
        epmd = need("epmd", _PACKAGE)
        need(str(_SERVER), _PACKAGE)
        (self.folder / "plugins").write_text("[rabbitmq_management].")
        said = _SETTINGS.format(amqp=self.amqp, api=self.api) + self.more
        (self.folder / "rabbitmq.conf").write_text(said)
        # a time-out of consumers is looked for at each tick: once a minute by default
        advanced = "[{rabbit, [{channel_tick_interval, 1000}]}]."
        (self.folder / "advanced.config").write_text(advanced)
        with (self.folder / "rabbitmq.log").open("ab") as log:
            self._epmd = subprocess.Popen(
                [epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                env=self._environment(), stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
            # a server that finds none would start one that stays
            eventually(True, self._named, _START_S)
            self._server = subprocess.Popen(
                [str(_SERVER)], env=self._environment(), stdout=log, stderr=log, cwd=self.folder
            )
        try:
            eventually(True, self._answers, _START_S)
        except BaseException:
            self.stop()
            raise

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "HOME": str(self.folder),  # its cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"zombiewatch{self.amqp}@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            # two schedulers of one machine's cores are enough, and they need not spin
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +S 2:2",
        }

    def _named(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._epmd_port)):
            return True
        return False

    def _answers(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, (self.folder / "rabbitmq.log").read_text()[-2_000:]
        with suppress(OSError):
            return bool(self.ask("GET", "health/checks/port-listener/" + str(self.amqp)))
        return False

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return what the management API answers."""
        request = Request(
            f"http://127.0.0.1:{self.api}/api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q=", "Content-Type": "application/json"},
            method=method,
        )
        with urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
            return json.loads(answer.read() or b"null")

    def stop(self) -> None:
        """End it."""
        for one in (self._server, self._epmd):
            if one is not None:
                one.terminate()
                one.wait(_START_S)
        self._server = self._epmd = None


@dataclass(slots=True)
class Vhost:
    """One virtual host of *server*, as a broker."""

    server: RabbitMq
    name: str

    def start(self) -> None:
        """Make it, if it is not there; start the server, if it does not run."""
        if self.server._server is None:
            self.server.start()
        self.server.ask("PUT", f"vhosts/{quote(self.name, safe='')}")
        full = {"configure": ".*", "write": ".*", "read": ".*"}
        self.server.ask("PUT", f"permissions/{quote(self.name, safe='')}/guest", full)

    def stop(self) -> None:
        """Remove it, with all that is connected to it."""
        if self.server._server is not None:
            self.server.ask("DELETE", f"vhosts/{quote(self.name, safe='')}")

    def url(self, database: int = 0) -> str:
        """Return its address; there are no databases."""
        del database
        return f"amqp://guest:guest@127.0.0.1:{self.server.amqp}/{quote(self.name, safe='')}"

    def api_url(self) -> str:
        """Return the address of its management API."""
        return f"http://guest:guest@127.0.0.1:{self.server.api}"

    def things(self, kind: str) -> Iterator[dict[str, Any]]:
        """Yield its queues, exchanges or connections."""
        space = quote(self.name, safe="")
        path = f"vhosts/{space}/connections" if kind == "connections" else f"{kind}/{space}"
        yield from self.server.ask("GET", path)
