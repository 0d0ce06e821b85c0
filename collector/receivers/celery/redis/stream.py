"""Celery's events as a Redis broker publishes them: listened to, and nothing is made there.

kombu publishes on `/<db>.celeryev/<routing key>`; the message holds its body in base64, one event
or a list of them (kombu 5.7, `kombu.transport.redis`).
"""

from __future__ import annotations

import base64
import binascii
import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from collector.receivers.celery.events import EXCHANGE, events

if TYPE_CHECKING:
    import redis

_AT_ONCE: Final = 5_000
_CONFIRM_S: Final = 5.0
_SILENT_S: Final = 5.0
_REST_S: Final = 5.0
"""So long the rest of a message may take, and an answer."""


def channel(client: redis.Redis, exchange: str, key_prefix: str = "") -> str:
    """Return where kombu publishes what is sent to the fanout or event *exchange*."""
    database = client.connection_pool.connection_kwargs.get("db") or 0
    return f"{key_prefix}/{database}.{exchange}"


class Stream:
    """Listens with *client*; what is published while it does not is lost to it.

    Raises `redis.RedisError` where the broker cannot be reached, or is lost; TimeoutError where it
    does not answer any more.
    """

    def __init__(self, client: redis.Redis, *, key_prefix: str = "") -> None:
        self.unreadable = 0
        self.behind = False
        self.proven_s = time.monotonic()
        self._asked_s: float | None = None
        self._pubsub: Any = client.pubsub()  # type: ignore[no-untyped-call]
        self._pubsub.psubscribe(f"{channel(client, EXCHANGE, key_prefix)}/*")
        while not self._message(0.1):
            if time.monotonic() > self.proven_s + _CONFIRM_S:
                msg = "the broker does not confirm the subscription"
                raise TimeoutError(msg)

    def read(self, wait_s: float) -> list[dict[str, Any]]:
        """Return the events that are there; wait for the first one at most *wait_s* seconds."""
        found: list[dict[str, Any]] = []
        message = self._message(wait_s)
        while message is not None:
            self.proven_s, self._asked_s = time.monotonic(), None
            if message["type"] == "pmessage":
                found += self._events(message["data"])
            if len(found) >= _AT_ONCE:
                break
            message = self._message(0.0)
        self.behind = message is not None
        self._prove()
        return found

    def close(self) -> None:
        """Unsubscribe."""
        self._pubsub.close()

    def _message(self, wait_s: float) -> dict[str, Any] | None:
        # whole messages only: of one that has begun the rest is awaited, else it would be given up
        if not self._pubsub.connection.can_read(timeout=wait_s):
            return None
        found: dict[str, Any] | None = self._pubsub.get_message(timeout=_REST_S)
        return found

    def _prove(self) -> None:
        """Ask a broker that is silent whether it is there: a dead path looks like no events."""
        now_s = time.monotonic()
        if self._asked_s is not None and now_s - self._asked_s > _REST_S:
            msg = "the broker does not answer"
            raise TimeoutError(msg)
        if self._asked_s is None and now_s - self.proven_s > _SILENT_S:
            self._asked_s = now_s
            self._pubsub.ping()

    def _events(self, data: bytes) -> list[dict[str, Any]]:
        try:
            message = orjson.loads(data)
            body = message["body"]
            if message["properties"].get("body_encoding") == "base64":
                body = base64.b64decode(body)
            good, unreadable = events(body, message["content-type"])
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            good, unreadable = [], 1
        self.unreadable += unreadable
        return good
