"""The queue's exporter: each second it logs how much waits in Redis, and for how long."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Final

from labs import _telemetry
from labs._figures import show
from labs._process import pause, say_ready, stop_event
from labs.bar.options import PROGRESS, Options, parser
from labs.bar.shared import OPENED, ORDERS, ORDERS_CONFIRMED, ORDERS_TAKEN, connect

if TYPE_CHECKING:
    from redis.asyncio import Redis

_EVERY_S: Final = 1.0


async def sample(redis: Redis) -> dict[str, float | int]:
    """Return how many orders wait, how old the oldest is (s), and how many came and went so far."""
    async with redis.pipeline(transaction=True) as together:
        together.llen(ORDERS)
        together.lindex(ORDERS, 0)
        together.get(ORDERS_TAKEN)
        together.get(ORDERS_CONFIRMED)
        together.get(OPENED)
        waiting, oldest, taken, confirmed, opened = await together.execute()
    now = time.time()
    return {
        "gone_s": round(now - float(opened or now), 1),
        "waiting": int(waiting),
        "oldest_s": round(now - json.loads(oldest)["at"], 2) if oldest else 0.0,
        "taken": int(taken or 0),
        "confirmed": int(confirmed or 0),
    }


async def serve(given: Options) -> None:
    """Run the exporter until SIGTERM; what it sees is also left for whoever watches the lab."""
    stop = stop_event()
    telemetry = _telemetry.set_up(
        "bar-exporter", "exporter-1", otlp=given.otlp, logs=given.logs, logger="bar"
    )
    log = telemetry.log.getChild("exporter")
    redis = connect(given.redis)
    say_ready()
    while not await pause(_EVERY_S, stop):
        seen = await sample(redis)
        log.info(
            "queue %s: %d waiting, oldest %.2f s, %d queued and %d confirmed so far",
            ORDERS,
            seen["waiting"],
            seen["oldest_s"],
            seen["taken"],
            seen["confirmed"],
        )
        show(given.work / PROGRESS, seen)
    await redis.aclose()
    telemetry.log.info("stopped as told")
    telemetry.close()


def main() -> None:
    """Run the program."""
    arguments = parser("labs.bar.exporter", __doc__ or "")
    asyncio.run(serve(Options.of(arguments.parse_args())))


if __name__ == "__main__":
    main()
