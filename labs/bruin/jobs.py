"""What the control plane does by itself: it plans, announces, takes over and bills.

All of it goes through the one writer connection, as do the agents' calls.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from labs._telemetry import fields
from labs.bruin.database import Planned, now_us

if TYPE_CHECKING:
    import logging

    from labs.bruin.database import Size
    from labs.bruin.store import Store

TASKS_PER_S: Final = 1.25
_RUN_S: Final = (0.4, 0.9)
_GOLDEN: Final = 0.6180339887
"""Multiples of it modulo 1 are evenly spread: run times differ, but every lab's are the same."""

ROLL_UP_EVERY_S: Final = 5.0
ROLL_UP_S: Final = 1.6
_ROLL_UP_FIRST_S: Final = 2.5
_HOUSEKEEPING_EVERY_S: Final = 1.0


@dataclass(slots=True)
class Jobs:
    """The standing jobs of one run, to be started together by `run`.

    New tasks come in, and the table grows, for *seconds*; bills are made until `run` is cancelled.
    """

    store: Store
    size: Size
    log: logging.Logger
    seconds: float
    announced: int = 0

    async def run(self) -> None:
        """Do all jobs until cancelled. Any error in one ends all."""
        start_us = now_us()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._plan(start_us))
            group.create_task(self._house_keeping())
            group.create_task(self._roll_up())

    async def _plan(self, start_us: int) -> None:
        """Queue the whole schedule, and announce each task when it is due."""
        count = int(self.seconds * TASKS_PER_S)
        tasks = [_task(number, start_us) for number in range(1, count + 1)]
        await self.store.plan(tasks)
        for task in tasks:
            await asyncio.sleep(max(0.0, (task.due_us - now_us()) / 1e6))
            # First the word, then the deed: no agent may have it before it is said to wait.
            self.log.info(
                "task %s (%s) is due on queue %s",
                task.ref,
                task.name,
                task.queue,
                extra=fields(work_s=task.seconds),
            )
            self.store.announced_us = task.due_us
            self.announced += 1

    async def _house_keeping(self) -> None:
        """Take over other tenants' finished tasks, as many a second from first to last."""
        rate = (self.size.last_rows - self.size.first_rows) / self.seconds
        start = time.monotonic()
        gone = 0.0
        while gone < self.seconds:
            await asyncio.sleep(_HOUSEKEEPING_EVERY_S)
            gone = min(time.monotonic() - start, self.seconds)
            wanted = self.size.first_rows + int(rate * gone)
            await self.store.grow(wanted - self.store.rows)
            await self.store.tidy()

    async def _roll_up(self) -> None:
        await asyncio.sleep(_ROLL_UP_FIRST_S)
        start = time.monotonic()
        while True:
            begun = time.monotonic()
            rows = await self.store.roll_up(ROLL_UP_S)
            taken = time.monotonic() - begun
            self.log.info("billing rolled up %d rows in %.2f s", rows, taken)
            late = (time.monotonic() - start) % ROLL_UP_EVERY_S
            await asyncio.sleep(ROLL_UP_EVERY_S - late)


def _task(number: int, start_us: int) -> Planned:
    shortest, longest = _RUN_S
    seconds = shortest + (number * _GOLDEN % 1) * (longest - shortest)
    due_us = start_us + int(number / TASKS_PER_S * 1e6)
    return Planned(f"t-{number}", "sync_table", "default", due_us, round(seconds, 3))
