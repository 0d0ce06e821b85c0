"""A task was handed out, and no agent ever showed a sign of it.

## Meaning
The dispatcher holds this attempt *running* (it handed it out, or recorded it as running, or
committed the call that hands it out), yet no agent accepted it, started it, beat for it or
ended it, for longer than the grace: the greater of `start_grace_s` and three times the 99th
percentile of what it usually takes (from 20 tasks of the name on).

## Impact
The work is not being done, and nobody will be told: the scheduler believes that it runs.
What waits for it waits for ever, and slots that it holds are lost.

## Diagnosis
Open the task's timeline. If the call that handed it out was given up by its caller and
committed afterwards, the cause is on the dispatcher's side (`gave_up_but_committed`): the
state change outlived the request. If the call succeeded, look at the agent at that moment:
did it die, or drop the task between receiving and starting it?

## Mitigation
Requeue the task, once you are sure that no agent runs it. Then mend the cause: tie the state
change to the request's own context and deadline, or let the agent confirm before the state
becomes *running*.
"""

from detectors._kit import Case, Detector

_D = {"side": "dispatcher", "service": "oxr", "task_name": "sync"}
_A = {"side": "agent", "service": "agent", "task_name": "sync"}
_SEEN = [
    {**_D, "t": -300, "phase": "dispatched", "task": "t0"},
    {**_A, "t": -299, "phase": "accepted", "task": "t0"},
    {**_A, "t": -298, "phase": "finished", "task": "t0", "outcome": "success"},
    {**_D, "t": -297, "phase": "recorded", "task": "t0", "state": "success"},
    {**_A, "t": 0, "phase": "heartbeat", "instance": "agent-1"},
]

