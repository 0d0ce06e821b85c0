"""The scheduler: it hands runs to executors, watches their limits, and records how they ended."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import web

from labs import _telemetry
from labs._figures import show
from labs._http import listen
from labs._options import Options, parser
from labs._process import say_ready, stop_event
from labs.mismatch.options import BUGS, PROGRESS
from labs.mismatch.table import JOBS, LIMITS_AT_S, Job, Limits
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
    from pathlib import Path

_LOOK_EVERY_S: Final = 0.2
_HELD_UP_S: Final = 1.0
_ALIVE_S: Final = 2.0
_LIMIT_S: Final = 10.0


@dataclass(slots=True)
class Run:
    """One run of a job, as the scheduler sees it; *state* None while it goes on."""

    id: str
    job: Job
    limits: Limits | None
    begun: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    state: str | None = None

    def overdue(self, now: float) -> str | None:
        """Say which limit has passed at *now*, if one has."""
        if self.limits is None:
            return None
        if now - self.begun > self.limits.timeout_s:
            return f"no end within {self.limits.timeout_s:g} s"
        silent = self.limits.beat_timeout_s
        if silent is not None and now - self.heard > silent:
            return f"no sign of life for {silent:g} s"
        return None


@dataclass(slots=True)
class Scheduler:
    """The scheduler. *bugs* as in `options.BUGS`."""

    caller: Caller
    log: logging.Logger
    work: Path
    bugs: frozenset[str]
    seconds: float
    registered: asyncio.Event = field(default_factory=asyncio.Event)
    _urls: dict[str, str] = field(default_factory=dict)
    _limits: dict[str, Limits] = field(default_factory=dict)
    _runs: dict[str, Run] = field(default_factory=dict)

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        for route, handler in (
            (REGISTRY, self.register),
            (BEATS, self.beat),
            (CALLBACKS, self.callback),
        ):
            app.router.add_post(route, traced(self.caller.tracer, route, handler))
        return app

    async def register(self, request: web.Request) -> web.Response:
        """Remember where an executor can be reached."""
        said = await request.json()
        self._urls[said["executor"]] = said["url"]
        self.log.info("executor %s registered", said["executor"])
        if self._urls.keys() >= {job.executor for job in JOBS}:
            self.registered.set()
        return web.json_response({})

    async def beat(self, request: web.Request) -> web.Response:
        """Remember that a run was heard of."""
        said = await request.json()
        self._runs[said["run"]].heard = time.monotonic()
        return web.json_response({})

    async def callback(self, request: web.Request) -> web.Response:
        """Record how a run ended, unless that is decided already."""
        said = await request.json()
        run = self._runs[said["run"]]
        if run.state is None:
            self._record(run, "failed" if said["exit_code"] else "success", "called back")
        else:
            self.log.warning(
                "callback of run %s of %s ignored: it is %s already",
                *(run.id, run.job.name, run.state),
            )
        return web.json_response({})

    async def run(self) -> None:
        """Do what the table says until cancelled. Any error in it ends all."""
        await self.registered.wait()
        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._load_limits())
            group.create_task(self._watch())
            group.create_task(self._tell(start))
            for job in JOBS:
                for number, at_s in enumerate(job.at_s, start=1):
                    if at_s < self.seconds:
                        group.create_task(self._hand_out(start + at_s, job, number))

    async def _load_limits(self) -> None:
        await asyncio.sleep(LIMITS_AT_S)
        for job in JOBS:
            limits = job.limits(short="short_limits" in self.bugs)
            self._limits[job.name] = limits
            self.log.info("job %s: from now on %s", job.name, _words(limits))

    async def _hand_out(self, at: float, job: Job, number: int) -> None:
        await asyncio.sleep(at - time.monotonic())
        run = Run(f"{job.case.lower()}-{number}", job, self._limits.get(job.name))
        self._runs[run.id] = run
        what = f"run {run.id} of {job.name}"
        self.log.info("%s is due", what)
        said = _words(run.limits) if run.limits else "no limits"
        # First the word, then the deed: the executor may be faster than we are.
        self.log.info("%s handed to %s with %s", what, job.executor, said)
        order = {
            "run": run.id,
            "job": job.name,
            "lane": job.lane,
            "takes_s": job.takes_s,
            "beat_s": job.beat_s,
        }
        try:
            await self.caller.post(self._urls[job.executor], RUNS, order)
        except CallFailedError as error:
            self.log.error("handing out %s failed: %s", what, error)  # noqa: TRY400 - expected, and said in full

    async def _watch(self) -> None:
        """Call runs failed whose limits have passed."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            now, before, last = time.monotonic(), last, time.monotonic()
            if now - before > _HELD_UP_S:
                continue  # we were held up, and what came meanwhile has not been read
            for run in self._runs.values():
                if run.state is None and (why := run.overdue(now)):
                    self._record(run, "timeout", why)

    def _record(self, run: Run, state: str, why: str) -> None:
        run.state = state
        self.log.info("run %s of %s recorded as %s: %s", run.id, run.job.name, state, why)

    async def _tell(self, start: float) -> None:
        """Say that we are alive, and write down what a person wants to see."""
        while True:
            states = [run.state for run in self._runs.values()]
            self.log.info("scheduler is alive, next sign of life in %g s", _ALIVE_S)
            figures = {
                "gone_s": round(time.monotonic() - start, 1),
                "running": states.count(None),
                "success": states.count("success"),
                "failed": len(states) - states.count(None) - states.count("success"),
            }
            show(self.work / PROGRESS, figures)
            await asyncio.sleep(_ALIVE_S)


def _words(limits: Limits) -> str:
    said = f"time-out {limits.timeout_s:g} s"
    if limits.beat_timeout_s is not None:
        said += f", dead after {limits.beat_timeout_s:g} s of silence"
    return said


async def serve(given: Options) -> None:
    """Run the scheduler until SIGTERM; its nights begin when all executors have registered."""
    stop = stop_event()
    given.work.mkdir(parents=True, exist_ok=True)
    telemetry = _telemetry.set_up(
        "scheduler", "scheduler-1", otlp=given.otlp, logs=given.logs, logger="scheduler"
    )
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        caller = Caller(session, telemetry.tracer, _LIMIT_S)
        scheduler = Scheduler(caller, telemetry.log, given.work, given.bugs, given.seconds)
        runner, url = await listen(scheduler.app())
        say_ready(url=url)
        running = asyncio.ensure_future(scheduler.run())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            await running  # only a failure ends it: let it be seen on stderr
        running.cancel()
        await asyncio.wait({running})
        await runner.cleanup()
    telemetry.log.info("stopped as told")
    telemetry.close()


def main() -> None:
    """Run the program."""
    asyncio.run(
        serve(Options.of(parser("labs.mismatch.scheduler", __doc__ or "", BUGS).parse_args()))
    )


if __name__ == "__main__":
    main()
