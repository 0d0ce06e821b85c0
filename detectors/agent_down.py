"""An agent is gone, and work that it had begun is still open.

## Meaning
An agent that promised a beat (or kept one) has been silent for three intervals, `silence_min_s`
at least; or it stopped; or a new process has taken its name, which orphans at once what the old
one ran, if that had not said that it stopped (its last words have `stop_grace_s` then). In each
case it had begun tasks of which no end was seen, and which nobody has taken over. Also found: no
agent of a service is left, one of them ended uncleanly or fell silent, and tasks wait for them. One
finding for each agent, with its tasks counted. Where over half of a service's agents fall silent
together, the path to us is the likelier cause: that is one *unknown*.

## Impact
The scheduler holds these tasks *running* until a time-out of its own; until then they neither end
nor start again, and their slots are lost.

## Diagnosis
How did it go? Unclean: the last lines of its log, out of memory, eviction, a failing start
(`crash_loop`). Silent: is the host up, is the process alive, is it blocked or cut off? Came back:
what restarted it (a deployment, a supervisor), and does it drain before it stops?

## Mitigation
Once you are sure that it is dead, requeue what it held. Let agents finish or hand back their work
when they are told to stop, and let the scheduler requeue a dead agent's tasks when a new process
reports under its name.
"""

from detectors._kit import Case, Detector

_A = {"side": "agent", "service": "agent", "task_name": "sync", "queue": "q"}
_D = {"side": "dispatcher", "service": "oxr", "task_name": "sync", "queue": "q"}
_SEEN = [
    {**_D, "t": -900, "phase": "dispatched", "task": "t0"},
    {**_A, "t": -899, "phase": "started", "task": "t0", "instance": "agent-0"},
    {
        **_A,
        "t": -890,
        "phase": "finished",
        "task": "t0",
        "outcome": "success",
        "instance": "agent-0",
    },
    {**_D, "t": -889, "phase": "recorded", "task": "t0", "state": "success"},
]
_HEARD = {**_A, "t": 0, "phase": "heartbeat", "instance": "agent-9", "beat_s": 10.0}
_LOST = {"t": -149, "phase": "export.failed", "from": -151, "to": -150, "lost": 1}


def _holds(
    agent: str = "agent-1", *tasks: str, t: float = -200.0, **more: object
) -> list[dict[str, object]]:
    """Return *tasks* that *agent* began and has not ended."""
    return [
        signal
        for task in tasks or ("t1",)
        for signal in (
            {**_D, "t": t - 1, "phase": "dispatched", "task": task},
            {**_A, "t": t, "phase": "started", "task": task, "instance": agent, **more},
        )
    ]


def _beats(*times: float, agent: str = "agent-1", **more: object) -> list[dict[str, object]]:
    """Return beats of *agent* itself."""
    one = {"side": "agent", "service": "agent", "phase": "heartbeat", "instance": agent}
    return [{**one, "t": at, **more} for at in times]


def _stop(ago_s: float, *, clean: bool, **more: object) -> dict[str, object]:
    """Return the end of agent-1, so long ago."""
    one = {"side": "agent", "service": "agent", "instance": "agent-1", "phase": "instance.stopped"}
    return {**one, "t": -ago_s, "clean": clean, **more}


