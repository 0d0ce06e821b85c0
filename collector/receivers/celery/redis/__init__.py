"""A Redis broker: it is listened to and looked at, and nothing is made or changed there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import redis

from collector.receivers.celery import UNREADABLE, CelerySetupError
from collector.receivers.celery.redis.control import enable_events
from collector.receivers.celery.redis.queues import Queues
from collector.receivers.celery.redis.stream import Stream

if TYPE_CHECKING:
    from collector.receivers.celery import Where
    from collector.receivers.celery.words import Line, Words

_TIMEOUT_S: Final = 5.0
_VISIBILITY_S: Final = 3600.0
"""kombu's default."""


class Redis:
    """See `brokers.Broker`. Its calls raise `redis.RedisError`."""

    def __init__(self, where: Where, words: Words) -> None:
        self._client = connect(where.broker, "broker")
        self._key_prefix = where.key_prefix
        self._queues = Queues(
            self._client,
            words,
            names=where.queues,
            visibility_s=where.visibility_s or _VISIBILITY_S,
            key_prefix=where.key_prefix,
            separator=where.separator,
            priorities=where.priority_steps,
        )

    def listen(self) -> Stream:
        """Begin to listen."""
        return Stream(self._client, key_prefix=self._key_prefix)

    def enable_events(self) -> str:
        """Tell each worker that is there now to send task events."""
        return str(enable_events(self._client, key_prefix=self._key_prefix))

    def look(self, now_s: float, heard_since_s: float) -> list[Line]:
        """Return a sample of each queue as lines."""
        return self._queues.look(now_s, heard_since_s)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


def connect(url: str, what: str) -> redis.Redis:
    """Return a client for *url*, not yet connected. Raises CelerySetupError if it is no address."""
    try:
        found: redis.Redis = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            health_check_interval=30,
            client_name="zombiewatch",
        )
    except ValueError:
        raise CelerySetupError(UNREADABLE.format(what=what)) from None
    return found
