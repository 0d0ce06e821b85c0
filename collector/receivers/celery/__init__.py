"""Celery: its event stream, its queues and its results, read and never disturbed.

`words.py` makes our lines of its events; `redis/` and `rabbitmq/` hear them and look at the queues,
each in its broker's way (`brokers.py` says what the two have in common), `results.py` looks at the
result backend, `remote_control.py` holds the one thing that is ever said, and `receiver.py` puts
them together. The preset `celery` says what the lines mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REDIS: Final = ("redis", "rediss", "unix")
RABBITMQ: Final = ("amqp", "amqps", "pyamqp")
"""What a broker's address may begin with; that of a result backend is one of Redis."""

SEPARATOR: Final = "\x06\x16"
"""kombu's default for a Redis broker."""

UNREADABLE: Final = (
    "celery.{what} cannot be read as an address: in a user's name and password, / and other signs"
    " are written as %2F and the like"
)
"""What is wrong with it is not said more closely: it may be a piece of the password."""

NEEDS: Final = "Celery's broker needs more packages: pip install 'zombiewatch[celery]'"


@dataclass(frozen=True, slots=True)
class Where:
    """A Celery installation: addresses, and what it has set other than by default."""

    broker: str
    broker_api: str | None = None
    results: str | None = None
    queues: tuple[str, ...] = ()
    visibility_s: float | None = None
    acks_late: bool = False
    look_every_s: float = 10.0
    enable_events: bool = False
    key_prefix: str = ""
    separator: str = SEPARATOR
    priority_steps: tuple[int, ...] = ()
    results_key_prefix: str = ""


class CelerySetupError(Exception):
    """What was set for Celery cannot work; the message says why, and how to mend it."""
