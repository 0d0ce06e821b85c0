"""The sidecar's ports: opened when it is ready, closed before it writes itself down."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from zombiewatch.api import Api

if TYPE_CHECKING:
    from collections.abc import Callable

    from zombiewatch.service import Service


class PortError(Exception):
    """A port cannot be listened on; the message says which, why and how to mend it."""


class Ports:
    """The HTTP servers of one service: `http` (page, API, metrics) and `otlp`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._runners: list[web.AppRunner] = []
        self.urls: dict[str, str] = {}

    async def open(self) -> None:
        """Listen. Raises PortError where a port cannot be had; none is open then."""
        config = self._service.config
        api = web.AppRunner(Api(self._service).app(), access_log=None, shutdown_timeout=2.0)
        otlp = web.AppRunner(
            self._service.otlp.app(), access_log=None, auto_decompress=False, shutdown_timeout=5.0
        )
        for name, runner, at in (("http", api, config.http), ("otlp", otlp, config.otlp)):
            await runner.setup()
            self._runners.append(runner)
            site = web.TCPSite(runner, at.host, at.port, backlog=1024)
            try:
                await site.start()
            except OSError as error:
                await self.close()
                msg = (
                    f"{name} cannot listen on {at.host}:{at.port}: {error.strerror}; end what"
                    f" listens there, or set {name}.port to another (0 takes a free one)"
                )
                raise PortError(msg) from None
            host, port = runner.addresses[0][:2]
            self.urls[name] = f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening; requests in hand are answered first."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()


async def serve(
    service: Service, on_ready: Callable[[dict[str, str]], None], *, leash: bool = False
) -> None:
    """Run *service* until SIGTERM or SIGINT; a second one ends at once.

    With *leash* also until standard input ends: whoever holds its other end has died, then.
    *on_ready* is told the addresses. Raises PortError.
    """
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


def _pulled(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with suppress(OSError):
        if os.read(sys.stdin.fileno(), 1024):
            return
    loop.remove_reader(sys.stdin.fileno())
    stop.set()
