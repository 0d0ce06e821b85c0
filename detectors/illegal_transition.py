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
from detectors._offsets import OFFSETS, ahead, calls

_A = {"side": "agent", "service": "agent", "task_name": "pay", "task": "t1", "instance": "agent-1"}
_D = {"side": "dispatcher", "service": "oxr", "task_name": "pay", "task": "t1"}
_OUT = [{**_D, "t": -100, "phase": "enqueued"}, {**_D, "t": -99, "phase": "dispatched"}]
_FINAL = {**_D, "t": -60, "phase": "recorded", "state": "timeout"}
_BEGUN = {**_A, "t": -50, "phase": "started"}
_HEARD = {"side": "dispatcher", "service": "oxr", "t": -45, "phase": "heartbeat"}
"""A dispatcher that is heard after the run began: what it would have asked has come."""
_BY = {"instance": "oxr-1"}
_OTHER = {"instance": "oxr-2"}

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
    thresholds={"order_margin_s": 1.0, "late_s": 30.0},
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
    o.request_id, o.recorded_state, o.recorded_us, o.recorded_seen_us, o.recorded_last_us,
    o.started_seen_us,
    o.started_last_us, o.running_us, o.enqueued_us, o.enqueued_last_us, o.requeued_us
  FROM attempts o
  WHERE o.last_seen_us > {now} - {occurrence_us} AND o.recorded_us IS NOT NULL
    AND NOT o.joined_late AND o.recorded_seen_us >= (SELECT min(m.arrived_us) FROM marks m)
    AND (o.started_last_us > o.recorded_us OR o.running_us > o.recorded_last_us
      OR o.started_seen_us > o.recorded_seen_us)
),
backwards AS (
  SELECT r.namespace, r.task, r.attempt, r.instance, r.service, r.started_us, r.finished_us,
    r.finished_seen_us
  FROM runs r WHERE r.last_seen_us > {now} - {occurrence_us} AND r.finished_us < r.started_us
),
early AS (
  SELECT DISTINCT d.namespace AS namespace, d.task AS task, d.attempt AS attempt
  FROM attempts d JOIN attempts n ON n.namespace = d.namespace AND n.task = d.depends_on
  WHERE d.depends_on IS NOT NULL AND d.started_last_us - d.started_us <= 1000000
    AND NOT d.joined_late
    AND (d.enqueued_last_us - d.enqueued_us <= 1000000 OR d.requeued_us IS NOT NULL
      OR d.enqueued_us IS NULL)
    AND (d.enqueued_us IS NULL OR d.enqueued_seen_us - d.started_seen_us <= 60000000)
    AND (coalesce(n.finished_us, n.recorded_us, n.sign_last_us) > d.started_us
      OR coalesce(n.finished_seen_us, n.recorded_seen_us, n.sign_last_seen_us) > d.started_seen_us)
    AND (d.last_seen_us > {now} - {occurrence_us} OR n.last_seen_us > {now} - {occurrence_us})
),
dependents AS (
  SELECT o.namespace, o.task, o.attempt, o.name, o.service, o.queue, o.agent, o.agent_service,
    o.request_id, o.depends_on, o.last_seen_us, o.started_us, o.started_seen_us
  FROM attempts o
  WHERE EXISTS (SELECT 1 FROM early e WHERE e.namespace = o.namespace
    AND e.task = o.task AND e.attempt = o.attempt)
),
needed AS (
  SELECT o.namespace, o.task, o.attempt, o.agent, o.agent_service, o.service, o.first_us,
    o.joined_late, o.last_seen_us, coalesce(o.finished_us, o.recorded_us) AS ended_us,
    o.first_seen_us,
    -- of two runs, that of which no end was heard may have ended first
    CASE WHEN (o.finished_us = o.finished_last_us AND NOT EXISTS (SELECT 1 FROM runs r
          WHERE r.namespace = o.namespace AND r.task = o.task AND r.attempt = o.attempt
            AND r.sign_us IS NOT NULL AND r.finished_us IS NULL)
        OR o.finished_us IS NULL) AND (
        o.enqueued_us IS NULL OR o.enqueued_last_us - o.enqueued_us <= 1000000
        OR o.requeued_us IS NOT NULL)
      THEN coalesce(o.finished_us, o.recorded_us, o.sign_last_us) END AS until_us,
    CASE WHEN o.finished_us IS NULL AND o.recorded_us IS NOT NULL THEN 1 ELSE 0 END AS recorded,
    CASE WHEN coalesce(o.outcome, o.recorded_state) = 'success'
      OR o.enqueued_last_us - o.enqueued_us > 1000000 AND o.requeued_us IS NULL
      THEN 1 ELSE 0 END AS succeeded
  FROM attempts o WHERE EXISTS (SELECT 1 FROM dependents d WHERE d.namespace = o.namespace
    AND d.depends_on = o.task)
),
suspects AS (
  SELECT namespace, task FROM closed_again UNION SELECT namespace, task FROM backwards
),
spoken AS (
  SELECT m.namespace, m.task, coalesce(m.attempt, 1) AS attempt, m.phase, m.ts_us, m.arrived_us,
    coalesce(m.instance, '') AS instance,
    CASE WHEN m.phase IN ('enqueued', 'requeued', 'dispatched')
      OR m.phase = 'call.committed' AND m.purpose = 'dispatch' THEN 1 ELSE 0 END AS asks
  FROM marks m WHERE EXISTS (SELECT 1 FROM suspects s WHERE s.namespace = m.namespace
    AND s.task = m.task)
),
asked AS (
  SELECT namespace, task, max(ts_us) AS asked_us, max(arrived_us) AS arrived_us,
    max(CASE WHEN phase IN ('enqueued', 'requeued') THEN ts_us END) AS queued_us
  FROM spoken WHERE asks = 1 GROUP BY namespace, task
),
closing AS (
  SELECT c.namespace AS namespace, c.task AS task, c.attempt AS attempt,
    c.recorded_us AS recorded_us, c.started_last_us AS started_last_us,
    c.started_seen_us AS started_seen_us, max(m.instance) AS recorder
  FROM closed_again c JOIN spoken m ON m.namespace = c.namespace AND m.task = c.task
    AND m.attempt = c.attempt AND m.phase = 'recorded' AND m.ts_us = c.recorded_us
  GROUP BY c.namespace, c.task, c.attempt, c.recorded_us, c.started_last_us, c.started_seen_us
),
beside AS (
  SELECT k.namespace AS namespace, k.task AS task, k.attempt AS attempt,
    k.recorded_us AS recorded_us, k.recorder AS recorder, m.instance AS instance, m.asks AS asks,
    m.ts_us AS ts_us, m.arrived_us AS arrived_us
  FROM closing k JOIN spoken m ON m.namespace = k.namespace AND m.task = k.task
  WHERE m.asks = 1 OR m.attempt = k.attempt AND m.ts_us = k.started_last_us
    AND m.phase IN ('accepted', 'started', 'finished')
),
meet AS (
  SELECT namespace, recorder AS instance, instance AS other, min(arrived_us) AS since_us
  FROM beside GROUP BY namespace, recorder, instance
  UNION ALL
  SELECT d.namespace, d.agent, n.agent, min(d.started_seen_us)
  FROM dependents d JOIN needed n ON n.namespace = d.namespace AND n.task = d.depends_on
  WHERE d.agent IS NOT NULL AND n.agent IS NOT NULL GROUP BY d.namespace, d.agent, n.agent
),"""
    + OFFSETS
    + """,
