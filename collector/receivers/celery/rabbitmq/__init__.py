"""A RabbitMQ broker: one queue of our own, which goes with us; all else is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kombu.connection import Connection

from collector.receivers.celery import UNREADABLE, CelerySetupError
from collector.receivers.celery.rabbitmq.control import enable_events
from collector.receivers.celery.rabbitmq.management import Management
from collector.receivers.celery.rabbitmq.queues import Queues
from collector.receivers.celery.rabbitmq.stream import Stream

if TYPE_CHECKING:
    from collector.receivers.celery import Where
    from collector.receivers.celery.words import Line, Words

_TIMEOUT_S: Final = 5.0
_HEARTBEAT_S: Final = 10
_ACKNOWLEDGE_S: Final = 1800.0
"""RabbitMQ's default of `consumer_timeout`."""


class RabbitMq:
    """See `brokers.Broker`. Its calls raise errors of `amqp` and of the system."""

    def __init__(self, where: Where, words: Words) -> None:
        self._heard = _connection(where.broker, heartbeat_s=_HEARTBEAT_S)
        self._looked_at = _connection(where.broker)  # between two looks nobody would beat
        vhost = self._looked_at.virtual_host or "/"
        self._queues = Queues(
            self._looked_at,
            words,
            Management(where.broker_api, vhost) if where.broker_api else None,
            names=where.queues,
            visibility_s=where.visibility_s or _ACKNOWLEDGE_S,
        )

    def listen(self) -> Stream:
        """Begin to listen."""
        return Stream(self._heard)

    def enable_events(self) -> str:
        """Tell each worker that is there now to send task events."""
        enable_events(self._heard)
        return "all"

    def look(self, now_s: float, heard_since_s: float) -> list[Line]:
        """Return a sample of each queue as lines."""
        del heard_since_s  # what was handed out cannot be looked at without taking it
        return self._queues.look(now_s)

    def close(self) -> None:
        """Disconnect."""
        self._heard.release()
        self._looked_at.release()


def _connection(url: str, *, heartbeat_s: int = 0) -> Any:  # noqa: ANN401 - it has no types
    made: Any = Connection
    try:
        return made(
            url,
            heartbeat=heartbeat_s,
            # kombu puts the host in: without it no name is asked of the certificate
            **({"ssl": {"server_hostname": None}} if url.startswith("amqps:") else {}),
            connect_timeout=_TIMEOUT_S,
            transport_options={
                "client_properties": {"connection_name": "zombiewatch"},
                "read_timeout": _TIMEOUT_S,
                "write_timeout": _TIMEOUT_S,
            },
        )
    except ValueError:
        raise CelerySetupError(UNREADABLE.format(what="broker")) from None
