"""The agent says how a task ended, and the scheduler has recorded the opposite.

## Meaning
Both ends have spoken their last word on one attempt, `verdict_grace_s` have passed in which
either could have corrected itself, and one word is success and the other is not. *Lost success*:
it succeeded, and was then recorded otherwise. *Late success*: it was called failed first, and
succeeded after that. *False success*: it failed at the agent, and is recorded as a success.
Failure, timeout and canceled agree with each other. Where two other words mean the same (a task
that ends well while it is being canceled), say so by 1 for the agent's word and the recorded one:
`success_as_canceled: 1`, under `overrides` for one service, queue or task name alone. The words
that a scheduler has of its own become ours by rules; `skipped`, say, by `set: {state: success}`.

## Impact
A success that counts as failed is done again, or its customer is told of a failure that was
none. A failure that counts as success is told to nobody: what depends on it runs on nothing.

## Diagnosis
Lost or late: how long did it run, and how often did it beat, compared with the scheduler's limits
for both? Was its report late or lost (`lost_report`)? What state was inferred from silence? False:
look at the exit code, and at what the agent's wrapper does with an exception before it reports.

## Mitigation
Set the state by hand to what the agent says, before anybody repeats the work. Then make limits
follow the run time, let a late report correct a verdict that was only inferred, and give a reason
with each state that is changed by hand: a re-verdict with a reason is not found here.
"""

from detectors._kit import Case, Detector

_A = {"side": "agent", "service": "agent", "task_name": "sync", "instance": "agent-1"}
_D = {"side": "dispatcher", "service": "oxr", "task_name": "sync"}


def _ended(
    outcome: str, state: str, at: float = -31.0, ago: float = -16.0
) -> list[dict[str, object]]:
    """Return a task that ended at the agent *at*, and was recorded *ago*."""
    return [
        {**_D, "t": -200, "phase": "dispatched", "task": "t1"},
        {**_A, "t": -199, "phase": "started", "task": "t1"},
        {**_A, "t": at, "phase": "finished", "task": "t1", "outcome": outcome},
        {**_D, "t": ago, "phase": "recorded", "task": "t1", "state": state},
    ]


