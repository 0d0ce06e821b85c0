"""Many tasks are being tried over and over, too often or without growing pauses.

## Meaning
At least `tasks_min` tasks of one service and name had more than `tries_max` attempts each within
`window_s`; or as many of its calls for one task and purpose, of which one at most succeeded. Or as
many tasks were tried three times at least, and for nearly all of them the pause before the last
try was no longer than the one before the second (and less than `pause_max_s`), or shorter than
`pause_min_s`, which is no pause.

## Impact
What is failing is hit harder the more it fails: a short fault becomes a long one, and whatever is
not idempotent is done several times.

## Diagnosis
What do the tries fail with? Look for the cause first (`rate_limited`, `auth_failure`,
`slow_report`): retries only multiply it. Then count the layers that retry: a client that tries
three times inside a task that is tried four times makes twelve.

## Mitigation
Stop the retries (pause the queue or the schedule) until what they hit has recovered. Then let
pauses double, with some chance in them, cap the number of tries, let one layer only retry, and
do not retry what cannot succeed (a refused credential, a bad request).
"""

from detectors._kit import Case, Detector

_D = {"side": "dispatcher", "service": "oxr", "task_name": "sync"}
_A = {"side": "agent", "service": "agent", "task_name": "sync", "instance": "agent-1"}
_AT_ONCE = (0.0, 10.0, 20.0, 30.0)
_GROWING = (0.0, 2.0, 6.0)


def _attempts(tasks: int, begun: tuple[float, ...], **more: object) -> list[dict[str, object]]:
    """Return *tasks* whose attempts are queued at *begun*, and fail a second later."""
    return [
        signal
        for task in range(tasks)
        for number, at in enumerate(begun)
        for one in [{**_D, "task": f"t{task}", "attempt": number + 1, **more}]
        for signal in (
            {**one, "t": at - 200, "phase": "enqueued"},
            {**one, "t": at - 199, "phase": "recorded", "state": "failure"},
        )
    ]


def _in_turns(attempts: list[dict[str, object]], apart_s: float = 60.0) -> list[dict[str, object]]:
    """Return *attempts* as two dispatchers tell them in turns, whose clocks are *apart_s* apart."""
    return [
        {
            **one,
            "t": float(str(one["t"])) + apart_s * place,
            "arrived": one["t"],
            "instance": f"oxr-{place}",
        }
        for one in attempts
        for place in [int(str(one["attempt"])) % 2]
    ]


def _calls(
    tasks: int, sent: tuple[float, ...], phase: str = "call.failed", **more: object
) -> list[dict[str, object]]:
    """Return *tasks* whose report is sent at the times *sent*, and fails half a second later."""
    return [
        signal
        for task in range(tasks)
        for number, at in enumerate(sent)
        for one in [
            {
                **_A,
                "task": f"t{task}",
                "purpose": "report",
                "request_id": f"r{task}-{number}",
                **more,
            }
        ]
        for signal in (
            {**one, "t": at - 200, "phase": "call.sent"},
            {**one, "t": at - 199.5, "phase": phase},
        )
    ]


