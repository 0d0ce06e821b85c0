"""The scheduler's table: five jobs, when they run, and for how long they may.

They are the five published cases, at a twentieth of their time. In the first night they run without
limits, to see how long they take; then the limits are loaded, and the second night begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LIMITS_AT_S: Final = 14.0
_ROOM: Final = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """For how long a run may take in all, and be silent, in seconds; None: for ever."""

    timeout_s: float
    beat_timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Job:
    """One job. Its runs take *takes_s*, and beat every *beat_s* where they do.

    *at_s* is when it is run, from the scheduler's start. Those of one executor and *lane* run one
    after the other. *short_s* is the time-out that somebody chose for it.
    """

    case: str
    name: str
    takes_s: float
    beat_s: float | None
    short_s: float
    beat_timeout_s: float | None
    executor: str
    lane: str
    at_s: tuple[float, ...]

    def limits(self, *, short: bool) -> Limits:
        """Return the job's limits, as somebody chose them, or as its runs need them."""
        return Limits(self.short_s if short else _ROOM * self.takes_s, self.beat_timeout_s)


JOBS: Final = (
    Job("S001", "data-cleaning", 9.0, 1.5, 6.0, 8.0, "executor-1", "etl", (1.0, 58.5)),
    Job("S002", "model-training", 32.5, 3.0, 30.0, 30.0, "executor-1", "gpu", (1.5, 34.8)),
    Job("S003", "report-batch", 4.5, None, 5.0, None, "executor-2", "batch", (7.0, 60.5)),
    Job("S004", "db-migration", 10.0, 1.5, 9.0, 8.0, "executor-2", "db", (1.5, 56.0)),
    Job("S005", "file-compression", 3.75, 1.0, 3.0, 20.0, "executor-2", "batch", (2.0, 12.0, 60.0)),
)
