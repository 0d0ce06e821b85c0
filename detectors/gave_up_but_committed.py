"""A caller gave up on a request, and the callee committed it afterwards.

## Meaning
Both ends logged one request, and their stories part: for the caller it timed out or was
cancelled; for the callee it was done, later than that. The order is proven without trusting
clocks: the callee's own time from receipt to commit exceeds the caller's own time from
sending to giving up (or both ends share a clock).

## Impact
On a dispatch call, the task is now *running* with nobody to run it: a zombie. On a report
call, the caller will report again, or believe that the report was lost.

## Diagnosis
Find the callee's handler. Does its state change run in a context that outlives the request
(a global context, a shielded task, a background job)? Is there a deadline that it could have
checked before the commit?

## Mitigation
Use the request's own context for everything that the request causes, and hand the caller's
deadline along. Where a commit must not be undone, let the caller ask for the outcome by
request ID, and make a second try return the first one's answer.
"""

from detectors._kit import Case, Detector

_C = {
    "side": "agent",
    "service": "agent",
    "request_id": "r1",
    "purpose": "dispatch",
    "host": "h1",
    "instance": "agent-1",
}
_S = {
    "side": "dispatcher",
    "service": "oxr",
    "request_id": "r1",
    "purpose": "dispatch",
    "host": "h2",
    "task": "t1",
}
_GAVE_UP = [
    {**_C, "t": -20, "phase": "call.sent", "call_timeout_s": 2.0},
    {**_C, "t": -18, "phase": "call.gave_up"},
]

_HOP = """namespace, hop, request_id, task_name, queue, purpose, task, attempt, limit_s, caller,
    caller_instance, caller_host, callee, callee_host, sent_us, sent_last_us, ok_us, gave_up_us,
    received_us, received_last_us, committed_us"""