DETECTOR = Detector(
    severity="warning",
    every_s=15.0,
    follows=("auth_failure", "crash_loop", "gave_up_but_committed", "rate_limited", "slow_report"),
    thresholds={
        "window_s": 300.0,
        "tries_max": 3.0,
        "tasks_min": 20.0,
        "growth_min": 1.2,
        "flat_share": 0.8,
        "pause_min_s": 0.1,
        "pause_max_s": 30.0,
    },
    sql="""
WITH asked AS (
  SELECT a.* FROM (
    SELECT c.namespace, c.task, c.request_id, c.purpose AS purpose,
      CASE WHEN c.hop LIKE 'request:%' THEN 'line' ELSE 'span' END AS way,
      CASE WHEN c.purpose IN ('dispatch', 'report') THEN c.purpose || ' calls'
        ELSE 'calls of ' || coalesce(c.name, c.peer, 'others') END AS kind,
      coalesce(c.caller, c.callee) AS service, c.task_name AS name, c.queue,
      coalesce(c.sent_us, c.received_us) AS at_us, c.sent_us, c.sent_last_us, c.first_seen_us,
      coalesce(c.gave_up_us, c.failed_us, c.errored_us) AS ended_us,
      CASE WHEN c.ok_us IS NOT NULL OR c.caller IS NULL AND c.committed_us IS NOT NULL THEN 1
        ELSE 0 END AS good
    FROM calls c WHERE c.task IS NOT NULL AND coalesce(c.purpose, '') <> 'heartbeat'
  ) a WHERE a.first_seen_us > {now} - {window_us}
    AND a.at_us > a.first_seen_us - 3600000000
),
failing AS (
  SELECT DISTINCT namespace, task FROM asked WHERE good = 0 OR sent_us < sent_last_us
),
again AS (
  SELECT DISTINCT a.namespace, a.task FROM attempts a
  WHERE a.attempt >= 2 AND a.first_seen_us > {now} - {window_us} AND NOT a.late
),
tries AS (
  SELECT c.namespace AS namespace, c.task AS task, c.kind AS kind, c.way AS way,
    c.service AS service, c.name AS name, c.queue AS queue, c.at_us AS turn, c.at_us AS at_us,
    c.ended_us AS ended_us, c.good AS good, CAST(NULL AS BIGINT) AS heard_us,
    CAST(NULL AS BIGINT) AS ended_heard_us
  FROM asked c WHERE EXISTS (SELECT 1 FROM failing f WHERE f.namespace = c.namespace
    AND f.task = c.task)
  UNION ALL
  SELECT c.namespace, c.task, c.kind, c.way, c.service, c.name, c.queue, m.ts_us, m.ts_us, NULL,
    0, NULL, NULL
  FROM asked c JOIN marks m ON m.namespace = c.namespace AND m.request_id = c.request_id
    AND coalesce(m.purpose, '') = coalesce(c.purpose, '')
  WHERE c.way = 'line' AND c.sent_us < c.sent_last_us AND m.phase = 'call.sent'
    AND m.kind <> 'span' AND m.ts_us > c.sent_us
  UNION ALL
  SELECT a.namespace, a.task, 'attempts', 'line', a.service, a.name, a.queue, a.attempt,
    CASE WHEN a.eta_us > a.first_us THEN a.eta_us
      ELSE coalesce(a.enqueued_us, a.running_us, a.first_us) END,
    coalesce(a.recorded_us, a.finished_us, a.requeued_us),
    CASE WHEN coalesce(a.recorded_state, a.outcome) = 'success' THEN 1 ELSE 0 END,
    CASE WHEN a.eta_us > a.first_us AND a.eta_us > a.first_seen_us THEN a.eta_us
      ELSE a.first_seen_us END,
    coalesce(a.recorded_seen_us, a.finished_seen_us, a.requeued_seen_us)
  FROM attempts a
  WHERE a.first_seen_us > {now} - {window_us}
    AND EXISTS (SELECT 1 FROM again g WHERE g.namespace = a.namespace AND g.task = a.task)
),
one_each AS (
  SELECT namespace, task, kind, way, turn, min(at_us) AS at_us, max(service) AS service,
    max(name) AS name, max(queue) AS queue, min(ended_us) AS ended_us, max(good) AS good,
    min(heard_us) AS heard_us, min(ended_heard_us) AS ended_heard_us
  FROM tries GROUP BY namespace, task, kind, way, turn
),
apart AS (
  SELECT *, count(*) OVER (PARTITION BY namespace, task, kind, way) AS n,
    row_number() OVER (PARTITION BY namespace, task, kind, way ORDER BY turn) AS place,
    at_us - max(coalesce(ended_us, at_us)) OVER (PARTITION BY namespace, task, kind, way
      ORDER BY turn ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS told_us,
    heard_us - max(coalesce(ended_heard_us, heard_us)) OVER (
      PARTITION BY namespace, task, kind, way
      ORDER BY turn ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS by_us
  FROM one_each
),
spaced AS (
  SELECT *, CASE WHEN abs(by_us - told_us) > 10000000 THEN by_us ELSE told_us END AS pause_us
  FROM apart
),
tasks AS (
  SELECT a.namespace, a.task, a.kind, a.service, a.name, a.queue, a.n, a.first_us,
    a.first_pause_us, a.last_pause_us,
    CASE WHEN a.n > {tries_max} THEN 1 ELSE 0 END AS many,
    CASE WHEN a.last_pause_us <= greatest(a.first_pause_us * {growth_min}, {pause_min_us})
      AND a.last_pause_us < {pause_max_us} THEN 1 ELSE 0 END AS flat
  FROM (
    SELECT namespace, task, kind, max(service) AS service, max(name) AS name, max(queue) AS queue,
      max(n) AS n, min(at_us) AS first_us, max(at_us) AS last_us, sum(good) AS good,
      max(CASE WHEN place = 2 THEN pause_us END) AS first_pause_us,
      max(CASE WHEN place = n THEN pause_us END) AS last_pause_us,
      row_number() OVER (PARTITION BY namespace, task, kind ORDER BY max(n) DESC, way DESC) AS told
    FROM spaced WHERE n >= 3 GROUP BY namespace, task, kind, way
  ) a
  -- those whose clocks differ seem to be further apart
  LEFT JOIN (
    SELECT namespace, service, max(lag_us) - min(lag_us) AS apart_us FROM lags
    GROUP BY namespace, service
  ) l ON l.namespace = a.namespace AND l.service = coalesce(a.service, '')
  WHERE a.told = 1 AND a.good <= 1
    AND a.last_us - a.first_us <= {window_us} + coalesce(l.apart_us, 0)
)
SELECT a.namespace, coalesce(a.service, '') || '/' || coalesce(a.name, '') || ' ' || a.kind
    AS subject, a.name, a.service, CASE WHEN min(a.queue) = max(a.queue) THEN min(a.queue) END
    AS queue, min(a.first_us) AS since_us, a.kind, count(*) AS tasks, max(a.n) AS tries,
  CASE WHEN sum(a.many) >= max({tasks_min}) THEN 'too often' ELSE 'without growing pauses' END
    AS how, max({window_s}) AS window_s,
  quantile_cont(a.first_pause_us, 0.5) / 1e6 AS first_pause_s,
  quantile_cont(a.last_pause_us, 0.5) / 1e6 AS last_pause_s, min(a.task) AS example
FROM tasks a
GROUP BY a.namespace, a.service, a.name, a.kind
HAVING sum(a.many) >= max({tasks_min})
  OR sum(a.flat) >= max({tasks_min}) AND sum(a.flat) >= count(*) * max({flat_share})
ORDER BY since_us, subject""",
    fix="Stop the retries of {name} by {service} until what they hit has recovered: {tasks} tasks"
    " ({example} among them) had up to {tries} {kind} each within {window_s} s, and the pause went"
    " from {first_pause_s} s to {last_pause_s} s.",
    only_if={
        "calls": (
            "a.task IS NOT NULL AND (a.sent_us < a.sent_last_us OR a.ok_us IS NULL AND (a.caller "
            "IS NOT NULL OR a.committed_us IS NULL)) AND a.first_seen_us > {now} - {window_most_us}"
        ),
        "attempts": "a.attempt >= 2 AND a.first_seen_us > {now} - {window_most_us}",
    },
    cases=[
        Case(
            "4 attempts of 20 tasks each",
            _attempts(20, (*_GROWING, 14.0)),
            ["oxr/sync attempts"],
            "confirmed",
        ),
        Case("of 19 tasks", _attempts(19, _AT_ONCE), []),
        Case("3 attempts each, with growing pauses", _attempts(40, _GROWING), []),
        Case(
            "3 attempts each, as fast as they fail",
            _attempts(20, (0.0, 2.0, 4.0)),
            ["oxr/sync attempts"],
            "confirmed",
        ),
        Case(
            "3 attempts each, a few milliseconds apart: that these grow says nothing",
            _attempts(20, (0.0, 1.001, 2.1)),
            ["oxr/sync attempts"],
            "confirmed",
        ),
        Case("with short pauses that grow", _attempts(40, (0.0, 1.05, 2.16)), []),
        Case("3 attempts of 19 tasks, as fast as they fail", _attempts(19, (0.0, 2.0, 4.0)), []),
        Case(
            "the run takes long, and the pauses after it grow all the same",
            [
                {**one, "t": float(str(one["t"])) + (40 if one["phase"] == "recorded" else 0)}
                for one in _attempts(40, (0.0, 43.0, 90.0))
            ],
            [],
        ),
        Case(
            "pauses of chance: half of the tasks happen to have a shorter second one",
            [
                *_attempts(20, _GROWING),
                *({**one, "task": f"u{one['task']}"} for one in _attempts(20, (0.0, 4.0, 6.0))),
            ],
            [],
        ),
        Case(
            "two dispatchers take turns, and their clocks are a minute apart",
            _in_turns(_attempts(40, _GROWING)),
            [],
        ),
        Case(
            "four attempts each, and their clocks are five minutes apart",
            _in_turns(_attempts(20, _AT_ONCE), apart_s=299.0),
            ["oxr/sync attempts"],
            "confirmed",
        ),
        Case(
            "they do so as fast as it fails",
            _in_turns(_attempts(20, (0.0, 2.0, 4.0))),
            ["oxr/sync attempts"],
            "confirmed",
        ),
        Case("3 attempts each, with pauses of half a minute", _attempts(40, (0.0, 31.0, 62.0)), []),
        Case("a single unlucky task", _attempts(1, tuple(float(n) for n in range(50))), []),
        Case(
            "4 attempts each, but not within 5 minutes",
            [
                {**one, "arrived": -1.0, "t": float(str(one["t"])) * 3}
                for one in _attempts(20, (0.0, 40.0, 80.0, 120.0))
            ],
            [],
        ),
        Case(
            "4 attempts each, a while ago",
            [{**one, "t": float(str(one["t"])) - 400} for one in _attempts(20, _AT_ONCE)],
            [],
        ),
        Case(
            "4 report calls for each of 20 tasks, all of them in vain",
            _calls(20, _AT_ONCE),
            ["agent/sync report calls"],
            "confirmed",
        ),
        Case(
            "under one request ID each time, as a client library retries",
            [{**one, "request_id": f"r{one['task']}"} for one in _calls(20, _AT_ONCE)],
            ["agent/sync report calls"],
            "confirmed",
        ),
        Case(
            "the span and the lines of one sending are one try",
            [
                signal
                for number, one in enumerate(_calls(40, (0.0, 2.0)))
                for span in [{"trace_id": f"{number // 2}", "span_id": f"s{number // 2}"}]
                for signal in (
                    [{**one, **span}]
                    if one["phase"] == "call.sent"
                    else [
                        {**one, **span, "t": float(str(one["t"])) - 0.01},
                        {
                            **one,
                            **span,
                            "kind": "span",
                            "t": float(str(one["t"])) - 0.51,
                            "end": one["t"],
                        },
                    ]
                )
            ],
            [],
        ),
        Case("3 report calls each, with growing pauses", _calls(40, _GROWING), []),
        Case(
            "many report calls that succeed tell of progress",
            _calls(20, _AT_ONCE, phase="call.ok"),
            [],
        ),
        Case("heartbeats are many", _calls(20, _AT_ONCE, purpose="heartbeat"), []),
        Case(
            "the same records twice",
            [*_calls(20, (0.0, 2.0)), *_calls(20, (0.0, 2.0))],
            [],
        ),
    ],
)
