"""A job that must run has run, and said that it failed.

## Meaning
The last word on how a run of this schedule ended is that it failed: a ping of `/fail` or of an exit
code that is not 0, or its scheduler's `schedule.fired` with the outcome failure or timeout. It is
let go by the next run that succeeds; one that begins, or of which nobody knows how it ended, says
nothing. One finding for each schedule, however often it fails. A job that no schedule declares is
not found, nor one whose schedule is paused or was paused since; a failure of which we heard more
than an hour late is history that is being read again, not news.

## Impact
What this run should have made (a backup, a report, a clean-up) is missing, partial or old, until
one succeeds. Cron itself tells nobody, and the next run may be a day away.

## Diagnosis
Open the timeline of the run: the text that it sent with its ping is the end of its own output. Does
each run fail, or this one only: what has changed since the last success (a deployment, a
credential, a full disk, a host that it asks)? Did two runs of it overlap?

## Mitigation
Mend what it says, and run it by hand if its work is needed now: that its ping then says success
ends this. A run that was called failed by hand, because it had died without a word, is ended in the
same way. Where a failure is nothing that anybody has to see to, let the job say success, or take
its schedule away.
"""

from detectors._kit import Case, Detector

_JOB = {"schedule": "backup", "kind": "ping", "way": "ping", "phase": "schedule.fired"}
_DECLARED = {"schedule": "backup", "kind": "event", "way": "schedule", "phase": "schedule.expected"}
_KNOWN = {**_DECLARED, "t": -90_000}
_D = {"side": "dispatcher", "service": "oxr", "schedule": "backup", "phase": "schedule.fired"}


def _ended(ago_s: float, outcome: str, **more: object) -> dict[str, object]:
    """Return the ping of a run that ended so long ago."""
    return {**_JOB, "t": -ago_s, "task": "backup/r1", "outcome": outcome, **more}


DETECTOR = Detector(
    severity="warning",
    follows=("missed_run", "auth_failure", "rate_limited", "crash_loop"),
    sql="""
SELECT a.namespace, a.schedule AS subject, a.schedule AS name, a.service, a.queue,
  a.failed_last_us AS since_us, CASE WHEN a.failed_task <> '' THEN a.failed_task END AS task,
  a.failed_how AS how, ({now} - a.succeeded_last_us) / 1e6 AS succeeded_ago_s,
  CASE WHEN a.succeeded_last_us IS NULL THEN 'it has never been seen to succeed'
    ELSE 'its last success was '
      || CAST(CAST(round((a.failed_last_us - a.succeeded_last_us) / 1e6) AS BIGINT) AS VARCHAR)
      || ' s before' END AS told
FROM schedules a
WHERE a.failed_last_us > coalesce(a.succeeded_last_us, 0)
  AND a.failed_last_us > coalesce(a.paused_last_us, 0)
  AND a.declared_way IS NOT NULL AND NOT coalesce(a.paused, FALSE)
ORDER BY since_us, subject""",
    clears="""
SELECT namespace, schedule AS subject, succeeded_last_us AS cleared_us
FROM schedules WHERE succeeded_last_us IS NOT NULL""",
    fix="See why {subject} failed ({how}; {told}): its timeline has what it said. Run it again by"
    " hand if its work is needed now.",
    only_if={
        "schedules": (
            "a.declared_way IS NOT NULL AND a.failed_last_us > coalesce(a.succeeded_last_us, 0)"
        ),
    },
    cases=[
        Case("it said /fail", [_KNOWN, _ended(1, "failure")], ["backup"], "confirmed"),
        Case(
            "it ended with an exit code that is not 0",
            [_KNOWN, _ended(1, "failure", exit_code=1)],
            ["backup"],
            "confirmed",
        ),
        Case("it ended with 0", [_KNOWN, _ended(1, "success", exit_code=0)], []),
        Case("no schedule declares it", [_ended(1, "failure")], []),
        Case(
            "declared after it had failed",
            [_ended(600, "failure"), {**_DECLARED, "t": -1}],
            ["backup"],
            "confirmed",
        ),
        Case(
            "it failed a day ago, and has not run since",
            [_KNOWN, _ended(86_400, "failure")],
            ["backup"],
            "confirmed",
        ),
        Case(
            "a later run succeeded",
            [_KNOWN, _ended(60, "failure"), _ended(59, "success", task="backup/r2")],
            [],
        ),
        Case(
            "the same run said success after that",
            [_KNOWN, _ended(60, "failure"), _ended(59, "success")],
            [],
        ),
        Case(
            "at the same moment: which of them was last cannot be told",
            [_KNOWN, _ended(60, "failure"), _ended(60, "success", task="backup/r2")],
            [],
        ),
        Case(
            "it succeeded before that",
            [_KNOWN, _ended(61, "success", task="backup/r0"), _ended(60, "failure")],
            ["backup"],
            "confirmed",
        ),
        Case(
            "its success was said last, and heard first",
            [_KNOWN, _ended(60, "success", task="backup/r2"), _ended(61, "failure", arrived=-5)],
            [],
        ),
        Case(
            "it has begun again, and may fail again",
            [_KNOWN, _ended(60, "failure"), {**_JOB, "t": -9, "task": "backup/r2"}],
            ["backup"],
            "confirmed",
        ),
        Case(
            "how the next one ended nobody knows",
            [_KNOWN, _ended(60, "failure"), _ended(9, "unknown", task="backup/r2")],
            ["backup"],
            "confirmed",
        ),
        Case("how it ended nobody knows", [_KNOWN, _ended(9, "unknown")], []),
        Case(
            "failed each time: one finding",
            [_KNOWN, *(_ended(600 * i, "failure", task=f"backup/r{i}") for i in range(1, 4))],
            ["backup"],
            "confirmed",
        ),
        Case(
            "another job's success is not its own",
            [_KNOWN, _ended(60, "failure"), _ended(9, "success", schedule="other")],
            ["backup"],
            "confirmed",
        ),
        Case(
            "an error in its log is no end",
            [
                _KNOWN,
                {"kind": "ping", "way": "ping", "t": -9, "task": "backup/r1", "severity": 17},
            ],
            [],
        ),
        Case(
            "paused since",
            [_KNOWN, _ended(60, "failure"), {**_DECLARED, "t": -9, "paused": True}],
            [],
        ),
        Case(
            "paused since, and it goes on now: it was seen to",
            [
                _KNOWN,
                _ended(60, "failure"),
                {**_DECLARED, "t": -10, "paused": True},
                {**_DECLARED, "t": -9, "paused": False},
            ],
            [],
        ),
        Case(
            "it failed after the pause",
            [
                _KNOWN,
                {**_DECLARED, "t": -70, "paused": True},
                {**_DECLARED, "t": -65, "paused": False},
                _ended(60, "failure"),
            ],
            ["backup"],
            "confirmed",
        ),
        Case(
            "its scheduler says that the run which it fired ended by a time-out",
            [_KNOWN, {**_D, "t": -60}, {**_D, "t": -9, "outcome": "timeout"}],
            ["backup"],
            "confirmed",
        ),
        Case(
            "its scheduler canceled the run",
            [_KNOWN, {**_D, "t": -60}, {**_D, "t": -9, "outcome": "canceled"}],
            [],
        ),
        Case(
            "heard of an hour late",
            [_KNOWN, {**_D, "t": -4000, "arrived": -400, "outcome": "failure"}],
            ["backup"],
            "confirmed",
        ),
        Case(
            "an old log is read from its beginning",
            [_KNOWN, {**_D, "t": -4001, "arrived": -400, "outcome": "failure"}],
            [],
        ),
    ],
)
