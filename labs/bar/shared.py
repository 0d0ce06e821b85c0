"""What the processes share in Redis, by the names that it has there."""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis

OPENED: Final = "sales:opened"
"""When the first shopper came, in seconds since 1970: sales are due so long after it."""

ORDERS: Final = "orders"
"""The queue of orders that are to be confirmed, oldest first: JSON with `order` and `at`."""

ORDERS_TAKEN: Final = "orders:taken"
ORDERS_CONFIRMED: Final = "orders:confirmed"
"""Counters."""

FULL_GROUPS: Final = "groups:full"
"""Numbers of groups that have all their buyers; each is popped by one node."""


def connect(port: int) -> Redis:
    """Return a client of the Redis on *port* of loopback, which speaks text."""
    # With a time-out the client sends within `asyncio.wait_for`, which in Python 3.11 may swallow
    # the cancellation of whoever sends; and our Redis answers as long as we live.
    return Redis(host="127.0.0.1", port=port, decode_responses=True, socket_timeout=None)
