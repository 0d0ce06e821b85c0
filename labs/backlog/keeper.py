"""The keeper of the queues: it counts what waits, brings back what is due, and sends probes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from labs import _telemetry
from labs._figures import show
from labs._options import Options, parser
from labs._process import say_ready, stop_event
from labs.backlog.broker import KEPT_S, PROBE, Broker, Message, retries_of
from labs.backlog.options import BUGS, KEEPER, ORDERS, PROGRESS, RETURNS

if TYPE_CHECKING:
    import logging
    from pathlib import Path


_LOOK_EVERY_S: Final = 1.0
_RETRIES_EVERY_S: Final = 0.2
_PROBE_EVERY_S: Final = 2.0
_PROBED: Final = (RETURNS,)
"""Queues that are often empty: whether anybody would take something is not seen otherwise."""


@dataclass(slots=True)
class Keeper:
    """The keeper's three jobs, to be started together by `run`."""

    broker: Broker
    log: logging.Logger
    work: Path

    async def run(self) -> None:
        """Do all jobs until cancelled. Any error in one ends all."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._count())
            group.create_task(self._bring_back())
            group.create_task(self._probe())

    async def _count(self) -> None:
        while True:
            waiting = {}
            for queue in (ORDERS, RETURNS):
                seen = await self.broker.look(queue)
                waiting[queue] = seen.waiting
                self.log.info(
                    "queue %s: %d waiting, the oldest for %.2f s, %d in hand of %d consumers,"
                    " %d came and %d went so far, handed out again after %g s in hand",
                    *(queue, seen.waiting, seen.oldest_s, seen.in_hand, seen.consumers),
                    *(seen.put, seen.done, KEPT_S),
                )
            show(self.work / PROGRESS, waiting)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _bring_back(self) -> None:
        while True:
            due = await self.broker.due()
            for queue in (ORDERS, RETURNS):
                due += [one.again() for one in await self.broker.take_back(queue)]
            for message in due:
                stream = retries_of(message.queue)
                self.log.info(
                    "message %s brought back into %s: %s, attempt %d",
                    *(message.id, stream, message.kind, message.attempt),
                )
                await self.broker.put(message, stream)
            await asyncio.sleep(_RETRIES_EVERY_S)

    async def _probe(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(_PROBE_EVERY_S)
            number += 1
            for queue in _PROBED:
                await self.broker.put(Message(f"probe-{number}", PROBE, queue))


async def serve(given: Options, broker_url: str) -> None:
    """Run the keeper until SIGTERM."""
    stop = stop_event()
    telemetry = _telemetry.set_up(
        KEEPER, "keeper-1", otlp=given.otlp, logs=given.logs, logger="keeper"
    )
    broker = Broker(broker_url)
    for queue in (ORDERS, RETURNS):
        await broker.prepare(queue)
    say_ready()
    keeping = asyncio.ensure_future(Keeper(broker, telemetry.log, given.work).run())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({keeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        await keeping  # only a failure ends it: let it be seen on stderr
    keeping.cancel()
    await asyncio.wait({keeping})
    await broker.close()
    telemetry.log.info("stopped as told")
    telemetry.close()


def main() -> None:
    """Run the program."""
    arguments = parser("labs.backlog.keeper", __doc__ or "", BUGS)
    arguments.add_argument("--broker", required=True, help="URL of the broker")
    parsed = arguments.parse_args()
    asyncio.run(serve(Options.of(parsed), parsed.broker))


if __name__ == "__main__":
    main()
