"""A machine's clock differs from those it talks to.

## Meaning
Within `window_s`, `calls_min` or more calls between two processes were timed at both ends. As NTP
does, the detector takes from them by how much the two clocks differ, and how sure that is: the
difference is more than `offset_max_s`, and more than what it is unsure by. Named is the machine
whose records come with another delay than those of most machines that agree (clocks that are right
agree, each wrong one is wrong in its own way); where that is no help, the one that even the
nearest of its peers contradicts, and then the one whose records are further from our own clock.

## Impact
Times of this machine cannot be laid beside those of others: what it did seems to come before its
cause, or late. Verdicts here allow for it, people who read its logs do not; tokens, leases and
certificates that rest on time fail early or live on too long.

## Diagnosis
On the machine: `chronyc tracking` or `timedatectl`. Is the time service running, does it reach its
servers, has a virtual machine been paused and resumed? If several machines of one kind are named,
look at what they have in common; if everything is named but one, it is that one.

## Mitigation
Start the time service, and let it step the clock once (`chronyc makestep`) while nothing
runs there that would mind. Then watch its offset, and let work on that machine wait for a clock
that is in step.
"""

from detectors._kit import Case, Detector


def _call(
    ahead: float,
    number: int = 4,
    *,
    agent: str = "agent-1",
    server: str = "oxr-1",
    way: float = 0.1,
    back: float | None = None,
    t: float = -60.0,
    late: float = 0.0,
    **more: object,
) -> list[dict[str, object]]:
    """Return *number* calls of *agent* to *server*, whose clock is *ahead*.

    A call is *way* seconds on its way, as many *back*; it arrives *late*.
    """
    back = way if back is None else back
    return [
        one
        for i in range(number)
        for begun in [t + i]
        for call in [{"request_id": f"{agent}-{server}-{t}-{i}", "purpose": "report"}]
        for mine in [{"side": "agent", "service": "agent", "instance": agent, **call, **more}]
        for yours in [{"side": "dispatcher", "service": "oxr", "instance": server, **call}]
        for got in [begun + way]
        for done in [got + 0.1]
        for one in (
            {**mine, "t": begun, "arrived": begun + late, "phase": "call.sent"},
            {**yours, "t": got + ahead, "arrived": got + late, "phase": "call.received"},
            {**yours, "t": done + ahead, "arrived": done + late, "phase": "call.committed"},
            {**mine, "t": done + back, "arrived": done + back + late, "phase": "call.ok"},
        )
    ]


def _set(rows: list[dict[str, object]], by: float, agent: str) -> list[dict[str, object]]:
    """Return *rows* as they are if the clock of *agent* is set forward by so much."""
    return [
        {**one, "t": float(str(one["t"])) + (by if one["instance"] == agent else 0.0)}
        for one in rows
    ]


_PAIRS = [(f"agent-{i}", f"oxr-{j}") for i in (1, 2, 3) for j in (1, 2)]

