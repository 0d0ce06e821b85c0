"""The one thing that is ever said to Celery, and only if asked: that workers send task events."""

from __future__ import annotations

from typing import Final

MAILBOX: Final = "celery.pidbox"
"""Exchange of remote control."""

ENABLE_EVENTS: Final[dict[str, object]] = {
    "method": "enable_events",
    "arguments": {},
    "destination": None,
    "pattern": None,
    "matcher": None,
}
"""That of `celery control enable_events` (Celery and kombu 5.7), without an address for answers, so
that nothing is made at the broker."""

EXPIRES_S: Final = 30.0
"""So long it may wait for a worker that is away."""