again AS (
  SELECT m.namespace AS namespace, m.task AS task, m.attempt AS attempt,
    max(CASE WHEN m.asks = 1 AND m.ts_us - o.least_us > m.recorded_us THEN 1 ELSE 0 END) AS asked,
    min(CASE WHEN m.asks = 0 THEN m.ts_us - o.most_us - m.recorded_us END) AS by_us,
    min(CASE WHEN m.asks = 0 THEN m.arrived_us END) AS heard_us
  FROM beside m JOIN offsets o ON o.namespace = m.namespace AND o.instance = m.recorder
    AND o.other = m.instance
  GROUP BY m.namespace, m.task, m.attempt
),
listened AS (
  SELECT namespace, arrived_us // 10000000 AS bin, min(arrived_us) AS first_us,
    max(arrived_us) AS last_us
  FROM marks WHERE side = 'dispatcher' AND arrived_us > {now} - {occurrence_us}
    AND EXISTS (SELECT 1 FROM closed_again c WHERE c.namespace = marks.namespace)
  GROUP BY namespace, arrived_us // 10000000
),
unasked AS (
  SELECT a.namespace AS namespace, a.task AS task, a.attempt AS attempt, a.by_us AS by_us,
    a.heard_us AS heard_us,
    min(CASE WHEN l.first_us > a.heard_us THEN l.first_us ELSE l.last_us END) AS next_us
  FROM again a JOIN listened l ON l.namespace = a.namespace
  WHERE a.asked = 0 AND a.by_us > 0 AND l.last_us > a.heard_us
  GROUP BY a.namespace, a.task, a.attempt, a.by_us, a.heard_us
),
own AS (
  SELECT o.namespace, o.task, o.attempt, o.name, o.service, o.queue, o.request_id, o.joined_late,
    o.running_seen_us
  FROM attempts o WHERE EXISTS (SELECT 1 FROM backwards b WHERE b.namespace = o.namespace
    AND b.task = o.task AND b.attempt = o.attempt)
),
after_final AS (
  SELECT a.namespace AS namespace, a.task AS task, a.attempt AS attempt, a.name AS name,
    a.service AS service, a.queue AS queue, a.agent AS agent, a.request_id AS request_id,
    a.recorded_state AS recorded_state, a.started_last_us AS since_us, u.by_us AS by_us,
    a.recorded_seen_us AS heard_us, u.heard_us AS word_due_us
  FROM closed_again a JOIN unasked u ON u.namespace = a.namespace AND u.task = a.task
    AND u.attempt = a.attempt
  WHERE {now} - u.heard_us >= {late_us}
    AND (u.next_us - u.heard_us < 20000000 OR {now} - u.next_us >= {late_us})
),
handed_out AS (
  SELECT c.namespace AS namespace, c.task AS task, c.attempt AS attempt, c.name AS name,
    c.service AS service, c.queue AS queue, c.agent AS agent, c.request_id AS request_id,
    c.recorded_state AS recorded_state, c.running_us AS since_us,
    c.running_us - c.recorded_last_us - (d.most_us - d.least_us) AS by_us
  FROM closed_again c
  JOIN asked q ON q.namespace = c.namespace AND q.task = c.task
  JOIN clocks_of d ON d.namespace = c.namespace AND d.service = coalesce(c.service, '')
  WHERE coalesce(q.queued_us, 0) <= c.recorded_us AND c.enqueued_last_us <= c.recorded_us
    AND c.requeued_us IS NULL AND q.asked_us > c.recorded_us
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
    AND coalesce(q.arrived_us, 0) <= b.finished_seen_us
),
before_needed AS (
  SELECT d.namespace AS namespace, d.task AS task, d.attempt AS attempt, d.name AS name,
    d.service AS service, d.queue AS queue, d.agent AS agent, d.request_id AS request_id,
    d.depends_on AS depends_on, d.started_us AS since_us, d.last_seen_us AS last_seen_us,
    n.attempt AS needed_attempt, n.last_seen_us AS needed_seen_us, n.succeeded AS succeeded,
    n.joined_late AS joined_late, n.first_us AS first_us, n.ended_us AS ended_us,
    CASE WHEN n.recorded = 0 AND f.most_us IS NOT NULL
      THEN n.until_us - f.most_us - d.started_us
      ELSE n.until_us - d.started_us
      - (CASE WHEN l.most_us > m.most_us THEN l.most_us ELSE m.most_us END)
      + (CASE WHEN l.least_us < m.least_us THEN l.least_us ELSE m.least_us END) END AS by_us
  FROM dependents d
  JOIN needed n ON n.namespace = d.namespace AND n.task = d.depends_on
    AND n.first_seen_us - d.started_seen_us <= 60000000
  JOIN clock l ON l.namespace = d.namespace AND l.service = coalesce(d.agent_service, '')
    AND l.instance = coalesce(d.agent, '')
  JOIN told_by m ON m.namespace = n.namespace AND m.recorded = n.recorded
    AND m.service = CASE WHEN n.recorded = 1 THEN coalesce(n.service, '')
      ELSE coalesce(n.agent_service, n.service, '') END
    AND m.instance = CASE WHEN n.recorded = 1 THEN '' ELSE coalesce(n.agent, '') END
  LEFT JOIN offsets f ON f.namespace = d.namespace AND f.instance = d.agent AND f.other = n.agent
)
SELECT a.namespace, a.task || '/' || CAST(a.attempt AS VARCHAR) AS subject, a.name, a.service,
  a.queue, a.since_us, a.task, a.attempt, a.request_id, a.agent, a.depends_on, a.what,
  a.by_us / 1e6 AS by_s, a.heard_us, a.word_due_us, 'dispatcher' AS word_side
