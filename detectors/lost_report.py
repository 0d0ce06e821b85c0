"""A run ended at the agent, and the dispatcher never recorded how.

## Meaning
The agent's own story has an end with an outcome; `report_grace_s` later the dispatcher's has
none. The evidence says how the report went: never sent, failed, given up, or accepted and
then not recorded.

## Impact
Finished work counts as running until a time-out calls it failed; it may then be done again.
A success that is lost is a customer who is told of a failure that was none.

## Diagnosis
In the timeline, find the agent's report call. Given up or failed: compare its limit with how
long the dispatcher's side takes (`slow_report`). No call at all: the agent died or skipped it
between the end and the report. Accepted but not recorded: look for an error or a rollback in
the dispatcher's log at that moment.

## Mitigation
Set the state by hand from the agent's outcome. Let the agent log and retry a failed report,
keep its last state until one has been acknowledged, and make the dispatcher's side
idempotent.
"""

from detectors._kit import Case, Detector

_A = {"side": "agent", "service": "agent", "task_name": "sync", "instance": "agent-1"}
_D = {"side": "dispatcher", "service": "oxr", "task_name": "sync"}
_SLOW = {**_A, "instance": "agent-2"}
_SEEN = [
    {**_D, "t": -300, "phase": "dispatched", "task": "t0"},
    {**_A, "t": -298, "phase": "finished", "task": "t0", "outcome": "success"},
    {**_D, "t": -297, "phase": "recorded", "task": "t0", "state": "success"},
    {**_D, "t": -150, "phase": "dispatched", "task": "t1"},
    {**_A, "t": -149, "phase": "started", "task": "t1"},
    {**_D, "t": 0, "phase": "enqueued", "task": "t9"},
]