DETECTOR = Detector(
    severity="warning",
    wakes=5,
    follows=(
        "gave_up_but_committed",
        "agent_down",
        "collection_lag",
    ),
    witness="agent",
    covered_by="accept",
    thresholds={"start_grace_s": 60.0},
    sql="""
SELECT a.namespace AS namespace, a.task || '/' || CAST(a.attempt AS VARCHAR) AS subject,
  a.name AS name, a.service AS service, a.queue AS queue, a.running_us AS since_us,
  a.running_seen_us + a.grace_us AS deadline_us,
  least(a.running_seen_us, a.running_us + coalesce(c.lag_us, s.lag_us, 0)) AS heard_us,
  a.running_seen_us + a.usual_us AS word_due_us, g.caller_instance AS word_of,
  a.task AS task, a.attempt AS attempt, a.request_id AS request_id,
  ({now} - a.running_seen_us) / 1e6 AS silent_s,
  a.grace_us / 1e6 AS grace_s, g.caller_instance AS handed_to,
  CASE WHEN g.gave_up_us IS NOT NULL THEN 'its caller gave up' WHEN g.ok_us IS NOT NULL
    THEN 'its caller got the answer' END AS dispatch_call
FROM (
  SELECT a.*,
    CAST(greatest({start_grace_us}, 3 * coalesce(l.p99_us, 0)) AS BIGINT) AS grace_us,
    CAST(greatest(2000000, 1.5 * coalesce(l.p95_us, 10000000)) AS BIGINT) AS usual_us
  FROM (SELECT o.* FROM open_attempts o WHERE o.running_us IS NOT NULL AND o.sign_us IS NULL
    AND o.recorded_us IS NULL AND o.requeued_us IS NULL AND o.dead_lettered_us IS NULL
    AND NOT o.joined_late) a
  LEFT JOIN learned l ON l.namespace = a.namespace AND l.measure = 'accept' AND l.n >= 20
    AND l.service = coalesce(a.service, '') AND l.key = coalesce(a.name, '')
) a
LEFT JOIN (SELECT namespace, request_id, min(caller_instance) AS caller_instance,
    min(callee_instance) AS callee_instance,
    max(gave_up_us) AS gave_up_us, max(ok_us) AS ok_us
  FROM calls WHERE purpose = 'dispatch' AND request_id IS NOT NULL GROUP BY namespace, request_id
) g ON g.namespace = a.namespace AND g.request_id = a.request_id
LEFT JOIN lags c ON c.namespace = a.namespace AND c.service = coalesce(a.service, '')
  AND c.instance = g.callee_instance
LEFT JOIN (SELECT namespace, service, min(lag_us) AS lag_us FROM lags GROUP BY namespace, service
) s ON s.namespace = a.namespace AND s.service = coalesce(a.service, '')
WHERE {now} - a.running_seen_us > a.grace_us
  AND NOT EXISTS (SELECT 1 FROM attempts b WHERE b.namespace = a.namespace AND b.task = a.task
    AND b.attempt > a.attempt)
ORDER BY since_us, subject""",
    clears="""
SELECT namespace, task || '/' || CAST(attempt AS VARCHAR) AS subject,
  least(coalesce(sign_us, recorded_us, requeued_us), coalesce(recorded_us, sign_us, requeued_us),
    coalesce(requeued_us, sign_us, recorded_us)) AS cleared_us
FROM attempts WHERE sign_us IS NOT NULL OR recorded_us IS NOT NULL OR requeued_us IS NOT NULL""",
    fix="Requeue {task} once you are sure that no agent runs it: it was handed out {silent_s} s ago"
    " (request {request_id}) and no agent has shown a sign of it.",
    only_if={
        "open_attempts": (
            "a.running_us IS NOT NULL AND a.sign_us IS NULL AND a.recorded_us IS NULL AND {now} - "
            "a.running_seen_us > {start_grace_us}"
        ),
    },
    cases=[
        Case(
            "handed out 61 s ago, and silence",
            [*_SEEN, {**_D, "t": -61, "phase": "dispatched", "task": "t1"}],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "handed out 60 s ago: still within the grace",
            [*_SEEN, {**_D, "t": -60, "phase": "dispatched", "task": "t1"}],
            [],
        ),
        Case(
            "an agent lost what it said just then, and tells so: unknown",
            [
                *_SEEN,
                {**_D, "t": -61, "phase": "dispatched", "task": "t1"},
                {**_A, "t": -30, "phase": "export.failed", "from": -60, "to": -59, "lost": 3},
            ],
            ["t1/1"],
            "unknown",
        ),
        Case(
            "it lost something long after a sign of it was due",
            [
                *_SEEN,
                {**_D, "t": -61, "phase": "dispatched", "task": "t1"},
                {**_A, "t": -20, "phase": "export.failed", "from": -30, "to": -29, "lost": 3},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "the dispatch call was committed, which hands it out too",
            [
                *_SEEN,
                {
                    **_D,
                    "t": -61,
                    "phase": "call.committed",
                    "purpose": "dispatch",
                    "task": "t1",
                    "request_id": "r1",
                },
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "recorded as running by the dispatcher",
            [*_SEEN, {**_D, "t": -61, "phase": "recorded", "state": "running", "task": "t1"}],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "one sign is enough",
            [
                *_SEEN,
                {**_D, "t": -61, "phase": "dispatched", "task": "t1"},
                {**_A, "t": -1, "phase": "heartbeat", "task": "t1"},
            ],
            [],
        ),
        Case(
            "a later attempt exists",
            [
                *_SEEN,
                {**_D, "t": -61, "phase": "dispatched", "task": "t1"},
                {**_D, "t": -30, "phase": "enqueued", "task": "t1", "attempt": 2},
            ],
            [],
        ),
        Case(
            "a final record ended it",
            [
                *_SEEN,
                {**_D, "t": -61, "phase": "dispatched", "task": "t1"},
                {**_D, "t": -9, "phase": "recorded", "task": "t1", "state": "canceled"},
            ],
            [],
        ),
        Case(
            "only queued is another matter",
            [*_SEEN, {**_D, "t": -900, "phase": "enqueued", "task": "t1"}],
            [],
        ),
        Case(
            "requeued",
            [
                *_SEEN,
                {**_D, "t": -61, "phase": "dispatched", "task": "t1"},
                {**_D, "t": -9, "phase": "requeued", "task": "t1"},
            ],
            [],
        ),
        Case(
            "no agent has been heard since: unknown, not zombie",
            [*_SEEN[:-1], {**_D, "t": -61, "phase": "dispatched", "task": "t1"}],
            ["t1/1"],
            "unknown",
        ),
        Case(
            "no agent ever showed a task of that name: not covered, said once",
            [
                {**_A, "t": -400, "phase": "heartbeat", "instance": "agent-1"},
                {**_A, "t": 0, "phase": "heartbeat", "instance": "agent-1"},
                {**_D, "t": -61, "phase": "dispatched", "task": "t1"},
            ],
            ["t1/1"],
            "unknown",
        ),
        Case(
            "a slow clock at the agent does not hide its sign",
            [
                *_SEEN,
                {**_D, "t": -61, "phase": "dispatched", "task": "t1"},
                {**_A, "t": -361, "arrived": -55, "phase": "accepted", "task": "t1"},
            ],
            [],
        ),
        Case(
            "we joined late: its beginning was never seen",
            [*_SEEN, {**_D, "t": -61, "phase": "reported", "task": "t1"}],
            [],
        ),
    ],
)
