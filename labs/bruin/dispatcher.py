"""The control plane: it hands tasks to agents that ask, and records what they report."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from labs import _telemetry
from labs._figures import show
from labs._http import listen
from labs._options import Options, parser
from labs._process import say_ready, stop_event
from labs._telemetry import fields
from labs.bruin.connection import OutOfTimeError
from labs.bruin.jobs import Jobs
from labs.bruin.options import BUGS, DATABASE, PROGRESS
from labs.bruin.store import Store, UnknownTaskError
from labs.bruin.wire import (
    NEXT,
    RESULT,
    about_task,
    give_up_at,
    in_application_context,
    request_id,
    traced,
)

if TYPE_CHECKING:
    import logging

    from opentelemetry import trace

_INSTANCE: Final = "dispatcher-1"
_PROGRESS_EVERY_S: Final = 1.0
_LATENCY_OVER_S: Final = 10.0


@dataclass(slots=True)
class Api:
    """The two calls that agents make. *bugs* as in `options.BUGS`."""

    store: Store
    tracer: trace.Tracer
    log: logging.Logger
    bugs: frozenset[str] = frozenset()
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    delivered: int = 0
    recorded: int = 0
    _beside: set[asyncio.Task[Any]] = field(default_factory=set)
    _latencies: deque[tuple[float, float]] = field(default_factory=deque)

    def app(self) -> web.Application:
        """Return the application; its server must cancel handlers whose client has left."""
        dispatch = traced(self.tracer, NEXT, self.dispatch)
        if "wrong_context" in self.bugs:
            dispatch = in_application_context(dispatch, self._beside)
        app = web.Application()
        app.router.add_post(NEXT, dispatch)
        app.router.add_post(RESULT, traced(self.tracer, RESULT, self.result))
        app.on_cleanup.append(self._end)
        return app

    async def dispatch(self, request: web.Request) -> web.Response:
        """Hand out the task that waits longest: 200 with it, 204 if none, 503 if out of time."""
        self.asked.set()
        agent = request.match_info["agent"]
        ids = fields(request_id=request_id(request))
        self.log.info("%s asks for work", agent, extra=ids)
        # The application's context has no deadline that a caller set.
        until = None if "wrong_context" in self.bugs else give_up_at(request)
        try:
            order = await self.store.hand_out(agent, commit_by=until)
        except OutOfTimeError:
            self.log.warning("no work for %s: out of time, rolled back", agent, extra=ids)
            return web.json_response({"error": "out of time"}, status=503)
        except asyncio.CancelledError:
            self.log.warning("no work for %s: it hung up, rolled back", agent, extra=ids)
            raise
        if order is None:
            self.log.info("no work for %s: nothing is due", agent, extra=ids)
            return web.Response(status=204)
        self.delivered += 1
        about_task(order.task, order.attempt)
        self.log.info(
            "task %s attempt %d delivered to %s", order.task, order.attempt, agent, extra=ids
        )
        return web.json_response(order._asdict())

    async def result(self, request: web.Request) -> web.Response:
        """Record what an agent reports: 200, 404 for no such task, 503 if out of time.

        The same result may come again; it changes nothing then.
        """
        start = time.monotonic()
        task = request.match_info["task"]
        said = await request.json()
        attempt, outcome = int(said["attempt"]), str(said["outcome"])
        ids = fields(request_id=request_id(request))
        about_task(task, attempt)
        what = f"result of task {task} attempt {attempt}"
        self.log.info("%s arrived: %s", what, outcome, extra=ids)
        try:
            fresh = await self.store.record(task, attempt, outcome, commit_by=give_up_at(request))
        except UnknownTaskError:
            self.log.warning("%s not stored: no such task", what, extra=ids)
            return web.json_response({"error": "no such task"}, status=404)
        except OutOfTimeError:
            self.log.warning("%s not stored: out of time, rolled back", what, extra=ids)
            return web.json_response({"error": "out of time"}, status=503)
        except asyncio.CancelledError:
            self.log.warning("%s not stored: caller hung up, rolled back", what, extra=ids)
            raise
        finally:
            self._latencies.append((start, time.monotonic() - start))
        if fresh:
            self.recorded += 1
            self.log.info("task %s attempt %d recorded as %s", task, attempt, outcome, extra=ids)
        self.log.info("%s stored", what, extra=ids)
        return web.json_response({"recorded": fresh})

    def report_p95_s(self) -> float:
        """Return the 95th percentile of report calls of the last 10 s, in seconds; 0 for none."""
        since = time.monotonic() - _LATENCY_OVER_S
        while self._latencies and self._latencies[0][0] < since:
            self._latencies.popleft()
        taken = sorted(seconds for _, seconds in self._latencies)
        return taken[int(0.95 * (len(taken) - 1))] if taken else 0.0

    async def _end(self, _app: web.Application) -> None:
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)


async def serve(given: Options, port: int) -> None:
    """Run the control plane on *port* of loopback until SIGTERM; time starts at the first call."""
    stop = stop_event()
    telemetry = _telemetry.set_up(
        "oxr-dispatcher", _INSTANCE, otlp=given.otlp, logs=given.logs, logger="oxr"
    )
    given.work.mkdir(parents=True, exist_ok=True)
    store = Store(given.work / DATABASE)
    size = await store.build(index="missing_index" not in given.bugs)
    api = Api(store, telemetry.tracer, telemetry.log.getChild("api"), given.bugs)
    jobs = Jobs(store, size, telemetry.log.getChild("jobs"), given.seconds)
    runner, url = await listen(api.app(), port=port, cancels=True)
    say_ready(url=url)
    working = asyncio.ensure_future(_work(api, jobs, given))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    working.cancel()
    stopping.cancel()
    await runner.cleanup()
    with suppress(asyncio.CancelledError):
        # Nothing but a failure ends the jobs before we do.
        await working
    store.close()
    telemetry.log.getChild("jobs").info("stopped as told")
    telemetry.close()


async def _work(api: Api, jobs: Jobs, given: Options) -> None:
    await api.asked.wait()
    async with asyncio.TaskGroup() as group:
        group.create_task(jobs.run())
        group.create_task(_tell(api, jobs, given))


async def _tell(api: Api, jobs: Jobs, given: Options) -> None:
    """Write what a person wants to see into a file, each second."""
    start = time.monotonic()
    while True:
        figures = {
            "gone_s": round(time.monotonic() - start, 1),
            "enqueued": jobs.announced,
            "delivered": api.delivered,
            "recorded": api.recorded,
            "rows": api.store.rows,
            "report_p95_s": round(api.report_p95_s(), 3),
            "scan_first_s": round(jobs.size.scan_s, 6),
        }
        show(given.work / PROGRESS, figures)
        await asyncio.sleep(_PROGRESS_EVERY_S)


def main() -> None:
    """Run the program."""
    arguments = parser("labs.bruin.dispatcher", __doc__ or "", BUGS)
    arguments.add_argument("--port", type=int, default=0, help="0: any that is free")
    parsed = arguments.parse_args()
    asyncio.run(serve(Options.of(parsed), parsed.port))


if __name__ == "__main__":
    main()
