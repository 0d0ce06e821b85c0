"""Celery's events as a RabbitMQ broker hands them out: to a queue of our own, bound to all.

It is the only thing that is made. It is exclusive, so it goes with our connection; it expires
should the broker not notice; and it is bounded: of what we are too slow for the broker drops the
oldest, never slowing a worker. That it drops is noticed, and is as good as a lost stream.
"""

from __future__ import annotations

import socket
import time
import uuid
from contextlib import suppress
from typing import Any, Final

from amqp.exceptions import NotFound

from collector.receivers.celery.brokers import NobodySpokeError
from collector.receivers.celery.events import EXCHANGE, events

_AT_ONCE: Final = 5_000
_LENGTH_MAX: Final = 100_000
_NEARLY: Final = 0.9
_EXPIRES_MS: Final = 60_000
_CHECK_S: Final = 2.0
_NEXT_S: Final = 0.001


class DroppedError(Exception):
    """Our queue at the broker is full: events were dropped, or will be."""


class Stream:
    """Listens by a connection like *connection*; what is published while it does not is lost to it.

    Raises NobodySpokeError where there is no exchange of events; errors of `amqp` and of the system
    where the broker cannot be reached, or is lost.
    """

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - kombu has no types
        self.unreadable = 0
        self.behind = False
        self._connection = connection.clone()
        self._found: list[dict[str, Any]] = []
        self._name = f"zombiewatch.{uuid.uuid4()}"
        self.proven_s = self._checked_s = self._beat_s = time.monotonic()
        try:
            self._connection.connect()
            self._channel = self._connection.channel()
            self._bind()
        except BaseException:
            self.close()
            raise

    def _bind(self) -> None:
        try:
            self._channel.exchange_declare(EXCHANGE, "topic", passive=True)
        except NotFound:
            msg = "no event was ever sent by this broker"
            raise NobodySpokeError(msg) from None
        self._channel.queue_declare(
            self._name,
            exclusive=True,
            durable=False,
            auto_delete=True,
            arguments={"x-expires": _EXPIRES_MS, "x-max-length": _LENGTH_MAX},
        )
        self._channel.queue_bind(self._name, EXCHANGE, "#")
        self._channel.basic_consume(self._name, no_ack=True, callback=self._take)

    def read(self, wait_s: float) -> list[dict[str, Any]]:
        """Return the events that are there; wait for the first one at most *wait_s* seconds."""
        with suppress(socket.timeout):
            self._connection.drain_events(timeout=wait_s)
            while len(self._found) < _AT_ONCE:
                # never 0: in the middle of a frame that would be tried again without end
                self._connection.drain_events(timeout=_NEXT_S)
        if self._found:
            self.proven_s = time.monotonic()
        self.behind = len(self._found) >= _AT_ONCE
        self._check()
        found, self._found = self._found, []
        return found

    def close(self) -> None:
        """Disconnect: the queue goes with it."""
        with suppress(Exception):  # most likely it is lost
            self._connection.release()

    def _take(self, message: Any) -> None:  # noqa: ANN401 - likewise
        good, unreadable = events(message.body, message.properties.get("content_type"))
        self._found += good
        self.unreadable += unreadable

    def _check(self) -> None:
        """Look now and then whether the broker still hears us, and whether it keeps up with us."""
        now_s = time.monotonic()
        if now_s - self._beat_s >= 1.0:
            self._beat_s = now_s
            self._connection.heartbeat_check()
        if now_s - self._checked_s < _CHECK_S:
            return
        self._checked_s = now_s
        waiting = self._channel.queue_declare(self._name, passive=True).message_count
        self.proven_s = time.monotonic()
        if waiting > _NEARLY * _LENGTH_MAX:
            msg = f"{waiting} events wait for us; the broker drops what is more"
            raise DroppedError(msg)
