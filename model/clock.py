"""Time is injected: nothing below the service calls the system's clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Says what time it is."""

    def __call__(self) -> int:
        """Return microseconds since 1970 UTC."""
        ...


def system_clock() -> int:
    """Return the machine's time in microseconds since 1970 UTC."""
    return time.time_ns() // 1000
