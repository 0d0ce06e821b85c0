"""Tasks were given up for good, and lie where nobody works on them.

## Meaning
Within the last 15 minutes the dispatcher gave up attempts of this name from this queue, for the
reason that is shown (where there are more than `reasons_max` reasons, they are taken together).
Letters that were already `old_s` old when we heard of them are history that is being read again,
not news.

## Impact
Each is work that somebody asked for and that will not be done unless a person sees to it. Many
at once, for one reason, are one fault; a few are a poison message each.

## Diagnosis
Open the timeline of the first one: what did its attempts end with, and how many were made? One
reason for all of them points at what they share (a dependency, a deployment, a credential); one
letter that died again and again points at its own content.

## Mitigation
Mend the cause first, then resend the letters: resent before, they only die again. A letter that
nothing can process is dropped by a person, with its ID and its reason written down.
"""

from detectors._kit import Case, Detector

_D = {
    "side": "dispatcher",
    "service": "oxr",
    "task_name": "sync",
    "queue": "mail",
    "phase": "dead_lettered",
    "reason": "rejected",
}


def _letters(number: int, t: float = -60, **more: object) -> list[dict[str, object]]:
    """Return *number* letters, a second apart."""
    return [{**_D, "t": t + i, "task": f"t{t}-{i}", **more} for i in range(number)]


DETECTOR = Detector(
    severity="warning",
    lasts="occurrence",
    follows=(
        "auth_failure",
        "rate_limited",
        "crash_loop",
        "retry_storm",
    ),
    thresholds={"old_s": 3600.0, "reasons_max": 10.0},
    sql="""
WITH letters AS (
  SELECT a.namespace, a.service, a.queue, a.name, a.task, a.attempt, a.dead_lettered_us AS at_us,
    coalesce(a.reason, 'no reason given') AS reason
  FROM attempts a
  WHERE a.dead_lettered_seen_us > {now} - {occurrence_us}
    AND a.dead_lettered_us >= a.dead_lettered_seen_us - {old_us}
), reasons AS (
  SELECT namespace, service, queue, name, count(DISTINCT reason) AS reasons
  FROM letters GROUP BY namespace, service, queue, name
)
SELECT a.namespace,
  coalesce(a.service, '') || coalesce(' ' || a.queue, '') || coalesce(' ' || a.name, '') || ': '
    || a.reason AS subject,
  a.name, a.service, a.queue, min(a.at_us) AS since_us, a.reason, max(a.reasons) AS reasons,
  count(*) AS letters, count(DISTINCT a.task) AS tasks, max(a.attempt) AS attempts,
  min(a.task) AS a_task, max(a.task) AS another_task,
  (max(a.at_us) - min(a.at_us)) / 1e6 AS within_s
FROM (
  SELECT a.namespace, a.service, a.queue, a.name, a.task, a.attempt, a.at_us, a.reasons,
    CASE WHEN a.reasons > {reasons_max} THEN 'various reasons' ELSE a.reason END AS reason
  FROM (
    SELECT l.*, r.reasons FROM letters l
    JOIN reasons r ON r.namespace = l.namespace
      AND coalesce(r.service, '') = coalesce(l.service, '')
      AND coalesce(r.queue, '') = coalesce(l.queue, '')
      AND coalesce(r.name, '') = coalesce(l.name, '')
  ) a
) a
GROUP BY a.namespace, a.service, a.queue, a.name, a.reason
ORDER BY since_us, subject""",
    fix="Look at {a_task} first: {letters} letters of {name} died in {queue} within {within_s} s"
    " ({reason}). Mend what they died of, then resend them.",
    only_if={
        "attempts": "a.dead_lettered_seen_us > {now} - {occurrence_us}",
    },
    cases=[
        Case(
            "three for one reason are one finding",
            _letters(3),
            ["oxr mail sync: rejected"],
            "confirmed",
        ),
        Case("given up 899 s ago", _letters(1, -899), ["oxr mail sync: rejected"], "confirmed"),
        Case("given up 15 minutes ago: no longer news", _letters(1, -900), []),
        Case(
            "by reason",
            [*_letters(2), *_letters(1, -30, reason="too large")],
            ["oxr mail sync: rejected", "oxr mail sync: too large"],
            "confirmed",
        ),
        Case(
            "ten reasons are ten findings",
            [one for i in range(10) for one in _letters(1, -60 + i, reason=f"no. {i}")],
            [f"oxr mail sync: no. {i}" for i in range(10)],
            "confirmed",
        ),
        Case(
            "eleven are one: the reason has something of each letter in it",
            [one for i in range(11) for one in _letters(1, -60 + i, reason=f"no. {i}")],
            ["oxr mail sync: various reasons"],
            "confirmed",
        ),
        Case(
            "without a reason, a queue and a name",
            _letters(1, reason=None, queue=None, task_name=None),
            ["oxr: no reason given"],
            "confirmed",
        ),
        Case(
            "an hour old when it is heard of: just late",
            [{**_D, "t": -3630, "arrived": -30, "task": "t1"}],
            ["oxr mail sync: rejected"],
            "confirmed",
        ),
        Case(
            "an old log is read from its beginning",
            [{**_D, "t": -3631, "arrived": -30, "task": "t1"}],
            [],
        ),
        Case(
            "failed, and to be tried again",
            [
                {**_D, "t": -60, "phase": "recorded", "state": "failure", "task": "t1"},
                {**_D, "t": -59, "phase": "requeued", "task": "t1"},
            ],
            [],
        ),
    ],
)
