"""A shop: what its customers want goes into the queues, as far as it is let in."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from labs import _telemetry
from labs._heed import Dispatch, switch
from labs._options import Options, parser
from labs._process import pause, say_ready, stop_event
from labs.backlog.broker import Broker, Message
from labs.backlog.options import BUGS, ORDERS, RETURNS, SHOP

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator


_SHOPS: Final = 2
_ORDERS_PER_S: Final = 1.5 / _SHOPS
_RETURNS_PER_S: Final = 0.2 / _SHOPS
_RUSH: Final = (4.0, 10.0)
_RUSH_PER_S: Final = 48.0 / _SHOPS
_ADMITTED_PER_S: Final = 3.0 / _SHOPS
_ADMITTED_AT_ONCE: Final = 4.0
_BAD_FIRST_S: Final = 1.0
_BAD_EVERY_S: Final = 12.0


@dataclass(slots=True)
class Admission:
    """Back-pressure: so many a second are let in, and a few at once."""

    tokens: float = _ADMITTED_AT_ONCE
    at: float = field(default_factory=time.monotonic)

    def admits(self) -> bool:
        """Say whether one more may come in, and count it if so."""
        now = time.monotonic()
        self.tokens = min(_ADMITTED_AT_ONCE, self.tokens + (now - self.at) * _ADMITTED_PER_S)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class Shop:
    """One shop. *bugs* as in `options.BUGS`."""

    name: str
    broker: Broker
    log: logging.Logger
    stop: asyncio.Event
    bugs: frozenset[str]
    seconds: float
    admission: Admission = field(default_factory=Admission)
    dispatch: Dispatch = field(default_factory=Dispatch)
    number: int = 0

    async def trade(self) -> None:
        """Take in what customers want, until no more comes in."""
        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._orders(start))
            group.create_task(self._returns(start))
            if self.name.endswith("-1"):
                group.create_task(self._typing_errors(start))

    async def _orders(self, start: float) -> None:
        for due in _order_times(self.seconds):
            if await pause(start + due - time.monotonic(), self.stop):
                return
            await self._order("1")

    async def _returns(self, start: float) -> None:
        for due in _times(0.5 / _RETURNS_PER_S, self.seconds, _RETURNS_PER_S):
            if await pause(start + due - time.monotonic(), self.stop):
                return
            await self._send("take_back", RETURNS, "1")

    async def _typing_errors(self, start: float) -> None:
        """Somebody types a word where a number belongs."""
        for due in _times(_BAD_FIRST_S, self.seconds, 1 / _BAD_EVERY_S):
            if await pause(start + due - time.monotonic(), self.stop):
                return
            await self._order("two")

    async def _order(self, quantity: str) -> None:
        if "poison_message" not in self.bugs and not quantity.isdigit():
            self.log.info("order refused: quantity %r is no number", quantity)
        elif self.dispatch.paused:
            self.log.info("order refused: dispatch is paused")
        elif "burst" not in self.bugs and not self.admission.admits():
            self.log.info("order refused: too many at once, come back later")
        else:
            await self._send("pack_order", ORDERS, quantity)

    async def _send(self, kind: str, queue: str, quantity: str) -> None:
        self.number += 1
        message = Message(
            id=f"{self.name}-{self.number}",
            kind=kind,
            queue=queue,
            sku=f"sku-{self.number % 40}",
            quantity=quantity,
        )
        # First the word, then the deed: nobody may take it before it is said to wait.
        self.log.info("message %s put into %s: %s", message.id, queue, kind)
        await self.broker.put(message)


def _order_times(seconds: float) -> Iterator[float]:
    """Yield when somebody orders, in seconds from the start: evenly, but for one rush."""
    begins, ends = _RUSH
    yield from _times(0.5, min(begins, seconds), _ORDERS_PER_S)
    yield from _times(begins, min(ends, seconds), _RUSH_PER_S)
    yield from _times(ends, seconds, _ORDERS_PER_S)


def _times(first: float, until: float, per_s: float) -> Iterator[float]:
    number = 0
    while (due := first + number / per_s) < until:
        yield due
        number += 1


async def serve(given: Options, broker_url: str, name: str) -> None:
    """Run the shop *name* until SIGTERM."""
    stop = stop_event()
    telemetry = _telemetry.set_up(SHOP, name, otlp=given.otlp, logs=given.logs, logger="shop")
    broker = Broker(broker_url)
    for queue in (ORDERS, RETURNS):
        await broker.prepare(queue)
    dispatch = Dispatch(switch(SHOP))
    say_ready()
    shop = Shop(name, broker, telemetry.log, stop, given.bugs, given.seconds, dispatch=dispatch)
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatch.heed(stop))
        await shop.trade()
        await stop.wait()
    await broker.close()
    telemetry.log.info("stopped as told")
    telemetry.close()


def main() -> None:
    """Run the program."""
    arguments = parser("labs.backlog.shop", __doc__ or "", BUGS)
    arguments.add_argument("--broker", required=True, help="URL of the broker")
    arguments.add_argument("--name", required=True, help="instance ID, such as shop-1")
    parsed = arguments.parse_args()
    asyncio.run(serve(Options.of(parsed), parsed.broker, parsed.name))


if __name__ == "__main__":
    main()
