"""The way in alone: the real OTLP/HTTP receiver, and nothing behind it. Run by `Bare`.

Bodies are received, decompressed and dropped: what HTTP in Python costs, and the least that an
acknowledgement can take.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import Future
from typing import TYPE_CHECKING

from aiohttp import web

from bench.machine import ROOT
from collector.receivers.connections import Connections
from collector.receivers.intake import Intake
from collector.receivers.otlp_http import OtlpHttp
from model.clock import system_clock

if TYPE_CHECKING:
    from types import TracebackType

    from collector.store.journal import Entry


class Bare:
    """The parent's end: `with Bare() as url: …`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.bare"], stdout=subprocess.PIPE, cwd=ROOT, text=True
        )

    def __enter__(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        return self._process.stdout.readline().strip()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()


def _drop(_entry: Entry) -> Future[int]:
    done: Future[int] = Future()
    done.set_result(0)
    return done


async def _serve() -> None:
    intake = Intake(_drop, system_clock, max_body_bytes=64 << 20, in_flight_max_bytes=128 << 20)
    receiver = OtlpHttp(intake, Connections(1000))
    runner = web.AppRunner(receiver.app(), access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
