"""What is dear to count, as it was a moment ago."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.clock import Clock

T = TypeVar("T")


class Lately:
    """Keeps what is dear to count for *lasts_us*: however many ask, it is counted once."""

    def __init__(self, clock: Clock, lasts_us: int) -> None:
        self._clock = clock
        self._lasts_us = lasts_us
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, Any]] = {}

    def get(self, name: str, count: Callable[[], T]) -> T:
        """Return what *count* gives, or gave a moment ago under that *name*."""
        with self._lock:
            until_us, value = self._known.get(name, (0, None))
            if self._clock() >= until_us:
                value = count()
                self._known[name] = (self._clock() + self._lasts_us, value)
            return cast("T", value)
