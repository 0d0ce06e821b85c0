"""One task was run twice: at the same time, or by two runs that both succeeded.

## Meaning
Either two runs of the task overlap by more than `overlap_min_s`, beyond what the clocks of their
processes may differ by (a run without an end counts up to its last sign of life); or one process
began it twice before it ended it twice; or two of its runs succeeded, and nobody had asked for the
second: the first one's success was not recorded, or the work was delivered again without being
handed out again.

## Impact
What the task does was done twice: two orders, two mails, two writers on one file. Unless it is
idempotent, somebody has to undo one of them.

## Diagnosis
Compare the two runs in the timeline. Same attempt, two agents: was it delivered again (a
visibility time-out shorter than the run, a long ETA), or picked up by two nodes without a lock? A
later attempt: was the first one only believed to be dead, by a limit too short, a lost report, or
a missed heartbeat?

## Mitigation
Undo the effects of one run. Then take a lease before the work starts and renew it while it runs,
make the time-out after which work is delivered again longer than the slowest run, and let the
task's effects carry the task ID, so that the second time does nothing.
"""

from detectors._kit import Case, Detector
from detectors._offsets import OFFSETS, ahead, calls

_A = {"side": "agent", "service": "agent", "task_name": "sync", "task": "t1"}
_D = {"side": "dispatcher", "service": "oxr", "task_name": "sync", "task": "t1"}
_OUT = {**_D, "t": -120, "phase": "dispatched"}
_HEARD = {"side": "dispatcher", "service": "oxr", "t": -45, "phase": "heartbeat"}
"""A dispatcher that is heard after the second run began: what it would have asked has come."""


def _run(
    agent: str, begun: float, ended: float, attempt: int = 1, outcome: str = "success"
) -> list[dict[str, object]]:
    """Return one run of the task by *agent*."""
    one = {**_A, "instance": agent, "attempt": attempt}
    return [
        {**one, "t": begun, "phase": "started"},
        {**one, "t": ended, "phase": "finished", "outcome": outcome},
    ]


def _told(rows: list[dict[str, object]], **more: object) -> list[dict[str, object]]:
    """Return *rows* with *more* said in each."""
    return [{**row, **more} for row in rows]