DETECTOR = Detector(
    severity="warning",
    wakes=5,
    lasts="occurrence",
    every_s=15.0,
    follows=(
        "agent_down",
        "lost_report",
        "silent_task",
        "slow_report",
        "timeout_lattice",
        "clock_skew",
        "collection_lag",
    ),
    thresholds={
        "verdict_grace_s": 15.0,
        # 1: the agent's word and the recorded one agree
        "success_as_failure": 0.0,
        "success_as_timeout": 0.0,
        "success_as_canceled": 0.0,
        "failure_as_success": 0.0,
        "timeout_as_success": 0.0,
        "canceled_as_success": 0.0,
    },
    sql="""
WITH parted AS (
  SELECT a.* FROM (
    SELECT o.namespace, o.task, o.attempt, o.name, o.service, o.queue, o.agent, o.request_id,
      o.exit_code, o.recorded_state, o.recorded_us, o.recorded_seen_us,
      o.recorded_last_us, o.reason, o.finished_seen_us, o.running_us, o.running_last_us,
      coalesce(o.outcome, CASE WHEN o.exit_code = 0 THEN 'success'
        WHEN o.exit_code IS NOT NULL THEN 'failure' END) AS outcome,
      CASE WHEN o.finished_seen_us > o.recorded_seen_us THEN o.finished_seen_us
        ELSE o.recorded_seen_us END AS known_us,
      CASE WHEN o.finished_seen_us > o.recorded_seen_us THEN 1 ELSE 0 END AS after_record
    FROM attempts o
    WHERE o.last_seen_us > {now} - {occurrence_us} AND o.finished_us IS NOT NULL
      AND o.recorded_us IS NOT NULL AND NOT o.late
  ) a
  WHERE a.outcome <> 'unknown' AND a.recorded_state <> 'unknown'
    AND (a.outcome = 'success') <> (a.recorded_state = 'success')
    AND {now} - a.known_us > {verdict_grace_us}
    AND CASE a.outcome || ' as ' || a.recorded_state
      WHEN 'success as failure' THEN {success_as_failure}
      WHEN 'success as timeout' THEN {success_as_timeout}
      WHEN 'success as canceled' THEN {success_as_canceled}
      WHEN 'failure as success' THEN {failure_as_success}
      WHEN 'timeout as success' THEN {timeout_as_success}
      WHEN 'canceled as success' THEN {canceled_as_success}
      ELSE 0.0 END < 1
),
said AS (
  SELECT r.namespace, r.task, r.attempt,
    max(CASE WHEN r.outcome = 'success' THEN 1 ELSE 0 END) AS succeeded
  FROM runs r WHERE EXISTS (SELECT 1 FROM parted p WHERE p.namespace = r.namespace
    AND p.task = r.task AND p.attempt = r.attempt)
  GROUP BY r.namespace, r.task, r.attempt
),
heard AS (
  SELECT m.namespace, m.task, coalesce(m.attempt, 1) AS attempt, m.phase, m.ts_us, m.arrived_us,
    m.state
  FROM marks m WHERE m.phase IN ('enqueued', 'dispatched', 'finished', 'recorded')
    AND EXISTS (SELECT 1 FROM parted p WHERE p.namespace = m.namespace AND p.task = m.task)
),
revised AS (
  SELECT DISTINCT p.namespace AS namespace, p.task AS task, p.attempt AS attempt
  FROM parted p JOIN heard r ON r.namespace = p.namespace AND r.task = p.task
    AND r.attempt = p.attempt
  WHERE r.phase = 'recorded' AND r.ts_us < p.recorded_last_us AND r.state <> 'running'
    AND (r.state = 'success') = (p.outcome = 'success')
    AND p.recorded_state IN ('success', 'canceled') AND p.reason IS NOT NULL
),
others AS (
  SELECT b.namespace, b.task, b.attempt, b.sign_us, b.outcome, b.recorded_us, b.recorded_state,
    b.joined_late
  FROM attempts b WHERE EXISTS (SELECT 1 FROM parted p WHERE p.namespace = b.namespace
    AND p.task = b.task)
),
renumbered AS (
  SELECT DISTINCT p.namespace AS namespace, p.task AS task, p.attempt AS attempt
  FROM parted p JOIN others b ON b.namespace = p.namespace AND b.task = p.task
  WHERE b.attempt <> p.attempt AND (
    b.sign_us IS NULL AND (b.recorded_state = 'success') = (p.outcome = 'success')
    OR b.joined_late AND b.recorded_us IS NULL
      AND (b.outcome = 'success') = (p.recorded_state = 'success'))
),
anew AS (
  SELECT p.namespace AS namespace, p.task AS task, p.attempt AS attempt
  FROM parted p JOIN heard m ON m.namespace = p.namespace AND m.task = p.task
    AND m.attempt = p.attempt
  WHERE p.recorded_us < p.running_last_us
  GROUP BY p.namespace, p.task, p.attempt
  HAVING max(CASE WHEN m.phase IN ('enqueued', 'dispatched') THEN m.arrived_us END)
    > max(CASE WHEN m.phase = 'finished' THEN m.arrived_us END)
),
begun AS (
  SELECT DISTINCT p.namespace AS namespace, p.task AS task, p.attempt AS attempt
  FROM parted p JOIN open_runs r ON r.namespace = p.namespace AND r.task = p.task
    AND r.attempt = p.attempt
  WHERE r.finished_us IS NULL AND r.last_seen_us > p.finished_seen_us
)
SELECT p.namespace AS namespace, p.task || '/' || CAST(p.attempt AS VARCHAR) AS subject, p.name,
  p.service, p.queue, p.recorded_us AS since_us,
  CASE WHEN p.recorded_state = 'canceled' THEN 'info' ELSE 'warning' END AS severity,
  CASE WHEN n.task IS NOT NULL THEN 'the two sides do not number its attempts alike'
    WHEN g.task IS NOT NULL THEN 'another run of it has begun, and it may be that one'
    WHEN p.running_us < p.recorded_last_us AND p.recorded_last_us < p.running_last_us
      THEN 'it was handed out anew after that was recorded'
    WHEN h.task IS NOT NULL THEN 'it was handed out anew, and how that run ended was not heard' END
    AS unproven,
  p.task AS task, p.attempt AS attempt, p.request_id, p.agent, p.outcome, p.exit_code,
  p.recorded_state, CASE WHEN p.outcome <> 'success' THEN 'false success'
    WHEN p.after_record = 1 THEN 'late success' ELSE 'lost success' END AS mismatch
FROM parted p
LEFT JOIN said s ON s.namespace = p.namespace AND s.task = p.task AND s.attempt = p.attempt
LEFT JOIN revised v ON v.namespace = p.namespace AND v.task = p.task AND v.attempt = p.attempt
LEFT JOIN renumbered n ON n.namespace = p.namespace AND n.task = p.task AND n.attempt = p.attempt
LEFT JOIN anew h ON h.namespace = p.namespace AND h.task = p.task AND h.attempt = p.attempt
LEFT JOIN begun g ON g.namespace = p.namespace AND g.task = p.task AND g.attempt = p.attempt
WHERE v.task IS NULL AND NOT (p.recorded_us < p.recorded_last_us AND p.reason IS NOT NULL
    AND p.recorded_seen_us < (SELECT min(m.arrived_us) FROM marks m))
  AND NOT (p.recorded_state = 'success' AND coalesce(s.succeeded, 0) = 1)
ORDER BY since_us, subject""",
    clears="""
SELECT namespace, task || '/' || CAST(attempt AS VARCHAR) AS subject,
  CASE WHEN finished_last_us > recorded_last_us THEN finished_last_us ELSE recorded_last_us END
    AS cleared_us
FROM attempts WHERE (outcome = 'success') = (recorded_state = 'success')""",
    fix="Set {task} to {outcome}, with a reason: {agent} ended it so, and {service} has recorded"
    " {recorded_state} ({mismatch}). Do it before the work is repeated, or built upon.",
    only_if={
        "attempts": (
            "a.last_seen_us > {now} - {occurrence_us} AND (coalesce(a.outcome, CASE WHEN "
            "a.exit_code = 0 THEN 'success' ELSE 'failure' END) = 'success') <> (a.recorded_state "
            "= 'success')"
        ),
    },
    cases=[
        Case("lost success", _ended("success", "failure"), ["t1/1"], "confirmed"),
        Case(
            "it may still be corrected",
            _ended("success", "failure", ago=-15.0),
            [],
        ),
        Case(
            "late success: called failed at its time-out, and it went on and succeeded",
            _ended("success", "timeout", at=-16.0, ago=-80.0),
            ["t1/1"],
            "confirmed",
        ),
        Case("false success", _ended("failure", "success"), ["t1/1"], "confirmed"),
        Case("success at both ends", _ended("success", "success"), []),
        Case(
            "its ID is used anew, and the new one's end has not come yet",
            [
                *_ended("success", "success", at=-190, ago=-180),
                {**_A, "t": -40, "phase": "started", "task": "t1", "instance": "agent-2"},
                {**_D, "t": -20, "phase": "recorded", "task": "t1", "state": "failure"},
            ],
            ["t1/1"],
            "unknown",
        ),
        Case(
            "its ID is used anew, and of the new one the agent was not heard yet",
            [
                *_ended("success", "success", at=-190, ago=-180),
                {**_D, "t": -40, "phase": "dispatched", "task": "t1"},
                {**_D, "t": -20, "phase": "recorded", "task": "t1", "state": "failure"},
            ],
            ["t1/1"],
            "unknown",
        ),
        Case(
            "its ID is used anew, and the new one's success is lost",
            [
                *_ended("success", "success", at=-190, ago=-180),
                {**_D, "t": -40, "phase": "dispatched", "task": "t1"},
                {**_A, "t": -39, "phase": "started", "task": "t1"},
                {**_A, "t": -21, "phase": "finished", "task": "t1", "outcome": "success"},
                {**_D, "t": -20, "phase": "recorded", "task": "t1", "state": "failure"},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "that it was handed out is heard last of all",
            [
                *_ended("success", "failure")[1:],
                {**_D, "t": -200, "arrived": -5, "phase": "dispatched", "task": "t1"},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "its ID is used anew, and how the new one was recorded is not heard",
            [
                *_ended("success", "success", at=-190, ago=-180),
                {**_D, "t": -90, "phase": "dispatched", "task": "t1"},
                {**_A, "t": -89, "phase": "started", "task": "t1", "instance": "agent-2"},
                {**_A, "t": -31, "phase": "finished", "task": "t1", "outcome": "failure"},
            ],
            ["t1/1"],
            "unknown",
        ),
        Case(
            "its ID is used anew, and both say how the new one ended",
            [
                *_ended("success", "success", at=-190, ago=-180),
                {**_A, "t": -40, "phase": "started", "task": "t1", "instance": "agent-2"},
                {**_D, "t": -20, "phase": "recorded", "task": "t1", "state": "failure"},
                {
                    **_A,
                    "t": -19,
                    "phase": "finished",
                    "task": "t1",
                    "instance": "agent-2",
                    "outcome": "failure",
                },
            ],
            [],
        ),
        Case("failure and timeout agree", _ended("failure", "timeout"), []),
        Case("timeout and canceled agree", _ended("timeout", "canceled"), []),
        Case("canceled and failure agree", _ended("canceled", "failure"), []),
        Case("one word is that nobody knows", _ended("success", "unknown"), []),
        Case("to be recorded as running is no last word", _ended("success", "running"), []),
        Case("a run that yielded has not ended", _ended("yielded", "failure"), []),
        Case(
            "an exit code without an outcome is a word too",
            [
                *_ended("success", "failure")[:2],
                {**_A, "t": -31, "phase": "finished", "task": "t1", "exit_code": 0},
                _ended("success", "failure")[3],
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "corrected by a second record",
            [
                *_ended("success", "timeout", at=-60.0, ago=-80.0),
                {**_D, "t": -16, "phase": "recorded", "task": "t1", "state": "success"},
            ],
            [],
        ),
        Case(
            "a person set the failure to success, and said why: a documented re-verdict",
            [
                *_ended("failure", "failure"),
                {
                    **_D,
                    "t": -10,
                    "phase": "recorded",
                    "task": "t1",
                    "state": "success",
                    "reason": "loaded by hand",
                },
            ],
            [],
        ),
        Case(
            "failure turned to success, and nobody said why",
            [
                *_ended("failure", "failure"),
                {**_D, "t": -10, "phase": "recorded", "task": "t1", "state": "success"},
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "recorded as a success, and abandoned afterwards: the reason is the mistake",
            [
                *_ended("success", "success"),
                {
                    **_D,
                    "t": -10,
                    "phase": "recorded",
                    "task": "t1",
                    "state": "failure",
                    "reason": "heartbeat timed out",
                },
            ],
            ["t1/1"],
            "confirmed",
        ),
        Case(
            "it was handed out twice, and the run that was recorded did succeed",
            [
                *_ended("success", "success"),
                {
                    **_A,
                    "t": -20,
                    "phase": "finished",
                    "task": "t1",
                    "outcome": "failure",
                    "instance": "agent-2",
                },
            ],
            [],
        ),
        Case(
            "the first of two attempts, each judged alike by both ends",
            [
                *_ended("failure", "failure"),
                {**_D, "t": -14, "phase": "dispatched", "task": "t1", "attempt": 2},
                {
                    **_A,
                    "t": -13,
                    "phase": "finished",
                    "task": "t1",
                    "attempt": 2,
                    "outcome": "success",
                },
                {
                    **_D,
                    "t": -12,
                    "phase": "recorded",
                    "task": "t1",
                    "attempt": 2,
                    "state": "success",
                },
            ],
            [],
        ),
        Case(
            "agents that do not number attempts say both under the first: unknown",
            [
                *_ended("failure", "failure", at=-50.0, ago=-49.0),
                {**_D, "t": -40, "phase": "dispatched", "task": "t1", "attempt": 2},
                {**_A, "t": -31, "phase": "finished", "task": "t1", "outcome": "success"},
                {
                    **_D,
                    "t": -30,
                    "phase": "recorded",
                    "task": "t1",
                    "attempt": 2,
                    "state": "success",
                },
            ],
            ["t1/1"],
            "unknown",
        ),
        Case(
            "a scheduler that does not number attempts records both under the first: unknown",
            [
                *_ended("failure", "failure", at=-50.0, ago=-49.0),
                {
                    **_A,
                    "t": -31,
                    "phase": "finished",
                    "task": "t1",
                    "attempt": 2,
                    "outcome": "success",
                },
                {**_D, "t": -30, "phase": "recorded", "task": "t1", "state": "success"},
            ],
            ["t1/1"],
            "unknown",
        ),
    ],
)
