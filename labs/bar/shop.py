"""The order and payment service: it queues orders, fills groups, and books payments."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from labs import _telemetry
from labs._http import listen, traced
from labs._process import say_ready, stop_event
from labs._telemetry import fields
from labs.bar.ledger import Ledger
from labs.bar.options import Options, parser
from labs.bar.shared import FULL_GROUPS, ORDERS, ORDERS_TAKEN, connect
from labs.bar.wire import CALLBACK, DEADLINE_MS, NEW_ORDER, request_id

if TYPE_CHECKING:
    import logging

    from redis.asyncio import Redis

GROUP_OF: Final = 8
"""So many buyers make a group."""


@dataclass(frozen=True, slots=True)
class Shop:
    """The two things that can be asked for."""

    redis: Redis
    ledger: Ledger
    log: logging.Logger

    async def order(self, request: web.Request) -> web.Response:
        """Take an order: queue it to be confirmed, and let the nodes know of a full group."""
        number = int(await self.redis.incr(ORDERS_TAKEN))
        order = f"o-{number}"
        # First the word, then the deed: no worker may have it before it is said to wait.
        self.log.info(
            "order %s queued on %s", order, ORDERS, extra=fields(request_id=request_id(request))
        )
        await self.redis.rpush(ORDERS, json.dumps({"order": order, "at": time.time()}))
        if number % GROUP_OF == 0:
            await self.redis.rpush(FULL_GROUPS, str(number // GROUP_OF))
        return web.json_response({"order": order})

    async def pay(self, request: web.Request) -> web.Response:
        """Book a payment: 200, or 503 if its deadline passes before its turn."""
        task = request.match_info["task"]
        left_ms = request.headers.get(DEADLINE_MS)
        until = time.monotonic() + int(left_ms) / 1000 if left_ms else None
        ids = fields(request_id=request_id(request))
        try:
            booked = await self.ledger.book(task, request_id(request), until)
        except asyncio.CancelledError:
            self.log.warning("caller for %s hung up", task, extra=ids)
            raise
        return web.json_response({"booked": booked}, status=200 if booked else 503)


async def serve(given: Options) -> None:
    """Run the service until SIGTERM."""
    stop = stop_event()
    telemetry = _telemetry.set_up(
        "bar-shop", "shop-1", otlp=given.otlp, logs=given.logs, logger="bar"
    )
    redis = connect(given.redis)
    ledger = Ledger(
        given.work, telemetry.log.getChild("ledger"), idempotent="blind_retry" not in given.bugs
    )
    shop = Shop(redis, ledger, telemetry.log.getChild("orders"))
    app = web.Application()
    app.router.add_post(NEW_ORDER, traced(telemetry.tracer, NEW_ORDER, shop.order))
    app.router.add_post(CALLBACK, traced(telemetry.tracer, CALLBACK, shop.pay))
    runner, url = await listen(app, cancels=True)
    say_ready(url=url)
    await stop.wait()
    await runner.cleanup()
    await ledger.close()
    await redis.aclose()
    telemetry.log.info("stopped as told")
    telemetry.close()


def main() -> None:
    """Run the program."""
    arguments = parser("labs.bar.shop", __doc__ or "")
    asyncio.run(serve(Options.of(arguments.parse_args())))


if __name__ == "__main__":
    main()
