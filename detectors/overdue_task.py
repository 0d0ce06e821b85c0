"""A task has been running for longer than it may, or far longer than its kind ever does.

## Meaning
An agent began this task, and its end was neither seen nor recorded. It has run for more than
its declared limit (and `limit_grace_s`, in which a scheduler should have ended it); or, where
no limit is declared, for more than `usual_times` the 99th percentile of what tasks of its name
take (from `samples_min` of them on, and `floor_s` at least). It may well be alive: what counts
is that it does not end.

## Impact
It holds its slot, its locks and whatever waits for it. If it ran past a declared limit,
whatever should have stopped it did not.

## Diagnosis
Does it still beat (`last_sign_s`)? Then it works or waits: look at what it waits for (a lock, a
query, another service) and whether its input is larger than usual. No sign any more: see
`silent_task` and `agent_down`. Past a declared limit: why did the scheduler not end it? Is the
limit enforced at the agent, and does its code let itself be stopped?

## Mitigation
Take a stack dump, then end it and let it be tried again, if that is safe. If it is merely slow,
declare a limit that fits, by task name; a declared limit replaces what is learned here.
"""

from detectors._kit import Case, Detector

_A = {"side": "agent", "service": "agent", "task_name": "sync", "instance": "agent-1"}
_D = {"side": "dispatcher", "service": "oxr", "task_name": "sync"}
_HEARD = {**_A, "t": 0, "phase": "heartbeat", "instance": "agent-2"}
_BEAT = {**_A, "phase": "heartbeat", "task": "t1", "beat_s": 10.0}
_LOST = {"t": -50, "phase": "export.failed", "from": -58, "to": -57, "lost": 2}
_OTHER = {**_A, "instance": "agent-2"}
_COLLECTOR = {"service": "otelcol"}


def _done(number: int, took_s: float = 30.0) -> list[dict[str, object]]:
    """Return *number* tasks that ended long ago, after *took_s* each."""
    return [
        signal
        for at in range(number)
        for signal in (
            {**_D, "t": -900, "phase": "dispatched", "task": f"d{at}"},
            {**_A, "t": -899, "phase": "started", "task": f"d{at}"},
            {
                **_A,
                "t": -899 + took_s,
                "phase": "finished",
                "task": f"d{at}",
                "outcome": "success",
            },
            {**_D, "t": -890 + took_s, "phase": "recorded", "task": f"d{at}", "state": "success"},
        )
    ]


def _begun(ago_s: float, limit_s: float | None = 60.0) -> list[dict[str, object]]:
    """Return a task that began *ago_s* ago, and an agent that can be heard."""
    return [
        {**_D, "t": -ago_s - 1, "phase": "dispatched", "task": "t1"},
        {**_A, "t": -ago_s, "phase": "started", "task": "t1", "timeout_s": limit_s},
        _HEARD,
    ]


