"""Tasks sit in a queue that nobody takes them from, or others are taken in their place.

## Meaning
Either the queue is not empty and has had no consumer for `consumer_grace_s`, by its samples. Or
tasks in it have been eligible (their ETA has passed) for `queue_grace_s`, were neither handed out
nor accepted, and at least `overtaken_min` tasks of the same priority that came later were. A long
queue that moves in order is not found here: that is a backlog. Nor is a queue that is paused.

## Impact
These tasks will not run however long one waits, while the queue looks alive and its throughput is
as it should be.

## Diagnosis
No consumer: are the agents that serve this queue running (`agent_down`, `crash_loop`), connected
to this broker, and subscribed to this queue, spelled as it is here? Overtaken: what do the stuck
tasks have in common? Held by a dead consumer that never acknowledged, locked by a transaction,
needing a pool, a label or a resource that is never free, or lost between database and broker?

## Mitigation
Restart or subscribe a consumer. For tasks that are overtaken: release the lock or the
unacknowledged messages, or cancel and queue them again. Where a resource is scarce, give its tasks
a queue of their own.
"""

from detectors._kit import Case, Detector

_A = {"side": "agent", "service": "agent", "task_name": "sync", "queue": "q"}
_D = {"side": "dispatcher", "service": "oxr", "task_name": "sync", "queue": "q"}


def _waits(ago_s: float, task: str = "t1", **more: object) -> dict[str, object]:
    """Return a task that was queued *ago_s* ago."""
    return {**_D, "t": -ago_s, "phase": "enqueued", "task": task, **more}


def _others(number: int, queued: float = -500.0, **more: object) -> list[dict[str, object]]:
    """Return so many tasks that were queued a second apart from *queued* on, and handed out."""
    return [
        signal
        for at in range(number)
        for signal in (
            {**_D, "t": queued + at, "phase": "enqueued", "task": f"o{at}", **more},
            {**_D, "t": queued + at + 5, "phase": "dispatched", "task": f"o{at}"},
        )
    ]


def _samples(
    *times: float, depth: float = 5.0, consumers: float = 0.0, **more: object
) -> list[dict[str, object]]:
    """Return samples of the queue at *times*."""
    one = {"kind": "queue", "service": "broker", "phase": "queue.sampled", "queue": "q", **more}
    return [{**one, "t": at, "depth": depth, "consumers": consumers} for at in times]