FROM (
  SELECT namespace, task, attempt, name, service, queue, agent, request_id,
    CAST(NULL AS VARCHAR) AS depends_on, since_us, by_us,
    'a run of it began after it had been recorded as ' || recorded_state AS what,
    heard_us, word_due_us
  FROM after_final
  UNION ALL
  SELECT namespace, task, attempt, name, service, queue, agent, request_id,
    CAST(NULL AS VARCHAR), since_us, by_us,
    'it was first handed out after it had been recorded as ' || recorded_state,
    CAST(NULL AS BIGINT), CAST(NULL AS BIGINT)
  FROM handed_out
  UNION ALL
  SELECT namespace, task, attempt, name, service, queue, agent, request_id,
    CAST(NULL AS VARCHAR), since_us, by_us, 'its run ended before it began',
    CAST(NULL AS BIGINT), CAST(NULL AS BIGINT)
  FROM ended_first
  UNION ALL
  SELECT namespace, task, attempt, name, service, queue, agent, request_id, depends_on, since_us,
    max(by_us), 'it began before ' || depends_on || ', on which it depends, had ended',
    CAST(NULL AS BIGINT), CAST(NULL AS BIGINT)
  FROM before_needed
  GROUP BY namespace, task, attempt, name, service, queue, agent, request_id, depends_on, since_us
  HAVING min(needed_attempt) <= 1 AND max(CASE WHEN joined_late THEN 1 ELSE 0 END) = 0
    AND max(CASE WHEN last_seen_us > needed_seen_us THEN last_seen_us ELSE needed_seen_us END)
      > {now} - {occurrence_us}
    AND max(CASE WHEN by_us <= 0 AND succeeded = 1 THEN 1 ELSE 0 END) = 0
    AND max(CASE WHEN by_us > 0 AND first_us <= since_us THEN 1 ELSE 0 END)
      >= max(CASE WHEN by_us <= 0 AND ended_us IS NOT NULL THEN 1 ELSE 0 END)
) a
WHERE a.by_us > {order_margin_us}
QUALIFY row_number() OVER (PARTITION BY a.namespace, a.task, a.attempt
  ORDER BY a.since_us, a.what) = 1
