"""A task began when it could not have: after its final state, or before what it depends on.

## Meaning
The order of events, by their senders' own clocks and beyond what these may differ by, is one that
cannot be: a run began although a final state was already recorded, and nobody had queued or handed
out the task again; it was handed out for the first time after its final state; a run ended before
it began, by the same process's clock; or a dependent began before what it depends on had ended.
The order in which signals came in does not count.

## Impact
Two parts of the scheduler do not agree on the state of a task. Work is done that was given up or
cancelled, or on inputs that do not exist yet.

## Diagnosis
After a final state: was the work delivered late (a prefetched message, a slow queue), and does the
agent ask whether it is still wanted? Did one node read a state that another had already replaced?
Dependents first: who decides that a task is ready, and on which copy of the state? End before
start: two runs under one name, or a clock that was set back.

## Mitigation
Check what the run has changed. Then make each change of state conditional on the state it comes
from, in one statement (compare and set), and let agents give up work whose task is already final.
"""

from detectors._kit import Case, Detector

_A = {"side": "agent", "service": "agent", "task_name": "pay", "task": "t1", "instance": "agent-1"}
_D = {"side": "dispatcher", "service": "oxr", "task_name": "pay", "task": "t1"}
_OUT = [{**_D, "t": -100, "phase": "enqueued"}, {**_D, "t": -99, "phase": "dispatched"}]
_FINAL = {**_D, "t": -60, "phase": "recorded", "state": "timeout"}

_STOCK = {"task": "t0", "task_name": "stock"}
_NEEDED = [
    {**_D, **_STOCK, "t": -110, "phase": "dispatched"},
    {**_A, **_STOCK, "t": -105, "phase": "started", "instance": "agent-2"},
]
_NEEDED_DONE = {
    **_A,
    **_STOCK,
    "phase": "finished",
    "outcome": "success",
    "instance": "agent-2",
}
_DEPENDENT = [
    *({**one, "depends_on": "t0"} for one in _OUT),
    {**_A, "t": -50, "phase": "started", "depends_on": "t0"},
]

