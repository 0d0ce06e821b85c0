"""A call that matters failed, and its caller neither logged the error nor tried again.

## Meaning
A report or dispatch call failed or was given up. Within `error_grace_s` the caller's log
shows no error that bears its task or request ID, and within `retry_grace_s` no further try
was made (same task and purpose; without a task, the same process asking again).

## Impact
The failure is invisible: no log, no metric, no retry. What the call was to achieve did not
happen, and the caller goes on as if it had.

## Diagnosis
Look at the caller's code where the call is made: an ignored return value, a bare `except`,
a task that nobody awaits. The span of the call shows what went wrong.

## Mitigation
Log the error with the request and task ID, count it, and retry with growing pauses. A report
should be kept until it has been acknowledged.
"""

from detectors._kit import Case, Detector

_C = {
    "side": "agent",
    "service": "agent",
    "instance": "agent-1",
    "task": "t1",
    "purpose": "report",
    "request_id": "r1",
    "task_name": "sync",
}
_D = {**_C, "side": "dispatcher", "service": "oxr", "instance": "oxr-1"}
_LOGS = [
    {"side": "agent", "service": "agent", "instance": "agent-1", "t": -400, "body": "hello"},
    {"side": "agent", "service": "agent", "instance": "agent-1", "t": 0, "body": "still here"},
]
_FAILED = [
    {**_C, "t": -42, "phase": "call.sent"},
    {**_C, "t": -40.1, "phase": "call.gave_up"},
]

