"""A worker: it takes orders from the queue, oldest first, and confirms them one by one."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from labs import _telemetry
from labs._process import say_ready, stop_event
from labs.bar.options import Options, parser
from labs.bar.shared import ORDERS, ORDERS_CONFIRMED, connect

if TYPE_CHECKING:
    import logging

    from redis.asyncio import Redis

CONFIRM_S: Final = 0.02
MAIL_S: Final = 2.4
"""How long a confirmation takes, and how long its mail takes for one who waits for that."""

BEAT_S: Final = 2.0
_BLOCK_S: Final = 1


@dataclass(slots=True)
class Worker:
    """One worker; *takes_s* is how long it takes for each order."""

    redis: Redis
    log: logging.Logger
    takes_s: float

    async def run(self) -> None:
        """Work, and give signs of life, until cancelled. An error in either is the end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._work())

    async def _beat(self) -> None:
        while True:
            self.log.info("alive, next sign of life in %g s", BEAT_S)
            await asyncio.sleep(BEAT_S)

    async def _work(self) -> None:
        while True:
            popped = await self.redis.blpop([ORDERS], timeout=_BLOCK_S)
            if popped is not None:
                await self._confirm(json.loads(popped[1])["order"])

    async def _confirm(self, order: str) -> None:
        begun = time.monotonic()
        self.log.info("confirming %s", order)
        await asyncio.sleep(self.takes_s)
        await self.redis.incr(ORDERS_CONFIRMED)
        self.log.info("confirmed %s in %.2f s", order, time.monotonic() - begun)


async def serve(given: Options, name: str) -> None:
    """Run the worker *name* until SIGTERM."""
    stop = stop_event()
    telemetry = _telemetry.set_up(
        "bar-worker", name, otlp=given.otlp, logs=given.logs, logger="bar"
    )
    redis = connect(given.redis)
    takes_s = MAIL_S if "slow_consumer" in given.bugs else CONFIRM_S
    working = asyncio.ensure_future(Worker(redis, telemetry.log.getChild("worker"), takes_s).run())
    stopping = asyncio.ensure_future(stop.wait())
    say_ready()
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    working.cancel()
    stopping.cancel()
    # Nothing but a failure ends the work before we do.
    with suppress(asyncio.CancelledError):
        await working
    await redis.aclose()
    telemetry.log.info("stopped as told")
    telemetry.close()


def main() -> None:
    """Run the program."""
    arguments = parser("labs.bar.worker", __doc__ or "")
    arguments.add_argument("--name", required=True, help="instance ID, such as worker-1")
    parsed = arguments.parse_args()
    asyncio.run(serve(Options.of(parsed), parsed.name))


if __name__ == "__main__":
    main()
