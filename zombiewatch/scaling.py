"""How many workers a queue wants: a number for autoscalers, with the arithmetic behind it.

One that works at one task at a time ends one every `run_s`. To keep up with what comes in it takes
`arrivals_per_s * run_s` of them (Little's law), and `depth * run_s / drain_s` more to work off what
waits within `drain_s`. What is not known is an error, never 0: that would stop all workers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import TypedDict

from model.units import HOUR_US, MINUTE_US, SECOND_US

if TYPE_CHECKING:
    import duckdb

WINDOW_US: Final = 5 * MINUTE_US
"""Over so long it is counted what comes in."""

FRESH_US: Final = 2 * MINUTE_US
"""An older sample says nothing of how many wait now."""

_ROUNDING: Final = 1e-9
"""So little above a whole number is no worker more."""

_SAMPLED: Final = """
SELECT arg_max(depth, at_us), max(last_seen_us),
  coalesce(arg_max(paused, at_us), FALSE),
  arg_max(enqueued_total, at_us) FILTER (at_us > $now - $window)
    - arg_min(enqueued_total, at_us) FILTER (at_us > $now - $window),
  (max(at_us) FILTER (at_us > $now - $window AND enqueued_total IS NOT NULL)
    - min(at_us) FILTER (at_us > $now - $window AND enqueued_total IS NOT NULL)) / 1e6
FROM samples WHERE namespace = $namespace AND queue = $queue AND depth IS NOT NULL"""

_WORKED: Final = """
SELECT count(*), min(first_seen_us),
  sum(CASE WHEN first_seen_us > $now - $window THEN 1 ELSE 0 END),
  avg(CASE WHEN finished_us >= started_us AND finished_seen_us > $now - $hour
    THEN finished_us - started_us END) / 1e6,
  sum(CASE WHEN coalesce(started_us, beat_us, finished_us, recorded_us) IS NULL THEN 1 ELSE 0 END)
FROM attempts WHERE namespace = $namespace AND queue = $queue"""


class ScaleJson(TypedDict):
    """How many workers are wanted, and what that comes of."""

    desired: int
    depth: float
    arrivals_per_s: float
    run_s: float
    drain_s: float
    concurrency: int


def workers(
    depth: float, arrivals_per_s: float, run_s: float, drain_s: float, concurrency: int
) -> int:
    """Return how many workers keep up with what comes in, and work off *depth* within *drain_s*."""
    slots = run_s * (arrivals_per_s + depth / drain_s)
    return math.ceil(slots / concurrency - _ROUNDING)


class NotKnownError(Exception):
    """It cannot be said how many are wanted; the message says what is not known."""


def wanted(
    reader: duckdb.DuckDBPyConnection,
    namespace: str,
    queue: str,
    *,
    now_us: int,
    drain_s: float,
    concurrency: int,
) -> ScaleJson | None:
    """Return how many workers *queue* wants, each of which works at *concurrency* tasks at a time.

    What waits is to be worked off within *drain_s*. None where no such queue was ever heard of.

    Raises NotKnownError.
    """
    asked: dict[str, Any] = {"namespace": namespace, "queue": queue, "now": now_us}
    asked["window"] = WINDOW_US
    depth, heard_us, paused, grown, over_s = reader.execute(_SAMPLED, asked).fetchall()[0]
    asked["hour"] = HOUR_US
    known, first_us, came, run_s, waiting = reader.execute(_WORKED, asked).fetchall()[0]
    if heard_us is None and not known:
        return None
    if paused:
        raise NotKnownError(f"{queue} is paused: no number of workers would do anything")
    if run_s is None:
        raise NotKnownError(f"no run from {queue} has ended within the hour: how long is one?")
    if heard_us is not None:
        if now_us - heard_us > FRESH_US:
            old_s = (now_us - heard_us) / SECOND_US
            raise NotKnownError(f"{queue} was sampled {old_s:.0f} s ago: how many wait now?")
    else:
        depth = waiting
    if grown is not None and over_s and grown >= 0:
        arrivals = grown / over_s
    else:
        arrivals = (came or 0) / (min(WINDOW_US, max(SECOND_US, now_us - first_us)) / SECOND_US)
    return {
        "desired": workers(depth, arrivals, run_s, drain_s, concurrency),
        "depth": float(depth),
        "arrivals_per_s": arrivals,
        "run_s": run_s,
        "drain_s": drain_s,
        "concurrency": concurrency,
    }
