"""What a source sees arrives here late, all the time.

## Meaning
Of what came from one service by one way in within `window_s`, at least `signals_min` signals, more
than 5% arrived later than `lag_max_s` after the time that they bear: so their 95th percentile is
above it. It was so in each third of that time, and the delay does not melt away (a replay, or a
shipper that catches up after an outage, is neither). What is older than an hour when it comes is a
backfill and does not count; nor does what was held through the only time of a minute or more in
which nothing came, or while we were away. Where calls show that the sender's clock is behind by so
much, it is that (`clock_skew`), not the way. Where all of an instance's signals come so late,
others' of its service do not, and no calls tell, it may be either: *unknown*.

## Impact
Everything said here of that source comes so much later: a task's end, a missed heartbeat, a lost
report. A task may be called silent or lost that has long been heard of at the other end.

## Diagnosis
Between the process and us: how often does its exporter or log shipper send, how long is its queue,
is it throttled, does it retry? One instance or all of them (the shipper, or the collector
between)? If the delay is the same for every signal and there are no calls to compare by, check the
clock of that machine.

## Mitigation
Send more often and in smaller batches, give the shipper more room, or send straight here. Where a
slow way is meant (a file that is copied every minute), raise `lag_max_s` for that service, and the
graces of the detectors that watch its tasks with it.
"""

from detectors._kit import Case, Detector

_A = {"side": "agent", "service": "agent", "instance": "agent-1", "way": "file"}


def _signals(
    number: int, lag: float, t: float = -590.0, step: float = 30.0, **more: object
) -> list[dict[str, object]]:
    """Return *number* signals that arrive from *t* on, every *step* seconds, so late each."""
    return [
        {**_A, "phase": "heartbeat", "t": t + i * step - lag, "arrived": t + i * step, **more}
        for i in range(number)
    ]


def _others() -> list[dict[str, object]]:
    """Return what another instance says, which comes at once."""
    return _signals(40, 0.1, step=14.0, instance="agent-2")


def _held(pause_s: float) -> list[dict[str, object]]:
    """Return what comes after a pause of so long, at the end of the second third, and in the last.

    A signal of the first third is late as well.
    """
    at = -205.0
    held = _signals(5, 0.0, t=at - 45, step=5.0)
    return [
        *_signals(10, 0.1, t=-590.0, step=31.0),
        *_signals(1, 15.0, t=-450.0),
        *_signals(1, 0.1, t=at - pause_s),
        *({**one, "arrived": at + 3 * n} for n, one in enumerate(held)),
        *_signals(8, 0.1, t=-180.0, step=20.0),
    ]


def _pair(ahead: float, lag: float = 0.0) -> list[dict[str, object]]:
    """Return calls that show that the agent's clock is *ahead* of the dispatcher's."""
    oxr = {"side": "dispatcher", "service": "oxr", "instance": "oxr-1", "purpose": "report"}
    return [
        {**who, "t": t + off, "arrived": t + late, "phase": phase, "request_id": f"r{begun}"}
        for begun in (-400.0, -300.0, -200.0)
        for who, t, off, late, phase in (
            ({**_A, "purpose": "report"}, begun, ahead, lag, "call.sent"),
            (oxr, begun + 0.1, 0.0, 0.0, "call.received"),
            (oxr, begun + 0.2, 0.0, 0.0, "call.committed"),
            ({**_A, "purpose": "report"}, begun + 0.3, ahead, lag, "call.ok"),
        )
    ]


_SOURCE = ["agent by file"]

