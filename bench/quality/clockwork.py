"""Simulated time: what is to happen, in order."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Event = Callable[[], object]


class Clockwork:
    """Events by time. `now` is in seconds since the simulation began."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Event]] = []
        self._made = 0

    def at(self, when_s: float, event: Event) -> None:
        """Let *event* happen at *when_s*; of two at one time, the first that was asked for."""
        self._made += 1
        heapq.heappush(self._events, (when_s, self._made, event))

    def after(self, pause_s: float, event: Event) -> None:
        """Let *event* happen so long from now."""
        self.at(self.now + pause_s, event)

    def every(self, pause_s: float, event: Callable[[], object]) -> None:
        """Let *event* happen again and again, until it returns what is false."""

        def again() -> None:
            if event():
                self.after(pause_s, again)

        self.after(pause_s, again)

    def run(self, until_s: float) -> None:
        """Let all happen that is due by *until_s*."""
        while self._events and self._events[0][0] <= until_s:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = until_s
