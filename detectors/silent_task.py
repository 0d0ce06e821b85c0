"""A running task has stopped beating, though its agent is not known to be dead.

## Meaning
An agent began this task and promised heartbeats (or tasks of this name have been beating all
along); the last sign of life is older than the greater of three intervals and
`silence_min_s`. The end of the task was neither seen nor recorded.

## Impact
The task hangs, its process is gone, or its messages no longer get through. Work behind it
waits; a scheduler with a heartbeat time-out will soon call it failed, rightly or not.

## Diagnosis
See the task's timeline for what it did last. Look at the process on its agent: alive and
busy (a blocked event loop or the GIL starves the beat), alive and waiting (a lock, a query
without a time-out), or gone (out of memory, evicted)?

## Mitigation
If the process is gone, requeue the task. If it hangs, take a stack dump before you end it.
Beat from a thread or process of its own, so that busy is not taken for dead.
"""

from detectors._kit import Case, Detector

_A = {"side": "agent", "service": "agent", "task_name": "train", "instance": "agent-1"}
_D = {"side": "dispatcher", "service": "oxr", "task_name": "train"}
_RUN = [
    {**_D, "t": -200, "phase": "dispatched", "task": "t1"},
    {**_A, "t": -199, "phase": "started", "task": "t1"},
    {**_A, "t": 0, "phase": "heartbeat", "instance": "agent-2"},
]
_LOST = {"t": -105, "phase": "export.failed", "from": -111, "to": -110, "lost": 2}

