"""The figures of the overview over the last while: in memory, one point every few seconds."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from model.units import MINUTE_US, SECOND_US
from zombiewatch.scaling import FRESH_US
from zombiewatch.views import queues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import duckdb

    from model.findings import Finding, Verdict
    from zombiewatch.views import QueueJson

EVERY_US: Final = 5 * SECOND_US
POINTS: Final = 360
"""So many points are kept: half an hour of them."""

_FULL_US: Final = MINUTE_US

COUNTED: Final = {
    "zombies": ("zombie_task", "silent_task"),
    "lost_reports": ("lost_report",),
    "mismatches": ("verdict_mismatch", "gave_up_but_committed"),
}
"""Figure → the detectors whose confirmed findings it counts."""


class Trends:
    """Keeps the figures; `look` is called after each evaluation."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._next_us = 0
        self.looks = 0
        self.full = False
        """Whether there was no room for a record lately."""
        self._refused = 0
        self._full_until_us = 0
        self.points: dict[str, deque[float | None]] = {
            name: deque(maxlen=POINTS) for name in (*COUNTED, "oldest_s", "drains_s", "blind")
        }
        self.queues: list[QueueJson] = []
        self.totals: Mapping[Verdict, int] = {}

    def look(
        self,
        reader: duckdb.DuckDBPyConnection,
        shown: Callable[[], Sequence[Finding]],
        totals: Callable[[], Mapping[Verdict, int]],
        refused: int,
        now_us: int,
    ) -> None:
        """Take the figures as they are at *now_us*, unless that was done a moment ago.

        *refused* is how often there was no room for a record, ever.
        """
        if now_us < self._next_us:
            return
        self._next_us = now_us + EVERY_US
        self.totals = totals()
        if refused > self._refused:
            self._refused, self._full_until_us = refused, now_us + _FULL_US
        self.full = now_us < self._full_until_us
        self.queues = queues(reader, self._namespace, now_us)
        for name, value in figures(shown(), self.queues).items():
            self.points[name].append(value)
        self.looks += 1


def figures(shown: Sequence[Finding], known: Iterable[QueueJson]) -> dict[str, float | None]:
    """Return the figures of the overview, of the open findings and the queues."""
    # of what was not sampled for long nobody knows how it stands
    known = [one for one in known if one["sampled_s"] < FRESH_US / SECOND_US]
    made: dict[str, float | None] = {
        name: float(sum(one.verdict == "confirmed" and one.detector in of for one in shown))
        for name, of in COUNTED.items()
    }
    ages = [one["oldest_age_s"] for one in known if one["oldest_age_s"] is not None]
    made["oldest_s"] = max(ages, default=None)
    waiting = [one for one in known if one["depth"]]
    times = [one["drains_s"] for one in waiting if one["drains_s"] is not None]
    never = any(one["drains"] == "never" for one in waiting)
    known_all = bool(known) and len(times) == len(waiting) and not never
    made["drains_s"] = max(times, default=0.0) if known_all else None
    made["blind"] = float(
        sum(one.verdict == "unknown" or one.detector == "source_dark" for one in shown)
    )
    return made