DETECTOR = Detector(
    severity="warning",
    every_s=30.0,
    thresholds={"lag_max_s": 10.0, "window_s": 600.0, "signals_min": 20.0},
    sql="""
WITH slow AS (
  SELECT a.namespace, coalesce(a.service, '') AS service, a.way
  FROM (
    SELECT m.namespace, m.service, m.way, m.queue, m.task_name AS name, m.arrived_us,
      m.arrived_us - coalesce(m.end_us, m.ts_us) AS lag_us
    FROM marks m
    WHERE coalesce(m.phase, '') NOT IN ('call.sent', 'call.received')
      AND (m.end_us IS NOT NULL OR m.kind <> 'span')
  ) a
  WHERE a.arrived_us >= {now} - {window_us} AND a.lag_us <= 3600000000
  GROUP BY a.namespace, coalesce(a.service, ''), a.way
  HAVING sum(CASE WHEN a.lag_us >= {lag_max_us} THEN 1 ELSE 0 END) >= 0.05 * count(*)
    AND count(*) >= max({signals_min})
),
beside AS (
  SELECT k.namespace, k.caller_instance AS instance, k.callee_instance AS peer,
    k.at_least_us AS low_us, k.at_most_us AS high_us FROM clocks k
  WHERE k.last_seen_us > {now} - 3600000000
    AND EXISTS (SELECT 1 FROM slow s WHERE s.namespace = k.namespace AND s.service = k.caller)
  UNION ALL
  SELECT k.namespace, k.callee_instance, k.caller_instance, -k.at_most_us, -k.at_least_us
  FROM clocks k
  WHERE k.last_seen_us > {now} - 3600000000
    AND EXISTS (SELECT 1 FROM slow s WHERE s.namespace = k.namespace AND s.service = k.callee)
),
behind AS (
  SELECT b.namespace, b.instance, max(b.low_us - abs(i.lag_us)) AS by_us,
    max(CASE WHEN abs(i.lag_us) < 5000000 THEN 1 ELSE 0 END) AS told
  FROM (
    SELECT namespace, instance, peer, max(low_us) AS low_us FROM beside
    GROUP BY namespace, instance, peer HAVING max(low_us) <= min(high_us) + 1000000
  ) b
  JOIN (
    SELECT namespace, instance, min(lag_us) AS lag_us FROM instances GROUP BY namespace, instance
  ) i ON i.namespace = b.namespace AND i.instance = b.peer
  GROUP BY b.namespace, b.instance
),
heard AS (
  SELECT o.namespace AS namespace, o.service AS service, o.way AS way, o.instance AS instance,
    o.queue AS queue, o.name AS name, o.arrived_us AS arrived_us, o.back_us AS back_us,
    o.lag_us - CASE WHEN b.by_us > 0 THEN b.by_us ELSE 0 END AS lag_us,
    o.lag_us - CASE WHEN coalesce(b.told, 0) = 0 THEN l.lag_us END AS over_us,
    CASE WHEN o.arrived_us > o.since_us + o.window_us * 2 // 3 THEN 3
      WHEN o.arrived_us > o.since_us + o.window_us // 3 THEN 2
      WHEN o.arrived_us > o.since_us THEN 1 ELSE 0 END AS third
  FROM (
    SELECT a.*, {window_us} AS window_us, {now} - {window_us} AS since_us,
      coalesce((SELECT max(g.to_us) FROM gaps g WHERE g.way = 'push'), 0) AS back_us
    FROM (
      SELECT m.namespace, coalesce(m.service, '') AS service, m.way, m.instance, m.queue,
        m.task_name AS name, m.arrived_us, m.arrived_us - coalesce(m.end_us, m.ts_us) AS lag_us
      FROM marks m
      WHERE coalesce(m.phase, '') NOT IN ('call.sent', 'call.received')
        AND (m.end_us IS NOT NULL OR m.kind <> 'span')
    ) a
    WHERE a.arrived_us > {now} - 3600000000 AND a.lag_us <= 3600000000
      AND EXISTS (SELECT 1 FROM slow s WHERE s.namespace = a.namespace
        AND s.service = a.service AND s.way = a.way)
  ) o
  LEFT JOIN behind b ON b.namespace = o.namespace AND b.instance = o.instance
  LEFT JOIN lags l ON l.namespace = o.namespace AND l.service = o.service
    AND l.instance = o.instance
),
pauses AS (
  SELECT namespace, service, way, max(from_us) AS from_us, max(to_us) AS to_us
  FROM (
    SELECT namespace, service, way, third, arrived_us AS to_us,
      max(arrived_us) OVER (PARTITION BY namespace, service, way ORDER BY arrived_us
        ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS from_us
    FROM heard
  ) o
  WHERE to_us - from_us >= 60000000 AND third > 0
  GROUP BY namespace, service, way HAVING count(*) = 1
),
near AS (
  SELECT namespace, service, way, min(least_us) AS least_us
  FROM (
    SELECT namespace, service, way, instance, abs(min(lag_us)) AS least_us FROM heard
    WHERE third > 0 GROUP BY namespace, service, way, instance
  ) o
  GROUP BY namespace, service, way
),
judged AS (
  SELECT a.namespace AS namespace, a.service AS service, a.way AS way, a.instance AS instance,
    a.arrived_us AS arrived_us, a.lag_us AS lag_us, a.third AS third,
    CASE WHEN a.lag_us > {lag_max_us} THEN 1 ELSE 0 END AS late,
    CASE WHEN a.lag_us > {lag_max_us} AND NOT (n.least_us < {lag_max_us}
        AND coalesce(a.over_us, a.lag_us) <= {lag_max_us}) THEN 1 ELSE 0 END AS surely
  FROM heard a
  JOIN near n ON n.namespace = a.namespace AND n.service = a.service AND n.way = a.way
  WHERE a.third > 0 AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.namespace = a.namespace
    AND p.service = a.service AND p.way = a.way AND a.arrived_us >= p.to_us
    AND a.arrived_us - a.lag_us <= p.to_us)
    AND NOT (a.arrived_us >= a.back_us AND a.arrived_us - a.lag_us <= a.back_us)
),
thirds AS (
  SELECT namespace, service, way, third, count(*) AS n, sum(late) AS late, sum(surely) AS surely,
    avg(lag_us) AS lag_us, avg(arrived_us - {now}) AS at_us
  FROM judged GROUP BY namespace, service, way, third
),
lasting AS (
  SELECT namespace, service, way,
    CASE WHEN sum(CASE WHEN surely > 0.05 * n THEN 1 ELSE 0 END) = 3 THEN 1 ELSE 0 END AS proven
  FROM thirds
  GROUP BY namespace, service, way
  HAVING sum(CASE WHEN late > 0.05 * n THEN 1 ELSE 0 END) = 3 AND min(n) >= 0.1 * sum(n)
    AND max(CASE WHEN third = 1 THEN lag_us END) - max(CASE WHEN third = 3 THEN lag_us END)
      <= max(CASE WHEN third = 3 THEN at_us END) - max(CASE WHEN third = 1 THEN at_us END)
)
SELECT a.namespace, a.service || ' by ' || a.way AS subject, a.name, a.service, a.queue,
  a.since_us, CASE WHEN a.proven = 0
    THEN 'all signals of an instance are late, and others'' are not: its clock may be behind' END
    AS unproven, a.way, a.signals, a.late, a.p95_us / 1e6 AS lag_p95_s,
  a.least_us / 1e6 AS lag_least_s, a.instance, a.instances, a.instances_late
FROM (
  SELECT j.namespace, j.service, CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue,
    j.way, count(*) AS signals, sum(j.late) AS late, quantile_cont(j.lag_us, 0.95) AS p95_us,
    min(j.lag_us) AS least_us, count(DISTINCT j.instance) AS instances,
    count(DISTINCT CASE WHEN j.late = 1 THEN j.instance END) AS instances_late,
    min(CASE WHEN j.late = 1 THEN j.instance END) AS instance,
    min(CASE WHEN j.late = 1 THEN j.arrived_us END) AS since_us, max(l.proven) AS proven
  FROM judged j
  JOIN lasting l ON l.namespace = j.namespace AND l.service = j.service AND l.way = j.way
  GROUP BY j.namespace, j.service, j.way
) a
WHERE a.signals >= {signals_min}
ORDER BY since_us, subject""",
    fix="Look at the way from {service} to here ({way}): {late} of {signals} signals came late, the"
    " 95th percentile is {lag_p95_s} s, the least {lag_least_s} s ({instances_late} of {instances}"
    " instances, such as {instance}).",
    only_if={
        "(SELECT m.*, m.task_name AS name FROM marks m)": (
            "a.arrived_us >= {now} - {window_us} AND"
            " a.arrived_us - coalesce(a.end_us, a.ts_us) >= {lag_max_us}"
        ),
    },
    cases=[
        Case("all come 10.1 s late", _signals(24, 10.1, step=24.0), _SOURCE, "confirmed"),
        Case("20 signals, a minute late", _signals(20, 60.0), _SOURCE, "confirmed"),
        Case("all come 10 s late", _signals(24, 10.0, step=24.0), []),
        Case("19 within ten minutes are too few to tell", _signals(20, 60.0, t=-600.0), []),
        Case(
            "3 of 40 come late, one in each third",
            [
                *_signals(37, 0.1, step=15.0),
                *_signals(3, 60.0, t=-500.0, step=200.0),
            ],
            _SOURCE,
            "confirmed",
        ),
        Case(
            "3 of 60 come late, one in each third: 5%",
            [
                one
                for t in (-599.0, -399.0, -199.0)
                for one in (*_signals(19, 0.1, t=t, step=10.0), *_signals(1, 60.0, t=t + 1))
            ],
            [],
        ),
        Case(
            "by way of another file it comes at once, and does not make up for this one",
            [*_signals(24, 60.0, step=24.0), *_signals(600, 0.0, step=0.9, way="otlp")],
            _SOURCE,
            "confirmed",
        ),
        Case(
            "one instance of two is late, by 60 s or by 71 s",
            [*_others(), *_signals(10, 60.0, step=60.0), *_signals(10, 71.0, t=-560.0, step=60.0)],
            _SOURCE,
            "confirmed",
        ),
        Case(
            "one instance of two is late by 60 s to 70 s, always: its clock may be behind",
            [*_others(), *_signals(10, 60.0, step=60.0), *_signals(10, 70.0, t=-560.0, step=60.0)],
            _SOURCE,
            "unknown",
        ),
        Case(
            "one instance of two is late by 60 s, and was not so an hour ago",
            [*_others(), *_signals(20, 60.0), *_signals(1, 0.1, t=-4000.0)],
            _SOURCE,
            "confirmed",
        ),
        Case(
            "a shipper that sends every three minutes",
            [
                {**one, "arrived": at}
                for at in (-550.0, -370.0, -190.0, -10.0)
                for one in _signals(18, 0.0, t=at - 179, step=10.0)
            ],
            _SOURCE,
            "confirmed",
        ),
        Case(
            "it was hardly heard for minutes, and then all that was held came at once",
            [
                *_signals(3, 15.0, t=-590.0, step=60.0),
                *_signals(3, 15.0, t=-390.0, step=60.0),
                *[{**one, "arrived": -10.0} for one in _signals(60, 0.0, t=-310.0, step=5.0)],
            ],
            [],
        ),
        Case(
            "what was held through a pause of 60 s, and a signal that was late before",
            _held(60.0),
            [],
        ),
        Case(
            "what was held through an outage that began before the last ten minutes",
            [
                *_signals(1, 0.1, t=-700.0),
                *({**one, "arrived": -590.0} for one in _signals(20, 0.0, t=-690.0, step=5.0)),
                *_signals(10, 0.1, t=-570.0, step=18.0),
                *_signals(1, 15.0, t=-300.0),
                *_signals(10, 0.1, t=-390.0, step=19.0),
                *_signals(1, 15.0, t=-100.0),
                *_signals(10, 0.1, t=-190.0, step=18.0),
            ],
            [],
        ),
        Case("a pause of 59 s is no outage", _held(59.0), _SOURCE, "confirmed"),
        Case("it began three minutes ago: it may pass", _signals(40, 60.0, t=-190, step=4.5), []),
        Case(
            "it was so until three minutes ago",
            [*_signals(40, 60.0, step=9.0), *_signals(20, 0.1, t=-199.0, step=9.0)],
            [],
        ),
        Case(
            "a day's file is read from its beginning, an hour in a minute",
            [
                {**_A, "phase": "heartbeat", "t": -3000.0 + i * 60, "arrived": -590.0 + i * 12}
                for i in range(49)
            ],
            [],
        ),
        Case(
            "what a shipper had kept for ten minutes comes at once, and then what is new",
            [
                *({**one, "arrived": -300.0} for one in _signals(60, 0.0, t=-900.0, step=10.0)),
                *_signals(29, 0.1, t=-299.0, step=10.0),
            ],
            [],
        ),
        Case(
            "the records of yesterday are sent again among those of today",
            [*_signals(60, 0.1, step=9.0), *_signals(60, 86_400.0, step=9.0)],
            [],
        ),
        Case(
            "a span is told when it ends, whenever it began",
            [
                {**one, "kind": "span", "t": float(str(one["t"])) - 300, "end": one["t"]}
                for one in _signals(20, 0.1, phase="call.ok")
            ],
            [],
        ),
        Case(
            "a span that runs is told of again and again by its beginning",
            [
                {**_A, "t": -900.0, "arrived": -590.0 + i * 30.0, "phase": phase, "kind": kind}
                for phase, kind in (("call.sent", "log"), ("started", "span"))
                for i in range(20)
            ],
            [],
        ),
        Case(
            "calls show that its clock is 20 s behind: that is no lag",
            [*_signals(20, 20.0), *_pair(-20.0)],
            [],
        ),
        Case(
            "calls show that its clock is 20 s behind, and it is 40 s late",
            [*_signals(20, 40.0), *_pair(-20.0)],
            _SOURCE,
            "confirmed",
        ),
        Case(
            "calls show that its clock is right, and it is 20 s late",
            [*_signals(20, 20.0), *_pair(0.0, 20.0)],
            _SOURCE,
            "confirmed",
        ),
        Case(
            "calls show that its clock is behind a peer's, whose own is ahead of ours",
            [
                *_signals(24, 20.0, step=24.0),
                *(
                    {**one, "t": float(str(one["t"])) + (20 if one["service"] == "oxr" else 0)}
                    for one in _pair(0.0, 20.0)
                ),
            ],
            _SOURCE,
            "confirmed",
        ),
    ],
)
