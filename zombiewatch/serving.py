"""The sidecar's ports: opened when it is ready, closed before it writes itself down."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from zombiewatch import tls
from zombiewatch.api import Api

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    import grpc

    from collector.receivers.connections import Connections
    from collector.receivers.otlp_grpc import OtlpGrpc
    from zombiewatch.config import Listener
    from zombiewatch.service import Service

_BACKLOG: Final = 1024
_HANDSHAKE_S: Final = 10.0
_FILES: Final = 65_536
_GRACE_S: Final = 5.0


class PortError(Exception):
    """A port cannot be listened on; the message says which, why and how to mend it."""


class Ports:
    """The servers of one service: `http` (page, API, metrics), `otlp`, and `grpc`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._runners: list[web.AppRunner] = []
        self._servers: list[asyncio.Server] = []
        self._grpc: grpc.aio.Server | None = None
        self.urls: dict[str, str] = {}

    async def open(self) -> None:
        """Listen. Raises PortError, TlsError; nothing is open then."""
        of, config = self._service, self._service.config
        try:
            await self._web("http", config.http, Api(of).app(), of.http_connections, 2.0)
            await self._web("otlp", config.otlp, of.otlp.app(), of.otlp_connections, _GRACE_S)
            if of.grpc:
                await self._rpc(config.grpc, of.grpc)
        except (PortError, tls.TlsError):
            await self.close()
            raise

    async def _web(
        self,
        name: str,
        at: Listener,
        app: web.Application,
        connections: Connections,
        grace_s: float,
    ) -> None:
        secured = tls.context(name, at.tls)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=grace_s)
        await runner.setup()
        self._runners.append(runner)
        assert runner.server is not None  # noqa: S101 - it was set up
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                connections.factory(
                    runner.server,
                    access_log=None,
                    auto_decompress=name != "otlp",
                    keepalive_timeout=at.idle_timeout_s,
                    lingering_time=_GRACE_S,
                ),
                at.host.strip("[]"),
                at.port,
                backlog=_BACKLOG,
                ssl=secured,
                ssl_handshake_timeout=_HANDSHAKE_S if secured else None,
            )
        except OSError as error:
            raise _port_error(name, at, error) from None
        self._servers.append(server)
        host, port = server.sockets[0].getsockname()[:2]
        self.urls[name] = _url(host, port, secured)

    async def _rpc(self, at: Listener, receiver: OtlpGrpc) -> None:
        import grpc  # see Service

        secured = tls.context("grpc", at.tls)
        _try(at)
        server = receiver.server(
            max_connections=at.max_connections, idle_timeout_s=at.idle_timeout_s
        )
        host = at.host.strip("[]")
        address = f"[{host}]:{at.port}" if ":" in host else f"{host}:{at.port}"
        try:
            if pem := tls.texts("grpc", at.tls):
                credentials = grpc.ssl_server_credentials(
                    [(pem.key, pem.certificate)], pem.client_ca, pem.client_ca is not None
                )
                port = server.add_secure_port(address, credentials)
            else:
                port = server.add_insecure_port(address)
        except RuntimeError:
            raise _port_error("grpc", at, None) from None
        await server.start()
        self._grpc = server
        self.urls["grpc"] = _url(host, port, secured)

    async def close(self) -> None:
        """Stop listening; requests in hand are answered first."""
        for server in self._servers:
            server.close()
        if self._grpc:
            await self._grpc.stop(_GRACE_S)
            self._grpc = None
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        self._servers.clear()


def _try(at: Listener) -> None:
    """Raise PortError where *at* cannot be had: gRPC does not say why."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            at.host.strip("[]"), at.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with closing(socket.socket(family, kind, protocol)) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind(address)
                one.listen(1)
    except OSError as error:
        raise _port_error("grpc", at, error) from None


def _port_error(name: str, at: Listener, error: OSError | None) -> PortError:
    why = (error.strerror if error else None) or "it cannot be had"
    return PortError(
        f"{name} cannot listen on {at.host}:{at.port}: {why}; end what"
        f" listens there, or set {name}.port to another (0 takes a free one)"
    )


def _url(host: str, port: int, secured: ssl.SSLContext | None) -> str:
    return f"{'https' if secured else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


async def serve(
    service: Service, on_ready: Callable[[dict[str, str]], None], *, leash: bool = False
) -> None:
    """Run *service* until SIGTERM or SIGINT; a second one ends at once.

    With *leash* also until standard input ends: whoever holds its other end has died, then.
    *on_ready* is told the addresses. Raises PortError, TlsError.
    """
    _allow_many_files()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if leash:
        loop.add_reader(sys.stdin.fileno(), _pulled, loop, stop)
    ports = Ports(service)
    try:
        await ports.open()
        service.begin()
        on_ready(ports.urls)
        await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        await ports.close()
        await asyncio.to_thread(service.finish)


def _allow_many_files() -> None:
    """Let each connection have its descriptor, as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _pulled(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with suppress(OSError):
        if os.read(sys.stdin.fileno(), 1024):
            return
    loop.remove_reader(sys.stdin.fileno())
    stop.set()
