"""Two limits, or a limit and what it has to hold, do not fit together.

## Meaning
From what was declared and what was measured, before anything failed: a time-out below the run it
is meant for, or with no heartbeat and little room; a heartbeat time-out of fewer than
`beats_per_limit` intervals, or with no heartbeat at all; a caller's limit, or its whole window for
retries, below what the callee takes; a visibility time-out below what a message is held for
(waiting at the worker, until its ETA, and while it runs). From `samples_min` samples on the 99th
percentile counts, below that only what is usual.

## Impact
None yet, as information. Once it is a ticket, it has come true in the last hour: work that ended
well is called failed, runs twice, or is given up and committed all the same.

## Diagnosis
Compare the two numbers of the sentence. Was the limit ever chosen, or is it a default? Has what it
has to hold become slower (`slow_report`)? Raising a limit is right only if the slowness is.

## Mitigation
Set the proposed value: the 99th percentile with a `margin`; three intervals for a heartbeat's
time-out. Let long tasks beat, and let whoever is called stop when the caller's limit has passed.
`zombiewatch lint` says the same of declared figures alone, in CI, before anything runs.
"""

from detectors._kit import Case, Detector
from detectors._lattice import FIX, THRESHOLDS, sql_case
from model.views import BUCKETS

_D = {"side": "dispatcher", "service": "oxr"}
_A = {"side": "agent", "service": "agent", "instance": "agent-1"}
_BEAT = {**_A, "t": -1, "phase": "heartbeat"}
_EXACT_S = 2**27 / 1e6
"""A time that is the bound of a bucket of the histogram: 134.217728 s."""


def _task(task: str, **more: object) -> dict[str, object]:
    return {"task": task, "task_name": "sync", **more}


def _runs(
    seconds: float, number: int = 1, *, queue: str | None = None, **said: object
) -> list[dict[str, object]]:
    """Return runs of one task that took so long; the dispatcher said *said* with each."""
    return [
        one
        for i in range(number)
        for task in [_task(f"t{seconds}-{i}", queue=queue)]
        for one in (
            {**_D, **task, "t": -1000, "phase": "dispatched", **said},
            {**_A, **task, "t": -999, "phase": "accepted"},
            {**_A, **task, "t": seconds - 999, "phase": "finished", "outcome": "success"},
        )
    ]


def _calls(seconds: float, number: int = 1, **said: object) -> list[dict[str, object]]:
    """Return report calls that the callee took so long for."""
    return [
        one
        for i in range(number)
        for call in [{"request_id": f"r{seconds}-{i}", "purpose": "report"}]
        for one in (
            {**_A, **call, "t": -300, "phase": "call.sent", **said},
            {**_A, **call, "t": -299, "phase": "call.ok"},
            {**_D, **call, "t": -300, "phase": "call.received"},
            {**_D, **call, "t": seconds - 300, "phase": "call.committed"},
        )
    ]


def _longest(measure: str) -> str:
    """Return what none of that *measure* took longer than, in microseconds, as SQL."""
    bound = f"power(2.0, (max(r.bucket) + 1) / {BUCKETS}.0)"
    return f"(SELECT {bound} FROM rates r WHERE r.measure = '{measure}')"


_RUN = ["sync: time-out below the run"]
_NO_BEAT = ["sync: time-out close to the run, and no heartbeat"]
_CALL = ["agent to oxr, report: limit below the answer"]

