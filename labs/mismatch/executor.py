"""An executor: it runs what it is told as processes, beats for them, and calls back."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web

from labs import _telemetry
from labs._http import listen
from labs._options import Options, parser
from labs._process import say_ready, stop_event
from labs.mismatch.options import BUGS, SPOOL
from labs.mismatch.wire import (
    BEATS,
    CALLBACKS,
    REGISTRY,
    RUNS,
    Caller,
    CallFailedError,
    traced,
)

if TYPE_CHECKING:
    import logging

    from opentelemetry import trace

ALIVE_S: Final = 2.0

_LIMIT_S: Final = 10.0
_TRIES: Final = 5
_FIRST_BACKOFF_S: Final = 0.5
_RETRIED_S: Final = _FIRST_BACKOFF_S * (2 ** (_TRIES - 1) - 1)
_KEPT_S: Final = 3600.0


@dataclass(slots=True)
class Callbacks:
    """The way back to the scheduler. *kept*: one connection a job, kept open, and one try."""

    tracer: trace.Tracer
    url: str
    log: logging.Logger
    kept: bool
    _sessions: dict[str, aiohttp.ClientSession] = field(default_factory=dict)

    async def deliver(self, what: str, job: str, body: dict[str, object]) -> None:
        """Deliver the result *body* of a run of *job*; log whether it could be."""
        tries = 1 if self.kept else _TRIES
        retried_s = None if self.kept else _RETRIED_S
        caller = Caller(self._session(job), self.tracer, _LIMIT_S, retried_s)
        for number in range(tries):
            try:
                await caller.post(self.url, CALLBACKS, body)
            except CallFailedError as error:
                last = number == tries - 1
                then = "for good" if last else "to be tried again"
                self.log.error("callback of %s failed %s: %s", what, then, error)  # noqa: TRY400 - expected, and said in full
                if not last:
                    await asyncio.sleep(_FIRST_BACKOFF_S * 2**number)
            else:
                self.log.info("callback of %s delivered", what)
                return

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()

    def _session(self, job: str) -> aiohttp.ClientSession:
        if job not in self._sessions:
            connector = (
                aiohttp.TCPConnector(keepalive_timeout=_KEPT_S)
                if self.kept
                else aiohttp.TCPConnector(force_close=True)
            )
            self._sessions[job] = aiohttp.ClientSession(connector=connector)
        return self._sessions[job]


@dataclass(slots=True)
class Executor:
    """One executor. *bugs* as in `options.BUGS`."""

    name: str
    caller: Caller
    url: str
    callbacks: Callbacks
    log: logging.Logger
    bugs: frozenset[str]
    _lanes: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )
    _runs: set[asyncio.Task[None]] = field(default_factory=set)

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_post(RUNS, traced(self.caller.tracer, RUNS, self.accept))
        return app

    async def accept(self, request: web.Request) -> web.Response:
        """Take a run on, to be begun when those before it in its lane have ended."""
        order = await request.json()
        self.log.info("run %s of %s accepted", order["run"], order["job"])
        run = asyncio.ensure_future(self._run(order))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        return web.json_response({})

    async def register(self, own_url: str) -> None:
        """Tell the scheduler where to send runs."""
        await self.caller.post(self.url, REGISTRY, {"executor": self.name, "url": own_url})

    async def alive(self) -> None:
        """Log a sign of life of the executor itself at a steady beat."""
        while True:
            self.log.info("executor is alive, next sign of life in %g s", ALIVE_S)
            await asyncio.sleep(ALIVE_S)

    async def end(self) -> None:
        """Give up what still runs."""
        for run in self._runs:
            run.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)
        await self.callbacks.close()

    async def _run(self, order: dict[str, Any]) -> None:
        what = f"run {order['run']} of {order['job']}"
        async with self._lanes[order["lane"]]:
            begun = time.monotonic()
            process = await asyncio.create_subprocess_exec("sleep", str(order["takes_s"]))
            self.log.info("%s started as a process", what)
            beating = asyncio.ensure_future(self._beat(what, order))
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                process.kill()
                await process.wait()
                raise
            finally:
                beating.cancel()
        took = time.monotonic() - begun
        self.log.info("%s ended with exit code %d after %.2f s", what, code, took)
        await self.callbacks.deliver(
            what, str(order["job"]), {"run": order["run"], "exit_code": code}
        )

    async def _beat(self, what: str, order: dict[str, Any]) -> None:
        beat_s = order["beat_s"]
        if beat_s is None or "no_heartbeat" in self.bugs:
            return
        while True:
            self.log.info("%s is alive, next sign of life in %g s", what, beat_s)
            with suppress(CallFailedError):  # the next one will tell as well
                await self.caller.post(self.url, BEATS, {"run": order["run"]})
            await asyncio.sleep(beat_s)


async def serve(given: Options, scheduler: str, name: str) -> None:
    """Run the executor *name* until SIGTERM."""
    stop = stop_event()
    spool = given.work / SPOOL
    telemetry = _telemetry.set_up("executor", name, otlp=given.otlp, logs=spool, logger="executor")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        caller = Caller(session, telemetry.tracer, _LIMIT_S)
        kept = "callback_drops" in given.bugs
        callbacks = Callbacks(telemetry.tracer, scheduler, telemetry.log, kept)
        executor = Executor(name, caller, scheduler, callbacks, telemetry.log, given.bugs)
        runner, url = await listen(executor.app())
        await executor.register(url)
        living = asyncio.ensure_future(executor.alive())
        say_ready()
        await stop.wait()
        living.cancel()
        await executor.end()
        await runner.cleanup()
    telemetry.log.info("stopped as told")
    telemetry.close()


def main() -> None:
    """Run the program."""
    arguments = parser("labs.mismatch.executor", __doc__ or "", BUGS)
    arguments.add_argument("--scheduler", required=True, help="base URL of the scheduler")
    arguments.add_argument("--name", required=True, help="instance ID, such as executor-1")
    parsed = arguments.parse_args()
    asyncio.run(serve(Options.of(parsed), parsed.scheduler, parsed.name))


if __name__ == "__main__":
    main()