DETECTOR = Detector(
    severity="warning",
    lasts="occurrence",
    every_s=30.0,
    follows=(
        "agent_down",
        "gave_up_but_committed",
        "silent_task",
        "timeout_lattice",
        "zombie_task",
        "clock_skew",
    ),
    thresholds={"order_margin_s": 1.0},
    sql="""
WITH clock AS (
  SELECT namespace, service, instance, min(lag_us) AS least_us, max(lag_us) AS most_us
  FROM instances GROUP BY namespace, service, instance
),
clocks_of AS (
  SELECT namespace, service, min(lag_us) AS least_us, max(lag_us) AS most_us
  FROM instances GROUP BY namespace, service
),
told_by AS (
  SELECT namespace, service, instance, least_us, most_us, 0 AS recorded FROM clock
  UNION ALL
  SELECT namespace, service, '', least_us, most_us, 1 FROM clocks_of
),
closed_again AS (
  SELECT o.namespace, o.task, o.attempt, o.name, o.service, o.queue, o.agent, o.agent_service,
    o.request_id, o.recorded_state, o.recorded_us, o.recorded_last_us, o.started_last_us,
    o.running_us, o.enqueued_us, o.enqueued_last_us, o.requeued_us
  FROM attempts o
  WHERE o.last_seen_us > {now} - {occurrence_us} AND o.recorded_us IS NOT NULL
    AND NOT o.joined_late AND o.recorded_seen_us >= (SELECT min(m.arrived_us) FROM marks m)
    AND (o.started_last_us > o.recorded_us OR o.running_us > o.recorded_last_us)
),
backwards AS (
  SELECT r.namespace, r.task, r.attempt, r.instance, r.service, r.started_us, r.finished_us,
    r.finished_seen_us
  FROM runs r WHERE r.last_seen_us > {now} - {occurrence_us} AND r.finished_us < r.started_us
),
early AS (
  SELECT DISTINCT d.namespace AS namespace, d.task AS task, d.attempt AS attempt
  FROM (SELECT o.namespace, o.task, o.attempt, o.depends_on, o.last_seen_us,
      CASE WHEN coalesce(o.enqueued_last_us, 0) <= coalesce(o.enqueued_us, 0)
        OR o.enqueued_last_us <= o.started_us
        THEN o.started_us WHEN o.started_last_us > o.enqueued_last_us THEN o.started_last_us END
        AS started_us
    FROM attempts o WHERE o.depends_on IS NOT NULL AND o.started_us IS NOT NULL) d
  JOIN attempts n ON n.namespace = d.namespace AND n.task = d.depends_on
  WHERE coalesce(n.finished_us, n.recorded_us, n.sign_last_us) > d.started_us
    AND (d.last_seen_us > {now} - {occurrence_us} OR n.last_seen_us > {now} - {occurrence_us})
),
dependents AS (
  SELECT o.namespace, o.task, o.attempt, o.name, o.service, o.queue, o.agent, o.agent_service,
    o.request_id, o.depends_on, o.last_seen_us,
    CASE WHEN coalesce(o.enqueued_last_us, 0) <= coalesce(o.enqueued_us, 0)
        OR o.enqueued_last_us <= o.started_us
      THEN o.started_us WHEN o.started_last_us > o.enqueued_last_us THEN o.started_last_us END
      AS started_us
  FROM attempts o
  WHERE NOT o.joined_late AND EXISTS (SELECT 1 FROM early e WHERE e.namespace = o.namespace
    AND e.task = o.task AND e.attempt = o.attempt)
),
needed AS (
  SELECT o.namespace, o.task, o.attempt, o.agent, o.agent_service, o.service, o.first_us,
    o.joined_late, o.last_seen_us, coalesce(o.finished_us, o.recorded_us) AS ended_us,
    coalesce(o.finished_us, o.recorded_us, o.sign_last_us) AS until_us,
    CASE WHEN o.finished_us IS NULL AND o.recorded_us IS NOT NULL THEN 1 ELSE 0 END AS recorded,
    CASE WHEN coalesce(o.outcome, o.recorded_state) = 'success' THEN 1 ELSE 0 END AS succeeded
  FROM attempts o WHERE EXISTS (SELECT 1 FROM dependents d WHERE d.namespace = o.namespace
    AND d.depends_on = o.task)
),
suspects AS (
  SELECT namespace, task FROM closed_again UNION SELECT namespace, task FROM backwards
),
asked AS (
  SELECT m.namespace, m.task, max(m.ts_us) AS asked_us,
    max(CASE WHEN m.phase IN ('enqueued', 'requeued') THEN m.ts_us END) AS queued_us
  FROM marks m
  WHERE (m.phase IN ('enqueued', 'requeued', 'dispatched')
      OR m.phase = 'call.committed' AND m.purpose = 'dispatch')
    AND EXISTS (SELECT 1 FROM suspects s WHERE s.namespace = m.namespace AND s.task = m.task)
  GROUP BY m.namespace, m.task
),
own AS (
  SELECT o.namespace, o.task, o.attempt, o.name, o.service, o.queue, o.request_id, o.joined_late,
    o.running_seen_us
  FROM attempts o WHERE EXISTS (SELECT 1 FROM backwards b WHERE b.namespace = o.namespace
    AND b.task = o.task AND b.attempt = o.attempt)
),
after_final AS (
  SELECT c.namespace AS namespace, c.task AS task, c.attempt AS attempt, c.name AS name,
    c.service AS service, c.queue AS queue, c.agent AS agent, c.request_id AS request_id,
    c.began AS began, c.recorded_state AS recorded_state,
    CASE WHEN c.began = 1 THEN c.started_last_us ELSE c.running_us END AS since_us,
    CASE WHEN c.began = 1 THEN c.started_last_us - c.recorded_us
        - (CASE WHEN l.most_us > d.most_us THEN l.most_us ELSE d.most_us END)
        + (CASE WHEN l.least_us < d.least_us THEN l.least_us ELSE d.least_us END)
      WHEN c.queued = 0 AND c.enqueued_last_us <= c.recorded_us AND c.requeued_us IS NULL
        THEN c.running_us - c.recorded_last_us - (d.most_us - d.least_us) END AS by_us
  FROM (SELECT g.*, CASE WHEN coalesce(q.asked_us, 0) <= g.recorded_us THEN 1 ELSE 0 END AS began,
      CASE WHEN q.queued_us > g.recorded_us THEN 1 ELSE 0 END AS queued
    FROM closed_again g LEFT JOIN asked q ON q.namespace = g.namespace AND q.task = g.task) c
  JOIN clocks_of d ON d.namespace = c.namespace AND d.service = coalesce(c.service, '')
  LEFT JOIN clock l ON l.namespace = c.namespace AND l.service = coalesce(c.agent_service, '')
    AND l.instance = coalesce(c.agent, '')
),
ended_first AS (
  SELECT b.namespace AS namespace, b.task AS task, b.attempt AS attempt, o.name AS name,
    o.service AS service, o.queue AS queue, b.instance AS agent, o.request_id AS request_id,
    b.started_us AS since_us, b.started_us - b.finished_us AS by_us
  FROM backwards b
  JOIN own o ON o.namespace = b.namespace AND o.task = b.task AND o.attempt = b.attempt
  LEFT JOIN asked q ON q.namespace = b.namespace AND q.task = b.task
  WHERE NOT o.joined_late AND o.running_seen_us <= b.finished_seen_us
    AND coalesce(q.asked_us, 0) <= b.finished_us
),
before_needed AS (
  SELECT d.namespace AS namespace, d.task AS task, d.attempt AS attempt, d.name AS name,
    d.service AS service, d.queue AS queue, d.agent AS agent, d.request_id AS request_id,
    d.depends_on AS depends_on, d.started_us AS since_us, d.last_seen_us AS last_seen_us,
    n.attempt AS needed_attempt, n.last_seen_us AS needed_seen_us, n.succeeded AS succeeded,
    n.joined_late AS joined_late, n.first_us AS first_us, n.ended_us AS ended_us,
    n.until_us - d.started_us
      - (CASE WHEN l.most_us > m.most_us THEN l.most_us ELSE m.most_us END)
      + (CASE WHEN l.least_us < m.least_us THEN l.least_us ELSE m.least_us END) AS by_us
  FROM dependents d
  JOIN needed n ON n.namespace = d.namespace AND n.task = d.depends_on
  JOIN clock l ON l.namespace = d.namespace AND l.service = coalesce(d.agent_service, '')
    AND l.instance = coalesce(d.agent, '')
  JOIN told_by m ON m.namespace = n.namespace AND m.recorded = n.recorded
    AND m.service = CASE WHEN n.recorded = 1 THEN coalesce(n.service, '')
      ELSE coalesce(n.agent_service, n.service, '') END
    AND m.instance = CASE WHEN n.recorded = 1 THEN '' ELSE coalesce(n.agent, '') END
)
SELECT a.namespace, a.task || '/' || CAST(a.attempt AS VARCHAR) AS subject, a.name, a.service,
  a.queue, a.since_us, a.task, a.attempt, a.request_id, a.agent, a.depends_on, a.what,
  a.by_us / 1e6 AS by_s
FROM (
  SELECT namespace, task, attempt, name, service, queue, agent, request_id,
    CAST(NULL AS VARCHAR) AS depends_on, since_us, by_us, CASE WHEN began = 1
      THEN 'a run of it began after it had been recorded as '
      ELSE 'it was first handed out after it had been recorded as ' END || recorded_state AS what
  FROM after_final
  UNION ALL
  SELECT namespace, task, attempt, name, service, queue, agent, request_id,
    CAST(NULL AS VARCHAR), since_us, by_us, 'its run ended before it began'
  FROM ended_first
  UNION ALL
  SELECT namespace, task, attempt, name, service, queue, agent, request_id, depends_on, since_us,
    max(by_us), 'it began before ' || depends_on || ', on which it depends, had ended'
  FROM before_needed
  GROUP BY namespace, task, attempt, name, service, queue, agent, request_id, depends_on, since_us
  HAVING min(needed_attempt) <= 1 AND max(CASE WHEN joined_late THEN 1 ELSE 0 END) = 0
    AND max(CASE WHEN last_seen_us > needed_seen_us THEN last_seen_us ELSE needed_seen_us END)
      > {now} - {occurrence_us}
    AND max(CASE WHEN by_us <= 0 AND succeeded = 1 THEN 1 ELSE 0 END) = 0
    AND max(CASE WHEN by_us > 0 AND first_us <= since_us THEN 1 ELSE 0 END)
      >= max(CASE WHEN by_us <= 0 AND ended_us IS NOT NULL THEN 1 ELSE 0 END)
) a
WHERE a.by_us > {order_margin_s} * 1e6
QUALIFY row_number() OVER (PARTITION BY a.namespace, a.task, a.attempt
  ORDER BY a.since_us, a.what) = 1
ORDER BY since_us, subject""",
    fix="Check what {task} has done on {agent}, and undo it if need be: {what}, by {by_s} s.",
    only_if={
        "attempts": (
            "a.depends_on IS NOT NULL OR a.recorded_us IS NOT NULL AND (a.started_last_us > "
            "a.recorded_us OR a.running_us > a.recorded_last_us)"
        ),
        "runs": "a.finished_us < a.started_us",
    },
    cases=[
        Case(
            "a run began 1.1 s after the final state",
            [*_OUT, _FINAL, {**_A, "t": -58.9, "phase": "started"}],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "within the margin: 1 s after it",
            [*_OUT, _FINAL, {**_A, "t": -59, "phase": "started"}],
            [],
        ),
        Case(
            "the agent's clock may be ahead by as much",
            [*_OUT, _FINAL, {**_A, "t": -50, "arrived": -59.5, "phase": "started"}],
            [],
        ),
        Case(
            "ordered events that came in the other order",
            [
                *_OUT,
                {**_FINAL, "t": -30, "arrived": -29},
                {**_A, "t": -95, "arrived": -1, "phase": "started"},
                {**_A, "t": -94, "arrived": -94, "phase": "accepted"},
            ],
            [],
        ),
        Case(
            "it was requeued in between",
            [
                *_OUT,
                _FINAL,
                {**_D, "t": -55, "phase": "requeued"},
                {**_A, "t": -50, "phase": "started"},
            ],
            [],
        ),
        Case(
            "run again by hand: it was handed out anew",
            [
                *_OUT,
                {**_A, "t": -98, "phase": "started"},
                {**_A, "t": -70, "phase": "finished", "outcome": "success"},
                {**_FINAL, "state": "success"},
                {**_D, "t": -55, "phase": "dispatched"},
                {**_A, "t": -50, "phase": "started"},
            ],
            [],
        ),
        Case(
            "agents do not number attempts: the second began under the first one's number",
            [
                *_OUT,
                _FINAL,
                {**_D, "t": -55, "phase": "dispatched", "attempt": 2},
                {**_A, "t": -50, "phase": "started"},
            ],
            [],
        ),
        Case(
            "to be recorded as running again is no hand-out",
            [
                *_OUT,
                _FINAL,
                {**_A, "t": -50, "phase": "started"},
                {**_D, "t": -49, "phase": "recorded", "state": "running"},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "cancelled while it waited, and handed out all the same",
            [
                _OUT[0],
                {**_FINAL, "state": "canceled"},
                {**_D, "t": -50, "phase": "dispatched"},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "cancelled while it waited, and queued again",
            [
                _OUT[0],
                {**_FINAL, "state": "canceled"},
                {**_D, "t": -55, "phase": "enqueued"},
                {**_D, "t": -50, "phase": "dispatched"},
            ],
            [],
        ),
        Case(
            "its beginning was never seen",
            [
                {**_A, "t": -98, "phase": "started"},
                _FINAL,
                {**_A, "t": -50, "phase": "started"},
            ],
            [],
        ),
        Case(
            "an end before the start, by one clock",
            [
                *_OUT,
                {**_A, "t": -50, "phase": "started"},
                {**_A, "t": -52, "phase": "finished", "outcome": "success"},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "two loggers of one process round their times differently",
            [
                *_OUT,
                {**_A, "t": -50.1, "phase": "started"},
                {**_A, "t": -51, "phase": "finished", "outcome": "success"},
            ],
            [],
        ),
        Case(
            "a second run by the same process, and the first one's start was lost",
            [
                *_OUT,
                {**_A, "t": -90, "phase": "finished", "outcome": "success"},
                {**_D, "t": -80, "phase": "enqueued"},
                {**_D, "t": -79, "phase": "dispatched"},
                {**_A, "t": -70, "phase": "started"},
            ],
            [],
        ),
        Case(
            "its end is known by the record alone, and the dispatcher's clock is ahead",
            [
                *_NEEDED,
                {
                    **_D,
                    **_STOCK,
                    "t": 150,
                    "arrived": -55,
                    "phase": "recorded",
                    "state": "success",
                },
                *_DEPENDENT,
            ],
            [],
        ),
        Case(
            "its ID had been used before, for a task that depended on nothing",
            [
                {**_D, "t": -900, "phase": "enqueued"},
                {**_A, "t": -890, "phase": "started"},
                {**_A, "t": -880, "phase": "finished", "outcome": "success"},
                {**_D, "t": -879, "phase": "recorded", "state": "success"},
                *_NEEDED,
                {**_NEEDED_DONE, "t": -102},
                *_DEPENDENT,
            ],
            [],
        ),
        Case(
            "its ID had been used before, and it waits for what it now depends on",
            [
                {**_D, "t": -900, "phase": "enqueued"},
                {**_A, "t": -890, "phase": "started"},
                {**_A, "t": -880, "phase": "finished", "outcome": "success"},
                {**_D, "t": -879, "phase": "recorded", "state": "success"},
                *_NEEDED,
                {**_OUT[0], "depends_on": "t0"},
            ],
            [],
        ),
        Case(
            "a dependent began 20 s before what it depends on had ended",
            [*_NEEDED, *_DEPENDENT, {**_NEEDED_DONE, "t": -30}],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "a dependent began while what it depends on still beats",
            [
                *_NEEDED,
                *_DEPENDENT,
                {**_NEEDED_DONE, "t": -30, "phase": "heartbeat", "outcome": None},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "a dependent began before what it depends on had begun",
            [
                *_DEPENDENT,
                {**_D, **_STOCK, "t": -40, "phase": "dispatched"},
                {**_NEEDED_DONE, "t": -30},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "it began afterwards",
            [*_NEEDED, {**_NEEDED_DONE, "t": -51}, *_DEPENDENT],
            [],
        ),
        Case(
            "afterwards, though word of the end came later",
            [*_NEEDED, *_DEPENDENT, {**_NEEDED_DONE, "t": -51, "arrived": -1}],
            [],
        ),
        Case(
            "no end was seen yet, and no sign since: that proves nothing",
            [*_NEEDED, *_DEPENDENT],
            [],
        ),
        Case(
            "what it depends on was run again by hand later",
            [
                *_NEEDED,
                {**_NEEDED_DONE, "t": -60},
                *_DEPENDENT,
                {**_D, **_STOCK, "t": -40, "phase": "dispatched", "attempt": 2},
                {**_NEEDED_DONE, "t": -30, "attempt": 2},
            ],
            [],
        ),
        Case(
            "what it depends on had failed, and was being tried again",
            [
                *_NEEDED,
                {**_NEEDED_DONE, "t": -70, "outcome": "failure"},
                {**_D, **_STOCK, "t": -60, "phase": "enqueued", "attempt": 2},
                *_DEPENDENT,
                {**_NEEDED_DONE, "t": -30, "attempt": 2},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "it had failed for good, and a person tried it again later",
            [
                *_NEEDED,
                {**_NEEDED_DONE, "t": -70, "outcome": "failure"},
                *_DEPENDENT,
                {**_D, **_STOCK, "t": -40, "phase": "enqueued", "attempt": 2},
                {**_NEEDED_DONE, "t": -30, "attempt": 2},
            ],
            [],
        ),
    ],
)