DETECTOR = Detector(
    severity="info",
    every_s=60.0,
    thresholds={"offset_max_s": 1.0, "window_s": 900.0, "calls_min": 3.0},
    sql="""
WITH pairs AS (
  SELECT a.namespace, a.caller, a.callee, a.caller_instance, a.callee_instance, count(*) AS calls,
    max(a.at_least_us) AS low_us, min(a.at_most_us) AS high_us, min(a.last_seen_us) AS since_us
  FROM (SELECT k.*, k.callee AS service, CAST(NULL AS VARCHAR) AS name,
    CAST(NULL AS VARCHAR) AS queue FROM clocks k) a
  WHERE a.last_seen_us > {now} - {window_us}
  GROUP BY a.namespace, a.caller, a.callee, a.caller_instance, a.callee_instance
),
places AS (
  SELECT namespace, instance, coalesce(max(host), instance) AS place, max(host) AS host,
    min(lag_us) AS lag_us
  FROM instances WHERE instance <> '' GROUP BY namespace, instance
),
delays AS (
  SELECT namespace, place, min(lag_us) AS lag_us FROM places GROUP BY namespace, place
),
agreed AS (
  SELECT o.namespace AS namespace, o.place AS place, o.lag_us AS lag_us,
    max(m.median_us) AS median_us,
    sum(CASE WHEN abs(o.lag_us - p.lag_us) <= 1000000 THEN 1 ELSE 0 END) AS n
  FROM delays o JOIN delays p ON p.namespace = o.namespace
  JOIN (SELECT namespace, quantile_cont(lag_us, 0.5) AS median_us FROM delays GROUP BY namespace) m
    ON m.namespace = o.namespace
  GROUP BY o.namespace, o.place, o.lag_us
),
ours AS (
  SELECT namespace, CASE WHEN n > 1 THEN lag_us ELSE median_us END AS lag_us FROM agreed
  QUALIFY row_number() OVER (PARTITION BY namespace
    ORDER BY n DESC, abs(lag_us - median_us), lag_us, place) = 1
),
ends AS (
  SELECT p.namespace AS namespace, m.place AS me, o.place AS peer, p.callee AS service,
    p.callee_instance AS instance, m.host AS host, m.lag_us AS lag_us, o.lag_us AS peer_lag_us,
    p.calls AS calls, p.low_us AS low_us, p.high_us AS high_us, p.since_us AS since_us
  FROM pairs p
  JOIN places m ON m.namespace = p.namespace AND m.instance = p.callee_instance
  JOIN places o ON o.namespace = p.namespace AND o.instance = p.caller_instance
  UNION ALL
  SELECT p.namespace, m.place, o.place, p.caller, p.caller_instance, m.host, m.lag_us, o.lag_us,
    p.calls, -p.high_us, -p.low_us, p.since_us
  FROM pairs p
  JOIN places m ON m.namespace = p.namespace AND m.instance = p.caller_instance
  JOIN places o ON o.namespace = p.namespace AND o.instance = p.callee_instance
),
apart AS (
  SELECT e.*, (e.low_us + e.high_us) / 2 AS ahead_us,
    CASE WHEN e.high_us >= e.low_us THEN e.high_us - e.low_us
      ELSE 2 * (e.low_us - e.high_us) END / 2 AS unsure_us
  FROM (
    SELECT namespace, me, peer, min(service) AS service, min(instance) AS instance,
      min(host) AS host, min(lag_us) AS lag_us, min(peer_lag_us) AS peer_lag_us,
      sum(calls) AS calls, max(low_us) AS low_us, min(high_us) AS high_us,
      min(since_us) AS since_us
    FROM ends WHERE me <> peer GROUP BY namespace, me, peer
  ) e
),
standing AS (
  SELECT namespace, me, count(*) AS peers,
    min(CASE WHEN abs(ahead_us) > unsure_us THEN abs(ahead_us) ELSE 0 END) AS least_us,
    max(ahead_us) - min(ahead_us) AS spread_us
  FROM apart GROUP BY namespace, me
),
blamed AS (
  SELECT p.namespace AS namespace, p.me AS me, p.peer AS peer, p.service AS service,
    p.instance AS instance, p.host AS host, p.calls AS calls, p.ahead_us AS ahead_us,
    p.unsure_us AS unsure_us, p.since_us AS since_us, m.peers AS peers,
    CASE WHEN abs(p.lag_us - u.lag_us) - abs(p.peer_lag_us - u.lag_us) > abs(p.ahead_us) / 2 THEN 1
      WHEN abs(p.peer_lag_us - u.lag_us) - abs(p.lag_us - u.lag_us) > abs(p.ahead_us) / 2 THEN 0
      WHEN m.least_us > o.least_us * 1.25 THEN 1 WHEN o.least_us > m.least_us * 1.25 THEN 0
      WHEN m.peers > o.peers AND m.spread_us < m.least_us / 4 THEN 1
      WHEN o.peers > m.peers AND o.spread_us < o.least_us / 4 THEN 0
      WHEN abs(p.lag_us + p.ahead_us) + abs(p.peer_lag_us)
        < abs(p.lag_us) + abs(p.peer_lag_us - p.ahead_us) THEN 1
      WHEN abs(p.lag_us + p.ahead_us) + abs(p.peer_lag_us)
        > abs(p.lag_us) + abs(p.peer_lag_us - p.ahead_us) THEN 0
      WHEN p.me > p.peer THEN 1 ELSE 0 END AS mine
  FROM apart p
  JOIN standing m ON m.namespace = p.namespace AND m.me = p.me
  JOIN standing o ON o.namespace = p.namespace AND o.me = p.peer
  JOIN ours u ON u.namespace = p.namespace
  WHERE abs(p.ahead_us) > p.unsure_us
)
SELECT a.namespace, a.me AS subject, a.name, a.service, a.queue, a.since_us, a.instance, a.host,
  a.peer AS beside, a.peers, a.calls, a.ahead_us / 1e6 AS ahead_s,
  abs(a.ahead_us) / 1e6 AS offset_s, a.unsure_us / 1e6 AS uncertainty_s,
  CASE WHEN a.ahead_us > 0 THEN 'ahead of' ELSE 'behind' END AS direction
FROM (
  SELECT b.*, CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue FROM blamed b
) a
WHERE a.mine = 1 AND a.calls >= {calls_min} AND abs(a.ahead_us) > {offset_max_us}
QUALIFY row_number() OVER (PARTITION BY a.namespace, a.me ORDER BY a.unsure_us, a.peer) = 1
ORDER BY since_us, subject""",
    fix="Look at the time service of {subject} ({service}): its clock is {offset_s} s {direction}"
    " that of {beside}, give or take {uncertainty_s} s, by {calls} calls.",
    only_if={
        "calls": (
            "a.received_us < a.sent_us OR coalesce(a.committed_us, a.errored_us) > "
            "coalesce(a.ok_us, a.failed_us)"
        ),
    },
    cases=[
        Case("1.1 s ahead", _call(1.1), ["oxr-1"], "confirmed"),
        Case("1 s ahead", _call(1.0), []),
        Case("1.1 s behind", _call(-1.1), ["oxr-1"], "confirmed"),
        Case("three calls", _call(5.0, 3), ["oxr-1"], "confirmed"),
        Case("two calls are too few", _call(5.0, 2), []),
        Case("5 s apart, unsure by 4.9 s", _call(5.0, way=4.9), ["oxr-1"], "confirmed"),
        Case("5 s apart, unsure by as much", _call(5.0, way=5.0), []),
        Case(
            "a slow way there and a fast one back look like 1.5 s, unsure by 1.5 s",
            _call(0.0, way=3.0, back=0.0),
            [],
        ),
        Case(
            "many calls say it more exactly than one: each slow in one direction",
            [*_call(1.1, way=4.0, back=0.1), *_call(1.1, t=-30, way=0.1, back=4.0)],
            ["oxr-1"],
            "confirmed",
        ),
        Case(
            "one agent of three is off, beside two dispatchers",
            _set(
                [row for one, two in _PAIRS for row in _call(0, agent=one, server=two)],
                5,
                "agent-2",
            ),
            ["agent-2"],
            "confirmed",
        ),
        Case(
            "one agent of three is off, and so are we",
            [
                {**one, "arrived": float(str(one["arrived"])) + 5.0}
                for first, second in _PAIRS
                for one in _set(_call(0, agent=first, server=second), 5, "agent-2")
            ],
            ["agent-2"],
            "confirmed",
        ),
        Case(
            "one of two dispatchers is off",
            [
                row
                for one, two in _PAIRS
                for row in _call(9.0 if two == "oxr-2" else 0, agent=one, server=two)
            ],
            ["oxr-2"],
            "confirmed",
        ),
        Case(
            "everybody differs from the one dispatcher by the same, and so do we: it is that one",
            [
                {**one, "arrived": float(str(one["arrived"])) + 5.0}
                for agent in ("agent-1", "agent-2", "agent-3")
                for one in _call(5.0, agent=agent)
            ],
            ["oxr-1"],
            "confirmed",
        ),
        Case(
            "four of seven are off, each by another time: the three others agree",
            [
                row
                for agent, server, by in (
                    ("agent-1", "oxr-1", 37.0),
                    ("agent-2", "oxr-1", 52.0),
                    ("agent-3", "oxr-1", 144.0),
                    ("agent-4", "oxr-2", 0.0),
                    ("agent-5", "oxr-2", 0.0),
                )
                for row in _set(
                    _call(86.0 if server == "oxr-2" else 0.0, agent=agent, server=server), by, agent
                )
            ],
            ["agent-1", "agent-2", "agent-3", "oxr-2"],
            "confirmed",
        ),
        Case(
            "two agents are off, each by another time",
            [
                row
                for agent, by in (("agent-1", 5.0), ("agent-2", -7.0))
                for row in _set(_call(0, agent=agent), by, agent)
            ],
            ["agent-1", "agent-2"],
            "confirmed",
        ),
        Case(
            "one agent is off by minutes, another by seconds: the dispatchers agree with the third",
            [
                row
                for one, two in _PAIRS
                for by in [{"agent-1": 5.0, "agent-2": -200.0}.get(one, 0.0)]
                for row in _set(_call(0, agent=one, server=two), by, one)
            ],
            ["agent-1", "agent-2"],
            "confirmed",
        ),
        Case(
            "two processes of one machine share its clock",
            [
                {**one, "host": "h1" if one["side"] == "agent" else "h2"}
                for agent in ("agent-1", "agent-2")
                for one in _set(_call(0, agent=agent), 5, agent)
            ],
            ["h1"],
            "confirmed",
        ),
        Case(
            "both ends on one machine: it cannot be the clock",
            [{**one, "host": "h1"} for one in _call(5.0)],
            [],
        ),
        Case(
            "its clock was set right in between",
            [*_call(5.0, t=-300), *_call(0.0, t=-60)],
            [],
        ),
        Case("two calls within a quarter of an hour", _call(5.0, 3, t=-900.3), []),
        Case(
            "tried again under the same request ID",
            [
                one
                for row in _call(0.0)
                for one in (
                    row,
                    {**row, "t": float(str(row["t"])) + 5.0, "arrived": row["arrived"]},
                )
                if not (one is row and row["phase"] == "call.received")
            ],
            [],
        ),
        Case("calls of long ago are sent again", _call(5.0, t=-4000, late=3950.0), []),
    ],
)
