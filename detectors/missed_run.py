"""A run that was due did not begin, or one that began did not say that it ended.

## Meaning
Either a due time of this schedule has passed by its start grace (`start_grace_s`, where it declares
none), and no sign of it has come since; where it pings only when it is done, its run grace counts
as well. Or one of its runs began longer ago than its run grace (`run_grace_s`, where it declares
none) and was never said to have ended, though others were. A schedule that is paused, or of which
no sign was ever seen, is not found. One finding for each schedule, with its due times and open
runs counted. *Unknown* is what was due while we were not listening, or while the dispatcher that
fires it was not heard or has lost records; of several due times that goes by the last one.

## Impact
What this run should have made (a backup, a report, a clean-up) is missing or old, and nothing else
will say so: a job that does not run logs no error.

## Diagnosis
Did not begin: is the host up, does cron or the scheduler run there (`dispatcher_stalled`), was the
entry removed, commented out or misspelled, does a lock of an earlier run hold it? Did it run, and
only its ping not arrive? Run the ping by hand on that host. Began and did not end: is its process
still there, and what does it wait for? If it is not, its log has its last words.

## Mitigation
Run it by hand if its work is needed now, and mend what starts it. End what hangs; a run that has
died without a word is ended here by `curl .../ping/NAME/fail?rid=ID`. A time limit in the job
itself (`timeout 2h backup.sh`) makes a hung run a failed one. Where it only takes longer by now,
raise its grace; where it is gone for good, remove its schedule.
"""

from detectors._kit import Case, Detector

_JOB = {"schedule": "backup", "kind": "ping", "way": "ping"}
_CONFIG = {"schedule": "backup", "kind": "event", "way": "schedule", "phase": "schedule.expected"}
_D = {"side": "dispatcher", "service": "oxr"}


def _ran(ago_s: float, run: str = "r0", took_s: float = 60.0) -> list[dict[str, object]]:
    """Return the pings of a run that began so long ago, and ended."""
    one = {**_JOB, "phase": "schedule.fired", "request_id": run}
    return [{**one, "t": -ago_s}, {**one, "t": took_s - ago_s, "outcome": "success"}]


def _due(ago_s: float, **more: object) -> dict[str, object]:
    """Return that it was due so long ago, as it was said at that moment."""
    return {**_CONFIG, "t": -ago_s, "due": -ago_s, **more}


def _fired(ago_s: float, **more: object) -> dict[str, object]:
    """Return a sign of the schedule that its dispatcher gave so long ago."""
    return {**_D, "schedule": "backup", "phase": "schedule.fired", "t": -ago_s, **more}


def _heard(ago_s: float, **more: object) -> dict[str, object]:
    """Return a word of the dispatcher's."""
    return {**_D, "t": -ago_s, "body": "tick", **more}


