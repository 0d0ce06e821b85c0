"""By how much two processes' clocks may differ, as the calls say that each made or answered.

A part of a detector's SELECT, for those that lay one process's times beside another's. It is text,
not a view, since it looks at the calls of a few suspects only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OFFSETS: Final = """
placed AS (
  SELECT namespace, instance, min(lag_us) AS least_us, max(lag_us) AS most_us,
    CASE WHEN count(host) > 0 THEN count(DISTINCT host)
      ELSE count(DISTINCT CASE WHEN boot <> '' THEN boot END) END AS places
  FROM instances GROUP BY namespace, instance
),
meeting AS (
  SELECT namespace, instance, min(since_us) AS since_us FROM (
    SELECT namespace, instance, since_us FROM meet
    UNION ALL SELECT namespace, other, since_us FROM meet
  ) e GROUP BY namespace, instance
),
known AS (
  SELECT t.namespace AS namespace, t.instance AS instance, t.peer AS peer,
    max(t.at_least_us) AS least_us, min(t.at_most_us) AS most_us,
    min(t.last_seen_us) AS first_seen_us, max(t.last_seen_us) AS last_seen_us
  FROM (
    SELECT namespace, caller_instance AS instance, callee_instance AS peer, at_least_us,
      at_most_us, last_seen_us FROM clocks
    UNION ALL
    SELECT namespace, callee_instance, caller_instance, -at_most_us, -at_least_us, last_seen_us
    FROM clocks
  ) t
  JOIN meeting w ON w.namespace = t.namespace AND w.instance = t.instance
  JOIN placed i ON i.namespace = t.namespace AND i.instance = t.instance
  JOIN placed p ON p.namespace = t.namespace AND p.instance = t.peer
  WHERE t.last_seen_us > w.since_us - 900000000 AND i.places <= 1 AND p.places <= 1
  GROUP BY t.namespace, t.instance, t.peer
  HAVING count(*) >= 3 AND max(t.at_least_us) - min(t.at_most_us) <= 500000
),
sided AS (
  SELECT namespace, instance, peer, first_seen_us, last_seen_us,
    CASE WHEN least_us > most_us THEN 2 * most_us - least_us ELSE least_us END AS least_us,
    CASE WHEN least_us > most_us THEN 2 * least_us - most_us ELSE most_us END AS most_us
  FROM known
  UNION ALL
  SELECT namespace, instance, instance, 0, 9000000000000000000, 0, 0 FROM meeting
),
bridged AS (
  SELECT m.namespace AS namespace, m.instance AS instance, m.other AS other,
    max(a.least_us - b.most_us) AS least_us, min(a.most_us - b.least_us) AS most_us
  FROM (SELECT DISTINCT namespace, instance, other FROM meet) m
  JOIN sided a ON a.namespace = m.namespace AND a.instance = m.instance
  JOIN sided b ON b.namespace = m.namespace AND b.instance = m.other AND b.peer = a.peer
  WHERE m.instance <> m.other
    AND a.first_seen_us <= b.last_seen_us AND b.first_seen_us <= a.last_seen_us
  GROUP BY m.namespace, m.instance, m.other
  HAVING max(a.least_us - b.most_us) - min(a.most_us - b.least_us) <= 500000
),
offsets AS (
  SELECT m.namespace AS namespace, m.instance AS instance, m.other AS other,
    CASE WHEN b.least_us > b.most_us THEN 2 * b.most_us - b.least_us
      WHEN b.least_us IS NOT NULL THEN b.least_us ELSE m.low_us - m.high_us END AS least_us,
    CASE WHEN b.least_us > b.most_us THEN 2 * b.least_us - b.most_us
      WHEN b.least_us IS NOT NULL THEN b.most_us ELSE m.high_us - m.low_us END AS most_us
  FROM (SELECT k.namespace AS namespace, k.instance AS instance, k.other AS other,
      min(CASE WHEN i.least_us < o.least_us THEN i.least_us ELSE o.least_us END) AS low_us,
      max(CASE WHEN i.most_us > o.most_us THEN i.most_us ELSE o.most_us END) AS high_us
    FROM meet k
    JOIN placed i ON i.namespace = k.namespace AND i.instance = k.instance
    JOIN placed o ON o.namespace = k.namespace AND o.instance = k.other
    GROUP BY k.namespace, k.instance, k.other) m
  LEFT JOIN bridged b ON b.namespace = m.namespace AND b.instance = m.instance
    AND b.other = m.other
)"""
"""Common table expressions, from `meet` to `offsets`.

`meet` has the pairs in question: namespace, instance, other, and `since_us`, from when on their
times matter, by our clock. `offsets` says of each that the other's clock is ahead of the
instance's by `least_us` at least and `most_us` at most: by calls between the two, or of both with
a third, from a quarter of an hour before on. Three calls of a pair are needed, and of calls with a
third some of each must lie beside each other: its clock may have been set in between. Bounds that
contradict each other by half a second or less are a clock that drifts, and are widened by as much
on each side; by more, it was set, and they prove nothing. Nor do calls of a name that lives in
several places. Where nothing is proven, the spread of the two's least ages at arrival bounds it.
"""


def calls(
    agent: str,
    ahead: float,
    number: int = 3,
    *,
    server: str = "oxr-1",
    t: float = -110.0,
    way: float = 0.05,
    **more: object,
) -> list[dict[str, object]]:
    """Return *number* calls of *agent*, whose clock is *ahead* of the server's, for a case.

    Each is *way* seconds on its way, and as many back. All are heard when they are over.
    """
    return [
        {**one, "arrived": begun + 2 * way}
        for i in range(number)
        for begun in [t + i / 10]
        for call in [{"request_id": f"{agent}-{server}-{t}-{i}", "purpose": "other"}]
        for mine in [{"side": "agent", "service": "agent", "instance": agent, **call, **more}]
        for yours in [{"side": "dispatcher", "service": "oxr", "instance": server, **call}]
        for one in (
            {**mine, "t": begun + ahead, "phase": "call.sent"},
            {**yours, "t": begun + way, "phase": "call.received"},
            {**yours, "t": begun + way, "phase": "call.committed"},
            {**mine, "t": begun + ahead + 2 * way, "phase": "call.ok"},
        )
    ]


def ahead(rows: Iterable[Mapping[str, object]], by: float) -> list[dict[str, object]]:
    """Return *rows* as a process says them whose clock is ahead *by* so much."""
    made = []
    for row in rows:
        at = float(str(row["t"]))
        made.append({**row, "t": at + by, "arrived": row.get("arrived", at)})
    return made