DETECTOR = Detector(
    severity="warning",
    witness="agent",
    follows=("agent_down", "collection_lag"),
    thresholds={"silence_min_s": 90.0, "beats_missed": 3.0},
    sql="""
SELECT a.namespace AS namespace, a.task || '/' || CAST(a.attempt AS VARCHAR) AS subject,
  a.name AS name, a.service AS service, a.queue AS queue, a.sign_last_us AS since_us,
  a.sign_last_seen_us + a.limit_us AS deadline_us,
  least(a.sign_last_seen_us, a.sign_last_us + coalesce(c.lag_us, 0)) AS heard_us,
  a.agent AS word_of,
  a.sign_last_seen_us + CAST(a.interval_us AS BIGINT) AS word_due_us,
  a.task AS task, a.attempt AS attempt, a.request_id AS request_id, a.agent AS agent,
  ({now} - a.sign_last_seen_us) / 1e6 AS silent_s,
  a.interval_us / 1e6 AS interval_s, a.limit_us / 1e6 AS limit_s
FROM (
  SELECT a.*,
    CAST(greatest({beats_missed} * a.interval_us, {silence_min_us}) AS BIGINT) AS limit_us
  FROM (
    SELECT a.*, coalesce(a.beat_s * 1e6, l.p99_us) AS interval_us
    FROM (
      SELECT a.* FROM open_attempts a
      -- most are heard of all the time: only those that are not are worth a join
      WHERE {now} - a.sign_last_seen_us > {silence_min_us}
        AND coalesce(a.started_us, a.accepted_us, a.beat_us) IS NOT NULL AND a.sign_us IS NOT NULL
        AND a.finished_us IS NULL AND a.recorded_us IS NULL AND a.requeued_us IS NULL
        AND a.dead_lettered_us IS NULL AND a.yielded_us IS NULL
        -- whose report is on its way has ended, though the word of it was lost
        AND coalesce(a.report_call, a.report_answer) IS NULL
        AND a.sign_last_us > a.sign_last_seen_us - 3600000000
    ) a
    LEFT JOIN learned l ON l.namespace = a.namespace AND l.measure = 'beat' AND l.n >= 3
      AND l.service = coalesce(a.service, '') AND l.key = coalesce(a.name, '')
  ) a WHERE a.interval_us IS NOT NULL
) a
LEFT JOIN fates g ON g.namespace = a.namespace AND g.instance = a.agent
LEFT JOIN lags c ON c.namespace = a.namespace AND c.service = coalesce(a.agent_service, '')
  AND c.instance = a.agent
WHERE {now} - a.sign_last_seen_us > a.limit_us
  AND (a.joined_late OR coalesce(g.back_us, 0) < a.sign_last_us AND (g.interval_us IS NULL
    OR {now} - g.heard_us <= greatest(3 * g.interval_us, 60000000)))
  AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.namespace = a.namespace AND i.instance = a.agent
    AND i.stopped_us IS NOT NULL AND i.stopped_last_us >= a.sign_us)
  AND NOT EXISTS (SELECT 1 FROM attempts b WHERE b.namespace = a.namespace AND b.task = a.task
    AND b.attempt > a.attempt)
ORDER BY since_us, subject""",
    clears="""
SELECT namespace, task || '/' || CAST(attempt AS VARCHAR) AS subject, sign_last_us AS cleared_us,
  sign_last_seen_us AS heard_us
FROM attempts WHERE sign_us IS NOT NULL
UNION ALL
SELECT namespace, task || '/' || CAST(attempt AS VARCHAR), recorded_us, recorded_seen_us
FROM attempts WHERE recorded_us IS NOT NULL""",
    fix="Look at {task} on {agent}: its last sign of life is {silent_s} s old, and it beats every"
    " {interval_s} s.",
    only_if={
        "open_attempts": (
            "a.finished_us IS NULL AND a.recorded_us IS NULL AND a.yielded_us IS NULL AND {now} - "
            "a.sign_last_seen_us > {silence_min_us}"
        ),
    },
    cases=[
        Case(
            "promised a beat every 30 s, silent for 91 s",
            [*_RUN, {**_A, "t": -91, "phase": "heartbeat", "task": "t1", "beat_s": 30.0}],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "silent for 90 s: three intervals have not passed",
            [*_RUN, {**_A, "t": -90, "phase": "heartbeat", "task": "t1", "beat_s": 30.0}],
            [],
        ),
        Case(
            "a slow beat gives more time than the minimum",
            [*_RUN, {**_A, "t": -179, "phase": "heartbeat", "task": "t1", "beat_s": 60.0}],
            [],
        ),
        Case("no beat was ever promised: silence in the log is not death", _RUN, []),
        *(
            Case(
                f"its report was {word}: it has ended, though that was not heard",
                [
                    *_RUN,
                    {**_A, "t": -120, "phase": "heartbeat", "task": "t1", "beat_s": 30.0},
                    {**who, "t": -100, "phase": phase, "task": "t1", "purpose": "report"}
                    | {"request_id": "r1"},
                ],
                [],
            )
            for word, who, phase in (
                ("sent", _A, "call.sent"),
                ("received", _D, "call.received"),
            )
        ),
        *(
            Case(
                title,
                [
                    *_RUN,
                    {**_A, "t": -120, "phase": "heartbeat", "task": "t1", "beat_s": 30.0},
                    *({**one, **_LOST} for one in lost),
                ],
                ["t1/1"],
                verdict,
            )
            for title, lost, verdict in (
                ("its agent lost something: its end or a beat may be that", (_A,), "unknown"),
                ("and the dispatcher lost something too", (_A, _D), "unknown"),
                ("the dispatcher lost something, but not its agent", (_D,), "confirmed"),
            )
        ),
        Case(
            "between the last beat and the exit",
            [
                *_RUN,
                {**_A, "t": -95, "phase": "heartbeat", "task": "t1", "beat_s": 30.0},
                {**_A, "t": -91, "phase": "finished", "task": "t1", "outcome": "success"},
            ],
            [],
        ),
        Case(
            "its agent stopped: that is told of the agent",
            [
                *_RUN,
                {**_A, "t": -95, "phase": "heartbeat", "task": "t1", "beat_s": 30.0},
                {**_A, "t": -91, "phase": "instance.stopped"},
            ],
            [],
        ),
        Case(
            "its agent has fallen silent altogether: that is told of the agent, once",
            [
                *_RUN,
                {**_A, "t": -95, "phase": "heartbeat", "beat_s": 10.0},
                {**_A, "t": -95, "phase": "heartbeat", "task": "t1", "beat_s": 30.0},
            ],
            [],
        ),
        Case(
            "its agent is back as a new process: that is told of the agent too",
            [
                *_RUN[:1],
                {**_RUN[1], "boot": "b1"},
                {**_A, "t": -95, "phase": "heartbeat", "task": "t1", "beat_s": 30.0, "boot": "b1"},
                {**_A, "t": -5, "phase": "heartbeat", "boot": "b2"},
                *_RUN[2:],
            ],
            [],
        ),
        Case(
            "no agent is heard any more: unknown",
            [
                *_RUN[:-1],
                {**_A, "t": -91, "phase": "heartbeat", "task": "t1", "beat_s": 30.0},
            ],
            ["t1/1"],
            "unknown",
        ),
    ],
)
