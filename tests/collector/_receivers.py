"""Both ways in for OTLP, served on loopback for clients in other threads."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from collector.receivers.connections import Connections
from collector.receivers.intake import Intake
from collector.receivers.otlp_grpc import OtlpGrpc
from collector.receivers.otlp_http import OtlpHttp
from tests.collector.stores import START_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from collector.store.journal import Entry


@contextmanager
def served(append: Callable[[Entry], Future[int]]) -> Iterator[tuple[Intake, dict[str, str]]]:
    """Serve both before *append*; yield the intake and the addresses, `http` and `grpc`."""
    intake = Intake(append, lambda: START_US, max_body_bytes=1 << 20, in_flight_max_bytes=1 << 22)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    urls: dict[str, str] = {}
    ends = asyncio.run_coroutine_threadsafe(_begin(intake, urls), loop).result(30)
    try:
        yield intake, urls
    finally:
        asyncio.run_coroutine_threadsafe(_end(ends), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _begin(intake: Intake, urls: dict[str, str]) -> tuple[web.AppRunner, Any]:
    runner = web.AppRunner(OtlpHttp(intake, Connections(100)).app(), auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    urls["http"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    server = OtlpGrpc(intake).server(max_connections=100, idle_timeout_s=60)
    urls["grpc"] = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    return runner, server


async def _end(ends: tuple[web.AppRunner, Any]) -> None:
    runner, server = ends
    await server.stop(0)
    await runner.cleanup()
