"""A scheduler node: it arms timers, fires what is due, and runs it in its own process.

Its scheduler and its runner are two services to those who watch.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

from labs import _telemetry
from labs._process import say_ready, stop_event
from labs.bar.board import FAILED, SUCCEEDED, Board, LocalBoard, SharedBoard
from labs.bar.options import Options, parser
from labs.bar.payments import Payments
from labs.bar.shared import FULL_GROUPS, OPENED, connect
from labs.bar.tasks import CHECKING_S, CLOSE_SALE, CLOSING_S, PAY, Task, of_group, timetable
from labs.bar.wire import Caller

if TYPE_CHECKING:
    import logging

    from redis.asyncio import Redis

BEAT_S: Final = 2.0
_LOOK_S: Final = 0.1
_BLOCK_S: Final = 1


@dataclass(slots=True)
class Node:
    """One node. *log* is its scheduler's, *runs* its runner's.

    *waits* says whether dependents wait for what they depend on.
    """

    board: Board
    redis: Redis
    payments: Payments
    log: logging.Logger
    runs: logging.Logger
    seconds: float
    waits: bool
    running: int = 0
    _work: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)

    async def run(self) -> None:
        """Keep the timetable and adopt full groups until cancelled. An error in any is the end."""
        async with self._work:
            self._work.create_task(self._beat())
            self._work.create_task(self._keep_timetable())
            self._work.create_task(self._adopt())

    async def _beat(self) -> None:
        while True:
            self.log.info("alive with %d running, next sign of life in %g s", self.running, BEAT_S)
            await asyncio.sleep(BEAT_S)

    async def _keep_timetable(self) -> None:
        """Arm a timer for each sale: every node does, as it has the whole timetable."""
        while (opened := await self.redis.get(OPENED)) is None:  # noqa: ASYNC110 - another process sets it
            await asyncio.sleep(_LOOK_S)
        for sale in timetable(float(opened), self.seconds):
            self._arm(sale, sale.due - time.time())

    async def _adopt(self) -> None:
        """Take over groups as they get full; each is popped by one node alone."""
        while True:
            popped = await self.redis.blpop([FULL_GROUPS], timeout=_BLOCK_S)
            if popped is None:
                continue
            group = str(popped[1])
            self.log.info("group %s is full", group)
            for task in of_group(group, time.time()):
                self._arm(task, task.due - time.time())

    def _arm(self, task: Task, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(
            max(0.0, delay_s), lambda: self._work.create_task(self._fire(task), name=task.id)
        )

    async def _fire(self, task: Task) -> None:
        if self.waits and task.depends_on is not None:
            needed = await self.board.state(task.depends_on)
            if needed != SUCCEEDED:
                self._arm(task, _LOOK_S)
                return
        if not await self.board.claim(task.id):
            self.log.info("task %s is another node's", task.id)
            return
        after = "" if task.depends_on is None else f", after {task.depends_on}"
        self.log.info("task %s (%s) is due%s", task.id, task.kind, after)
        self.log.info("task %s Pending -> Running", task.id)
        state = SUCCEEDED if await self._run(task) else FAILED
        await self.board.end(task.id, state)
        self.log.info("task %s Running -> %s", task.id, state)

    async def _run(self, task: Task) -> bool:
        self.running += 1
        begun = time.monotonic()
        self.runs.info("run of %s begins", task.id)
        good = True
        if task.kind == PAY:
            good = await self.payments.book(task.id)
        else:
            await asyncio.sleep(CLOSING_S if task.kind == CLOSE_SALE else CHECKING_S)
        self.running -= 1
        self.runs.info(
            "run of %s ends %s after %.2f s",
            task.id,
            "ok" if good else "failed",
            time.monotonic() - begun,
        )
        return good


async def serve(given: Options, name: str, shop: str) -> None:
    """Run the node *name* until SIGTERM; payments go to the base URL *shop*."""
    stop = stop_event()
    scheduler, runner = (
        _telemetry.set_up(service, name, otlp=given.otlp, logs=given.logs, logger=logger)
        for service, logger in (("bar-scheduler", "bar"), ("bar-runner", "bar.runner"))
    )
    redis = connect(given.redis)
    async with aiohttp.ClientSession() as session:
        caller = Caller(session, shop, runner.tracer)
        node = Node(
            board=LocalBoard() if "no_lock" in given.bugs else SharedBoard(redis, name),
            redis=redis,
            payments=Payments(caller, runner.log, blind="blind_retry" in given.bugs),
            log=scheduler.log.getChild("node"),
            runs=runner.log,
            seconds=given.seconds,
            waits="ignore_dependencies" not in given.bugs,
        )
        working = asyncio.ensure_future(node.run())
        stopping = asyncio.ensure_future(stop.wait())
        say_ready()
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        stopping.cancel()
        # Nothing but a failure ends the work before we do.
        with suppress(asyncio.CancelledError):
            await working
    await redis.aclose()
    for telemetry in (scheduler, runner):
        telemetry.log.info("stopped as told")
        telemetry.close()


def main() -> None:
    """Run the program."""
    arguments = parser("labs.bar.node", __doc__ or "")
    arguments.add_argument("--name", required=True, help="instance ID, such as node-1")
    arguments.add_argument("--shop", required=True, help="base URL of the shop")
    parsed = arguments.parse_args()
    asyncio.run(serve(Options.of(parsed), parsed.name, parsed.shop))


if __name__ == "__main__":
    main()
