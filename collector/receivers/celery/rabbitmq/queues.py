"""Celery's queues on a RabbitMQ broker: how long they are, what is handed out, who takes from them.

By the management API, of all queues; without it, by AMQP, of those that are named or that we heard
of, and not how much is handed out. What waits in a queue cannot be looked at without taking it: how
old it is, is known from the words of its senders.
"""

from __future__ import annotations

import logging
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final

from amqp.exceptions import ChannelError

from collector.receivers.celery.brokers import ours_to_see
from collector.receivers.celery.words import SCHEDULER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collector.receivers.celery.rabbitmq.management import Management
    from collector.receivers.celery.words import Line, Words

_LOG: Final = logging.getLogger("zombiewatch.celery")
_DEFAULT: Final = "celery"


class Queues:
    """Looks at queues by *management*, or by *connection*.

    *names* are the queues; without any, all that are known. Raises errors of `amqp`, OSError and
    ValueError.
    """

    def __init__(
        self,
        connection: Any,  # noqa: ANN401 - kombu has no types
        words: Words,
        management: Management | None,
        *,
        names: Sequence[str] = (),
        visibility_s: float,
    ) -> None:
        self._connection = connection
        self._words = words
        self._management = management
        self._named = frozenset(names)
        self._visibility_s = visibility_s
        self._refused = False

    def look(self, now_s: float) -> list[Line]:
        """Return a sample of each queue as lines."""
        return [
            {
                "event.name": "queue.sampled",
                "ts": now_s,
                "service.name": SCHEDULER,
                "queue.visibility_timeout_s": self._visibility_s,
                **one,
            }
            for one in self._by_api() or self._by_amqp()
        ]

    def _by_api(self) -> list[Line]:
        if self._management is None:
            return []
        try:
            found = self._management.queues()
        except (OSError, ValueError, HTTPException) as error:
            if not self._refused:
                _LOG.warning("RabbitMQ's management API is not read: %s", error)
            self._refused = True
            return []
        if self._refused:
            _LOG.warning("RabbitMQ's management API is read again")
        self._refused = False
        return [_line(one) for one in found if self._ours(one)]

    def _ours(self, one: dict[str, Any]) -> bool:
        name = str(one.get("name"))
        if self._named:
            return name in self._named
        return ours_to_see(name) and not one.get("exclusive")

    def _by_amqp(self) -> Iterator[Line]:
        self._connection.ensure_connection(max_retries=1)
        channel = self._connection.channel()
        try:
            for name in sorted(self._named or {_DEFAULT, *self._words.queues()}):
                try:
                    said = channel.queue_declare(name, passive=True)
                except ChannelError:
                    continue  # not there (yet), or somebody's own; the channel opens itself again
                yield {
                    "queue.name": name,
                    "queue.depth": said.message_count,
                    "queue.consumers": said.consumer_count,
                }
        finally:
            channel.close()


def _line(one: dict[str, Any]) -> Line:
    line: Line = {
        "queue.name": one["name"],
        "queue.depth": one.get("messages_ready"),
        "queue.in_flight": one.get("messages_unacknowledged"),
        "queue.consumers": one.get("consumers"),
    }
    arguments, policy = one.get("arguments"), one.get("effective_policy_definition")
    for said, name in ((policy, "consumer-timeout"), (arguments, "x-consumer-timeout")):
        limit_ms = said.get(name) if isinstance(said, dict) else None
        if isinstance(limit_ms, int):
            line["queue.visibility_timeout_s"] = limit_ms / 1000
    return {name: value for name, value in line.items() if value is not None}
