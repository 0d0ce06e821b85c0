"""What the receiver needs of a broker, whichever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from collector.receivers.celery import NEEDS, RABBITMQ, CelerySetupError

if TYPE_CHECKING:
    from collector.receivers.celery import Where
    from collector.receivers.celery.words import Line, Words


class NobodySpokeError(Exception):
    """The broker is there, and has no event exchange yet: no worker has ever said anything."""


class Stream(Protocol):
    """Events as they come; what is published while nobody listens is lost."""

    unreadable: int
    """Messages that were not understood."""

    behind: bool
    """Whether more waits than was read the last time."""

    proven_s: float
    """When the broker was last heard of (`time.monotonic`)."""

    def read(self, wait_s: float) -> list[dict[str, Any]]:
        """Return the events that are there; wait for the first one at most *wait_s* seconds.

        Raises whatever the broker's library does where the stream is lost.
        """

    def close(self) -> None:
        """Listen no more."""


class Broker(Protocol):
    """A broker that is read. Its calls raise whatever its library does where it is away."""

    def listen(self) -> Stream:
        """Begin to listen. Raises NobodySpokeError too."""

    def enable_events(self) -> str:
        """Tell each worker that is there now to send task events; return how many, in words.

        A worker that starts later has to be told again.
        """

    def look(self, now_s: float, heard_since_s: float) -> list[Line]:
        """Return a sample of each queue, and what was handed out long ago, as lines.

        What was handed out before *heard_since_s* is not told: a worker's word of it would have
        been missed. Not for the thread that listens.
        """

    def close(self) -> None:
        """Disconnect."""


def ours_to_see(name: str) -> bool:
    """Say whether the queue or exchange *name* is of tasks.

    Those of events, of remote control and its answers are not; nor are those in which messages
    wait for their time (`celery_delayed_0` to `_27`: that is no backlog).
    """
    return not (
        name.startswith(("celeryev", "celery_delayed_", "zombiewatch."))
        or name.endswith(".pidbox")
        or "reply." in name
    )


def broker(where: Where, words: Words) -> Broker:
    """Return the broker that *where* names. Raises CelerySetupError for an address that is none.

    Only the library that it needs is loaded: the other one costs memory for nothing.
    """
    if urlsplit(where.broker).scheme in RABBITMQ:
        try:
            from collector.receivers.celery.rabbitmq import RabbitMq  # noqa: PLC0415 - see above
        except ImportError:
            raise CelerySetupError(NEEDS) from None
        return RabbitMq(where, words)
    from collector.receivers.celery.redis import Redis  # noqa: PLC0415 - see above

    return Redis(where, words)
