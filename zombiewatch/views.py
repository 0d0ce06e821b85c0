"""What the views show beside findings and incidents: queues, limits, coverage. As plain rows.

The page and the JSON API read the same; each question is one SELECT over the relations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from typing_extensions import TypedDict

from model.units import MINUTE_US, SECOND_US, Iso, iso
from model.views import BUCKETS
from zombiewatch.scaling import FRESH_US

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

WINDOW_US: Final = 5 * MINUTE_US
"""What comes in and goes out is counted over so long."""

_QUEUES: Final = """
WITH newest AS (
  SELECT namespace, queue, max(at_us) AS at_us FROM samples GROUP BY namespace, queue
), ring AS (
  SELECT s.* FROM samples s JOIN newest n ON n.namespace = s.namespace AND n.queue = s.queue
  WHERE s.at_us > n.at_us - $window AND s.namespace = $namespace
)
SELECT queue, arg_max(service, at_us), max(last_seen_us), arg_max(depth, at_us),
  arg_max(oldest_age_s, at_us), arg_max(in_flight, at_us), arg_max(consumers, at_us),
  coalesce(arg_max(paused, at_us), FALSE),
  (max(at_us) - min(at_us)) / 1e6,
  arg_max(depth, at_us) - arg_min(depth, at_us),
  arg_max(enqueued_total, at_us) - arg_min(enqueued_total, at_us),
  arg_max(completed_total, at_us) - arg_min(completed_total, at_us),
  list(depth ORDER BY at_us)
FROM ring GROUP BY queue ORDER BY queue"""

_TIMEOUTS: Final = """
WITH usual AS (
  SELECT 'run' AS measure, '' AS service, key, max(p95_us) AS p95_us FROM learned
  WHERE namespace = $namespace AND measure = 'run' GROUP BY key
  UNION ALL
  SELECT 'answer', service, key, p95_us FROM learned
  WHERE namespace = $namespace AND measure = 'answer'
)
SELECT t.pair, t.service, t.name, t.queue, t.peer, t.limit_s, t.beat_s, t.n, t.p50_us / 1e6,
  u.p95_us / power(2.0, 1.0 / $buckets) / 1e6, t.p99_us / 1e6, t.failures
FROM timeouts t LEFT JOIN usual u ON u.key = t.name
  AND u.measure = CASE WHEN t.pair IN ('call', 'retry') THEN 'answer'
    WHEN t.pair LIKE 'run%' THEN 'run' END
  AND u.service = CASE WHEN t.pair IN ('call', 'retry') THEN t.peer ELSE '' END
WHERE t.namespace = $namespace"""

_COVERAGE: Final = """
SELECT coalesce(caller, ''), coalesce(callee, peer, ''), count(*),
  sum(CASE WHEN coalesce(sent_us, ok_us, failed_us, gave_up_us) IS NOT NULL
    AND coalesce(received_us, committed_us, errored_us) IS NOT NULL THEN 1 ELSE 0 END),
  max(last_seen_us)