DETECTOR = Detector(
    severity="warning",
    follows=(
        "slow_report",
        "auth_failure",
        "rate_limited",
        "gave_up_but_committed",
        "collection_lag",
    ),
    lasts="occurrence",
    witness="agent",
    thresholds={"error_grace_s": 10.0, "retry_grace_s": 30.0},
    sql="""
SELECT a.namespace, a.subject, a.name, a.service, a.queue, a.failed_at AS since_us,
  a.told_us + a.grace_us AS deadline_us,
  least(a.told_us, a.failed_at + coalesce(l.lag_us, 0)) AS heard_us,
  a.told_us + a.grace_us AS word_due_us, a.caller_instance AS word_of,
  a.task, a.attempt, a.request_id, a.purpose,
  a.caller_instance, a.error, a.status_code, a.waited_s, a.verdict
FROM (
  SELECT a.*, CAST(greatest({error_grace_s}, {retry_grace_s}) * 1e6 AS BIGINT) AS grace_us,
    CASE WHEN a.acted_us > a.failed_at THEN a.last_seen_us ELSE a.failed_seen_us END AS told_us
  FROM (
    SELECT c.namespace, coalesce(c.request_id, c.hop) AS subject, c.hop, c.task_name AS name,
      c.caller AS service, c.queue, c.caller_task AS task, c.attempt, c.request_id, c.purpose,
      c.caller_instance, c.error, c.status_code, c.last_seen_us,
      coalesce(c.gave_up_us, c.failed_us) AS failed_at,
      coalesce(c.gave_up_seen_us, c.failed_seen_us) AS failed_seen_us,
      greatest(coalesce(c.sent_last_us, 0), coalesce(c.failed_last_us, 0),
        coalesce(c.gave_up_last_us, 0)) AS acted_us,
      (coalesce(c.gave_up_us, c.failed_us) - c.sent_us) / 1e6 AS waited_s,
      CASE WHEN c.gave_up_us IS NOT NULL THEN 'gave up' ELSE 'failed' END AS verdict
    FROM calls c
    WHERE c.purpose IN ('report', 'dispatch') AND coalesce(c.gave_up_us, c.failed_us) IS NOT NULL
      AND c.ok_us IS NULL AND c.last_seen_us > {now} - {occurrence_us}
      AND coalesce(c.gave_up_us, c.failed_us) > c.first_seen_us - 3600000000
  ) a
) a
LEFT JOIN lags l ON l.namespace = a.namespace AND l.service = coalesce(a.service, '')
  AND l.instance = a.caller_instance
WHERE {now} - a.told_us > a.grace_us
  AND EXISTS (SELECT 1 FROM sources s WHERE s.namespace = a.namespace AND s.service = a.service
    AND s.log_seen_us IS NOT NULL)
  AND NOT EXISTS (SELECT 1 FROM marks m WHERE m.namespace = a.namespace AND m.severity >= 17
    AND m.kind = 'log' AND m.request_id = a.request_id
    AND m.ts_us BETWEEN a.failed_at - 1000000 AND a.failed_at + {error_grace_us})
  AND NOT EXISTS (SELECT 1 FROM marks m WHERE m.namespace = a.namespace AND m.severity >= 17
    AND m.kind = 'log' AND m.task = a.task AND m.service = a.service
    AND m.ts_us BETWEEN a.failed_at - 1000000 AND a.failed_at + {error_grace_us})
  AND NOT EXISTS (SELECT 1 FROM calls r WHERE r.namespace = a.namespace AND r.purpose = a.purpose
    AND r.hop <> a.hop AND r.task = a.task
    AND r.sent_us >= a.failed_at AND r.sent_us <= a.failed_at + {retry_grace_us})
  AND NOT (a.task IS NULL AND EXISTS (SELECT 1 FROM calls r WHERE r.namespace = a.namespace
    AND r.purpose = a.purpose AND r.hop <> a.hop AND r.caller_instance = a.caller_instance
    AND r.sent_us >= a.failed_at AND r.sent_us <= a.failed_at + {retry_grace_us}))
QUALIFY row_number() OVER (PARTITION BY a.namespace, a.subject ORDER BY a.hop) = 1
ORDER BY since_us, subject""",
    fix="Let {service} log and retry this: its {purpose} call for {task} {verdict} after"
    " {waited_s} s ({error}), and nothing was said or done about it.",
    only_if={
        "calls": (
            "a.purpose IN ('report', 'dispatch') AND coalesce(a.gave_up_us, a.failed_us) IS NOT "
            "NULL AND a.ok_us IS NULL AND a.last_seen_us > {now} - {occurrence_us}"
        ),
    },
    cases=[
        Case("given up, no error logged, no retry", [*_LOGS, *_FAILED], ["r1"], "confirmed"),
        Case(
            "the caller lost what it said then, and tells so: unknown",
            [*_LOGS, *_FAILED, {**_C, "t": -5, "phase": "export.failed", "from": -30, "to": -29}],
            ["r1"],
            "unknown",
        ),
        Case(
            "another one did",
            [
                *_LOGS,
                *_FAILED,
                {
                    **_LOGS[0],
                    "instance": "agent-2",
                    "t": -5,
                    "phase": "export.failed",
                    "from": -30,
                    "to": -29,
                },
            ],
            ["r1"],
            "confirmed",
        ),
        Case(
            "the retry may still come",
            [
                *_LOGS,
                {**_C, "t": -32, "phase": "call.sent"},
                {**_C, "t": -30, "phase": "call.gave_up"},
            ],
            [],
        ),
        Case(
            "what the callee says of it comes late, and is nothing that its caller said",
            [
                *_LOGS,
                *_FAILED,
                {**_D, "t": -40.5, "arrived": -5, "phase": "call.errored"},
            ],
            ["r1"],
            "confirmed",
        ),
        Case(
            "it was tried again under the same request ID, and failed 30 s ago",
            [
                *_LOGS,
                *_FAILED,
                {**_C, "t": -31, "phase": "call.sent"},
                {**_C, "t": -30, "phase": "call.gave_up"},
            ],
            [],
        ),
        Case(
            "an error was logged",
            [*_LOGS, *_FAILED, {**_C, "t": -39, "severity": 17, "body": "report failed"}],
            [],
        ),
        Case(
            "an error was logged, but for another task",
            [
                *_LOGS,
                *_FAILED,
                {**_C, "t": -39, "severity": 17, "task": "t2", "request_id": "r9"},
            ],
            ["r1"],
            "confirmed",
        ),
        Case(
            "tried again with a new request ID",
            [*_LOGS, *_FAILED, {**_C, "t": -11, "request_id": "r2", "phase": "call.sent"}],
            [],
        ),
        Case(
            "a process that asks for work just asks again",
            [
                *_LOGS,
                *[{**one, "task": None, "purpose": "dispatch"} for one in _FAILED],
                {
                    **_C,
                    "t": -38,
                    "task": None,
                    "purpose": "dispatch",
                    "request_id": "r2",
                    "phase": "call.sent",
                },
            ],
            [],
        ),
        Case(
            "the same, where the callee knows which task it handed out for nobody",
            [
                *_LOGS,
                *[{**one, "task": None, "purpose": "dispatch"} for one in _FAILED],
                {
                    "side": "dispatcher",
                    "service": "oxr",
                    "t": -39,
                    "phase": "call.committed",
                    "purpose": "dispatch",
                    "request_id": "r1",
                    "task": "t7",
                },
                {
                    **_C,
                    "t": -38,
                    "task": None,
                    "purpose": "dispatch",
                    "request_id": "r2",
                    "phase": "call.sent",
                },
            ],
            [],
        ),
        Case(
            "a caller whose log we never saw proves nothing",
            [
                {**one, "kind": "span", "trace_id": "a" * 32, "span_id": "b" * 16, "end": -40.1}
                for one in _FAILED[1:]
            ],
            [],
        ),
        Case(
            "the caller has not been heard since: unknown",
            [_LOGS[0], {**_FAILED[0], "t": -102}, {**_FAILED[1], "t": -100.1}],
            ["r1"],
            "unknown",
        ),
    ],
)
