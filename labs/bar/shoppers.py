"""The mini-program's users: each orders, waits for the answer, and orders again a second later.

They bear no tracing: the first that knows of a request's trace is the gateway.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from typing import Final

import aiohttp

from labs._http import REQUEST_ID
from labs._process import pause, say_ready, stop_event
from labs.bar.options import Options, parser
from labs.bar.shared import OPENED, connect
from labs.bar.wire import NEW_ORDER

SHOPPERS: Final = 4
EVERY_S: Final = 1.0
RUSH: Final = 2 / 3
"""For this part of the time they buy; then it gets calm, and what was degraded may recover."""

_LIMIT_S: Final = 15.0


async def shop(url: str, first_s: float, until: float, stop: asyncio.Event) -> None:
    """Order at *url* every second, first after *first_s* seconds, *until* then (monotonic)."""
    due = time.monotonic() + first_s
    limit = aiohttp.ClientTimeout(total=_LIMIT_S)
    async with aiohttp.ClientSession(timeout=limit) as session:
        while due < until and not await pause(max(0.0, due - time.monotonic()), stop):
            # A buyer who gets no answer sees an error, and orders again.
            with suppress(aiohttp.ClientError, TimeoutError):
                headers = {REQUEST_ID: secrets.token_hex(8)}
                async with session.post(f"{url}{NEW_ORDER}", headers=headers) as response:
                    await response.read()
            due = max(due + EVERY_S, time.monotonic())


async def serve(given: Options, gateway: str) -> None:
    """Open the shop, order while the rush lasts, and stay until SIGTERM."""
    stop = stop_event()
    redis = connect(given.redis)
    await redis.set(OPENED, str(time.time()))
    await redis.aclose()
    say_ready()
    until = time.monotonic() + RUSH * given.seconds
    async with asyncio.TaskGroup() as group:
        for number in range(SHOPPERS):
            group.create_task(shop(gateway, number * EVERY_S / SHOPPERS, until, stop))
    await stop.wait()


def main() -> None:
    """Run the program."""
    arguments = parser("labs.bar.shoppers", __doc__ or "")
    arguments.add_argument("--gateway", required=True, help="base URL of the gateway")
    parsed = arguments.parse_args()
    asyncio.run(serve(Options.of(parsed), parsed.gateway))


if __name__ == "__main__":
    main()
