"""What noise makes late is late: when a source's delay is true, counted by what arrived."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.quality.cell import Cell
    from bench.quality.path import Exporter, Heard
    from bench.quality.truth import Truth

_WINDOW_S: Final = 600
_LEAST: Final = 20
_LATE_S: Final = 9.5
_SHARE: Final = 0.045
"""Ten seconds and 5%, less what a record more or less, or a clock that is nearly right, makes."""
_FEWEST: Final = 0.1
"""A third of the time in which hardly anything came says nothing."""
_EVERY_S: Final = 10.0
_EARLY_S: Final = 15.0


@dataclass(slots=True)
class Lags:
    """Of one service: how many of its records came in a second, and how many of these late."""

    came: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    late: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    absences: Sequence[tuple[float, float]] = ()
    """As `Path.absences`."""

    def take(self, said_s: float, heard: Heard, way: Exporter) -> None:
        """Count a record that was made at *said_s*, each time that it came by *way*.

        What was held while nothing got through is a backfill, and not counted.
        """
        for at_s in {heard.first_s, heard.last_s}:
            held = any(said_s < end_s <= at_s for _, end_s, *_ in (*way.dark, *self.absences))
            if at_s < math.inf and not held:
                self.came[int(at_s)] += 1
                self.late[int(at_s)] += at_s - said_s > _LATE_S

    def lasting(self, now_s: float) -> bool:
        """Say whether in each third of the last ten minutes too much of it was late."""
        thirds = list(self._thirds(int(now_s)))
        whole = sum(came for came, _ in thirds)
        return whole >= _LEAST and all(
            came >= _FEWEST * whole and late > _SHARE * came for came, late in thirds
        )

    def _thirds(self, now: int) -> Iterator[tuple[int, int]]:
        third = _WINDOW_S // 3
        for begin in range(now - _WINDOW_S + 1, now + 1, third):
            seconds = range(begin, begin + third)
            yield (sum(self.came.get(at, 0) for at in seconds),
                   sum(self.late.get(at, 0) for at in seconds))  # fmt: skip


def watch(cell: Cell, service: str, lags: Lags) -> None:
    """Write down from when to when *service* comes late by chance: it may be told."""
    lasts: list[Truth] = []

    def look() -> bool:
        now_s = cell.clock.now
        if lags.lasting(now_s):
            if not lasts or lasts[-1].until_s < now_s - _EVERY_S:
                made = cell.truth(f"{service} by otlp", now_s, detector="collection_lag",
                                  must=False, early_s=_EARLY_S)  # fmt: skip
                lasts.append(made)
            lasts[-1].until_s = now_s + _EVERY_S
        return True

    cell.clock.every(_EVERY_S, look)