DETECTOR = Detector(
    severity="warning",
    follows=("slow_report", "timeout_lattice"),
    lasts="occurrence",
    thresholds={"clock_margin_s": 0.02},
    sql=f"""
WITH suspects AS (
  SELECT {_HOP} FROM calls g WHERE g.gave_up_us IS NOT NULL AND g.ok_us IS NULL
    AND g.sent_us = g.sent_last_us AND g.last_seen_us > {{now}} - {{occurrence_us}}
    AND g.gave_up_us > g.first_seen_us - 3600000000
),
near AS (
  SELECT {_HOP} FROM calls c WHERE EXISTS (SELECT 1 FROM suspects g WHERE g.namespace = c.namespace
    AND g.request_id = c.request_id)
),
pairs AS (
  SELECT g.*, g.hop AS other FROM suspects g
  UNION ALL
  SELECT g.*, c.hop AS other FROM suspects g
  JOIN near c ON c.namespace = g.namespace AND c.request_id = g.request_id AND c.hop <> g.hop
  WHERE NOT EXISTS (SELECT 1 FROM near o WHERE o.namespace = g.namespace
    AND o.request_id = g.request_id AND abs(o.sent_us - g.sent_us) > 1000000)
),
answers AS (SELECT * FROM suspects UNION SELECT * FROM near)
SELECT a.namespace, a.subject, a.name, a.service, a.queue, a.gave_up_us AS since_us,
  CASE WHEN a.purpose NOT IN ('dispatch', 'report') OR EXISTS (
    SELECT 1 FROM calls r WHERE r.namespace = a.namespace AND r.task = a.task
      AND r.purpose = a.purpose AND r.sent_us > a.gave_up_us AND r.ok_us IS NOT NULL
  ) THEN 'info' ELSE 'warning' END AS severity,
  a.task, a.attempt, a.request_id, a.purpose, a.caller, a.caller_instance,
  a.waited_us / 1e6 AS waited_s, a.served_us / 1e6 AS served_s,
  a.after_us / 1e6 AS after_s, a.limit_s
FROM (
  SELECT g.namespace, coalesce(g.request_id, g.hop) AS subject,
    coalesce(c.task_name, g.task_name) AS name,
    c.callee AS service, coalesce(c.queue, g.queue) AS queue, g.gave_up_us, g.request_id,
    coalesce(c.purpose, g.purpose, 'other') AS purpose, coalesce(c.task, g.task) AS task,
    coalesce(c.attempt, g.attempt) AS attempt, g.caller, g.caller_instance, g.limit_s,
    g.gave_up_us - g.sent_us AS waited_us, c.committed_us - c.received_us AS served_us,
    CASE WHEN g.caller_host = c.callee_host THEN c.committed_us - g.gave_up_us
      ELSE (c.committed_us - c.received_us) - (g.gave_up_us - g.sent_us) END AS after_us
  FROM pairs g
  JOIN answers c ON c.namespace = g.namespace AND c.hop = g.other
  WHERE c.committed_us IS NOT NULL AND c.received_us = c.received_last_us
    AND coalesce(g.purpose, '') IN (coalesce(c.purpose, ''), '')
) a
WHERE a.after_us > {{clock_margin_us}}
  AND NOT EXISTS (SELECT 1 FROM near w WHERE w.namespace = a.namespace
    AND w.request_id = a.request_id AND w.ok_us IS NOT NULL AND w.purpose = a.purpose)
QUALIFY row_number() OVER (PARTITION BY a.namespace, a.subject ORDER BY a.after_us DESC, a.task) = 1
ORDER BY since_us, subject""",
    fix="Tie the state change of this call to the request's own context: {caller} gave up after"
    " {waited_s} s, and {service} committed {after_s} s later, for nobody.",
    only_if={
        "calls": (
            "a.gave_up_us IS NOT NULL AND a.ok_us IS NULL AND a.last_seen_us > {now} - "
            "{occurrence_us}"
        ),
    },
    cases=[
        Case(
            "committed 1 s after the caller's time-out",
            [
                *_GAVE_UP,
                {**_S, "t": -20, "phase": "call.received"},
                {**_S, "t": -17, "phase": "call.committed"},
            ],
            ["r1"],
            "confirmed",
        ),
        Case(
            "committed before the caller gave up",
            [
                *_GAVE_UP,
                {**_S, "t": -20, "phase": "call.received"},
                {**_S, "t": -18.5, "phase": "call.committed"},
            ],
            [],
        ),
        Case(
            "by the callee's clock only, which is 5 minutes ahead: proves nothing",
            [
                *_GAVE_UP,
                {**_S, "t": 280, "arrived": -19, "phase": "call.received"},
                {**_S, "t": 281, "arrived": -18, "phase": "call.committed"},
            ],
            [],
        ),
        Case(
            "5 minutes ahead, and served for longer than the caller waited: proven all the same",
            [
                *_GAVE_UP,
                {**_S, "t": 280, "arrived": -19, "phase": "call.received"},
                {**_S, "t": 282.5, "arrived": -17, "phase": "call.committed"},
            ],
            ["r1"],
            "confirmed",
        ),
        Case(
            "the callee gave up too",
            [
                *_GAVE_UP,
                {**_S, "t": -20, "phase": "call.received"},
                {**_S, "t": -18, "phase": "call.errored"},
            ],
            [],
        ),
        Case(
            "two hops share the request ID: an ambiguous pairing proves nothing",
            [
                *_GAVE_UP,
                {**_C, "t": -14, "phase": "call.sent"},
                {**_S, "t": -20, "phase": "call.received"},
                {**_S, "t": -13, "phase": "call.committed"},
            ],
            [],
        ),
        Case(
            "a span pair tells the same story",
            [
                {
                    "kind": "span",
                    "side": "agent",
                    "service": "agent",
                    "trace_id": "a" * 32,
                    "span_id": "b" * 16,
                    "t": -20,
                    "end": -18,
                    "phase": "call.gave_up",
                    "purpose": "dispatch",
                    "host": "h1",
                },
                {
                    "kind": "span",
                    "side": "dispatcher",
                    "service": "oxr",
                    "trace_id": "a" * 32,
                    "span_id": "c" * 16,
                    "parent_id": "b" * 16,
                    "t": -20,
                    "end": -16.5,
                    "phase": "call.committed",
                    "purpose": "dispatch",
                    "host": "h1",
                },
            ],
            ["a" * 32 + ":" + "b" * 16],
            "confirmed",
        ),
    ],
)