DETECTOR = Detector(
    severity="warning",
    witness="agent",
    covered_by="run",
    every_s=15.0,
    follows=("agent_down", "silent_task", "collection_lag"),
    thresholds={"limit_grace_s": 10.0, "usual_times": 3.0, "samples_min": 50.0, "floor_s": 60.0},
    sql="""
WITH late AS (
  SELECT a.*, c.lag_us, a.began_seen_us + a.limit_us AS due_us,
    least(a.began_seen_us, a.began_us + coalesce(c.lag_us, 0)) AS heard_us
  FROM (
    SELECT a.*, l.p99_us, CASE WHEN a.timeout_s IS NOT NULL
        THEN CAST((a.timeout_s + {limit_grace_s}) * 1e6 AS BIGINT)
      WHEN l.n >= {samples_min}
        THEN CAST(greatest({usual_times} * l.p99_us, {floor_us}) AS BIGINT) END AS limit_us
    FROM (
      SELECT o.namespace, o.task, o.attempt, o.name, o.service, o.queue, o.agent,
        o.agent_service, o.request_id, o.timeout_s, o.sign_last_us, o.sign_last_seen_us, o.beat_s,
        coalesce(o.started_us, o.beat_us) AS began_us,
        coalesce(o.started_seen_us, o.beat_seen_us) AS began_seen_us
      FROM open_attempts o
      WHERE coalesce(o.started_us, o.beat_us) IS NOT NULL AND o.finished_us IS NULL
        AND o.yielded_us IS NULL AND o.reported_us IS NULL AND o.recorded_us IS NULL
        -- whose report is on its way has ended, though the word of it was lost
        AND coalesce(o.report_call, o.report_answer) IS NULL
        AND o.requeued_us IS NULL AND o.dead_lettered_us IS NULL AND NOT o.joined_late
    ) a
    LEFT JOIN learned l ON l.namespace = a.namespace AND l.measure = 'run'
      AND l.service = coalesce(a.service, '') AND l.key = coalesce(a.name, '')
  ) a
  LEFT JOIN lags c ON c.namespace = a.namespace AND c.service = coalesce(a.agent_service, '')
    AND c.instance = a.agent
  WHERE {now} - a.began_seen_us > a.limit_us
),
newest AS (
  SELECT b.namespace, b.task, max(b.attempt) AS attempt FROM attempts b
  WHERE EXISTS (SELECT 1 FROM late a WHERE a.namespace = b.namespace AND a.task = b.task)
  GROUP BY b.namespace, b.task
)
SELECT a.namespace, a.task || '/' || CAST(a.attempt AS VARCHAR) AS subject, a.name, a.service,
  a.queue, a.began_us AS since_us,
  CASE WHEN a.sign_last_seen_us > a.due_us THEN a.heard_us ELSE a.due_us END AS deadline_us,
  a.heard_us,
  a.agent AS word_of,
  least(a.sign_last_seen_us, a.sign_last_us + coalesce(a.lag_us, 0)) AS word_since_us,
  CASE WHEN a.sign_last_seen_us > a.due_us THEN NULL
    WHEN a.sign_last_seen_us + a.beat_s * 1e6 < a.due_us
      THEN CAST(a.sign_last_seen_us + a.beat_s * 1e6 AS BIGINT)
    ELSE a.due_us END AS word_due_us,
  CASE WHEN a.timeout_s IS NULL THEN 'info' ELSE 'warning' END AS severity,
  a.task, a.attempt, a.request_id, a.agent, ({now} - a.began_seen_us) / 1e6 AS running_s,
  a.limit_us / 1e6 AS limit_s, a.timeout_s AS declared_s, a.p99_us / 1e6 AS usual_p99_s,
  ({now} - a.sign_last_seen_us) / 1e6 AS last_sign_s,
  CASE WHEN a.timeout_s IS NULL THEN 'tasks of its name usually take' ELSE 'its limit allows' END
    AS measured_by
FROM late a
JOIN newest n ON n.namespace = a.namespace AND n.task = a.task AND n.attempt = a.attempt
ORDER BY since_us, subject""",
    clears="""
SELECT namespace, task || '/' || CAST(attempt AS VARCHAR) AS subject,
  coalesce(finished_us, recorded_us, requeued_us) AS cleared_us
FROM attempts WHERE coalesce(finished_us, recorded_us, requeued_us) IS NOT NULL""",
    fix="See what {task} waits for on {agent}, or end it there: it has run for {running_s} s,"
    " longer than {measured_by} ({limit_s} s at most); its last sign is {last_sign_s} s old.",
    only_if={
        "open_attempts": (
            "a.finished_us IS NULL AND a.recorded_us IS NULL AND {now} - "
            "coalesce(a.started_seen_us, a.beat_seen_us) > coalesce(a.timeout_s + "
            "{limit_grace_s}, {floor_s}) * 1e6"
        ),
    },
    cases=[
        Case(
            "a limit of 60 s was passed 11 s ago, and nothing ended it",
            [*_done(1), *_begun(71)],
            ["t1/1"],
            "confirmed",
        ),
        Case("passed 10 s ago: it may just be being ended", [*_done(1), *_begun(70)], []),
        *(
            Case(
                f"its report was {word}: it has ended, though that was not heard",
                [
                    *_done(1),
                    *_begun(71),
                    {**who, "t": -40, "phase": phase, "task": "t1", "purpose": "report"}
                    | {"request_id": "r1"},
                ],
                [],
            )
            for word, who, phase in (
                ("sent", _A, "call.sent"),
                ("received", _D, "call.received"),
            )
        ),
        Case(
            "alive, and past its limit all the same",
            [
                *_done(1),
                *_begun(71),
                {**_A, "t": -0.5, "phase": "heartbeat", "task": "t1", "beat_s": 10.0},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "no limit, but three times what 50 others took",
            [*_done(50), *_begun(120, None)],
            ["t1/1"],
            "confirmed",
        ),
        *(
            Case(
                title,
                [*_done(1), *_begun(100), {**_BEAT, "t": -60}, *({**one, **_LOST} for one in lost)],
                ["t1/1"],
                verdict,
            )
            for title, lost, verdict in (
                ("the agent lost something before its next beat", [_A], "unknown"),
                ("the dispatcher did: the agent would have told", [_D], "confirmed"),
                ("another agent and the dispatcher did", [_OTHER, _D], "confirmed"),
                ("a collector on the way did, which may have held it", [_COLLECTOR], "unknown"),
            )
        ),
        Case(
            "the agent lost something, and it beat again, past its limit",
            [*_done(1), *_begun(100), {**_A, **_LOST}, {**_BEAT, "t": -20}],
            ["t1/1"],
            "confirmed",
        ),
        Case("49 others are too few to tell", [*_done(49), *_begun(120, None)], []),
        Case("not yet three times as long", [*_done(50), *_begun(89, None)], []),
        Case("tasks that take no time are given some", [*_done(50, 0.01), *_begun(59, None)], []),
        Case(
            "a declared limit is worth more than what is usual",
            [*_done(50), *_begun(120, 3600.0)],
            [],
        ),
        Case(
            "accepted ahead of time is not begun",
            [
                *_done(1),
                {**_D, "t": -300, "phase": "dispatched", "task": "t1"},
                {**_A, "t": -299, "phase": "accepted", "task": "t1", "timeout_s": 60.0},
                _HEARD,
            ],
            [],
        ),
        Case(
            "it ended, and only the record is missing: that is a lost report",
            [
                *_done(1),
                *_begun(300),
                {**_A, "t": -280, "phase": "finished", "task": "t1", "outcome": "success"},
            ],
            [],
        ),
        Case(
            "it was recorded, and only the agent's word is missing",
            [
                *_done(1),
                *_begun(300),
                {**_D, "t": -230, "phase": "recorded", "task": "t1", "state": "timeout"},
            ],
            [],
        ),
        Case(
            "a later attempt has taken its place",
            [
                *_done(1),
                *_begun(300),
                {**_D, "t": -200, "phase": "enqueued", "task": "t1", "attempt": 2},
            ],
            [],
        ),
        Case(
            "a slow clock at the agent makes nobody late",
            [
                *_done(1),
                {**_D, "t": -31, "phase": "dispatched", "task": "t1"},
                {
                    **_A,
                    "t": -330,
                    "arrived": -30,
                    "phase": "started",
                    "task": "t1",
                    "timeout_s": 30.0,
                },
                _HEARD,
            ],
            [],
        ),
        Case(
            "its beginning was never seen",
            [*_done(1), {**_A, "t": -300, "phase": "started", "task": "t1", "timeout_s": 60.0}],
            [],
        ),
        Case(
            "no agent has been heard since: unknown",
            [*_done(1), *_begun(140)[:-1]],
            ["t1/1"],
            "unknown",
        ),
        Case(
            "the end of a task of its name was never seen: not covered",
            _begun(71),
            ["t1/1"],
            "unknown",
        ),
    ],
)