DETECTOR = Detector(
    severity="warning",
    wakes=1,
    witness="agent",
    every_s=15.0,
    follows=("crash_loop", "collection_lag"),
    thresholds={
        "silence_min_s": 60.0,
        "beats_missed": 3.0,
        "stop_grace_s": 15.0,
        "redelivery_s": 3600.0,
        "together_s": 60.0,
    },
    sql="""
WITH known AS (
  SELECT a.*, CAST(greatest({beats_missed} * a.interval_us, {silence_min_us}) AS BIGINT)
      AS limit_us, {silence_min_us} AS least_us,
    {together_us} AS near_us, {stop_grace_us} AS grace_us,
    CASE WHEN a.heard_us > g.to_us THEN a.heard_us ELSE g.to_us END AS known_us
  FROM (SELECT l.*, CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue FROM lives l) a
  JOIN (SELECT coalesce(max(to_us), 0) AS to_us FROM gaps) g ON TRUE
),
state AS (
  SELECT k.*, CASE
      WHEN k.boot <> '' AND k.mixed = 0 AND k.next_us IS NOT NULL
        AND (k.stopped_us IS NULL OR k.last_us > k.stopped_us + 1000000) THEN 1
      WHEN k.newest = 1 AND k.interval_us IS NOT NULL AND {now} - k.known_us > k.limit_us
        AND (k.stopped_us IS NULL OR k.spoke_us > k.stopped_us) THEN 4
      WHEN k.stopped_us IS NOT NULL AND {now} - k.stopped_seen_us > k.grace_us
        THEN CASE WHEN coalesce(k.clean, TRUE) THEN 3 ELSE 2 END END AS how
  FROM known k
),
ends AS (
  SELECT namespace, service, instance, boot, how, heard_us,
    CASE how WHEN 1 THEN next_us WHEN 4 THEN spoke_us ELSE stopped_us END AS end_us,
    CASE how WHEN 1 THEN next_seen_us WHEN 4 THEN heard_us + limit_us ELSE stopped_seen_us END
      AS deadline_us
  FROM state WHERE how IS NOT NULL
),
fleet AS (
  SELECT s.namespace AS namespace, s.service AS service,
    max(CASE WHEN s.how = 4 THEN s.heard_us END) - max(s.near_us) AS near_us,
    sum(CASE WHEN s.newest = 1 AND s.how IS NULL AND s.stopped_us IS NULL
      AND {now} - s.known_us <= CASE WHEN s.interval_us IS NULL THEN 600000000 ELSE s.limit_us END
      THEN 1 ELSE 0 END) AS alive,
    max(CASE WHEN s.how IN (2, 4) AND s.newest = 1 THEN s.heard_us END) AS lost_us,
    max(s.least_us) AS least_us
  FROM state s GROUP BY s.namespace, s.service
),
path AS (
  SELECT f.namespace AS namespace, f.service AS service, max(f.near_us) AS near_us,
    count(*) AS agents
  FROM ends e JOIN fleet f ON f.namespace = e.namespace AND f.service = e.service
  WHERE e.how = 4 AND e.heard_us >= f.near_us
  GROUP BY f.namespace, f.service HAVING count(*) >= 2 AND count(*) > max(f.alive)
),
held AS (
  SELECT r.namespace AS namespace, r.task AS task, r.attempt AS attempt, e.service AS service,
    e.instance AS instance, r.name AS name, r.accepted_seen_us AS accepted_seen_us,
    r.beat_us AS beat_us, r.started_us AS started_us, r.last_seen_us AS last_seen_us,
    r.sign_last_us AS sign_last_us,
    e.how AS how, e.end_us AS end_us, e.deadline_us AS deadline_us, e.heard_us AS heard_us,
    row_number() OVER (PARTITION BY r.namespace, r.task, r.attempt, r.instance, r.boot
      ORDER BY e.how, e.end_us, e.boot) AS place
  FROM open_runs r JOIN ends e ON e.namespace = r.namespace AND e.instance = r.instance
    AND e.service = coalesce(r.service, '')
  WHERE r.finished_us IS NULL AND r.started_us IS NOT NULL
    AND (e.how = 4 OR (r.boot = e.boot OR r.boot = '') AND r.sign_last_us <= e.end_us + 1000000)
),
own AS (
  SELECT o.namespace, o.task, o.attempt, o.service, o.name, o.queue, o.started_us
  FROM open_attempts o
  WHERE EXISTS (SELECT 1 FROM held h WHERE h.namespace = o.namespace AND h.task = o.task)
    AND o.finished_us IS NULL AND o.yielded_us IS NULL AND o.reported_us IS NULL
    AND o.recorded_us IS NULL AND o.requeued_us IS NULL AND o.dead_lettered_us IS NULL
    AND NOT o.joined_late
),
newest AS (
  SELECT b.namespace, b.task, max(b.attempt) AS attempt FROM attempts b
  WHERE EXISTS (SELECT 1 FROM held h WHERE h.namespace = b.namespace AND h.task = b.task)
  GROUP BY b.namespace, b.task
),
turns AS (
  SELECT r.namespace, r.task, max(coalesce(r.started_us, r.sign_us)) AS started_us FROM runs r
  WHERE EXISTS (SELECT 1 FROM held h WHERE h.namespace = r.namespace AND h.task = r.task)
  GROUP BY r.namespace, r.task
),
windows AS (
  SELECT namespace, queue, max(visibility_s) AS visibility_s FROM limits
  WHERE visibility_s IS NOT NULL GROUP BY namespace, queue
),
covered AS (
  SELECT DISTINCT namespace, service FROM rates WHERE measure = 'run'
),
orphans AS (
  SELECT a.*, CASE WHEN c.namespace IS NULL
        THEN 'not covered: the end of a task of this scheduler was never seen'
      WHEN a.last_seen_us < coalesce((SELECT max(g.to_us) FROM gaps g WHERE g.way = 'push'), 0)
        THEN 'we were not listening for a part of the time' END AS doubt
  FROM (
    SELECT h.namespace AS namespace, h.task AS task, h.attempt AS attempt, h.service AS service,
      h.instance AS instance, coalesce(o.name, h.name) AS name, o.queue AS queue,
      o.service AS task_service, o.started_us AS begun_us, h.beat_us AS beat_us,
      h.accepted_seen_us AS accepted_seen_us, h.last_seen_us AS last_seen_us, h.how AS how,
      h.end_us AS end_us, h.deadline_us AS deadline_us, h.heard_us AS heard_us,
      least(h.last_seen_us, h.sign_last_us + coalesce(c.lag_us, 0)) AS open_us,
      w.visibility_s AS visibility_s, p.service AS path_service
    FROM held h
    JOIN own o ON o.namespace = h.namespace AND o.task = h.task AND o.attempt = h.attempt
    JOIN newest n ON n.namespace = h.namespace AND n.task = h.task AND n.attempt = h.attempt
    JOIN turns t ON t.namespace = h.namespace AND t.task = h.task AND t.started_us = h.started_us
    LEFT JOIN windows w ON w.namespace = h.namespace AND w.queue = coalesce(o.queue, '')
    LEFT JOIN lags c ON c.namespace = h.namespace AND c.service = h.service
      AND c.instance = h.instance
    LEFT JOIN path p ON p.namespace = h.namespace AND p.service = h.service AND h.how = 4
      AND h.heard_us >= p.near_us
    WHERE h.place = 1
  ) a
  LEFT JOIN covered c ON c.namespace = a.namespace AND c.service = coalesce(a.task_service, '')
  WHERE coalesce(a.begun_us, a.beat_us) IS NOT NULL
    OR {now} - a.accepted_seen_us > coalesce(a.visibility_s, {redelivery_s}) * 1e6
),
gone AS (
  SELECT f.namespace, f.service, f.lost_us, f.least_us FROM fleet f
  WHERE f.alive = 0 AND {now} - f.lost_us > f.least_us
    AND NOT EXISTS (SELECT 1 FROM path p WHERE p.namespace = f.namespace AND p.service = f.service)
),
served AS (
  SELECT o.namespace, coalesce(o.queue, '') AS queue, min(o.agent_service) AS service
  FROM attempts o
  WHERE o.sign_us IS NOT NULL
    AND EXISTS (SELECT 1 FROM gone g WHERE g.namespace = o.namespace)
  GROUP BY o.namespace, coalesce(o.queue, '') HAVING min(o.agent_service) = max(o.agent_service)
),
idle AS (
  SELECT o.namespace AS namespace, s.service AS service, o.task AS task, o.name AS name,
    o.queue AS queue, g.lost_us AS lost_us, g.least_us AS least_us
  FROM open_attempts o
  JOIN served s ON s.namespace = o.namespace AND s.queue = coalesce(o.queue, '')
  JOIN gone g ON g.namespace = s.namespace AND g.service = s.service
  WHERE coalesce(o.enqueued_us, o.running_us) IS NOT NULL AND o.sign_us IS NULL
    AND o.recorded_us IS NULL AND o.requeued_us IS NULL AND o.dead_lettered_us IS NULL
    AND NOT o.joined_late AND coalesce(o.eta_us, 0) <= {now}
)
SELECT a.namespace, a.subject, a.name, a.service, a.queue, a.since_us, a.deadline_us, a.unproven,
  a.instance AS word_of, 'both' AS word_side, a.word_since_us, a.word_due_us,
  a.instance, a.tasks, a.agents, a.example, a.silent_s, a.subject || ' ' || CASE a.how
    WHEN 1 THEN 'came back as a new process' WHEN 2 THEN 'ended uncleanly'
    WHEN 3 THEN 'stopped with work open' WHEN 4 THEN 'has fallen silent'
    ELSE 'has no agent left' END AS told
FROM (
  SELECT namespace, service || '/' || instance AS subject, service, instance, 1 AS agents,
    CASE WHEN min(name) = max(name) THEN min(name) END AS name,
    CASE WHEN min(queue) = max(queue) THEN min(queue) END AS queue, min(how) AS how,
    min(end_us) AS since_us, min(deadline_us) AS deadline_us,
    CASE WHEN sum(CASE WHEN doubt IS NULL THEN 1 ELSE 0 END) = 0 THEN max(doubt) END AS unproven,
    count(*) AS tasks, min(task) AS example, ({now} - max(heard_us)) / 1e6 AS silent_s,
    max(open_us) AS word_since_us, min(deadline_us) + 30000000 AS word_due_us
  FROM orphans WHERE path_service IS NULL GROUP BY namespace, service, instance
  UNION ALL
  SELECT o.namespace, o.service, o.service, NULL, max(p.agents),
    CASE WHEN min(o.name) = max(o.name) THEN min(o.name) END,
    CASE WHEN min(o.queue) = max(o.queue) THEN min(o.queue) END, 4, min(o.end_us),
    min(o.deadline_us), 'over half of its agents fell silent together: the path is suspected',
    count(*), min(o.task), ({now} - max(o.heard_us)) / 1e6, NULL, NULL
  FROM orphans o JOIN path p ON p.namespace = o.namespace AND p.service = o.path_service
  GROUP BY o.namespace, o.service
  UNION ALL
  SELECT i.namespace, i.service, i.service, NULL, 0,
    CASE WHEN min(i.name) = max(i.name) THEN min(i.name) END,
    CASE WHEN min(i.queue) = max(i.queue) THEN min(i.queue) END, 5, max(i.lost_us),
    max(i.lost_us), NULL, count(*), min(i.task), ({now} - max(i.lost_us)) / 1e6, NULL, NULL
  FROM idle i
  WHERE NOT EXISTS (SELECT 1 FROM orphans o WHERE o.namespace = i.namespace
    AND o.service = i.service)
  GROUP BY i.namespace, i.service
) a
ORDER BY since_us, subject""",
    fix="See to {service}: {told}, and was last heard {silent_s} s ago. Once it is surely dead,"
    " requeue what is left of it: {tasks} open tasks, {example} first.",
    only_if={
        "(SELECT l.*, NULL AS name, NULL AS queue FROM lives l)": (
            "a.next_us IS NOT NULL OR a.stopped_us IS NOT NULL OR a.newest = 1"
            " AND a.interval_us IS NOT NULL AND {now} - a.heard_us > {silence_min_us}"
        ),
    },
    cases=[
        Case(
            "promised a beat every 10 s, silent for 61 s, with a task",
            [*_SEEN, *_holds(), *_beats(-61, beat_s=10.0), _HEARD],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "it and the dispatcher both lost something since its run began: unknown",
            [
                *_SEEN,
                *_holds(),
                *({**one, **_LOST} for one in _beats(0)),
                {**_D, **_LOST},
                *_beats(-61, beat_s=10.0),
                _HEARD,
            ],
            ["agent/agent-1"],
            "unknown",
        ),
        Case(
            "both lost something, but a task of it was surely open afterwards",
            [
                *_SEEN,
                *_holds(),
                *({**one, **_LOST} for one in _beats(0)),
                {**_D, **_LOST},
                *({**one, "task": "t1"} for one in _beats(-147, beat_s=10.0)),
                *_beats(-61, beat_s=10.0),
                _HEARD,
            ],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "its last sign was heard after that, and said before it: unknown",
            [
                *_SEEN,
                *_holds(),
                *({**one, **_LOST} for one in _beats(0)),
                {**_D, **_LOST},
                *({**one, "task": "t1", "arrived": -140} for one in _beats(-153, beat_s=10.0)),
                *_beats(-61, beat_s=10.0),
                _HEARD,
            ],
            ["agent/agent-1"],
            "unknown",
        ),
        Case(
            "the dispatcher lost something, long after the end would have been recorded",
            [
                *_SEEN,
                *_holds(),
                *({**one, **_LOST} for one in _beats(0)),
                *_beats(-149, beat_s=10.0),
                {**_D, **_LOST, "t": -29, "from": -31, "to": -30},
                _HEARD,
            ],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "the agent alone lost something: the dispatcher would have told of the end",
            [
                *_SEEN,
                *_holds(),
                *({**one, **_LOST} for one in _beats(0)),
                *_beats(-61, beat_s=10.0),
                _HEARD,
            ],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "silent for 60 s",
            [*_SEEN, *_holds(), *_beats(-60, beat_s=10.0), _HEARD],
            [],
        ),
        Case(
            "three intervals of 30 s have not passed",
            [*_SEEN, *_holds(), *_beats(-89, beat_s=30.0), _HEARD],
            [],
        ),
        Case(
            "a beat that it kept without a promise, silent for 61 s",
            [*_SEEN, *_holds(), *_beats(-81, -71, -61), _HEARD],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "two beats are no habit",
            [*_SEEN, *_holds(), *_beats(-171, -161), _HEARD],
            [],
        ),
        Case(
            "silent, with nothing open",
            [*_SEEN, *_beats(-161, beat_s=10.0), _HEARD],
            [],
        ),
        Case(
            "five tasks of one agent are one finding",
            [*_SEEN, *_holds("agent-1", *"abcde"), *_beats(-90, beat_s=10.0), _HEARD],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "ended uncleanly 16 s ago, with a task",
            [*_SEEN, *_holds(), _stop(16, clean=False), _HEARD],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "ended uncleanly 16 s ago, by a clock that is 300 s ahead",
            [*_SEEN, *_holds(), _stop(-284, clean=False, arrived=-16.0), _HEARD],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "15 s ago: its last words may still be on their way",
            [*_SEEN, *_holds(), _stop(15, clean=False), _HEARD],
            [],
        ),
        Case(
            "stopped cleanly, with a task that is still open",
            [*_SEEN, *_holds(), _stop(30, clean=True), _HEARD],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "stopped cleanly, with nothing open",
            [
                *_SEEN,
                *_holds(),
                {
                    **_A,
                    "t": -31,
                    "phase": "finished",
                    "task": "t1",
                    "outcome": "success",
                    "instance": "agent-1",
                },
                _stop(30, clean=True),
                _HEARD,
            ],
            [],
        ),
        Case(
            "back as a new process a second ago: what the old one ran is orphaned at once",
            [*_SEEN, *_holds(boot="b1"), *_beats(-3, boot="b1"), *_beats(-1, boot="b2"), _HEARD],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "stopped 15 s ago and replaced: that its task has ended may still be on its way",
            [
                *_SEEN,
                *_holds(boot="b1"),
                _stop(15, clean=True, boot="b1"),
                *_beats(-10, boot="b2"),
                _HEARD,
            ],
            [],
        ),
        Case(
            "stopped 16 s ago and replaced, with a task that is still open",
            [
                *_SEEN,
                *_holds(boot="b1"),
                _stop(16, clean=True, boot="b1"),
                *_beats(-10, boot="b2"),
                _HEARD,
            ],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "said that it stops, worked on, and is back as a new process",
            [
                *_SEEN,
                *_holds(boot="b1"),
                _stop(15, clean=True, boot="b1"),
                {**_holds(t=-12.0, boot="b1")[1], "phase": "heartbeat"},
                *_beats(-10, boot="b2"),
                _HEARD,
            ],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "back as a new process, which has taken the task up again",
            [
                *_SEEN,
                *_holds(boot="b1"),
                *_beats(-10, boot="b2"),
                {
                    **_A,
                    "t": -9,
                    "phase": "started",
                    "task": "t1",
                    "instance": "agent-1",
                    "boot": "b2",
                },
                _HEARD,
            ],
            [],
        ),
        Case(
            "a pool: several processes of one name at the same time",
            [
                *_SEEN,
                *_holds(boot="b1"),
                *_beats(-190, -150, boot="b2"),
                *_beats(-180, -140, boot="b3"),
                *_beats(-10, boot="b4"),
                _HEARD,
            ],
            [],
        ),
        Case(
            "accepted and not begun: it will be delivered again",
            [
                *_SEEN,
                *(
                    {**one, "phase": "accepted"} if one["side"] == "agent" else one
                    for one in _holds()
                ),
                *_beats(-90, beat_s=10.0),
                _HEARD,
            ],
            [],
        ),
        Case(
            "accepted and not begun, and the redelivery window of 120 s has passed",
            [
                *_SEEN,
                {
                    "side": "dispatcher",
                    "service": "oxr",
                    "t": -900,
                    "queue": "q",
                    "visibility_s": 120.0,
                },
                *(
                    {**one, "phase": "accepted"} if one["side"] == "agent" else one
                    for one in _holds()
                ),
                *_beats(-90, beat_s=10.0),
                _HEARD,
            ],
            ["agent/agent-1"],
            "confirmed",
        ),
        Case(
            "another agent has taken it over",
            [
                *_SEEN,
                *_holds(),
                *_beats(-90, beat_s=10.0),
                {**_A, "t": -20, "phase": "started", "task": "t1", "instance": "agent-9"},
                _HEARD,
            ],
            [],
        ),
        Case(
            "it was requeued",
            [
                *_SEEN,
                *_holds(),
                *_beats(-90, beat_s=10.0),
                {**_D, "t": -20, "phase": "requeued", "task": "t1"},
                _HEARD,
            ],
            [],
        ),
        Case(
            "a later attempt is queued",
            [
                *_SEEN,
                *_holds(),
                *_beats(-90, beat_s=10.0),
                {**_D, "t": -20, "phase": "enqueued", "task": "t1", "attempt": 2},
                _HEARD,
            ],
            [],
        ),
        Case(
            "two of three fell silent together: the path is suspected, once",
            [
                *_SEEN,
                *_holds("agent-1", "t1"),
                *_holds("agent-2", "t2"),
                *_beats(-90, beat_s=10.0),
                *_beats(-85, beat_s=10.0, agent="agent-2"),
                _HEARD,
            ],
            ["agent"],
            "unknown",
        ),
        Case(
            "two of four: half is not over half",
            [
                *_SEEN,
                *_holds("agent-1", "t1"),
                *_holds("agent-2", "t2"),
                *_beats(-90, beat_s=10.0),
                *_beats(-85, beat_s=10.0, agent="agent-2"),
                *_beats(0, beat_s=10.0, agent="agent-8"),
                _HEARD,
            ],
            ["agent/agent-1", "agent/agent-2"],
            "confirmed",
        ),
        Case(
            "two of three, but not together",
            [
                *_SEEN,
                *_holds("agent-1", "t1"),
                *_holds("agent-2", "t2"),
                *_beats(-170, beat_s=10.0),
                *_beats(-85, beat_s=10.0, agent="agent-2"),
                _HEARD,
            ],
            ["agent/agent-1", "agent/agent-2"],
            "confirmed",
        ),
        Case(
            "it is the only one, and only silent: unknown",
            [*_SEEN, *_holds(), *_beats(-150, beat_s=10.0)],
            ["agent/agent-1"],
            "unknown",
        ),
        Case(
            "the end of a task was never seen: not covered",
            [*_holds(), *_beats(-90, beat_s=10.0), _HEARD],
            ["agent/agent-1"],
            "unknown",
        ),
        Case(
            "the task's beginning was never seen at the dispatcher: we joined late",
            [*_SEEN, _holds()[1], *_beats(-90, beat_s=10.0), _HEARD],
            [],
        ),
        Case(
            "the last agent ended uncleanly, and a task waits",
            [
                *_SEEN,
                _stop(61, clean=False),
                {**_D, "t": -30, "phase": "enqueued", "task": "t2"},
            ],
            ["agent"],
            "confirmed",
        ),
        Case(
            "it may be restarted yet",
            [
                *_SEEN,
                _stop(60, clean=False),
                {**_D, "t": -30, "phase": "enqueued", "task": "t2"},
            ],
            [],
        ),
        Case(
            "the last agent was stopped on purpose: that tasks wait is the queue's matter",
            [
                *_SEEN,
                _stop(90, clean=True),
                {**_D, "t": -30, "phase": "enqueued", "task": "t2"},
            ],
            [],
        ),
    ],
)