DETECTOR = Detector(
    severity="critical",
    wakes=1,
    every_s=15.0,
    follows=("dispatcher_stalled", "crash_loop", "agent_down", "source_dark"),
    thresholds={
        "start_grace_s": 300.0,
        "run_grace_s": 86_400.0,
        "early_s": 30.0,
        "told_late_s": 60.0,
        "dark_s": 60.0,
    },
    sql="""
WITH known AS (
  SELECT a.*, CAST((coalesce(a.start_grace_s, {start_grace_s}) + CASE
        WHEN a.began_last_us IS NULL THEN coalesce(a.run_grace_s, 0) ELSE 0 END) * 1e6 AS BIGINT)
      AS start_us,
    CAST(coalesce(a.run_grace_s, {run_grace_s}) * 1e6 AS BIGINT) AS run_us,
    a.fired_last_us + {early_us} AS fired_until_us,
    {told_late_us} AS told_late_us, {dark_us} AS dark_us
  FROM (SELECT s.*, s.schedule AS name FROM schedules s
    WHERE s.fired_us IS NOT NULL AND NOT coalesce(s.paused, FALSE)) a
),
clocks_of AS (
  SELECT i.namespace, i.service, max(CASE WHEN i.lag_us > 0 THEN i.lag_us ELSE 0 END) AS lag_us
  FROM instances i
  WHERE i.side = 'dispatcher' AND i.last_seen_us > {now} - 600000000
  GROUP BY i.namespace, i.service
),
heard AS (
  SELECT o.namespace AS namespace, o.service AS service, max(coalesce(c.lag_us, 0)) AS lag_us,
    max(CASE WHEN o.last_us + coalesce(c.lag_us, 0) < o.last_seen_us
      THEN o.last_us + coalesce(c.lag_us, 0) ELSE o.last_seen_us END) AS heard_us,
    max(CASE WHEN o.way = 'file' THEN 1 ELSE 0 END) AS keeps
  FROM sources o
  LEFT JOIN clocks_of c ON c.namespace = o.namespace AND c.service = o.service
  WHERE o.side = 'dispatcher' GROUP BY o.namespace, o.service
),
side AS (
  SELECT namespace, max(lag_us) AS lag_us, max(heard_us) AS heard_us, max(keeps) AS keeps
  FROM heard GROUP BY namespace
),
watched AS (
  SELECT k.namespace AS namespace, k.schedule AS schedule, k.service AS service,
    k.queue AS queue, k.start_us AS start_us, k.run_us AS run_us,
    k.fired_until_us AS fired_until_us, k.paused_last_us AS paused_last_us,
    k.ended_last_us AS ended_last_us, k.declared_way AS declared_way, k.fired_by AS fired_by,
    k.told_late_us AS told_late_us, k.dark_us AS dark_us,
    CASE WHEN k.fired_way = 'ping' THEN 1 ELSE 0 END AS pinged,
    CASE WHEN k.fired_way = 'ping' THEN 0 ELSE coalesce(h.lag_us, d.lag_us, 0) END AS lag_us,
    coalesce(h.heard_us, d.heard_us) AS heard_us,
    CASE WHEN k.fired_way = 'file' AND coalesce(h.keeps, d.keeps) = 1 THEN 0
      ELSE coalesce(g.to_us, 0) END AS away_us
  FROM known k
  LEFT JOIN heard h ON h.namespace = k.namespace AND h.service = coalesce(k.service, '')
  LEFT JOIN side d ON d.namespace = k.namespace
  LEFT JOIN (SELECT max(to_us) AS to_us FROM gaps WHERE way = 'push') g ON TRUE
),
expected AS (
  SELECT w.*, d.due_us, d.expected_seen_us,
    d.due_us + CASE WHEN w.pinged = 1 THEN 0 ELSE coalesce(d.lag_us, 0) END AS our_due_us,
    CASE WHEN w.pinged = 1 THEN 0 WHEN d.instance = w.fired_by AND d.lag_us IS NOT NULL
      OR d.lag_us > w.lag_us THEN d.lag_us ELSE w.lag_us END AS late_us
  FROM awaited d JOIN watched w ON w.namespace = d.namespace AND w.schedule = d.schedule
  WHERE d.due_us > w.fired_until_us AND d.due_us > coalesce(w.paused_last_us, 0)
    AND (w.declared_way = 'schedule' OR d.expected_us > d.expected_seen_us - 3600000000)
),
late AS (
  SELECT w.namespace AS namespace, w.schedule AS schedule, w.service AS service, w.queue AS queue,
    'no start' AS way, w.due_us AS since_us, w.due_us + w.late_us + w.start_us AS deadline_us,
    w.start_us / 1e6 AS grace_s, w.our_due_us AS known_us, CAST(NULL AS VARCHAR) AS run,
    w.pinged AS pinged, w.heard_us AS heard_us, w.away_us AS away_us, w.dark_us AS dark_us,
    CASE WHEN w.declared_way = 'schedule' AND w.expected_seen_us > w.due_us + w.told_late_us
      THEN 1 ELSE 0 END AS told_late
  FROM expected w WHERE {now} - w.due_us > w.start_us + w.late_us
  UNION ALL
  SELECT w.namespace, w.schedule, w.service, w.queue, 'no end', f.began_us,
    f.began_seen_us + w.run_us, w.run_us / 1e6, f.began_seen_us, f.run, w.pinged, w.heard_us,
    w.away_us, w.dark_us, 0
  FROM open_fires f JOIN watched w ON w.namespace = f.namespace AND w.schedule = f.schedule
  WHERE f.began_us IS NOT NULL AND f.ended_us IS NULL AND w.ended_last_us IS NOT NULL
    AND f.began_us > f.began_seen_us - 3600000000
    AND f.began_us > coalesce(w.paused_last_us, 0) AND {now} - f.began_seen_us > w.run_us
),
doubted AS (
  SELECT e.*, CASE
      WHEN e.told_late = 1 OR e.known_us < e.away_us
        THEN 'we were not listening for a part of the time'
      WHEN e.pinged = 1 THEN NULL
      WHEN e.heard_us IS NULL THEN 'nothing was ever heard from the dispatcher''s side'
      WHEN e.heard_us < e.deadline_us THEN 'the dispatcher has not been heard since' END AS doubt
  FROM late e
  WHERE e.pinged = 1 OR e.heard_us IS NULL OR e.heard_us >= e.deadline_us
    OR {now} - e.heard_us >= e.dark_us
),
grouped AS (
  SELECT namespace, schedule, max(service) AS service, max(queue) AS queue, way, count(*) AS times,
    CASE WHEN sum(CASE WHEN doubt IS NULL THEN 1 ELSE 0 END) = 0 THEN max(doubt) END AS unproven,
    coalesce(min(CASE WHEN doubt IS NULL THEN since_us END), min(since_us)) AS since_us,
    coalesce(min(CASE WHEN doubt IS NULL THEN deadline_us END), min(deadline_us)) AS deadline_us,
    coalesce(max(CASE WHEN doubt IS NULL THEN known_us END), max(known_us)) AS word_since_us,
    coalesce(max(CASE WHEN doubt IS NULL THEN deadline_us END), max(deadline_us)) AS word_due_us,
    max(grace_s) AS grace_s, min(run) AS run, max(pinged) AS pinged
  FROM doubted GROUP BY namespace, schedule, way
)
SELECT a.namespace, a.schedule AS subject, a.schedule AS name, a.service, a.queue, a.since_us,
  a.deadline_us, CASE WHEN a.pinged = 0 THEN a.word_due_us END AS word_due_us,
  a.word_since_us, 'dispatcher' AS word_side, a.unproven, a.way, a.times, a.grace_s,
  ({now} - a.since_us) / 1e6 AS late_s, a.run,
  CASE WHEN a.way = 'no end'
    THEN CAST(a.times AS VARCHAR) || ' of its runs (' || a.run || ' first) began up to '
      || CAST(CAST(round(({now} - a.since_us) / 1e6) AS BIGINT) AS VARCHAR)
      || ' s ago and did not say that they ended, for which they have '
    ELSE 'it was due ' || CAST(CAST(round(({now} - a.since_us) / 1e6) AS BIGINT) AS VARCHAR)
      || ' s ago, ' || CAST(a.times AS VARCHAR) || ' times by now, and gave no sign within '
    END || CAST(CAST(round(a.grace_s) AS BIGINT) AS VARCHAR) || ' s' AS told
FROM grouped a
QUALIFY row_number() OVER (PARTITION BY a.namespace, a.schedule
  ORDER BY CASE WHEN a.unproven IS NULL THEN 0 ELSE 1 END, a.way) = 1
ORDER BY since_us, subject""",
    clears="""
SELECT namespace, schedule AS subject, fired_last_us AS cleared_us
FROM schedules WHERE fired_last_us IS NOT NULL""",
    fix="See to {subject}: {told}. Run it by hand if its work is needed now, and find what keeps it"
    " from running to its end.",
    only_if={
        "open_dues": (
            "a.expected_us IS NOT NULL AND NOT coalesce(a.paused, FALSE)"
            " AND a.due_us < {now} + 600000000"
        ),
        "open_fires": "a.began_us IS NOT NULL AND a.ended_us IS NULL",
    },
    cases=[
        Case(
            "due 301 s ago, and no sign",
            [*_ran(7000), _due(301)],
            ["backup"],
            "confirmed",
        ),
        Case(
            "its dispatcher lost what it said when it was due: unknown",
            [
                _fired(7000),
                _due(301),
                _heard(0),
                {**_D, "t": -200, "phase": "export.failed", "from": -290, "to": -289},
            ],
            ["backup"],
            "unknown",
        ),
        Case("due 300 s ago: still within the start grace", [*_ran(7000), _due(300)], []),
        Case(
            "its own start grace of 60 s has passed",
            [*_ran(7000), _due(61, start_grace_s=60.0)],
            ["backup"],
            "confirmed",
        ),
        Case(
            "its own start grace of an hour has not",
            [*_ran(7000), _due(3599, start_grace_s=3600.0)],
            [],
        ),
        Case(
            "its grace was raised since",
            [
                *_ran(7000),
                _due(400, start_grace_s=60.0),
                {**_CONFIG, "t": -300, "start_grace_s": 900.0},
            ],
            [],
        ),
        Case(
            "it began in time, and runs",
            [*_ran(7000), _due(900), {**_ran(890, "r1")[0]}],
            [],
        ),
        Case("it began late, but it began", [*_ran(7000), _due(900), {**_ran(5, "r1")[0]}], []),
        Case(
            "it began 30 s early: its clock is not ours",
            [*_ran(7000), _due(900), {**_ran(930, "r1")[0]}],
            [],
        ),
        Case(
            "a sign 31 s before it was due is the run before",
            [*_ran(7000), _due(900), {**_ran(931, "r1")[0]}],
            ["backup"],
            "confirmed",
        ),
        Case(
            "one that fails did run",
            [*_ran(7000), _due(900), {**_ran(890, "r1")[1], "outcome": "failure"}],
            [],
        ),
        Case(
            "it pings only when it is done: both graces have passed",
            [_ran(7000)[1], _due(961, start_grace_s=60.0, run_grace_s=900.0)],
            ["backup"],
            "confirmed",
        ),
        Case(
            "it pings only when it is done, and may still run",
            [_ran(7000)[1], _due(959, start_grace_s=60.0, run_grace_s=900.0)],
            [],
        ),
        Case(
            "missed three times: one finding",
            [*_ran(9000), _due(4000), _due(2000), _due(1000)],
            ["backup"],
            "confirmed",
        ),
        Case("never seen: it may not be set up yet", [_due(9000), _due(900)], []),
        Case(
            "its first sign came after that due time",
            [_due(9000), *_ran(7000)],
            [],
        ),
        Case(
            "paused",
            [*_ran(7000), _due(900), {**_CONFIG, "t": -100, "paused": True}],
            [],
        ),
        Case(
            "due before it was paused, and it goes on now",
            [
                *_ran(7000),
                _due(900),
                {**_CONFIG, "t": -200, "paused": True},
                {**_CONFIG, "t": -100, "paused": False},
            ],
            [],
        ),
        Case(
            "due again after the pause",
            [
                *_ran(7000),
                {**_CONFIG, "t": -800, "paused": True},
                {**_CONFIG, "t": -700, "paused": False},
                _due(400),
            ],
            ["backup"],
            "confirmed",
        ),
        Case(
            "this due time alone was called off",
            [*_ran(7000), _due(900, paused=True), {**_CONFIG, "t": -100, "paused": False}],
            [],
        ),
        Case("due in an hour", [*_ran(7000), {**_due(0), "due": 3600}], []),
        Case(
            "61 s late we said that it was due: we were away",
            [*_ran(7000), {**_due(900), "t": -839}],
            ["backup"],
            "unknown",
        ),
        Case(
            "60 s late we said so: a batch may take that long",
            [*_ran(7000), {**_due(900), "t": -840}],
            ["backup"],
            "confirmed",
        ),
        Case(
            "due while we were away, and again since: the second is proven",
            [*_ran(9000), {**_due(4000), "t": -1000}, _due(400)],
            ["backup"],
            "confirmed",
        ),
        Case(
            "the dispatcher that fires it is alive, and has not fired it",
            [_fired(7000), _heard(7000), _due(301), _heard(0)],
            ["backup"],
            "confirmed",
        ),
        Case(
            "the dispatcher was last heard a minute ago, before it could be late: unknown",
            [_fired(7000), _heard(60), _due(320)],
            ["backup"],
            "unknown",
        ),
        Case(
            "the dispatcher was heard 59 s ago: its next word is waited for",
            [_fired(7000), _heard(59), _due(320)],
            [],
        ),
        Case(
            "another dispatcher's word is not that of the one which fires it",
            [_fired(7000), _heard(0, service="other"), _due(901)],
            ["backup"],
            "unknown",
        ),
        Case(
            "nothing is known of who fires it",
            [_fired(7000, side=None), _due(901), {**_ran(1)[0], "schedule": "other"}],
            ["backup"],
            "unknown",
        ),
        Case(
            "its dispatcher is read with a delay of 200 s: it may yet come",
            [
                _fired(7000, arrived=-6800),
                _heard(200, arrived=0),
                _due(499),
            ],
            [],
        ),
        Case(
            "it has not come after that delay either",
            [
                _fired(7000, arrived=-6800),
                _heard(200, arrived=0),
                _due(501),
            ],
            ["backup"],
            "confirmed",
        ),
        Case(
            "the clock that says when it is due is 200 s ahead: 301 s ago by ours",
            [
                _fired(6800, arrived=-7000, instance="oxr-1"),
                _due(101, arrived=-301, **_D, instance="oxr-1", way="otlp"),
                _heard(-200, arrived=0, instance="oxr-1"),
            ],
            ["backup"],
            "confirmed",
        ),
        Case(
            "that clock is 200 s ahead: 299 s ago by ours",
            [
                _fired(6800, arrived=-7000, instance="oxr-1"),
                _due(99, arrived=-299, **_D, instance="oxr-1", way="otlp"),
                _heard(-200, arrived=0, instance="oxr-1"),
            ],
            [],
        ),
        Case(
            "that clock was an hour ahead once, and is no more",
            [
                _fired(6800, arrived=-7000, instance="oxr-1"),
                _heard(-3600, arrived=-7000, instance="oxr-1"),
                _due(299, **_D, instance="oxr-1", way="otlp"),
                _heard(0, instance="oxr-1"),
            ],
            [],
        ),
        Case(
            "another one fires it, of whose clock that says nothing",
            [
                _fired(7000, instance="oxr-2"),
                _due(101, arrived=-301, **_D, instance="oxr-1", way="otlp"),
                _heard(-200, arrived=0, instance="oxr-1"),
            ],
            [],
        ),
        Case(
            "a run began 601 s ago, and has 600 s",
            [*_ran(7000), {**_ran(601, "r1")[0], "run_grace_s": 600.0}],
            ["backup"],
            "confirmed",
        ),
        Case(
            "a run began 600 s ago, and has 600 s",
            [*_ran(7000), {**_ran(600, "r1")[0], "run_grace_s": 600.0}],
            [],
        ),
        Case(
            "a run that hangs is not hidden by later ones that ended",
            [
                *_ran(7000),
                {**_ran(900, "r1")[0], "run_grace_s": 600.0},
                *_ran(400, "r2"),
            ],
            ["backup"],
            "confirmed",
        ),
        Case(
            "its end was said",
            [*_ran(7000), *({**one, "run_grace_s": 600.0} for one in _ran(900, "r1"))],
            [],
        ),
        Case(
            "it says when it begins, and never when it ends",
            [{**_ran(7000)[0]}, {**_ran(900, "r1")[0], "run_grace_s": 600.0}],
            [],
        ),
        Case(
            "without a run ID it cannot be told which one ended",
            [
                *_ran(7000),
                {**_ran(900)[0], "request_id": None, "run_grace_s": 600.0},
                {**_ran(400)[1], "request_id": None},
            ],
            [],
        ),
        Case(
            "paused while it runs",
            [
                *_ran(7000),
                {**_ran(900, "r1")[0], "run_grace_s": 600.0},
                {**_CONFIG, "t": -100, "paused": True},
            ],
            [],
        ),
    ],
)