FROM calls WHERE namespace = $namespace GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 200"""


class QueueJson(TypedDict):
    """A queue: how much waits, what comes in and goes out a second, and when it would be empty.

    `drains_s` is null where that is never, or not known; `drains` says which. `depths` are the
    last ones, the newest last.
    """

    queue: str
    service: str | None
    sampled_at: Iso
    sampled_s: float
    depth: float | None
    oldest_age_s: float | None
    in_flight: float | None
    consumers: float | None
    paused: bool
    arrivals_per_s: float | None
    completions_per_s: float | None
    drains: str
    drains_s: float | None
    depths: list[float]


class TimeoutJson(TypedDict):
    """A limit that somebody declared, beside what it has to hold, in seconds.

    `verdict` is `broken` where it is below what is usual, `tight` where little is left, else `ok`.
    """

    pair: str
    service: str | None
    name: str
    queue: str
    peer: str
    limit_s: float
    beat_s: float | None
    n: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    failures: int
    verdict: str


class CoverageJson(TypedDict):
    """Calls from one service to another: how many, and which share was seen from both ends."""

    caller: str
    callee: str
    calls: int
    both: int
    share: float
    heard_at: Iso


class QueuesJson(TypedDict):
    """All queues that were sampled lately; how it stands with one that is silent is not known."""

    now: Iso
    queues: list[QueueJson]


class TimeoutsJson(TypedDict):
    """All limits, those that are broken first."""

    now: Iso
    timeouts: list[TimeoutJson]


def queues(reader: duckdb.DuckDBPyConnection, namespace: str, now_us: int) -> list[QueueJson]:
    """Return the queues of *namespace*."""
    rows = reader.execute(_QUEUES, {"namespace": namespace, "window": WINDOW_US}).fetchall()
    return [_queue(*row, now_us=now_us) for row in rows]


def _queue(
    queue: str, service: str | None, heard_us: int, depth: float | None, oldest_s: float | None,
    in_flight: float | None, consumers: float | None, paused: bool, over_s: float,  # noqa: FBT001
    grown: float | None, came: float | None, went: float | None, depths: list[float | None],
    *, now_us: int,
) -> QueueJson:  # fmt: skip
    def rate(number: float | None) -> float | None:
        # a total that falls was counted anew
        return number / over_s if number is not None and number >= 0 and over_s > 0 else None

    arrivals, completions = rate(came), rate(went)
    net = None
    if arrivals is not None and completions is not None:
        net = completions - arrivals
    elif grown is not None and over_s > 0:
        net = -grown / over_s
    sampled_s = max(0.0, (now_us - heard_us) / SECOND_US)
    fresh = now_us - heard_us <= FRESH_US
    drains, drains_s = _drains(depth, net) if fresh else ("not known", None)
    return {
        "queue": queue,
        "service": service,
        "sampled_at": iso(heard_us),
        "sampled_s": sampled_s,
        "depth": depth,
        "oldest_age_s": oldest_s,
        "in_flight": in_flight,
        "consumers": consumers,
        "paused": paused,
        "arrivals_per_s": arrivals,
        "completions_per_s": completions,
        "drains": drains,
        "drains_s": drains_s,
        "depths": [one for one in depths if one is not None],
    }


def _drains(depth: float | None, net_per_s: float | None) -> tuple[str, float | None]:
    """Return when *depth* is gone, if so many more go out each second than come in."""
    if depth is None:
        return "not known", None
    if depth <= 0:
        return "empty", 0.0
    if net_per_s is None:
        return "not known", None
    if net_per_s <= 0:
        return "never", None
    return "drains", depth / net_per_s


_TIGHT: Final = 0.8
"""A limit of which so much is used by the slowest hundredth is tight."""


def timeouts(reader: duckdb.DuckDBPyConnection, namespace: str) -> list[TimeoutJson]:
    """Return the limits of *namespace* beside what they have to hold, the broken ones first."""
    # as low as p50 and p99 of the view are: the lower bounds of their buckets
    asked = {"namespace": namespace, "buckets": BUCKETS}
    rows = reader.execute(_TIMEOUTS, asked).fetchall()
    names = tuple(TimeoutJson.__annotations__)[:-1]
    made: list[Any] = [dict(zip(names, row, strict=True)) for row in rows]
    for one in made:
        one["verdict"] = _fits(one)
    return sorted(made, key=lambda one: (-_used(one), one["pair"], one["name"]))


def _used(one: Mapping[str, Any]) -> float:
    """Return which part of the limit is used by what it has to hold."""
    needed = one["beat_s"] if one["beat_s"] is not None else one["p99_s"]
    return float(needed or 0.0) / one["limit_s"] if one["limit_s"] else 0.0


def _fits(one: Mapping[str, Any]) -> str:
    used = _used(one)
    if used >= 1 or one["failures"] or one["pair"] == "beat that never comes":
        return "broken"
    return "tight" if used >= _TIGHT else "ok"


def coverage(reader: duckdb.DuckDBPyConnection, namespace: str) -> list[CoverageJson]:
    """Return how much of the calls of *namespace* is seen from both ends, the most called first."""
    rows = reader.execute(_COVERAGE, {"namespace": namespace}).fetchall()
    return [
        {
            "caller": caller, "callee": callee, "calls": calls, "both": int(both),
            "share": both / calls, "heard_at": iso(heard_us),
        }
        for caller, callee, calls, both, heard_us in rows
    ]  # fmt: skip