DETECTOR = Detector(
    severity="warning",
    lasts="occurrence",
    every_s=30.0,
    follows=(
        "agent_down",
        "gave_up_but_committed",
        "lost_report",
        "silent_task",
        "timeout_lattice",
        "zombie_task",
        "clock_skew",
    ),
    thresholds={"overlap_min_s": 1.0, "late_s": 30.0},
    sql="""
WITH likely AS (
  SELECT DISTINCT o.namespace, o.task FROM attempts o
  WHERE o.last_seen_us > {now} - {occurrence_us} AND NOT o.late AND (o.attempt > 1
    OR o.started_us < o.started_last_us OR o.finished_us < o.finished_last_us)
),
again AS (
  SELECT r.namespace, r.task FROM runs r WHERE EXISTS (SELECT 1 FROM likely l
    WHERE l.namespace = r.namespace AND l.task = r.task)
  GROUP BY r.namespace, r.task HAVING count(*) > 1
),
told AS (
  SELECT r.namespace, r.task, r.attempt, r.instance, r.boot, r.service, r.host, r.name,
    r.started_us, r.finished_us, r.finished_seen_us, r.outcome, r.last_seen_us, r.sign_seen_us,
    coalesce(r.finished_us, r.sign_last_us) AS until_us
  FROM runs r WHERE r.instance <> '' AND r.started_us IS NOT NULL
    AND EXISTS (SELECT 1 FROM again g WHERE g.namespace = r.namespace AND g.task = r.task)
),
tasks AS (
  SELECT o.namespace, o.task, o.attempt, o.service, o.queue, o.recorded_state, o.requeued_us,
    o.joined_late
  FROM attempts o WHERE EXISTS (SELECT 1 FROM again g WHERE g.namespace = o.namespace
    AND g.task = o.task)
),
heard AS (
  SELECT m.namespace, m.task, coalesce(m.attempt, 1) AS attempt,
    coalesce(m.instance, '') AS instance, m.phase, m.state, m.purpose, m.kind, m.ts_us,
    m.arrived_us
  FROM marks m WHERE EXISTS (SELECT 1 FROM again g WHERE g.namespace = m.namespace
    AND g.task = m.task)
),
kinds AS (
  SELECT namespace, task, instance, min(kind) AS least, max(kind) AS most
  FROM heard GROUP BY namespace, task, instance
),
asks AS (
  SELECT namespace, task, attempt, phase, ts_us, arrived_us FROM heard
  WHERE phase IN ('enqueued', 'dispatched') OR phase = 'call.committed' AND purpose = 'dispatch'
),
asked AS (
  SELECT namespace, task, attempt, max(arrived_us) AS arrived_us FROM asks
  GROUP BY namespace, task, attempt
),
kept AS (
  SELECT DISTINCT namespace, task, attempt FROM heard
  WHERE phase = 'recorded' AND state = 'success'
),
asked_of AS (
  SELECT namespace, task, max(ts_us) AS ts_us, max(arrived_us) AS arrived_us, max(n) AS n
  FROM (SELECT namespace, task, max(ts_us) AS ts_us, max(arrived_us) AS arrived_us,
      count(DISTINCT ts_us) AS n FROM asks GROUP BY namespace, task, phase) a
  GROUP BY namespace, task
),
pairs AS (
  SELECT f.namespace AS namespace, f.task AS task, f.attempt AS first_attempt,
    s.attempt AS attempt, f.instance AS other_agent, s.instance AS agent, s.host AS host,
    s.service AS agent_service, coalesce(s.name, f.name) AS name, s.started_us AS started_us,
    s.until_us AS until_us, s.sign_seen_us AS sign_seen_us, f.started_us AS first_started_us,
    f.until_us AS first_until_us, f.sign_seen_us AS first_sign_seen_us,
    f.outcome AS first_outcome, s.outcome AS outcome, f.finished_us AS first_finished_us,
    f.finished_seen_us AS first_finished_seen_us, f.instance = s.instance AND
      (f.boot = s.boot OR f.boot = '' OR s.boot = '') AS one_process,
    f.finished_us IS NOT NULL AND s.finished_us IS NOT NULL AS both_ended,
    f.instance < s.instance OR f.instance = s.instance AND
      (f.boot < s.boot OR f.boot = s.boot AND f.attempt < s.attempt) AS by_name,
    abs(f.started_us - s.started_us) < 1000000 AND abs(f.until_us - s.until_us) < 1000000
      AS alike
  FROM told f JOIN told s ON s.namespace = f.namespace AND s.task = f.task
  WHERE (f.attempt <> s.attempt OR f.instance <> s.instance OR f.boot <> s.boot)
    AND (f.last_seen_us > {now} - {occurrence_us} OR s.last_seen_us > {now} - {occurrence_us})
),
meet AS (
  SELECT namespace, other_agent AS instance, agent AS other,
    min(CASE WHEN first_sign_seen_us < sign_seen_us THEN first_sign_seen_us
      ELSE sign_seen_us END) AS since_us
  FROM pairs GROUP BY namespace, other_agent, agent
),"""
    + OFFSETS
    + """,
aligned AS (
  SELECT p.*, CASE WHEN p.one_process THEN 0 ELSE c.least_us END AS least_us,
    CASE WHEN p.one_process THEN 0 ELSE c.most_us END AS most_us
  FROM pairs p JOIN offsets c ON c.namespace = p.namespace AND c.instance = p.other_agent
    AND c.other = p.agent
),
ordered AS (
  SELECT p.*, p.first_until_us - (p.started_us - (p.least_us + p.most_us) / 2) AS likely_us,
    least(p.first_until_us - p.first_started_us, p.until_us - p.started_us,
      p.first_until_us - p.started_us + p.least_us, p.until_us - p.first_started_us - p.most_us)
      AS sure_us
  FROM aligned p
  WHERE 2 * (p.started_us - p.first_started_us) > p.least_us + p.most_us
    OR 2 * (p.started_us - p.first_started_us) = p.least_us + p.most_us AND p.by_name
),
weighed AS (
  SELECT p.namespace AS namespace, p.task AS task, p.name AS name,
    coalesce(t.service, p.agent_service) AS service, t.queue AS queue, p.attempt AS attempt,
    p.first_attempt, p.agent AS agent, p.other_agent, p.host, p.agent_service, p.started_us,
    p.sign_seen_us, p.first_finished_seen_us,
    coalesce(p.first_outcome, 'still running') AS first_outcome,
    coalesce(p.outcome, 'still running') AS outcome, p.most_us - p.least_us AS width_us,
    CASE WHEN NOT p.one_process OR p.attempt <> p.first_attempt AND p.both_ended
      THEN p.sure_us ELSE 0 END AS overlap_us,
    CASE WHEN p.first_outcome = 'success' AND p.outcome = 'success' AND p.likely_us <= 0
        AND coalesce(f.recorded_state, '') <> 'success' AND k.task IS NULL
        AND (f.requeued_us IS NOT NULL
          OR p.attempt <> p.first_attempt AND f.recorded_state IS NOT NULL
            AND coalesce(r.arrived_us, 0) <= p.first_finished_seen_us)
      THEN CASE WHEN f.requeued_us IS NOT NULL THEN 2 ELSE 1 END ELSE 0 END AS redone,
    CASE WHEN p.first_outcome = 'success' AND p.outcome = 'success'
        AND p.attempt = p.first_attempt AND NOT p.one_process AND NOT t.joined_late
        AND (q.n = 1 AND least(p.first_sign_seen_us, p.sign_seen_us) >= g.from_us
          OR p.likely_us <= 0 AND p.first_finished_seen_us >= g.from_us
            AND q.ts_us < p.first_finished_us AND q.arrived_us <= p.first_finished_seen_us) THEN 1
      ELSE 0 END AS unasked
  FROM ordered p
  JOIN tasks t ON t.namespace = p.namespace AND t.task = p.task AND t.attempt = p.attempt
  JOIN tasks f ON f.namespace = p.namespace AND f.task = p.task AND f.attempt = p.first_attempt
  LEFT JOIN asked r ON r.namespace = p.namespace AND r.task = p.task
    AND r.attempt = p.first_attempt
  LEFT JOIN kept k ON k.namespace = p.namespace AND k.task = p.task AND k.attempt = p.first_attempt
  LEFT JOIN asked_of q ON q.namespace = p.namespace AND q.task = p.task
  LEFT JOIN (SELECT min(arrived_us) AS from_us FROM marks) g ON TRUE
  LEFT JOIN kinds l ON l.namespace = p.namespace AND l.task = p.task AND l.instance = p.other_agent
  LEFT JOIN kinds m ON m.namespace = p.namespace AND m.task = p.task AND m.instance = p.agent
  WHERE NOT (p.alike AND p.attempt = p.first_attempt
    AND coalesce(l.most < m.least OR m.most < l.least, FALSE))
),
listened AS (
  SELECT namespace, arrived_us // 10000000 AS bin, min(arrived_us) AS first_us,
    max(arrived_us) AS last_us
  FROM marks WHERE side = 'dispatcher' AND arrived_us > {now} - {occurrence_us}
    AND EXISTS (SELECT 1 FROM again g WHERE g.namespace = marks.namespace)
  GROUP BY namespace, arrived_us // 10000000
),
unasked AS (
  SELECT w.namespace AS namespace, w.task AS task, w.agent AS agent,
    w.sign_seen_us AS sign_seen_us,
    min(CASE WHEN l.first_us > w.sign_seen_us THEN l.first_us ELSE l.last_us END) AS next_us
  FROM weighed w JOIN listened l ON l.namespace = w.namespace
  WHERE w.unasked = 1 AND l.last_us > w.sign_seen_us
  GROUP BY w.namespace, w.task, w.agent, w.sign_seen_us
),
single AS (
  SELECT r.namespace, r.task, r.attempt, min(r.service) AS service, min(r.host) AS host,
    min(r.name) AS name, min(r.outcome) AS outcome
  FROM runs r WHERE EXISTS (SELECT 1 FROM likely l
    WHERE l.namespace = r.namespace AND l.task = r.task)
  GROUP BY r.namespace, r.task, r.attempt HAVING count(*) = 1
),
acts AS (
  SELECT m.namespace AS namespace, m.task AS task, s.attempt AS attempt, m.instance AS instance,
    m.kind AS kind, m.phase AS phase, min(m.ts_us) AS first_us, max(m.ts_us) AS last_us
  FROM marks m JOIN single s ON s.namespace = m.namespace AND s.task = m.task
    AND s.attempt = coalesce(m.attempt, 1)
  WHERE m.phase IN ('started', 'finished') AND coalesce(m.outcome, '') <> 'yielded'
    AND m.instance IS NOT NULL
  GROUP BY m.namespace, m.task, s.attempt, m.instance, m.kind, m.phase
),
twice AS (
  SELECT b.namespace AS namespace, b.task AS task, b.attempt AS attempt, b.instance AS agent,
    b.last_us AS started_us, e.first_us - b.last_us AS overlap_us,
    least(b.last_us - b.first_us, e.last_us - e.first_us, e.first_us - b.last_us) AS least_us,
    s.name AS name, coalesce(o.service, s.service) AS service, o.queue AS queue,
    s.service AS agent_service, s.host AS host, coalesce(s.outcome, 'unknown') AS outcome
  FROM acts b
  JOIN acts e ON e.namespace = b.namespace AND e.task = b.task AND e.attempt = b.attempt
    AND e.instance = b.instance AND e.kind = b.kind AND e.phase = 'finished'
  JOIN single s ON s.namespace = b.namespace AND s.task = b.task AND s.attempt = b.attempt
  JOIN attempts o ON o.namespace = b.namespace AND o.task = b.task AND o.attempt = b.attempt
  WHERE b.phase = 'started' AND e.first_us > b.last_us
    AND NOT EXISTS (SELECT 1 FROM again g WHERE g.namespace = b.namespace AND g.task = b.task)
)
SELECT a.namespace, a.task AS subject, a.name, a.service, a.queue, a.started_us AS since_us,
  a.task, a.attempt, a.first_attempt, a.agent, a.other_agent, a.agent_service, a.host, a.outcome,
  a.first_outcome, a.width_us / 2e6 AS clocks_within_s,
  CASE WHEN a.overlap_us > 0 THEN a.overlap_us / 1e6 ELSE 0.0 END AS overlap_s,
  -- that nobody asked for it in between (its ID may be used anew) is known by silence alone
  CASE WHEN a.overlap_us <= {overlap_min_us} AND a.redone < 2 THEN a.sign_seen_us END
    AS word_due_us,
  'dispatcher' AS word_side, a.first_finished_seen_us AS heard_us
FROM weighed a
LEFT JOIN unasked u ON u.namespace = a.namespace AND u.task = a.task AND u.agent = a.agent
  AND u.sign_seen_us = a.sign_seen_us
WHERE a.overlap_us > {overlap_min_us} OR a.redone > 0
  OR a.unasked = 1 AND {now} - a.sign_seen_us >= {late_us}
    AND (u.next_us - a.sign_seen_us < 20000000 OR {now} - u.next_us >= {late_us})
QUALIFY row_number() OVER (PARTITION BY a.namespace, a.task
  ORDER BY a.overlap_us DESC, a.attempt, a.agent, a.other_agent, a.first_attempt) = 1
UNION ALL
SELECT a.namespace, a.task, a.name, a.service, a.queue, min(a.started_us), a.task, a.attempt,
  a.attempt, a.agent, a.agent, a.agent_service, a.host, a.outcome, a.outcome, 0.0,
  max(a.overlap_us) / 1e6, CAST(NULL AS BIGINT), 'dispatcher', CAST(NULL AS BIGINT)
FROM twice a WHERE a.least_us > {overlap_min_us}
GROUP BY a.namespace, a.task, a.name, a.service, a.queue, a.attempt, a.agent, a.agent_service,
  a.host, a.outcome
ORDER BY since_us, subject""",
    fix="Find out which run of {task} is to count, and undo the other: {other_agent} (attempt"
    " {first_attempt}: {first_outcome}) and {agent} (attempt {attempt}: {outcome}) both ran it, for"
    " {overlap_s} s at the same time.",
    only_if={
        "attempts": (
            "a.last_seen_us > {now} - {occurrence_us} AND (a.attempt > 1 OR a.started_us < "
            "a.started_last_us OR a.finished_us < a.finished_last_us)"
        ),
    },
    cases=[
        Case(
            "two agents have it, for 1.1 s at the same time",
            [_OUT, *_run("agent-1", -60, -30), *_run("agent-2", -31.1, -20, outcome="failure")],
            ["t1"],
            "confirmed",
        ),
        Case(
            "for 1 s",
            [_OUT, *_run("agent-1", -60, -30), *_run("agent-2", -31, -20, outcome="failure")],
            [],
        ),
        Case(
            "for 2.9 s, by clocks that may be 2 s apart: 0.9 s is sure",
            [
                _OUT,
                *_run("agent-1", -60, -30),
                {**_A, "t": -32.9, "arrived": -30.9, "phase": "started", "instance": "agent-2"},
                {**_A, "t": -20, "arrived": -18, "phase": "finished", "instance": "agent-2"},
            ],
            [],
        ),
        Case(
            "one process has it twice, for 1.1 s at the same time",
            [_OUT, *_run("agent-1", -60, -30), *_run("agent-1", -31.1, -20)],
            ["t1"],
            "confirmed",
        ),
        Case(
            "one process has it twice, for 1 s",
            [_OUT, *_run("agent-1", -60, -30), *_run("agent-1", -31, -20)],
            [],
        ),
        Case(
            "one process begins it twice, and ends it once: the first end may have been lost",
            [_OUT, *_run("agent-1", -60, -30), *_run("agent-1", -50, -30)],
            [],
        ),
        Case(
            "one process runs it twice, one after the other: its ID is used anew",
            [_OUT, *_run("agent-1", -60, -50), *_run("agent-1", -40, -30)],
            [],
        ),
        Case(
            "the first attempt was believed dead, and still beats beside the second",
            [
                _OUT,
                {**_A, "t": -100, "phase": "started", "instance": "agent-1"},
                {**_A, "t": -10, "phase": "heartbeat", "instance": "agent-1"},
                {**_A, "t": -40, "phase": "started", "instance": "agent-2", "attempt": 2},
                {**_A, "t": -5, "phase": "heartbeat", "instance": "agent-2", "attempt": 2},
            ],
            ["t1"],
            "confirmed",
        ),
        Case(
            "no end and no sign after the second began: that proves nothing",
            [
                _OUT,
                {**_A, "t": -100, "phase": "started", "instance": "agent-1"},
                *_run("agent-2", -40, -10, attempt=2),
            ],
            [],
        ),
        Case(
            "retries one after the other",
            [
                _OUT,
                *_run("agent-1", -100, -80, outcome="failure"),
                {**_D, "t": -79, "phase": "recorded", "state": "failure"},
                *_run("agent-2", -70, -50, attempt=2),
            ],
            [],
        ),
        Case(
            "a success that was taken for a time-out, and done again",
            [
                _OUT,
                *_run("agent-1", -100, -80),
                {**_D, "t": -79, "phase": "recorded", "state": "timeout"},
                *_run("agent-2", -70, -50, attempt=2),
            ],
            ["t1"],
            "confirmed",
        ),
        *(
            Case(
                f"likewise, and the dispatcher lost something {when}",
                [
                    _OUT,
                    *_run("agent-1", -100, -80),
                    {**_D, "t": -74, "phase": "recorded", "state": "timeout"},
                    *_run("agent-2", -70, -50, attempt=2),
                    {**_D, "t": -20, "phase": "export.failed", "from": lost, "to": lost + 1},
                ],
                ["t1"],
                verdict,
            )
            for when, lost, verdict in (
                ("in between: its ID may have been used anew", -78, "unknown"),
                ("later", -60, "confirmed"),
            )
        ),
        Case(
            "requeued under the same number, though it had succeeded",
            [
                _OUT,
                *_run("agent-1", -100, -80),
                {**_D, "t": -75, "phase": "requeued"},
                {**_D, "t": -74, "phase": "dispatched"},
                *_run("agent-2", -70, -50),
            ],
            ["t1"],
            "confirmed",
        ),
        Case(
            "delivered a second time, which nobody had asked for",
            [_OUT, *_run("agent-1", -100, -80), *_run("agent-2", -70, -50), _HEARD],
            ["t1"],
            "confirmed",
        ),
        Case(
            "the dispatcher lost what it said before that, and tells so: unknown",
            [
                _OUT,
                *_run("agent-1", -100, -80),
                *_run("agent-2", -70, -50),
                {**_HEARD, "phase": "export.failed", "from": -76, "to": -75, "lost": 2},
                _HEARD,
            ],
            ["t1"],
            "unknown",
        ),
        Case(
            "by clocks of which nothing is known but that they are minutes apart, asked for once",
            [
                {**_OUT, "t": -105},
                *ahead(_run("agent-1", -100, -70), -276),
                *_run("agent-2", -96, -60),
                _HEARD,
            ],
            ["t1"],
            "confirmed",
        ),
        Case(
            "by such clocks, asked for twice: the second may have come after the first",
            [
                {**_OUT, "t": -105},
                *ahead(_run("agent-1", -100, -70), -276),
                {**_OUT, "t": -97},
                *_run("agent-2", -96, -60),
                _HEARD,
            ],
            [],
        ),
        Case(
            "begun 30 s ago: word of a request for it may come no later",
            [_OUT, *_run("agent-1", -100, -80), *_run("agent-2", -30, -10), {**_HEARD, "t": -25}],
            ["t1"],
            "confirmed",
        ),
        Case(
            "begun 29.9 s ago: it may still come",
            [_OUT, *_run("agent-1", -100, -80), *_run("agent-2", -29.9, -10), {**_HEARD, "t": -25}],
            [],
        ),
        Case(
            "the dispatcher was not heard since: it may have asked",
            [_OUT, *_run("agent-1", -100, -80), *_run("agent-2", -70, -50)],
            [],
        ),
        Case(
            "the dispatcher is heard again for 30 s",
            [_OUT, *_run("agent-1", -100, -80), *_run("agent-2", -70, -50), {**_HEARD, "t": -30}],
            ["t1"],
            "confirmed",
        ),
        Case(
            "the dispatcher is heard again for 29.9 s: what it held may still come",
            [_OUT, *_run("agent-1", -100, -80), *_run("agent-2", -70, -50), {**_HEARD, "t": -29.9}],
            [],
        ),
        Case(
            "the task ID was used anew, and the new one's first attempt failed",
            [
                _OUT,
                *_run("agent-1", -100, -90),
                {**_D, "t": -89, "phase": "recorded", "state": "success"},
                {**_D, "t": -80, "phase": "enqueued"},
                *_run("agent-2", -79, -75, outcome="failure"),
                {**_D, "t": -74, "phase": "recorded", "state": "failure"},
                *_run("agent-3", -70, -50, attempt=2),
            ],
            [],
        ),
        Case(
            "the task ID was used anew, that was not heard, and the new one's first attempt failed",
            [
                _OUT,
                *_run("agent-1", -100, -90),
                {**_D, "t": -89, "phase": "recorded", "state": "success"},
                *_run("agent-2", -79, -75, outcome="failure"),
                {**_D, "t": -74, "phase": "recorded", "state": "failure"},
                {**_D, "t": -72, "phase": "enqueued", "attempt": 2},
                *_run("agent-3", -70, -50, attempt=2),
            ],
            [],
        ),
        Case(
            "calls prove a clock 200 s ahead: they overlap by 1.2 s, unsure by 0.1 s",
            [
                _OUT,
                *calls("agent-1", 0.0),
                *calls("agent-2", 200.0),
                *_run("agent-1", -60, -30),
                *ahead(_run("agent-2", -31.2, -20, outcome="failure"), 200.0),
            ],
            ["t1"],
            "confirmed",
        ),
        Case(
            "for 1.1 s, unsure by as much",
            [
                _OUT,
                *calls("agent-1", 0.0),
                *calls("agent-2", 200.0),
                *_run("agent-1", -60, -30),
                *ahead(_run("agent-2", -31.1, -20, outcome="failure"), 200.0),
            ],
            [],
        ),
        Case(
            "one after the other, though by their own clocks they overlap",
            [
                _OUT,
                *calls("agent-1", 0.0),
                *calls("agent-2", -20.0),
                *_run("agent-1", -60, -30),
                *ahead(_run("agent-2", -29, -10, outcome="failure"), -20.0),
            ],
            [],
        ),
        Case(
            "of two calls only, a clock 200 s ahead proves nothing",
            [
                _OUT,
                *calls("agent-1", 0.0, 2),
                *calls("agent-2", 200.0, 2),
                *_run("agent-1", -60, -30),
                *ahead(_run("agent-2", -45, -20, outcome="failure"), 200.0),
            ],
            [],
        ),
        Case(
            "a clock that was set in between proves nothing",
            [
                _OUT,
                *calls("agent-1", 0.0),
                *calls("agent-2", 200.0),
                *calls("agent-2", 0.0, t=-15),
                *_run("agent-1", -60, -30),
                *ahead(_run("agent-2", -45, -20, outcome="failure"), 200.0),
            ],
            [],
        ),
        Case(
            "a clock that drifts by 0.2 s: 1.1 s of 1.5 s are sure",
            [
                _OUT,
                *calls("agent-1", 0.0, way=0.0),
                *calls("agent-2", 200.0, way=0.0),
                *calls("agent-2", 200.2, way=0.0, t=-15),
                *_run("agent-1", -60, -30),
                *ahead(_run("agent-2", -31.5, -20, outcome="failure"), 200.2),
            ],
            ["t1"],
            "confirmed",
        ),
        Case(
            "a clock that drifts by 0.2 s: 1 s of 1.4 s is sure",
            [
                _OUT,
                *calls("agent-1", 0.0, way=0.0),
                *calls("agent-2", 200.0, way=0.0),
                *calls("agent-2", 200.2, way=0.0, t=-15),
                *_run("agent-1", -60, -30),
                *ahead(_run("agent-2", -31.4, -20, outcome="failure"), 200.2),
            ],
            [],
        ),
        Case(
            "the first one's clock drifts by 0.2 s: 1 s of 1.4 s is sure",
            [
                _OUT,
                *calls("agent-1", 0.0, way=0.0),
                *calls("agent-2", 200.0, way=0.0),
                *calls("agent-2", 200.2, way=0.0, t=-15),
                *_run("agent-1", -31.4, -20, outcome="failure"),
                *ahead(_run("agent-2", -60, -30), 200.0),
            ],
            [],
        ),
        Case(
            "it differs from itself by 0.5 s: that is a drift",
            [
                _OUT,
                *calls("agent-1", 0.0, way=0.0),
                *calls("agent-2", 200.0, way=0.0),
                *calls("agent-2", 200.5, way=0.0, t=-15),
                *_run("agent-1", -60, -30),
                *ahead(_run("agent-2", -45, -20, outcome="failure"), 200.5),
            ],
            ["t1"],
            "confirmed",
        ),
        Case(
            "by 0.6 s: it was set, and how it stood is not known",
            [
                _OUT,
                *calls("agent-1", 0.0, way=0.0),
                *calls("agent-2", 200.0, way=0.0),
                *calls("agent-2", 200.6, way=0.0, t=-15),
                *_run("agent-1", -60, -30),
                *ahead(_run("agent-2", -45, -20, outcome="failure"), 200.6),
            ],
            [],
        ),
        Case(
            "calls up to a quarter of an hour before the first sign count",
            [
                _OUT,
                *calls("agent-1", 0.0, t=-959.9),
                *calls("agent-2", 200.0, t=-959.9),
                *_run("agent-1", -60, -30),
                *ahead(_run("agent-2", -45, -20, outcome="failure"), 200.0),
            ],
            ["t1"],
            "confirmed",
        ),
        Case(
            "calls of longer ago do not",
            [
                _OUT,
                *calls("agent-1", 0.0, t=-960.5),
                *calls("agent-2", 200.0, t=-960.5),
                *_run("agent-1", -60, -30),
                *ahead(_run("agent-2", -45, -20, outcome="failure"), 200.0),
            ],
            [],
        ),
        Case(
            "their name lives on two machines: whose clock the calls tell of is not known",
            [
                _OUT,
                *calls("agent-1", 0.0),
                *calls("agent-2", 200.0, host="h1"),
                *_told(_run("agent-2", -45, -20, outcome="failure"), host="h2", boot="b2"),
                *_run("agent-1", -260, -210),
            ],
            [],
        ),
        Case(
            "the other had last called when the first had not yet: the server may have been set",
            [
                _OUT,
                *calls("agent-1", 0.0, t=-110),
                *calls("agent-2", 200.0, t=-15),
                *_run("agent-1", -60, -30),
                *ahead(_run("agent-2", -45, -20, outcome="failure"), 200.0),
            ],
            [],
        ),
        Case(
            "the task ID was used anew: handed out again after the first had ended",
            [
                _OUT,
                *_run("agent-1", -100, -80),
                {**_D, "t": -75, "phase": "dispatched"},
                *_run("agent-2", -70, -50),
            ],
            [],
        ),
        Case(
            "a person ran again what is recorded as a success",
            [
                _OUT,
                *_run("agent-1", -100, -80),
                {**_D, "t": -79, "phase": "recorded", "state": "success"},
                {**_D, "t": -75, "phase": "enqueued", "attempt": 2},
                *_run("agent-2", -70, -50, attempt=2),
            ],
            [],
        ),
        Case(
            "agents alone are heard: whether the second was asked for is not known",
            [*_run("agent-1", -100, -80), *_run("agent-2", -70, -50)],
            [],
        ),
        Case(
            "the same record twice",
            [_OUT, *_run("agent-1", -60, -30), *_run("agent-1", -60, -30)],
            [],
        ),
        Case(
            "one run, told with and without the process's boot",
            [
                _OUT,
                *_run("agent-1", -60, -30),
                *_told(_run("agent-1", -60.01, -30.01), boot="b1"),
            ],
            [],
        ),
        Case(
            "one run, told with and without the process",
            [_OUT, *_run("agent-1", -60, -30), *_told(_run("", -60.01, -30.01), instance=None)],
            [],
        ),
        Case(
            "one run, in a log under one name and in spans under another",
            [
                _OUT,
                *_run("agent-1", -60, -30),
                {
                    **_A,
                    "kind": "span",
                    "t": -60.01,
                    "end": -29.99,
                    "phase": "finished",
                    "outcome": "success",
                    "instance": "8d5f",
                },
            ],
            [],
        ),
        Case(
            "two nodes without a lock, at the same moment, in the same kind of log",
            [_OUT, *_run("agent-1", -60, -30), *_run("agent-2", -60.01, -29.99)],
            ["t1"],
            "confirmed",
        ),
    ],
)
