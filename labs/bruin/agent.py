"""An agent in a customer's network: it asks for work, does it, and reports."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from labs import _telemetry
from labs._options import Options, parser
from labs._process import pause, say_ready, stop_event
from labs._telemetry import fields
from labs.bruin.options import BUGS
from labs.bruin.wire import NEXT, RESULT, Caller, CallFailedError

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

CALL_LIMIT_S: Final = 1.0
"""How long an agent waits for an answer, to either call."""

BEAT_S: Final = 2.0
_IDLE_S: Final = 0.3
_AGAIN_S: Final = 0.05
_REPORT_FOR_S: Final = 20.0
_FIRST_BACKOFF_S: Final = 1.0
_DRAIN_S: Final = 1.9


@dataclass(slots=True)
class Agent:
    """One agent. *bugs* as in `options.BUGS`."""

    name: str
    caller: Caller
    log: logging.Logger
    stop: asyncio.Event
    bugs: frozenset[str] = frozenset()
    running: int = 0
    _reports: set[asyncio.Task[None]] = field(default_factory=set)

    async def work(self) -> None:
        """Ask for tasks and run them, one at a time, until told to stop; then finish reporting."""
        while not self.stop.is_set():
            if order := await self._ask():
                await self._run(order)
        await asyncio.gather(*self._reports)

    async def beat(self) -> None:
        """Log a sign of life at a steady beat, busy or not."""
        while True:
            self.log.info("alive with %d running, next sign of life in %g s", self.running, BEAT_S)
            await asyncio.sleep(BEAT_S)

    async def _ask(self) -> dict[str, Any] | None:
        try:
            order = await self.caller.post(
                "asking for work", NEXT.replace("{agent}", self.name), route=NEXT
            )
        except CallFailedError as error:
            self.log.warning(
                "asking for work %s; asking again", error, extra=fields(**error.fields)
            )
            await pause(_AGAIN_S, self.stop)
            return None
        if order is None:
            await pause(_IDLE_S, self.stop)
            return None
        return dict(order)

    async def _run(self, order: dict[str, Any]) -> None:
        what = f"task {order['task']} attempt {order['attempt']}"
        self.log.info("%s accepted: %s from queue %s", what, order["name"], order["queue"])
        self.running += 1
        start = time.monotonic()
        self.log.info("%s started", what)
        await asyncio.sleep(float(order["seconds"]))
        self.running -= 1
        self.log.info("%s finished with success in %.2f s", what, time.monotonic() - start)
        report = asyncio.ensure_future(self._report(order))
        self._reports.add(report)
        report.add_done_callback(self._reports.discard)

    async def _report(self, order: dict[str, Any]) -> None:
        """Deliver the result; with `swallow_errors`, once, and whatever comes of it."""
        if "swallow_errors" in self.bugs:
            with suppress(CallFailedError):
                await self._deliver(order)
            return
        until = time.monotonic() + _REPORT_FOR_S
        what = f"reporting task {order['task']} attempt {order['attempt']}"
        for wait in _backoff():
            try:
                await self._deliver(order)
            except CallFailedError as error:
                last = time.monotonic() + wait > until
                then = "for good" if last else f"again in {wait:g} s"
                self.log.error("%s %s; %s", what, error, then, extra=fields(**error.fields))  # noqa: TRY400 - expected, and said in full
                if last:
                    return
                await asyncio.sleep(wait)
            else:
                return

    async def _deliver(self, order: dict[str, Any]) -> None:
        task, attempt = str(order["task"]), int(order["attempt"])
        await self.caller.post(
            f"reporting task {task} attempt {attempt}",
            RESULT.replace("{task}", task),
            route=RESULT,
            body={"task": task, "attempt": attempt, "outcome": "success"},
        )


def _backoff() -> Iterator[float]:
    wait = _FIRST_BACKOFF_S
    while True:
        yield wait
        wait *= 2


async def serve(given: Options, dispatcher: str, name: str) -> None:
    """Run the agent *name* until SIGTERM; it ends what it has begun, for two seconds at most."""
    stop = stop_event()
    telemetry = _telemetry.set_up("oxr-agent", name, otlp=given.otlp, logs=given.logs, logger="oxr")
    async with aiohttp.ClientSession() as session:
        calls = telemetry.log.getChild("client")
        caller = Caller(session, dispatcher, telemetry.tracer, calls, CALL_LIMIT_S)
        agent = Agent(name, caller, telemetry.log.getChild("agent"), stop, given.bugs)
        working = asyncio.ensure_future(agent.work())
        beating = asyncio.ensure_future(agent.beat())
        stopping = asyncio.ensure_future(stop.wait())
        say_ready()
        await asyncio.wait({working, beating, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await asyncio.wait({working}, timeout=_DRAIN_S)
        for task in (working, beating, stopping):
            task.cancel()
        # An error in either is the end of the agent, and is seen on stderr.
        with suppress(asyncio.CancelledError):
            await working
        with suppress(asyncio.CancelledError):
            await beating
    telemetry.log.getChild("agent").info("stopped as told")
    telemetry.close()


def main() -> None:
    """Run the program."""
    arguments = parser("labs.bruin.agent", __doc__ or "", BUGS)
    arguments.add_argument("--dispatcher", required=True, help="base URL of the control plane")
    arguments.add_argument("--name", required=True, help="instance ID, such as agent-1")
    parsed = arguments.parse_args()
    asyncio.run(serve(Options.of(parsed), parsed.dispatcher, parsed.name))


if __name__ == "__main__":
    main()
