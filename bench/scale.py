"""How much is measured: everything, or as much as fits two minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of all measurements: numbers of records, attempts and repetitions; seconds."""

    name: str
    size: float  # what the numbers of records and attempts were multiplied by
    spans: int
    logs: int
    lines: int
    beats: int
    flags: int
    span_connections: tuple[int, ...]
    log_connections: tuple[int, ...]
    paced_s: float
    limits: int  # records of each kind by which the machine's limits are measured
    repeats: int  # of each limit: the best counts
    attempts: tuple[tuple[int, int], ...]  # open and closed, of each evaluation
    evaluations: int
    starts: int
    idle_s: float
    recovered: int
    settled: tuple[int, ...]  # attempts in history, of each evaluation over it
    history_bytes: int
    visible_s: float  # so long something new is posted that is to be found

    def sized(self, size: float) -> Scale:
        """Return the same with all numbers of records and attempts multiplied by *size*."""
        less = {name: max(1, round(getattr(self, name) * size)) for name in _RECORDS}
        attempts = tuple((round(one * size), round(two * size)) for one, two in self.attempts)
        settled = tuple(max(1, round(one * size)) for one in self.settled)
        idle_s = max(0.5, self.idle_s * min(1.0, size))
        visible_s = max(1.0, self.visible_s * min(1.0, size))
        return replace(
            self, size=size, attempts=attempts, settled=settled, idle_s=idle_s,
            visible_s=visible_s, **less,
        )  # fmt: skip


_RECORDS: Final = (
    "spans",
    "logs",
    "lines",
    "beats",
    "flags",
    "limits",
    "recovered",
    "history_bytes",
)


QUICK: Final = Scale(
    name="quick",
    size=1.0,
    spans=20_000,
    logs=20_000,
    lines=40_000,
    beats=1_000,
    flags=2_000,
    span_connections=(1, 16),
    log_connections=(16,),
    paced_s=2.0,
    limits=20_000,
    repeats=2,
    attempts=((10_000, 100_000), (100_000, 100_000)),
    evaluations=3,
    starts=1,
    idle_s=2.0,
    recovered=20_000,
    settled=(100_000, 1_000_000),
    history_bytes=200_000_000,
    visible_s=5.0,
)

FULL: Final = Scale(
    name="full",
    size=1.0,
    spans=250_000,
    logs=250_000,
    lines=400_000,
    beats=10_000,
    flags=20_000,
    span_connections=(1, 16, 64),
    log_connections=(1, 16, 64),
    paced_s=10.0,
    limits=100_000,
    repeats=3,
    attempts=((10_000, 100_000), (100_000, 100_000), (100_000, 1_000_000)),
    evaluations=5,
    starts=3,
    idle_s=20.0,
    recovered=250_000,
    settled=(10_000_000, 100_000_000),
    history_bytes=10_000_000_000,
    visible_s=60.0,
)