DETECTOR = Detector(
    severity="warning",
    every_s=15.0,
    follows=("agent_down", "crash_loop"),
    thresholds={
        "queue_grace_s": 600.0,
        "overtaken_min": 20.0,
        "consumer_grace_s": 60.0,
        "sample_age_s": 180.0,
        "lag_max_s": 60.0,
    },
    sql="""
WITH waiting AS (
  SELECT o.namespace, o.task, o.attempt, o.queue, coalesce(o.priority, '') AS priority, o.service,
    o.name, CASE WHEN o.eta_us > o.enqueued_last_us THEN o.eta_us ELSE o.enqueued_last_us END
      AS eligible_us,
    CASE WHEN o.eta_us > o.enqueued_seen_us AND o.eta_us > o.enqueued_last_us THEN o.eta_us
      WHEN o.enqueued_last_us > o.enqueued_seen_us THEN o.enqueued_last_us
      ELSE o.enqueued_seen_us END AS known_us, o.enqueued_seen_us AS heard_us
  FROM open_attempts o
  WHERE o.enqueued_us IS NOT NULL AND o.running_us IS NULL AND o.sign_us IS NULL
    AND o.recorded_us IS NULL AND o.requeued_us IS NULL AND o.dead_lettered_us IS NULL
    AND NOT o.joined_late
),
long AS (
  SELECT a.* FROM waiting a
  WHERE {now} - a.known_us > {queue_grace_us} AND a.queue IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM paused p WHERE p.namespace = a.namespace AND p.queue = a.queue)
),
newest AS (
  SELECT b.namespace, b.task, max(b.attempt) AS attempt FROM attempts b
  WHERE EXISTS (SELECT 1 FROM long a WHERE a.namespace = b.namespace AND a.task = b.task)
  GROUP BY b.namespace, b.task
),
heads AS (
  SELECT namespace, queue, priority, min(eligible_us) AS eligible_us FROM long
  GROUP BY namespace, queue, priority
),
taken AS (
  SELECT o.namespace, o.queue, coalesce(o.priority, '') AS priority,
    CASE WHEN o.enqueued_last_us > o.running_last_us THEN o.enqueued_us
      WHEN o.eta_us > o.enqueued_last_us THEN o.eta_us ELSE o.enqueued_last_us END
      AS eligible_us, coalesce(o.running_seen_us, o.sign_seen_us) AS taken_us
  FROM attempts o
  WHERE coalesce(o.running_us, o.sign_us) IS NOT NULL AND NOT o.joined_late
    AND o.enqueued_last_us > (SELECT min(h.eligible_us) FROM heads h) - 86400000000
    AND EXISTS (SELECT 1 FROM heads h WHERE h.namespace = o.namespace AND h.queue = o.queue)
),
line AS (
  SELECT a.namespace AS namespace, a.queue AS queue, a.priority AS priority, a.service AS service,
    a.name AS name, a.task AS task, a.eligible_us AS eligible_us, a.known_us AS known_us,
    a.heard_us AS heard_us, CAST(NULL AS BIGINT) AS taken_us, 0 AS passed
  FROM long a
  JOIN newest n ON n.namespace = a.namespace AND n.task = a.task AND n.attempt = a.attempt
  UNION ALL
  SELECT t.namespace, t.queue, t.priority, NULL, NULL, NULL, t.eligible_us, NULL, NULL,
    t.taken_us, 1
  FROM taken t JOIN heads h ON h.namespace = t.namespace AND h.queue = t.queue
    AND h.priority = t.priority
  WHERE t.eligible_us > h.eligible_us
),
placed AS (
  SELECT *, sum(passed) OVER newer AS overtaken, min(taken_us) OVER newer AS passed_us
  FROM line WINDOW newer AS (PARTITION BY namespace, queue, priority
    ORDER BY eligible_us DESC, passed, task ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
),
offered AS (
  SELECT c.namespace, c.task, max(coalesce(c.received_seen_us, c.sent_seen_us)) AS seen_us
  FROM calls c WHERE c.purpose = 'dispatch'
    AND EXISTS (SELECT 1 FROM long a WHERE a.namespace = c.namespace AND a.task = c.task)
  GROUP BY c.namespace, c.task
),
losing AS (
  SELECT p.namespace AS namespace, p.task AS task
  FROM placed p JOIN lost l ON l.namespace = p.namespace
  LEFT JOIN offered o ON o.namespace = p.namespace AND o.task = p.task
  WHERE p.passed = 0 AND coalesce(l.side, 'dispatcher') = 'dispatcher'
    AND l.to_us > p.heard_us - 30000000
    -- who passed it may bear an ID that was taken before, or its own clock may be behind; and a
    -- call that was to hand it out may have done so
    AND l.from_us < greatest(p.heard_us, p.passed_us, coalesce(o.seen_us, p.heard_us)) + 30000000
  GROUP BY p.namespace, p.task
),
covered AS (
  SELECT DISTINCT namespace, service, key FROM rates WHERE measure = 'wait'
),
behind AS (
  SELECT DISTINCT a.namespace FROM (SELECT i.*, CAST(NULL AS VARCHAR) AS name,
      CAST(NULL AS VARCHAR) AS queue FROM instances i WHERE i.side = 'dispatcher') a
  WHERE a.last_seen_us > {now} - 600000000 AND a.last_seen_us - a.last_us > {lag_max_us}
),
stuck AS (
  SELECT a.namespace AS namespace, a.queue AS queue, a.service AS service, a.name AS name,
    a.task AS task, a.eligible_us AS eligible_us, a.known_us AS known_us, a.overtaken AS overtaken,
    CASE WHEN b.namespace IS NOT NULL THEN 'a dispatcher is read with a delay'
      WHEN m.task IS NOT NULL THEN 'a dispatcher lost records when others were taken'
      WHEN a.known_us < coalesce((SELECT max(g.to_us) FROM gaps g WHERE g.way = 'push'), 0)
        THEN 'we were not listening for a part of the time'
      WHEN c.namespace IS NULL
        THEN 'not covered: that a task of this name is handed out was never seen' END AS doubt
  FROM (SELECT p.* FROM placed p WHERE p.passed = 0) a
  LEFT JOIN covered c ON c.namespace = a.namespace AND c.service = coalesce(a.service, '')
    AND c.key = coalesce(a.name, '')
  LEFT JOIN behind b ON b.namespace = a.namespace
  LEFT JOIN losing m ON m.namespace = a.namespace AND m.task = a.task
  WHERE a.overtaken >= {overtaken_min}
),
sampled AS (
  SELECT s.namespace, s.queue, s.service, s.at_us, s.depth, s.last_seen_us,
    CASE WHEN s.depth > 0 AND s.consumers = 0 AND NOT coalesce(s.paused, FALSE) THEN 1 ELSE 0 END
      AS bare,
    CASE WHEN s.consumers > 0 OR s.in_flight > 0 THEN 1 ELSE 0 END AS served,
    row_number() OVER (PARTITION BY s.namespace, s.queue ORDER BY s.at_us DESC, s.bin_us DESC)
      AS place
  FROM samples s WHERE s.depth IS NOT NULL AND s.consumers IS NOT NULL
    AND s.at_us > s.last_seen_us - 3600000000
),
kept AS (
  SELECT namespace, queue, max(CASE WHEN bare = 0 THEN at_us END) AS good_us,
    max(served) AS served, max(CASE WHEN place = 1 THEN bare END) AS bare
  FROM sampled GROUP BY namespace, queue
),
bare AS (
  SELECT s.namespace AS namespace, s.queue AS queue, max(s.service) AS service,
    CAST(NULL AS VARCHAR) AS name, min(s.at_us) AS since_us, max(s.at_us) AS until_us,
    max(s.last_seen_us) AS seen_us, max(CASE WHEN s.place = 1 THEN s.depth END) AS depth,
    max(k.served) AS served
  FROM sampled s JOIN kept k ON k.namespace = s.namespace AND k.queue = s.queue
  WHERE k.bare = 1 AND s.at_us > coalesce(k.good_us, 0)
  GROUP BY s.namespace, s.queue
),
used AS (
  SELECT DISTINCT w.namespace, w.queue FROM waiting w
)
SELECT a.namespace, a.queue AS subject, a.name, a.service, a.queue, a.since_us, a.unproven, a.way,
  a.waiting, a.overtaken, a.lasting_s, a.example, CASE WHEN a.way = 'no consumer'
    THEN 'it holds ' || CAST(a.waiting AS VARCHAR) || ', and has had no consumer for '
      || CAST(a.lasting_s AS VARCHAR) || ' s'
    ELSE CAST(a.waiting AS VARCHAR) || ' (' || a.example || ' first) have waited for up to '
      || CAST(a.lasting_s AS VARCHAR) || ' s, and ' || CAST(a.overtaken AS VARCHAR)
      || ' that came later were taken' END AS told
FROM (
  SELECT a.namespace AS namespace, a.queue AS queue, a.name AS name, a.service AS service,
    a.since_us AS since_us, CASE WHEN {now} - a.seen_us > {sample_age_us}
        THEN 'the queue has not been sampled since'
      WHEN a.served = 0 AND u.queue IS NULL
        THEN 'no consumer and no task of it were ever seen: it may be a dead-letter queue' END
      AS unproven,
    'no consumer' AS way, CAST(a.depth AS BIGINT) AS waiting, CAST(NULL AS BIGINT) AS overtaken,
    CAST(round((a.until_us - a.since_us) / 1e6) AS BIGINT) AS lasting_s,
    CAST(NULL AS VARCHAR) AS example
  FROM bare a
  LEFT JOIN used u ON u.namespace = a.namespace AND u.queue = a.queue
  WHERE a.until_us - a.since_us > {consumer_grace_us}
    AND NOT EXISTS (SELECT 1 FROM paused p WHERE p.namespace = a.namespace AND p.queue = a.queue)
  UNION ALL
  SELECT namespace, queue, CASE WHEN min(name) = max(name) THEN min(name) END, max(service),
    min(eligible_us), CASE WHEN sum(CASE WHEN doubt IS NULL THEN 1 ELSE 0 END) = 0
      THEN max(doubt) END,
    'overtaken', count(*), CAST(max(overtaken) AS BIGINT),
    CAST(round(({now} - min(known_us)) / 1e6) AS BIGINT), min(task)
  FROM stuck GROUP BY namespace, queue
) a
QUALIFY row_number() OVER (PARTITION BY a.namespace, a.queue
  ORDER BY CASE WHEN a.unproven IS NULL THEN 0 ELSE 1 END, a.way) = 1
ORDER BY since_us, subject""",
    fix="See who serves queue {queue}: {told}. Restart or subscribe a consumer, or release what"
    " holds these tasks and queue them again.",
    only_if={
        "open_attempts": (
            "a.running_us IS NULL AND a.sign_us IS NULL AND a.recorded_us IS NULL AND {now} - "
            "a.enqueued_seen_us > {queue_grace_us}"
        ),
        "samples": "a.depth > 0 AND a.consumers = 0",
    },
    cases=[
        Case(
            "601 s old, and 20 later ones were handed out",
            [_waits(601), *_others(20)],
            ["q"],
            "confirmed",
        ),
        Case("600 s old", [_waits(600), *_others(20)], []),
        Case(
            "its dispatcher lost what it said when those behind it were taken: unknown",
            [
                _waits(601),
                *_others(20),
                {**_D, "t": -480, "phase": "export.failed", "from": -500, "to": -499, "lost": 2},
            ],
            ["q"],
            "unknown",
        ),
        Case(
            "whose clock is 80 s ahead queued it, just when another lost something: unknown",
            [
                _waits(601, arrived=-681, instance="oxr-1"),
                *_others(20, instance="oxr-2"),
                {
                    **_D,
                    "t": -680,
                    "phase": "export.failed",
                    "instance": "oxr-2",
                    "from": -682,
                    "to": -680,
                    "lost": 6,
                },
            ],
            ["q"],
            "unknown",
        ),
        Case(
            "whose clock is behind queued it, just when another lost something: unknown",
            [
                _waits(681, arrived=-601, instance="oxr-1"),
                *_others(20, queued=-670.0, instance="oxr-2"),
                {
                    **_D,
                    "t": -600,
                    "phase": "export.failed",
                    "instance": "oxr-2",
                    "from": -602,
                    "to": -601,
                    "lost": 6,
                },
            ],
            ["q"],
            "unknown",
        ),
        Case(
            "one that passed it bears the ID of a task that was taken before: unknown all the same",
            [
                *_others(1, queued=-900.0),
                _waits(601),
                *_others(20),
                {**_D, "t": -590, "phase": "export.failed", "from": -600, "to": -599, "lost": 2},
            ],
            ["q"],
            "unknown",
        ),
        Case(
            "it lost something long after they were taken",
            [
                _waits(601),
                *_others(20),
                {**_D, "t": -100, "phase": "export.failed", "from": -120, "to": -110, "lost": 2},
            ],
            ["q"],
            "confirmed",
        ),
        *(
            Case(
                f"it was to be handed out {when} something was lost",
                [
                    _waits(601),
                    *_others(20),
                    {**_D, "t": -150, "phase": "call.received", "task": "t1", "purpose": "dispatch"}
                    | {"request_id": "d1"},
                    {**_D, "t": -90, "phase": "export.failed", "from": lost, "to": lost + 1},
                ],
                ["q"],
                verdict,
            )
            for when, lost, verdict in (
                ("when", -149, "unknown"),
                ("long before", -100, "confirmed"),
            )
        ),
        Case("overtaken by 19", [_waits(601), *_others(19)], []),
        Case(
            "a long queue that moves in order",
            [*_others(30, queued=-900.0), *(_waits(700 - n, f"t{n}") for n in range(50))],
            [],
        ),
        Case(
            "queued in one go with those that were taken: these are not later",
            [
                _waits(700),
                *({**one, "t": -700.0} for one in _others(30) if one["phase"] == "enqueued"),
                *(one for one in _others(30) if one["phase"] == "dispatched"),
            ],
            [],
        ),
        Case(
            "those that were taken had another priority",
            [_waits(900, priority="low"), *_others(30, priority="high")],
            [],
        ),
        Case(
            "IDs that ran before it came are queued anew behind it: they wait, as it does",
            [
                *_others(30, queued=-3000.0),
                _waits(900),
                *(_waits(500 - n, f"o{n}") for n in range(30)),
            ],
            [],
        ),
        Case(
            "those that were taken were in another queue",
            [
                {**_waits(900), "queue": "other"},
                *_others(30),
            ],
            [],
        ),
        Case("its ETA has not come, or only just", [_waits(900, eta=-590), *_others(30)], []),
        Case(
            "an agent has accepted it",
            [_waits(900), {**_A, "t": -800, "phase": "accepted", "task": "t1"}, *_others(30)],
            [],
        ),
        Case(
            "a later attempt has taken its place",
            [
                _waits(900),
                {**_D, "t": -50, "phase": "dispatched", "task": "t1", "attempt": 2},
                *_others(30),
            ],
            [],
        ),
        Case(
            "the queue is paused",
            [_waits(900), *_others(30), *_samples(-20, consumers=1.0, paused=True)],
            [],
        ),
        Case(
            "three of one queue are one finding",
            [*(_waits(900 + n, f"t{n}") for n in range(3)), *_others(30)],
            ["q"],
            "confirmed",
        ),
        Case(
            "tasks of its name are never seen to be handed out: not covered",
            [_waits(900, task_name="other"), *_others(30)],
            ["q"],
            "unknown",
        ),
        Case(
            "a dispatcher is read with a delay: what it has handed out may yet come",
            [
                _waits(900),
                *_others(30),
                {**_D, "t": -300, "arrived": -20, "instance": "oxr-2", "body": "x"},
            ],
            ["q"],
            "unknown",
        ),
        Case(
            "not empty, and no consumer for 61 s",
            [
                *_samples(-120, consumers=2.0),
                *_samples(-61, -31, 0),
            ],
            ["q"],
            "confirmed",
        ),
        Case(
            "no consumer for 60 s",
            [*_samples(-120, consumers=2.0), *_samples(-60, -31, 0)],
            [],
        ),
        Case("empty, and no consumer", _samples(-120, -60, 0, depth=0.0), []),
        Case(
            "paused, and no consumer",
            [*_samples(-180, consumers=2.0), *_samples(-120, -60, 0, paused=True)],
            [],
        ),
        Case(
            "a consumer came and went in between",
            [
                *_samples(-120, -100),
                *_samples(-50, consumers=1.0),
                *_samples(-30, 0),
            ],
            [],
        ),
        Case(
            "nobody was ever seen to use it: it may be a dead-letter queue",
            _samples(-120, -60, 0),
            ["q"],
            "unknown",
        ),
        Case(
            "a task was queued in it, so that it is no dead-letter queue",
            [*_samples(-120, -60, 0), _waits(30)],
            ["q"],
            "confirmed",
        ),
        Case(
            "sampled a while ago",
            [*_samples(-600, consumers=2.0), *_samples(-400, -300, -180)],
            ["q"],
            "confirmed",
        ),
        Case(
            "it is not sampled any more: unknown",
            [*_samples(-600, consumers=2.0), *_samples(-400, -300, -181)],
            ["q"],
            "unknown",
        ),
    ],
)
