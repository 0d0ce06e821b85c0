"""A source that promised to be heard from has fallen silent: what it sees, we no longer see.

## Meaning
A service declared a heartbeat by this way in (or a followed file was configured with how
often a line is to be expected), and nothing at all has come by it for three intervals, at
least `silence_min_s`. Only what is promised can be missed: a service without a promise may
be idle for as long as it likes.

## Impact
Verdicts that rest on this source's silence are *unknown* until it is heard again: a zombie
could be missed, and none is invented.

## Diagnosis
Is the service running? If so: its exporter's endpoint and errors, the collector between, the
log shipper, disk space, permissions of the followed file (see the sources on the page).

## Mitigation
Restore the path. Signals that the exporter kept are taken in late and judged then; findings
that were unknown settle by themselves.
"""

from detectors._kit import Case, Detector

_A = {"side": "agent", "service": "agent", "way": "file"}
_BEAT = {**_A, "phase": "heartbeat", "instance": "agent-1", "beat_s": 10.0}

DETECTOR = Detector(
    severity="warning",
    follows=(
        "crash_loop",
        "agent_down",
    ),
    degradable=False,
    blinds=True,
    thresholds={"silence_min_s": 60.0, "beats_missed": 3.0},
    sql="""
WITH listened AS (
  SELECT from_us AS until_us, max(to_us) OVER (ORDER BY from_us, to_us
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS since_us FROM gaps
),
before AS (
  SELECT s.namespace, s.side, s.service, s.way, max(l.until_us - CASE
    WHEN l.since_us > s.last_seen_us THEN l.since_us ELSE s.last_seen_us END) AS silent_us
  FROM sources s JOIN listened l ON TRUE GROUP BY s.namespace, s.side, s.service, s.way
)
SELECT a.namespace, a.service || ' by ' || a.way AS subject, a.name, a.service, a.queue,
  a.last_seen_us AS since_us, a.way, a.side,
  ({now} - a.heard_us) / 1e6 AS silent_s, a.promise_s AS interval_s, a.limit_us / 1e6 AS limit_s
FROM (
  SELECT a.*,
    -- while we are away nobody is heard; but who was dark before stays so until it is
    CASE WHEN b.silent_us > a.limit_us THEN a.last_seen_us
      ELSE greatest(a.last_seen_us, coalesce((SELECT max(g.to_us) FROM gaps g), 0)) END AS heard_us
  FROM (
    SELECT a.*,
      CAST(greatest({beats_missed} * a.promise_s, {silence_min_s}) * 1e6 AS BIGINT) AS limit_us
    FROM (SELECT s.*, coalesce(s.expect_s, s.beat_s) AS promise_s, CAST(NULL AS VARCHAR) AS name,
        CAST(NULL AS VARCHAR) AS queue
      FROM sources s WHERE coalesce(s.expect_s, s.beat_s) IS NOT NULL
        AND (s.expect_s IS NOT NULL OR s.last_us > s.last_seen_us - 3600000000)) a
  ) a
  LEFT JOIN before b ON b.namespace = a.namespace AND b.side = a.side AND b.service = a.service
    AND b.way = a.way
) a
WHERE {now} - a.heard_us > a.limit_us
  AND (a.expect_s IS NOT NULL OR EXISTS (SELECT 1 FROM instances i WHERE i.namespace = a.namespace
    AND i.service = a.service AND i.beat_s IS NOT NULL AND i.stopped_us IS NULL
    AND i.last_seen_us >= a.last_seen_us - a.limit_us))
ORDER BY since_us, subject""",
    fix="Check the way from {service} to here ({way}): it is to be heard every {interval_s} s, and"
    " nothing has come for {silent_s} s.",
    cases=[
        Case(
            "beats every 10 s, silent for 61 s",
            [{**_BEAT, "t": -61}],
            ["agent by file"],
            "confirmed",
        ),
        Case("silent for 60 s", [{**_BEAT, "t": -60}], []),
        Case(
            "three intervals are longer than the minimum",
            [{**_BEAT, "t": -89, "beat_s": 30.0}],
            [],
        ),
        Case("no promise, no darkness", [{**_A, "t": -900, "body": "x"}], []),
        Case(
            "its only process stopped cleanly",
            [
                {**_BEAT, "t": -95},
                {**_A, "t": -90, "phase": "instance.stopped", "instance": "agent-1", "clean": True},
            ],
            [],
        ),
        Case(
            "a followed file was configured to bring a line every 30 s",
            [{**_A, "t": -91, "body": "x", "expect_s": 30.0}],
            ["agent by file"],
            "confirmed",
        ),
        Case(
            "one of two was replaced, the other speaks",
            [{**_BEAT, "t": -900}, {**_BEAT, "t": -5, "instance": "agent-2"}],
            [],
        ),
    ],
)