DETECTOR = Detector(
    severity="warning",
    wakes=5,
    follows=(
        "swallowed_error",
        "slow_report",
        "gave_up_but_committed",
        "auth_failure",
        "rate_limited",
        "agent_down",
        "collection_lag",
    ),
    witness="dispatcher",
    covered_by="record",
    thresholds={"report_grace_s": 30.0, "verdict_early_s": 60.0},
    sql="""
SELECT a.namespace AS namespace, a.task || '/' || CAST(a.attempt AS VARCHAR) AS subject,
  a.name AS name, a.service AS service, a.queue AS queue, a.finished_us AS since_us,
  a.finished_seen_us + {report_grace_us} AS deadline_us,
  a.heard_us,
  -- what is reported again may be recorded only then; after the grace it would be late anyway
  a.finished_seen_us + greatest(coalesce(l.usual_us, 15000000),
    least(coalesce(l.usual_us, 15000000)
      + coalesce(greatest(coalesce(a.report_call_us, a.reported_last_us),
        coalesce(a.reported_last_us, a.report_call_us)) - a.finished_us, 0),
      {report_grace_us})) AS word_due_us,
  -- shortly before its end it may have been called dead already, and nothing followed from it yet
  CASE WHEN a.outcome = 'canceled' THEN a.held_us
    ELSE greatest(least(a.held_us, a.heard_us), a.heard_us - {verdict_early_us}) END
    AS word_since_us,
  CASE WHEN a.outcome = 'failure' AND n.began_seen_us <= a.finished_seen_us + {report_grace_us}
    THEN 'it was tried again at once: its end was known, and only the record was not heard' END
    AS unproven,
  a.task AS task, a.attempt AS attempt, a.agent AS agent, a.outcome AS outcome,
  a.exit_code AS exit_code,
  ({now} - a.finished_seen_us) / 1e6 AS waited_s,
  CASE WHEN a.report_answer = 'call.committed' THEN 'accepted but not recorded'
    WHEN a.report_call = 'call.gave_up' THEN 'the agent gave up on it'
    WHEN a.report_call = 'call.failed' OR a.report_answer = 'call.errored' THEN 'failed'
    WHEN a.report_call = 'call.ok' OR a.reported_outcome = 'success'
      THEN 'accepted but not recorded'
    WHEN a.reported_us IS NOT NULL THEN 'failed'
    WHEN a.report_call = 'call.sent' THEN 'sent, no answer seen'
    ELSE 'never sent' END AS report
FROM (
  SELECT a.*, coalesce(a.running_seen_us, a.first_seen_us) AS held_us,
    least(a.finished_seen_us, a.finished_us + coalesce(c.lag_us, 0)) AS heard_us
  FROM open_attempts a
  LEFT JOIN lags c ON c.namespace = a.namespace AND c.service = coalesce(a.agent_service, '')
    AND c.instance = a.agent
  WHERE a.finished_us IS NOT NULL AND a.recorded_us IS NULL AND a.requeued_us IS NULL
    AND a.dead_lettered_us IS NULL AND coalesce(a.reports, TRUE) AND NOT a.joined_late
) a
LEFT JOIN (
  SELECT namespace, service, key, CAST(greatest(2000000, 1.5 * p95_us) AS BIGINT) AS usual_us
  FROM learned WHERE measure = 'record' AND n >= 20
) l ON l.namespace = a.namespace AND l.service = coalesce(a.service, '')
  AND l.key = coalesce(a.name, '')
LEFT JOIN (
  SELECT namespace, task, attempt - 1 AS before, coalesce(sign_seen_us, running_seen_us)
    AS began_seen_us
  FROM attempts WHERE attempt >= 2
) n ON n.namespace = a.namespace AND n.task = a.task AND n.before = a.attempt
WHERE {now} - a.finished_seen_us > {report_grace_us}
ORDER BY since_us, subject""",
    clears="""
SELECT namespace, task || '/' || CAST(attempt AS VARCHAR) AS subject,
  coalesce(recorded_us, requeued_us) AS cleared_us
FROM attempts WHERE recorded_us IS NOT NULL OR requeued_us IS NOT NULL""",
    fix="Set {task} to {outcome}: {agent} ended it so, and the report was: {report}. Let the agent"
    " log and retry failed reports.",
    only_if={
        "open_attempts": (
            "a.finished_us IS NOT NULL AND a.recorded_us IS NULL AND {now} - a.finished_seen_us > "
            "{report_grace_us}"
        ),
    },
    cases=[
        Case(
            "ended 31 s ago, nothing recorded",
            [*_SEEN, {**_A, "t": -31, "phase": "finished", "task": "t1", "outcome": "success"}],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "its dispatcher pushes, and the agent is who answered the call",
            [
                *_SEEN,
                {
                    **_A,
                    "t": -149.5,
                    "phase": "call.committed",
                    "purpose": "dispatch",
                    "request_id": "r1",
                    "task": "t1",
                },
                {**_A, "t": -31, "phase": "finished", "task": "t1", "outcome": "success"},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "ended 30 s ago",
            [*_SEEN, {**_A, "t": -30, "phase": "finished", "task": "t1", "outcome": "success"}],
            [],
        ),
        Case(
            "the dispatcher lost what it said just then, and tells so: unknown",
            [
                *_SEEN,
                {**_A, "t": -31, "phase": "finished", "task": "t1", "outcome": "success"},
                {**_D, "t": -20, "phase": "export.failed", "from": -30.5, "to": -29.5},
            ],
            ["t1/1"],
            "unknown",
        ),
        *(
            Case(
                f"it lost something {title}",
                [
                    *_SEEN[:3],
                    *({**one, "t": begun} for one in _SEEN[3:5]),
                    _SEEN[-1],
                    {**_A, "t": -31, "phase": "finished", "task": "t1", "outcome": "success"},
                    {**_D, "t": -20, "phase": "export.failed", "from": lost, "to": lost + 1},
                ],
                ["t1/1"],
                verdict,
            )
            for title, begun, lost, verdict in (
                (
                    "shortly before the end: it may have called it dead by then",
                    -150,
                    -92,
                    "unknown",
                ),
                ("more than a minute before the end", -150, -95, "confirmed"),
                ("before it was handed out", -60, -64, "confirmed"),
            )
        ),
        *(
            Case(
                f"all that is heard of its agent comes 14 s late, and what was lost is {title}",
                [
                    *_SEEN[:-2],
                    {**_SLOW, "t": -149, "arrived": -135, "phase": "started", "task": "t1"},
                    {**_SLOW, "t": -46, "arrived": -32, "phase": "finished", "task": "t1"}
                    | {"outcome": "success"},
                    _SEEN[-1],
                    {**_D, "t": -20, "phase": "export.failed", "from": lost, "to": lost + 1},
                ],
                ["t1/1"],
                verdict,
            )
            for title, lost, verdict in (
                ("of the moment when it ended: unknown", -46, "unknown"),
                ("older", -110, "confirmed"),
            )
        ),
        Case(
            "its end was late, and it runs again, by the same ID, where the clock is behind",
            [
                *_SEEN,
                {**_A, "t": -60, "arrived": -40, "phase": "finished", "task": "t1"}
                | {"outcome": "success"},
                {**_D, "t": -50, "phase": "export.failed", "from": -60, "to": -59},
                {**_SLOW, "t": -40, "arrived": -1, "phase": "started", "task": "t1"},
            ],
            ["t1/1"],
            "unknown",
        ),
        *(
            Case(
                f"its report was given up and made again, and the dispatcher lost something {when}",
                [
                    *_SEEN,
                    {**_A, "t": -50, "phase": "finished", "task": "t1", "outcome": "success"},
                    *(
                        {**_A, "t": at, "phase": phase, "task": "t1", "request_id": request}
                        | {"purpose": "report"}
                        for at, phase, request in (
                            (-50, "call.sent", "r1"),
                            (-45, "call.gave_up", "r1"),
                            (again, "call.sent", "r2"),
                            (again + 0.5, "call.ok", "r2"),
                        )
                    ),
                    {**_D, "t": -2, "phase": "export.failed", "from": lost, "to": lost + 1},
                ],
                ["t1/1"],
                verdict,
            )
            for when, again, lost, verdict in (
                ("just then: unknown", -35, -35, "unknown"),
                ("long after that", -35, -15, "confirmed"),
                ("just then, when it was late already", -6, -6, "confirmed"),
            )
        ),
        *(
            Case(
                f"its report was made at once, and {title}; the dispatcher lost something later",
                [
                    *_SEEN,
                    {**_D, "t": -49, "phase": "call.received", **report},
                    {**_A, "t": -50, "phase": "finished", "task": "t1", "outcome": "success"},
                    {**_A, "t": -49, "arrived": -49, "phase": "call.ok", **report},
                    late,
                    {**_D, "t": -2, "phase": "export.failed", "from": -31, "to": -30},
                ],
                ["t1/1"],
                "confirmed",
            )
            for report in ({"task": "t1", "request_id": "r1", "purpose": "report"},)
            for title, late in (
                ("came late", {**_A, "t": -49, "arrived": -30, "phase": "call.ok", **report}),
                (
                    "its answer did",
                    {**_D, "t": -49, "arrived": -30, "phase": "call.committed", **report},
                ),
            )
        ),
        Case(
            "it was canceled, and the dispatcher, who may have said so before, lost something",
            [
                *_SEEN,
                {**_D, "t": -90, "phase": "export.failed", "from": -100, "to": -99},
                {**_A, "t": -31, "phase": "finished", "task": "t1", "outcome": "canceled"},
            ],
            ["t1/1"],
            "unknown",
        ),
        Case(
            "it was canceled, and what was lost is older than it",
            [
                *_SEEN,
                {**_D, "t": -160, "phase": "export.failed", "from": -170, "to": -169},
                {**_A, "t": -31, "phase": "finished", "task": "t1", "outcome": "canceled"},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "it failed and was tried again at once, so its end was known: unknown",
            [
                *_SEEN,
                {**_A, "t": -40, "phase": "finished", "task": "t1", "outcome": "failure"},
                {**_A, "t": -10, "phase": "started", "task": "t1", "attempt": 2},
            ],
            ["t1/1"],
            "unknown",
        ),
        Case(
            "tried again later than a report is waited for",
            [
                *_SEEN,
                {**_A, "t": -41, "phase": "finished", "task": "t1", "outcome": "failure"},
                {**_A, "t": -10, "phase": "started", "task": "t1", "attempt": 2},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "it ended well, and was tried again at once",
            [
                *_SEEN,
                {**_A, "t": -40, "phase": "finished", "task": "t1", "outcome": "success"},
                {**_A, "t": -10, "phase": "started", "task": "t1", "attempt": 2},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "recorded in time",
            [
                *_SEEN,
                {**_A, "t": -31, "phase": "finished", "task": "t1", "outcome": "success"},
                {**_D, "t": -2, "phase": "recorded", "task": "t1", "state": "success"},
            ],
            [],
        ),
        Case(
            "recorded as running is not final",
            [
                *_SEEN,
                {**_A, "t": -31, "phase": "finished", "task": "t1", "outcome": "success"},
                {**_D, "t": -30, "phase": "recorded", "task": "t1", "state": "running"},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "yielded ends the run, not the attempt",
            [*_SEEN, {**_A, "t": -31, "phase": "finished", "task": "t1", "outcome": "yielded"}],
            [],
        ),
        Case(
            "results of this task are never recorded",
            [
                *_SEEN,
                {
                    **_A,
                    "t": -31,
                    "phase": "finished",
                    "task": "t1",
                    "outcome": "success",
                    "reports": False,
                },
            ],
            [],
        ),
        Case(
            "the dispatcher has not been heard since: unknown",
            [
                *_SEEN[:-1],
                {**_A, "t": -31, "phase": "finished", "task": "t1", "outcome": "success"},
            ],
            ["t1/1"],
            "unknown",
        ),
    ],
)
