"""Suspects: which service or dependency most likely began it, and the numbers that say so.

Around an incident each callee is scored by what changed: 40% by its figures (p95 of its answers,
share of failed calls, against the hour before), 30% by how many errors it logs, 30% by how far it
is from the entry in the graph of calls: what lies deeper is the cause of what lies above it more
often than the other way round. (The weights are those of a published write-up of queue failures.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import TypedDict

from model.units import HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

WEIGHTS: Final = {"figures": 0.4, "errors": 0.3, "depth": 0.3}

_ENOUGH: Final = 5
"""Calls in each of the two windows below which a percentile says nothing."""

_TIMES_FULL: Final = 4.0
"""A p95 that is so many times what it was scores in full."""

_SHARE_FULL: Final = 0.5
"""So does a share of failed calls that rose by so much."""

_FIRST: Final = """
SELECT min(coalesce(received_us, sent_us)) FROM calls WHERE namespace = $namespace
  AND coalesce(received_us, sent_us) >= {since} - {before}"""

_CALLS: Final = """
SELECT who, min(caller) AS caller,
  sum(CASE WHEN at_us >= {since} THEN 1 ELSE 0 END) AS n,
  sum(CASE WHEN at_us < {since} THEN 1 ELSE 0 END) AS n_before,
  sum(CASE WHEN at_us >= {since} AND bad THEN 1 ELSE 0 END) AS failed,
  sum(CASE WHEN at_us < {since} AND bad THEN 1 ELSE 0 END) AS failed_before,
  quantile_cont(CASE WHEN at_us >= {since} THEN took_us END, 0.95) / 1e6 AS p95_s,
  quantile_cont(CASE WHEN at_us < {since} THEN took_us END, 0.95) / 1e6 AS p95_before_s
FROM (
  SELECT coalesce(callee, peer) AS who, caller, coalesce(received_us, sent_us) AS at_us,
    coalesce(coalesce(committed_us, errored_us) - received_us,
      coalesce(ok_us, failed_us, gave_up_us) - sent_us) AS took_us,
    errored_us IS NOT NULL OR failed_us IS NOT NULL OR gave_up_us IS NOT NULL AS bad
  FROM calls WHERE namespace = $namespace AND coalesce(callee, peer) IS NOT NULL
) c WHERE at_us >= {since} - {before} GROUP BY who ORDER BY who"""

_EDGES: Final = """
SELECT DISTINCT caller, coalesce(callee, peer) AS callee FROM calls
WHERE namespace = $namespace AND caller IS NOT NULL AND coalesce(callee, peer) IS NOT NULL
  AND caller <> coalesce(callee, peer)"""

_ERRORS: Final = """
SELECT service, count(*) AS n FROM marks
WHERE namespace = $namespace AND severity >= 17 AND kind = 'log' AND service IS NOT NULL
  AND arrived_us >= {since} GROUP BY service"""


class SuspectJson(TypedDict):
    """Who may have begun it: a score from 0 to 1, its parts, and the numbers in words."""

    name: str
    score: float
    parts: dict[str, float]
    why: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """One service or dependency. `score` is from 0 to 1, `parts` those of `WEIGHTS`, unweighted."""

    name: str
    score: float
    parts: Mapping[str, float]
    why: str

    def as_json(self) -> SuspectJson:
        """Return the suspect as the API shows it."""
        return {
            "name": self.name,
            "score": round(self.score, 3),
            "parts": {name: round(part, 3) for name, part in self.parts.items()},
            "why": self.why,
        }


def suspects(
    reader: duckdb.DuckDBPyConnection, namespace: str, since_us: int, *, most: int = 5
) -> list[Suspect]:
    """Return who is suspected of what began at *since_us*, the first suspect first.

    Those with a score of nothing but their depth are no suspects: nothing about them changed.
    """
    asked = {"namespace": namespace}
    first_us = reader.execute(_FIRST.format(since=since_us, before=HOUR_US), asked).fetchone()
    moment = {"since": since_us - _margin_us(since_us, first_us), "before": HOUR_US}
    found = reader.execute(_CALLS.format(**moment), asked)
    names = [column[0] for column in found.description or ()]
    figures = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    edges = reader.execute(_EDGES, asked).fetchall()
    errors = dict(reader.execute(_ERRORS.format(**moment), asked).fetchall())
    depths = _depths(edges)
    deepest, loudest = max(depths.values(), default=0), max(errors.values(), default=0)
    known = {row["who"] for row in figures}
    figures += [{"who": name} for name in errors if name not in known]
    made = [_scored(row, errors, loudest, depths, deepest) for row in figures]
    changed = [one for one in made if one.parts["figures"] > 0 or one.parts["errors"] > 0]
    return sorted(changed, key=lambda one: (-one.score, one.name))[:most]


def _margin_us(since_us: int, first: tuple[int | None] | None) -> int:
    """Return how long before *since_us* it may have begun: a minute, in what is known of less.

    Where we have not watched for long, the first quarter of it is what to compare with.
    """
    first_us = first[0] if first else None
    known_us = MINUTE_US if first_us is None else since_us - first_us
    return max(0, min(MINUTE_US, known_us * 3 // 4))


def _scored(
    row: Mapping[str, Any],
    errors: Mapping[str, int],
    loudest: int,
    depths: Mapping[str, int],
    deepest: int,
) -> Suspect:
    name, said = str(row["who"]), []
    slower = failing = 0.0
    if min(row.get("n") or 0, row.get("n_before") or 0) >= _ENOUGH:
        if row["p95_s"] is not None and row["p95_before_s"]:
            times = row["p95_s"] / row["p95_before_s"]
            slower = min(1.0, max(0.0, (times - 1) / (_TIMES_FULL - 1)))
            said.append(f"p95 {row['p95_before_s']:.3g} s → {row['p95_s']:.3g} s")
        rose = row["failed"] / row["n"] - row["failed_before"] / row["n_before"]
        failing = min(1.0, max(0.0, rose / _SHARE_FULL))
        if rose > 0:
            now, before = row["failed"] / row["n"], row["failed_before"] / row["n_before"]
            said.append(f"failed calls {before:.0%} → {now:.0%}")
    count, depth = errors.get(name, 0), depths.get(name, 0)
    if count:
        said.append(f"{count} errors logged")
    said.append(f"{depth} calls from the entry")
    parts = {
        "figures": max(slower, failing),
        "errors": count / loudest if loudest else 0.0,
        "depth": depth / deepest if deepest else 0.0,
    }
    score = sum(WEIGHTS[part] * value for part, value in parts.items())
    return Suspect(name, score, parts, ", ".join(said))


def _depths(edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return how many calls each is from an entry: one that calls, and is not called.

    In a circle, where nobody is an entry, all are one.
    """
    callers, callees = {one for one, _ in edges}, {one for _, one in edges}
    depths = dict.fromkeys((callers - callees) or callers, 0)
    front = list(depths)
    while front:
        reached = {callee for caller, callee in edges if caller in front and callee not in depths}
        depth = depths[front[0]] + 1
        depths |= dict.fromkeys(reached, depth)
        front = sorted(reached)
    return depths