DETECTOR = Detector(
    severity="info",
    every_s=60,
    thresholds={**THRESHOLDS, "failures_min": 1.0},
    sql=f"""
WITH misfits AS (
  SELECT a.* FROM (SELECT a.*, {sql_case("needs")} AS needs_s FROM timeouts a) a
  WHERE {sql_case("misfits")}
), failed AS (
  SELECT t.namespace AS namespace, t.name AS name,
    sum(CASE WHEN t.recorded_state = 'timeout' THEN 1
      WHEN t.recorded_state = 'failure' AND t.outcome = 'success' THEN 1 ELSE 0 END) AS failures
  FROM attempts t JOIN (SELECT DISTINCT namespace, name FROM misfits
    WHERE peer = '' AND name <> '') m ON m.namespace = t.namespace AND m.name = t.name
  WHERE t.recorded_seen_us > {{now}} - 3600000000
  GROUP BY t.namespace, t.name
)
SELECT a.namespace,
  CASE WHEN a.peer <> '' THEN a.service || ' to ' || a.peer || ', ' || a.name
    WHEN a.queue <> '' THEN a.queue WHEN a.name <> '' THEN a.name ELSE a.service END
  || ': ' || {sql_case("misfit")} AS subject,
  CASE WHEN a.peer = '' AND a.name <> '' THEN a.name END AS name, a.service,
  CASE WHEN a.queue <> '' THEN a.queue END AS queue,
  CAST(greatest(a.first_seen_us, {{now}} - 86400000000) AS BIGINT) AS since_us,
  CASE WHEN a.failures >= {{failures_min}} THEN 'warning' ELSE 'info' END AS severity,
  CASE WHEN a.heard = 0 AND a.failures = 0
    THEN 'no heartbeat of any kind was ever heard: they may not come this way' END AS unproven,
  a.pair, a.peer, a.limit_s, a.needs_s, a.n AS samples, a.failures,
  {sql_case("proposed")} AS proposed_s,
  {sql_case("advice")} AS advice,
  {sql_case("against")} AS against
FROM (
  SELECT m.namespace AS namespace, m.pair AS pair, m.service AS service, m.name AS name,
    m.queue AS queue, m.peer AS peer, m.limit_s AS limit_s, m.needs_s AS needs_s, m.n AS n,
    m.top_us AS top_us, m.heard AS heard, m.first_seen_us AS first_seen_us,
    CASE WHEN m.peer = '' AND m.name <> '' THEN coalesce(f.failures, 0) ELSE m.failures END
      AS failures
  FROM misfits m
  LEFT JOIN failed f ON f.namespace = m.namespace AND f.name = m.name
) a
ORDER BY since_us, subject""",
    fix=f"{FIX} ({{samples}} seen; it came true {{failures}} times within the hour).",
    only_if={
        "limits": (
            "a.visibility_s IS NOT NULL"
            f" OR a.timeout_s * 1e6 < greatest(1.0, {{margin_most}}) * {_longest('run')}"
            f" OR a.beat_timeout_s * 1e6 < {{beats_per_limit_most}} * {_longest('run')}"
            " OR a.beat_timeout_s < {beats_per_limit_most} * (SELECT max(b.beat_s) FROM limits b)"
            f" OR a.call_timeout_s * 1e6 < {_longest('answer')}"
            f" OR a.retry_window_s * 1e6 < {_longest('answer')}"
        ),
        "calls": f"a.limit_s * 1e6 < {_longest('answer')}",
    },
    cases=[
        Case("S001", [_BEAT, *_runs(180, timeout_s=120.0, beat_s=30.0)], _RUN, "confirmed"),
        Case("S002", [_BEAT, *_runs(650, timeout_s=600.0, beat_s=60.0)], _RUN, "confirmed"),
        Case("S003", [_BEAT, *_runs(90, timeout_s=100.0)], _NO_BEAT, "confirmed"),
        Case("S004", [_BEAT, *_runs(200, timeout_s=180.0, beat_s=30.0)], _RUN, "confirmed"),
        Case("S005", [_BEAT, *_runs(75, timeout_s=60.0, beat_s=20.0)], _RUN, "confirmed"),
        Case("as long as its time-out", _runs(_EXACT_S, timeout_s=_EXACT_S, beat_s=9.0), []),
        Case(
            "as long as its time-out, and no heartbeat",
            [_BEAT, *_runs(_EXACT_S, timeout_s=_EXACT_S)],
            _NO_BEAT,
        ),
        Case("a millisecond longer", _runs(_EXACT_S, timeout_s=_EXACT_S - 0.001, beat_s=9.0), _RUN),
        Case(
            "one run of 20 is longer",
            [*_runs(9, 19), *_runs(180, timeout_s=120.0, beat_s=9.0)],
            _RUN,
            "confirmed",
        ),
        Case(
            "one run of 19 is longer: too few for more than what is usual",
            [*_runs(9, 18), *_runs(180, timeout_s=120.0, beat_s=9.0)],
            [],
        ),
        Case("no heartbeat, and just enough room", _runs(_EXACT_S, timeout_s=_EXACT_S * 1.25), []),
        Case(
            "no heartbeat was ever heard, of no task and no process: unknown",
            _runs(90, timeout_s=100.0),
            _NO_BEAT,
            "unknown",
        ),
        Case(
            "heartbeats are calls: whose they are is not known",
            [
                *_runs(90, timeout_s=100.0),
                {**_A, "t": -9, "phase": "call.sent", "purpose": "heartbeat", "request_id": "h"},
                {**_A, "t": -8, "phase": "call.ok", "purpose": "heartbeat", "request_id": "h"},
            ],
            [],
        ),
        Case(
            "a heartbeat time-out, and a run of more than a third of it without a beat",
            [_BEAT, *_runs(_EXACT_S, beat_timeout_s=_EXACT_S * 3 - 0.001)],
            ["sync: heartbeat time-out, and no heartbeat"],
            "confirmed",
        ),
        Case(
            "over before a third of the heartbeat time-out: no beat was due",
            [_BEAT, *_runs(_EXACT_S, beat_timeout_s=_EXACT_S * 3)],
            [],
        ),
        Case(
            "a heartbeat time-out of three beats",
            [
                {**_D, "t": -9, "phase": "enqueued", "task": "t", "task_name": "sync"}
                | {"beat_timeout_s": 30.0},
                {**_A, "t": -8, "phase": "heartbeat", "task": "t", "task_name": "sync"}
                | {"beat_s": 10.0},
            ],
            [],
        ),
        Case(
            "a little less than three beats, before anything has run",
            [
                {**_D, "t": -9, "phase": "enqueued", "task": "t", "task_name": "sync"}
                | {"beat_timeout_s": 29.9},
                {**_A, "t": -8, "phase": "heartbeat", "task": "t", "task_name": "sync"}
                | {"beat_s": 10.0},
            ],
            ["sync: heartbeat time-out of too few beats"],
            "confirmed",
        ),
        Case(
            "three beats of a tenth of a second, which add up to a little more than 0.3",
            [
                {**_D, "t": -9, "phase": "enqueued", "task": "t", "task_name": "sync"}
                | {"beat_timeout_s": 0.3},
                {**_A, "t": -8, "phase": "heartbeat", "task": "t", "task_name": "sync"}
                | {"beat_s": 0.1},
            ],
            [],
        ),
        Case(
            "a caller's limit below the answer", _calls(5, call_timeout_s=3.0), _CALL, "confirmed"
        ),
        Case(
            "a caller's limit as long as the answer",
            _calls(2**22 / 1e6, call_timeout_s=4.194304),
            [],
        ),
        Case(
            "one answer of 20 is slower than the limit",
            [*_calls(1, 19, call_timeout_s=3.0), *_calls(5, call_timeout_s=3.0)],
            _CALL,
        ),
        Case(
            "one answer of 19 is slower than the limit",
            [*_calls(1, 18, call_timeout_s=3.0), *_calls(5, call_timeout_s=3.0)],
            [],
        ),
        Case(
            "retries that end before the first answer can come",
            _calls(5, retry_window_s=4.0),
            ["agent to oxr, report: retries end before the answer"],
            "confirmed",
        ),
        Case("retries that go on for one answer", _calls(2**22 / 1e6, retry_window_s=4.194304), []),
        Case(
            "a message is held for longer than it is hidden",
            _runs(100, queue="mail", visibility_s=99.0),
            ["mail: visibility time-out below the hold"],
            "confirmed",
        ),
        Case(
            "who looks at the queue says for how long a message is hidden",
            [
                {**_D, "t": -9, "phase": "queue.sampled", "queue": "mail", "visibility_s": 99.0},
                *_runs(100, queue="mail"),
            ],
            ["mail: visibility time-out below the hold"],
            "confirmed",
        ),
        Case(
            "a message that was given back when its run began",
            _runs(100, queue="mail", visibility_s=99.0, acks_early=True),
            [],
        ),
        Case(
            "one that was said to be given back early, and was seen held while it ran",
            [
                *_runs(100, queue="mail", visibility_s=99.0, acks_early=True),
                *(
                    {**one, "acks_early": False}
                    for one in _runs(100, queue="mail", visibility_s=99.0)
                    if one["phase"] == "dispatched"
                ),
            ],
            ["mail: visibility time-out below the hold"],
            "confirmed",
        ),
        Case("as long as it is hidden", _runs(100, queue="mail", visibility_s=100.0), []),
        Case(
            "a message that waits at the worker for an ETA beyond",
            [
                {**one, "eta": -700} if one["phase"] == "dispatched" else one
                for one in _runs(100, queue="mail", visibility_s=299.0)
            ],
            ["mail: visibility time-out below the hold"],
            "confirmed",
        ),
        Case("no limit was declared", [_BEAT, *_runs(9000, 30), *_calls(50, 30)], []),
        Case(
            "limits, and nothing that they would have to hold yet",
            [
                {**_D, "t": -9, "phase": "enqueued", "task": "t", "task_name": "sync", "queue": "q"}
                | {"timeout_s": 1.0, "visibility_s": 1.0, "beat_timeout_s": 1.0}
            ],
            [],
        ),
    ],
)
