"""How much is measured: everything, or as much as fits a minute."""

from __future__ import annotations

from dataclasses import dataclass, fields
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
    limits: int  # records of each kind by which the machine's limits are measured
    attempts: tuple[tuple[int, int], ...]  # open and closed, of each evaluation
    evaluations: int
    starts: int
    idle_s: float
    recovered: int

    def sized(self, size: float) -> Scale:
        """Return the same with all numbers of records and attempts multiplied by *size*."""
        kept = {"name", "size", "evaluations", "starts", "idle_s", "attempts"}
        less = {
            field.name: max(1, round(getattr(self, field.name) * size))
            for field in fields(self)
            if field.name not in kept
        }
        attempts = tuple((round(one * size), round(two * size)) for one, two in self.attempts)
        idle_s = max(0.5, self.idle_s * min(1.0, size))
        rest = {"evaluations": self.evaluations, "starts": self.starts, "attempts": attempts}
        return Scale(name=self.name, size=size, idle_s=idle_s, **less, **rest)


QUICK: Final = Scale(
    name="quick",
    size=1.0,
    spans=60_000,
    logs=60_000,
    lines=150_000,
    beats=1_500,
    limits=40_000,
    attempts=((10_000, 100_000), (100_000, 100_000)),
    evaluations=3,
    starts=1,
    idle_s=5.0,
    recovered=60_000,
)

FULL: Final = Scale(
    name="full",
    size=1.0,
    spans=1_000_000,
    logs=1_000_000,
    lines=1_500_000,
    beats=20_000,
    limits=200_000,
    attempts=((10_000, 100_000), (100_000, 100_000), (100_000, 1_000_000)),
    evaluations=7,
    starts=5,
    idle_s=30.0,
    recovered=1_000_000,
)