ORDER BY since_us, subject""",
    fix="Check what {task} has done on {agent}, and undo it if need be: {what}, by {by_s} s.",
    only_if={
        "attempts": (
            "a.depends_on IS NOT NULL OR a.last_seen_us > {now} - {occurrence_us} AND"
            " (a.started_last_us > a.recorded_us OR a.running_us > a.recorded_last_us OR"
            " a.started_seen_us > a.recorded_seen_us)"
        ),
        "runs": "a.last_seen_us > {now} - {occurrence_us} AND a.finished_us < a.started_us",
    },
    cases=[
        Case(
            "a run began 1.1 s after the final state",
            [*_OUT, _FINAL, {**_A, "t": -58.9, "phase": "started"}, _HEARD],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "the dispatcher lost what it said in between, and tells so: unknown",
            [
                *_OUT,
                _FINAL,
                _BEGUN,
                {**_HEARD, "phase": "export.failed", "from": -56, "to": -55, "lost": 2},
                _HEARD,
            ],
            ["t1/1"],
            "unknown",
        ),
        Case(
            "it lost something afterwards",
            [
                *_OUT,
                _FINAL,
                _BEGUN,
                {**_HEARD, "t": -44, "phase": "export.failed", "from": -46, "to": -45, "lost": 2},
                _HEARD,
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "begun 30 s ago: word of a request for it may come no later",
            [*_OUT, _FINAL, {**_A, "t": -30, "phase": "started"}, {**_HEARD, "t": -25}],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "begun 29.9 s ago: it may still come",
            [*_OUT, _FINAL, {**_A, "t": -29.9, "phase": "started"}, {**_HEARD, "t": -25}],
            [],
        ),
        Case(
            "the dispatcher was not heard since: it may have asked",
            [*_OUT, _FINAL, _BEGUN],
            [],
        ),
        Case(
            "the dispatcher is heard again for 30 s",
            [*_OUT, _FINAL, _BEGUN, {**_HEARD, "t": -30}],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "the dispatcher is heard again for 29.9 s: what it held may still come",
            [*_OUT, _FINAL, _BEGUN, {**_HEARD, "t": -29.9}],
            [],
        ),
        Case(
            "calls prove an agent's clock 200 s behind: it began 1.2 s after the final state",
            [
                *calls("agent-1", -200.0),
                *({**one, **_BY} for one in (*_OUT, _FINAL)),
                *ahead([{**_A, "t": -58.8, "phase": "started"}], -200.0),
                _HEARD,
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "1.05 s after it, unsure by 0.05 s",
            [
                *calls("agent-1", -200.0),
                *({**one, **_BY} for one in (*_OUT, _FINAL)),
                *ahead([{**_A, "t": -58.95, "phase": "started"}], -200.0),
                _HEARD,
            ],
            [],
        ),
        Case(
            "it began before the final state, by an agent's clock 200 s ahead",
            [
                *calls("agent-1", 200.0),
                *({**one, **_BY} for one in (*_OUT, _FINAL)),
                *ahead([{**_A, "t": -70, "phase": "started"}], 200.0),
                _HEARD,
            ],
            [],
        ),
        Case(
            "it was handed out before by a dispatcher whose clock is ahead: nobody asked since",
            [
                *calls("agent-1", 0.0),
                *calls("agent-1", -200.0, server="oxr-2"),
                *({**one, **_OTHER} for one in ahead(_OUT, 200.0)),
                {**_FINAL, **_BY},
                _BEGUN,
                _HEARD,
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "handed out anew by a dispatcher whose clock is behind",
            [
                *calls("agent-1", 0.0),
                *calls("agent-1", 200.0, server="oxr-2"),
                *({**one, **_BY} for one in (*_OUT, _FINAL)),
                *({**one, **_OTHER} for one in ahead([{**_OUT[1], "t": -55}], -200.0)),
                _BEGUN,
                _HEARD,
            ],
            [],
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
            "what it depends on ended unheard, and its ID was used anew later",
            [
                {**_D, **_STOCK, "t": -111, "phase": "enqueued"},
                *_NEEDED,
                *_DEPENDENT,
                {**_D, **_STOCK, "t": -40, "phase": "enqueued"},
                {**_D, **_STOCK, "t": -39, "phase": "dispatched"},
                {**_NEEDED_DONE, "t": -30},
            ],
            [],
        ),
        Case(
            "what it depends on is first heard of 61 s after it began: it is a later one",
            [
                *({**one, "t": float(str(one["t"])) - 70} for one in _DEPENDENT),
                {**_D, **_STOCK, "t": -59, "phase": "enqueued"},
                {**_D, **_STOCK, "t": -58, "phase": "dispatched"},
                {**_A, **_STOCK, "t": -57, "phase": "started", "instance": "agent-2"},
                {**_NEEDED_DONE, "t": -30},
            ],
            [],
        ),
        Case(
            "two processes began it: which of their clocks counts is not known",
            [
                *_NEEDED,
                *_DEPENDENT,
                {**_DEPENDENT[-1], "t": 180, "arrived": -45, "instance": "agent-3"},
                {**_NEEDED_DONE, "t": -30},
            ],
            [],
        ),
        Case(
            "what it depends on runs twice, and one end was not heard: that may have been first",
            [
                *_NEEDED,
                {**_NEEDED[1], "t": -104, "instance": "agent-3"},
                *_DEPENDENT,
                {**_NEEDED_DONE, "t": -30},
            ],
            [],
        ),
        Case(
            "two processes ended what it depends on: which of their clocks counts is not known",
            [
                *_NEEDED,
                *_DEPENDENT,
                {**_NEEDED_DONE, "t": -55, "instance": "agent-3"},
                {**_NEEDED_DONE, "t": -30},
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
