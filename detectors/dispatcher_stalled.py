"""The dispatcher hands nothing out, though work is eligible and agents are free to take it.

## Meaning
Tasks are eligible (queued, their ETA has come, they wait for no other task), or schedules are due,
and agents that have run such tasks before are heard, and have ended what they began last. Yet this
dispatcher has handed no task out (nor fired a schedule, where only schedules wait), and no agent
has taken any, for `stall_min_s`, or for `gap_times` the usual pause between two hand-outs (or the
usual wait of such tasks) where that is longer. Tasks that later ones have overtaken do not count:
these are `stuck_in_queue`. Nor does what is in a paused queue.

## Impact
Nothing new runs. What is due is late by the time shown, and all that comes now adds to it, while
the agents look healthy and idle.

## Diagnosis
Is the dispatcher's process alive, and what does its main loop do: a lock, a full thread pool, a
slow query, a leader election that nobody has won? Look at its log around the last hand-out. Are
its database and its broker reachable from there? Was a global pause or a maintenance mode left on?

## Mitigation
Restart the dispatcher, or make another replica the leader; work that is queued is not lost by it.
Keep a dump of its threads from before: it names the lock. Then watch that the agents get work
again. Give its loop a time limit, and a health check that fails when nothing is handed out.
"""

from detectors._kit import Case, Detector

_D = {"side": "dispatcher", "service": "oxr", "task_name": "sync", "queue": "q"}
_A = {"side": "agent", "service": "agent", "task_name": "sync", "queue": "q"}


def _ran(
    ago_s: float = 61.0, task: str = "t0", agent: str = "a-1", **more: object
) -> list[dict[str, object]]:
    """Return a task that was handed out so long ago, at once, and ended 2 s later."""
    one = {"task": task, **more}
    return [
        {**_D, "t": -ago_s - 1, "phase": "enqueued", **one},
        {**_D, "t": -ago_s, "phase": "dispatched", **one},
        {**_A, "t": -ago_s, "phase": "started", "instance": agent, **one},
        {**_A, "t": 2 - ago_s, "phase": "finished", "outcome": "success", "instance": agent, **one},
        {**_D, "t": 2 - ago_s, "phase": "recorded", "state": "success", **one},
    ]


def _waits(ago_s: float = 61.0, task: str = "t1", **more: object) -> dict[str, object]:
    """Return a task that was queued so long ago."""
    return {**_D, "t": -ago_s, "phase": "enqueued", "task": task, **more}


def _alive(ago_s: float = 0.0, agent: str = "a-1", **more: object) -> dict[str, object]:
    """Return an agent's own beat."""
    one = {"side": "agent", "service": "agent", "phase": "heartbeat", "instance": agent}
    return {**one, "t": -ago_s, **more}


def _beats(ago_s: float) -> dict[str, object]:
    """Return a beat of the dispatcher, which promises one every 20 s."""
    one = {"side": "dispatcher", "service": "oxr", "phase": "heartbeat", "instance": "oxr-1"}
    return {**one, "t": -ago_s, "beat_s": 20.0}


def _due(ago_s: float = 61.0, **more: object) -> list[dict[str, object]]:
    """Return a schedule that the dispatcher has fired before, and that was due so long ago."""
    one = {**_D, "schedule": "nightly", "task_name": None, "queue": None}
    return [
        {**one, "t": -3000, "phase": "schedule.fired"},
        {**one, "t": -ago_s, "due": -ago_s, "phase": "schedule.expected", **more},
    ]


DETECTOR = Detector(
    severity="critical",
    wakes=1,
    every_s=15.0,
    follows=("crash_loop", "rate_limited", "auth_failure"),
    witness="agent",
    thresholds={"stall_min_s": 60.0, "gap_times": 3.0, "silence_min_s": 60.0},
    sql="""
WITH waiting AS (
  SELECT o.namespace, coalesce(o.queue, '') AS queue, coalesce(o.priority, '') AS priority,
    coalesce(o.name, '') AS name, o.task,
    CASE WHEN o.eta_us > o.enqueued_last_us THEN o.eta_us ELSE o.enqueued_last_us END
      AS eligible_us,
    CASE WHEN o.eta_us > o.enqueued_seen_us AND o.eta_us > o.enqueued_last_us THEN o.eta_us
      WHEN o.enqueued_last_us > o.enqueued_us AND o.enqueued_last_us > o.enqueued_seen_us
        THEN o.enqueued_last_us
      ELSE o.enqueued_seen_us END AS known_us
  FROM open_attempts o
  WHERE o.enqueued_us IS NOT NULL AND o.running_us IS NULL AND o.sign_us IS NULL
    AND o.recorded_us IS NULL AND o.requeued_us IS NULL AND o.dead_lettered_us IS NULL
    AND o.depends_on IS NULL AND NOT o.joined_late AND coalesce(o.eta_us, 0) <= {now}
    AND NOT EXISTS (SELECT 1 FROM paused p WHERE p.namespace = o.namespace
      AND p.queue = coalesce(o.queue, ''))
),
speaks AS (
  SELECT namespace, service, max(last_seen_us) AS seen_us, max(beat_s) AS beat_s,
    max(CASE WHEN lag_us > 0 AND last_seen_us > {now} - 600000000 THEN lag_us ELSE 0 END) AS lag_us
  FROM instances WHERE side = 'dispatcher' GROUP BY namespace, service
),
due AS (
  SELECT s.namespace AS namespace, coalesce(s.service, '') AS service, s.schedule AS schedule,
    min(d.due_us + coalesce(d.lag_us, k.lag_us, 0)) AS due_us
  FROM awaited d JOIN schedules s ON s.namespace = d.namespace AND s.schedule = d.schedule
  LEFT JOIN speaks k ON k.namespace = s.namespace AND k.service = coalesce(s.service, '')
  WHERE d.expected_us > d.expected_seen_us - 3600000000
    AND NOT coalesce(s.paused, FALSE) AND d.due_us > coalesce(s.paused_last_us, 0)
    AND d.due_us > s.fired_last_us + 30000000 AND s.fired_way <> 'ping'
    AND d.due_us + coalesce(d.lag_us, k.lag_us, 0) < {now}
  GROUP BY s.namespace, s.service, s.schedule
),
spaces AS (
  SELECT namespace FROM waiting UNION SELECT namespace FROM due
),
last AS (
  SELECT o.namespace AS namespace, coalesce(o.service, '') AS service,
    max(coalesce(o.running_seen_us, o.sign_seen_us)) AS handed_us,
    max(coalesce(o.running_seen_us, o.sign_seen_us)) AS did_us
  FROM attempts o WHERE EXISTS (SELECT 1 FROM spaces c WHERE c.namespace = o.namespace)
  GROUP BY o.namespace, coalesce(o.service, '')
  UNION ALL
  SELECT s.namespace, coalesce(s.service, ''), NULL, max(s.fired_seen_us)
  FROM schedules s WHERE s.fired_way <> 'ping'
    AND EXISTS (SELECT 1 FROM spaces c WHERE c.namespace = s.namespace)
  GROUP BY s.namespace, coalesce(s.service, '')
),
idle AS (
  SELECT a.namespace, a.service, a.handed_us, a.did_us,
    {stall_min_us} AS least_us, {gap_times} AS gap_times, {silence_min_us} AS silence_us
  FROM (SELECT namespace, service, max(handed_us) AS handed_us, max(did_us) AS did_us,
      CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue
    FROM last WHERE did_us IS NOT NULL GROUP BY namespace, service) a
  WHERE {now} - coalesce(a.handed_us, a.did_us) > {stall_min_us}
),
past AS (
  SELECT o.namespace, coalesce(o.service, '') AS service, coalesce(o.queue, '') AS queue,
    coalesce(o.priority, '') AS priority, coalesce(o.name, '') AS name,
    coalesce(o.agent_service, '') AS agent_service, coalesce(o.agent, '') AS agent,
    coalesce(o.running_seen_us, o.sign_seen_us) AS handed_us,
    coalesce(o.started_last_us, o.sign_us) AS begun_us,
    CASE WHEN o.finished_last_us >= o.started_last_us OR o.recorded_state IN ('success', 'failure')
      AND coalesce(o.enqueued_last_us, 0) <= o.recorded_last_us THEN 1 ELSE 0 END AS ended,
    CASE WHEN o.enqueued_last_us > o.running_last_us THEN o.enqueued_us
      WHEN o.eta_us > o.enqueued_last_us THEN o.eta_us ELSE o.enqueued_last_us END AS eligible_us
  FROM attempts o
  WHERE coalesce(o.running_seen_us, o.sign_seen_us) IS NOT NULL
    AND EXISTS (SELECT 1 FROM idle i WHERE i.namespace = o.namespace)
),
handed AS (
  SELECT namespace, service, queue, priority, max(handed_us) AS handed_us,
    max(eligible_us) AS newest_us
  FROM past GROUP BY namespace, service, queue, priority
),
serves AS (
  SELECT namespace, queue, service, row_number() OVER (PARTITION BY namespace, queue
    ORDER BY max(handed_us) DESC, service) AS place
  FROM handed GROUP BY namespace, queue, service
),
front AS (
  SELECT w.namespace AS namespace, i.service AS service, w.queue AS queue, w.name AS name,
    i.handed_us AS handed_us, count(*) AS waiting, min(w.known_us) AS known_us, min(w.task) AS task
  FROM waiting w
  JOIN serves s ON s.namespace = w.namespace AND s.queue = w.queue AND s.place = 1
  JOIN idle i ON i.namespace = s.namespace AND i.service = s.service
  LEFT JOIN (SELECT namespace, queue, priority, max(newest_us) AS newest_us,
      max(handed_us) AS handed_us FROM handed GROUP BY namespace, queue, priority) t
    ON t.namespace = w.namespace AND t.queue = w.queue AND t.priority = w.priority
  WHERE w.eligible_us > coalesce(t.newest_us, 0) OR w.known_us > t.handed_us
  GROUP BY w.namespace, i.service, w.queue, w.name, i.handed_us
),
busy AS (
  SELECT namespace, agent_service AS service, agent AS instance, count(*) AS runs
  FROM past WHERE begun_us IS NOT NULL GROUP BY namespace, agent_service, agent
  HAVING max(CASE WHEN ended = 0 THEN begun_us END) >= max(begun_us)
),
free AS (
  SELECT n.namespace AS namespace, n.service AS service, n.instance AS instance,
    max(n.last_seen_us) AS seen_us, max(i.silence_us) AS silence_us
  FROM instances n
  JOIN (SELECT namespace, max(silence_us) AS silence_us FROM idle GROUP BY namespace) i
    ON i.namespace = n.namespace
  LEFT JOIN busy b ON b.namespace = n.namespace AND b.service = n.service
    AND b.instance = n.instance
  WHERE n.side = 'agent' AND b.runs IS NULL
  GROUP BY n.namespace, n.service, n.instance
  HAVING {now} - max(n.last_seen_us)
      <= greatest(max(i.silence_us), CAST(3e6 * max(coalesce(n.beat_s, 0)) AS BIGINT))
    AND max(n.last_us) > coalesce(max(n.stopped_last_us), 0)
),
able AS (
  SELECT o.namespace AS namespace, o.queue AS queue, o.name AS name, o.agent_service AS service,
    o.agent AS instance
  FROM past o
  JOIN free f ON f.namespace = o.namespace AND f.service = o.agent_service
    AND f.instance = o.agent
  GROUP BY o.namespace, o.queue, o.name, o.agent_service, o.agent
),
ready AS (
  SELECT f.namespace AS namespace, f.service AS service, f.queue AS queue, f.name AS name,
    f.handed_us AS handed_us, f.waiting AS waiting, f.known_us AS known_us, f.task AS example,
    count(*) AS free
  FROM front f
  JOIN able a ON a.namespace = f.namespace AND a.queue = f.queue AND a.name = f.name
  GROUP BY f.namespace, f.service, f.queue, f.name, f.handed_us, f.waiting, f.known_us, f.task
  UNION ALL
  SELECT d.namespace, d.service, NULL, NULL, max(i.did_us), count(*), min(d.due_us),
    min(d.schedule), max(n.free)
  FROM due d JOIN idle i ON i.namespace = d.namespace AND i.service = d.service
    AND {now} - i.did_us > i.least_us
  JOIN (SELECT namespace, count(*) AS free FROM free GROUP BY namespace) n
    ON n.namespace = d.namespace
  GROUP BY d.namespace, d.service
),
ticks AS (
  SELECT o.namespace AS namespace, o.service AS service, o.handed_us // 10000000 AS tick
  FROM past o
  WHERE EXISTS (SELECT 1 FROM ready r WHERE r.namespace = o.namespace AND r.service = o.service)
  GROUP BY o.namespace, o.service, o.handed_us // 10000000
),
pauses AS (
  SELECT namespace, service, 1e7 * (tick - max(tick) OVER (PARTITION BY namespace, service
    ORDER BY tick ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING)) AS pause_us
  FROM ticks
),
usual AS (
  SELECT namespace, service, quantile_cont(pause_us, 0.9) AS pause_us
  FROM pauses WHERE pause_us IS NOT NULL
  GROUP BY namespace, service HAVING count(*) >= 5
),
stalled AS (
  SELECT r.namespace AS namespace, r.service AS service,
    CASE WHEN min(r.queue) = max(r.queue) THEN min(r.queue) END AS queue,
    CASE WHEN min(r.name) = max(r.name) THEN min(r.name) END AS name,
    CAST(sum(r.waiting) AS BIGINT) AS waiting, min(r.known_us) AS known_us,
    min(r.example) AS example, max(r.free) AS free, max(r.handed_us) AS handed_us,
    max(i.least_us) AS least_us, max(i.gap_times) AS gap_times, max(i.silence_us) AS silence_us,
    max(coalesce(u.pause_us, 0)) AS pause_us, max(coalesce(l.p50_us, 0)) AS wait_us
  FROM ready r
  JOIN idle i ON i.namespace = r.namespace AND i.service = r.service
  LEFT JOIN usual u ON u.namespace = r.namespace AND u.service = r.service
  LEFT JOIN learned l ON l.namespace = r.namespace AND l.measure = 'wait' AND l.n >= 20
    AND l.service = r.service AND l.key = r.name
  GROUP BY r.namespace, r.service
),
judged AS (
  SELECT s.*, CASE WHEN s.known_us > s.handed_us THEN s.known_us ELSE s.handed_us END AS since_us,
    CAST(greatest(1.0 * s.least_us, s.gap_times * s.pause_us, s.gap_times * s.wait_us) AS BIGINT)
      AS limit_us
  FROM stalled s
),
weighed AS (
  SELECT j.*, CASE WHEN k.beat_s IS NOT NULL AND k.seen_us < j.since_us + j.limit_us THEN 1
      ELSE 0 END AS unheard,
    CASE WHEN {now} - k.seen_us >= greatest(1.0 * j.silence_us, 3e6 * k.beat_s) THEN 1 ELSE 0 END
      AS dark
  FROM judged j LEFT JOIN speaks k ON k.namespace = j.namespace AND k.service = j.service
)
SELECT j.namespace, CASE WHEN j.service = '' THEN 'dispatcher' ELSE j.service END AS subject,
  j.name, j.service, j.queue, j.since_us, j.since_us + j.limit_us AS deadline_us,
  CASE WHEN j.unheard = 1 THEN 'the dispatcher has not been heard since' END AS unproven, j.waiting,
  j.example, j.free, ({now} - j.handed_us) / 1e6 AS silent_s,
  ({now} - j.known_us) / 1e6 AS oldest_s,
  j.pause_us / 1e6 AS usual_gap_s, j.limit_us / 1e6 AS limit_s
FROM weighed j WHERE {now} - j.since_us > j.limit_us AND (j.unheard = 0 OR j.dark = 1)
ORDER BY since_us, subject""",
    clears="""
SELECT namespace, CASE WHEN coalesce(service, '') = '' THEN 'dispatcher' ELSE service END
    AS subject, max(coalesce(running_last_us, sign_us)) AS cleared_us,
  max(coalesce(running_seen_us, sign_seen_us)) AS heard_us
FROM attempts WHERE coalesce(running_us, sign_us) IS NOT NULL GROUP BY 1, 2""",
    fix="See to {subject}: it has handed nothing out for {silent_s} s, while {waiting} wait"
    " ({example} first, for {oldest_s} s) and {free} agents are free. Take a dump of its threads,"
    " then restart it.",
    only_if={
        "open_attempts": (
            "a.running_us IS NULL AND a.sign_us IS NULL AND a.recorded_us IS NULL AND "
            "{now} - a.enqueued_seen_us > {stall_min_us}"
        ),
        "open_dues": "a.expected_us IS NOT NULL AND a.due_us < {now} + 600000000",
    },
    cases=[
        Case(
            "a task waits for 61 s, an agent is free, nothing is handed out",
            [*_ran(), _waits(), _alive()],
            ["oxr"],
            "confirmed",
        ),
        Case("a task waits for 60 s", [*_ran(), _waits(60), _alive()], []),
        Case(
            "a run whose end was lost keeps no agent busy that has run others since",
            [*_ran(300)[:3], *_ran(61, "t9"), _waits(), _alive()],
            ["oxr"],
            "confirmed",
        ),
        Case(
            "the agent's word of its last end was lost, not the record of it",
            [*(one for one in _ran() if one["phase"] != "finished"), _waits(), _alive()],
            ["oxr"],
            "confirmed",
        ),
        Case(
            "its schedules run on, and that is all that does",
            [*_ran(), _waits(), _alive(), *_due(61)[:1], {**_due(61)[0], "t": -5}],
            ["oxr"],
            "confirmed",
        ),
        Case(
            "something was handed out 60 s ago, to whatever queue",
            [*_ran(200), *_ran(60, "t9", queue="other"), _waits(), _alive()],
            [],
        ),
        Case(
            "another dispatcher hands out what is its own",
            [*_ran(200), *_ran(20, "t9", service="cron", queue="other"), _waits(), _alive()],
            ["oxr"],
            "confirmed",
        ),
        Case(
            "an agent has taken something, though the dispatcher did not say so",
            [
                *_ran(200),
                _waits(),
                _alive(),
                {**_A, "t": -30, "phase": "started", "task": "t9", "instance": "a-1"},
                {**_A, "t": -20, "phase": "finished", "task": "t9", "instance": "a-1"},
                {**_D, "t": -20, "phase": "recorded", "task": "t9", "state": "success"},
            ],
            [],
        ),
        Case(
            "the dispatcher's clock is ahead: what waits for 61 s by ours",
            [*_ran(200), {**_waits(-30), "arrived": -61.0}, _alive()],
            ["oxr"],
            "confirmed",
        ),
        Case(
            "the dispatcher's clock is ahead: what waits for 60 s by ours",
            [*_ran(200), {**_waits(-30), "arrived": -60.0}, _alive()],
            [],
        ),
        Case(
            "another replica's clock is ahead: what it queued was taken before that was known",
            [
                *({**one, "t": -20, "arrived": one["t"]} for one in _ran(200)[:1]),
                *_ran(200)[1:],
                _waits(),
                _alive(),
            ],
            ["oxr"],
            "confirmed",
        ),
        Case(
            "an ID that ended long ago is queued anew: it was not taken before those that wait",
            [*_ran(900, "t8"), *_ran(200), _waits(), _waits(20, "t8"), _alive()],
            ["oxr"],
            "confirmed",
        ),
        Case(
            "it promises a beat, and was heard since it could be late",
            [*_ran(200), _waits(), _alive(), _beats(0)],
            ["oxr"],
            "confirmed",
        ),
        Case(
            "it promises a beat, and was not heard since: its next word may tell",
            [*_ran(200), _waits(), _alive(), _beats(2)],
            [],
        ),
        Case(
            "it promises a beat, and has fallen silent: what it hands out is not heard either",
            [*_ran(200), _waits(125), _alive(), _beats(66)],
            ["oxr"],
            "unknown",
        ),
        Case("nothing waits", [*_ran(200), _alive()], []),
        Case("its ETA has not come", [*_ran(200), _waits(100, eta=50), _alive()], []),
        Case("its ETA came 59 s ago", [*_ran(200), _waits(100, eta=-59), _alive()], []),
        Case("its ETA came 61 s ago", [*_ran(200), _waits(100, eta=-61), _alive()], ["oxr"]),
        Case(
            "it waits for another task",
            [*_ran(200), _waits(100, depends_on="t8"), _alive()],
            [],
        ),
        Case(
            "later ones were taken in its place: it is stuck, not the dispatcher",
            [*_ran(), _waits(900), _alive()],
            [],
        ),
        Case(
            "queued at the same moment as one that was taken: it is not known which came first",
            [*_ran(100), _waits(101), _alive()],
            [],
        ),
        Case(
            "its queue is paused",
            [
                *_ran(200),
                _waits(),
                _alive(),
                {
                    "t": -300,
                    "kind": "queue",
                    "phase": "queue.sampled",
                    "queue": "q",
                    "paused": True,
                },
            ],
            [],
        ),
        Case(
            "every agent is at work: saturated",
            [
                *_ran(200),
                _waits(),
                {**_A, "t": -180, "phase": "started", "task": "t5", "instance": "a-1"},
                _alive(),
            ],
            [],
        ),
        Case(
            "one of two is at work",
            [
                *_ran(200),
                *_ran(190, "t8", "a-2"),
                _waits(),
                {**_D, "t": -180, "phase": "dispatched", "task": "t5"},
                {**_A, "t": -180, "phase": "started", "task": "t5", "instance": "a-1"},
                _alive(),
                _alive(agent="a-2"),
            ],
            ["oxr"],
            "confirmed",
        ),
        Case(
            "who is free has never run such tasks",
            [*_ran(200), *_ran(190, "t8", "a-2", task_name="gpu"), _waits(), _alive(agent="a-2")],
            [],
        ),
        Case(
            "the agent was heard 60 s ago",
            [*_ran(200), _waits(90), _alive(60)],
            ["oxr"],
            None,
        ),
        Case(
            "the agent was heard 61 s ago: it may be gone", [*_ran(200), _waits(90), _alive(61)], []
        ),
        Case(
            "it beats every 40 s, and was heard 90 s ago",
            [*_ran(200), _waits(90), _alive(90, beat_s=40.0)],
            ["oxr"],
            None,
        ),
        Case(
            "the agent has stopped",
            [
                *_ran(200),
                _waits(90),
                _alive(40),
                {**_alive(30), "phase": "instance.stopped", "clean": True},
            ],
            [],
        ),
        Case(
            "it hands out every 50 s or so, and waits for 150 s",
            [
                *(one for n in range(12) for one in _ran(150 + 50 * n, f"o{n}")),
                _waits(149),
                _alive(),
            ],
            [],
        ),
        Case(
            "it hands out every 50 s or so, and has not for 151 s",
            [
                *(one for n in range(12) for one in _ran(151 + 50 * n, f"o{n}")),
                _waits(151),
                _alive(),
            ],
            ["oxr"],
            "confirmed",
        ),
        Case(
            "such tasks usually wait for 100 s",
            [
                *(
                    {**one, "t": float(str(one["t"])) - 99 * (one["phase"] == "enqueued")}
                    for n in range(20)
                    for one in _ran(200 + n, f"o{n}")
                ),
                _waits(190),
                _alive(),
            ],
            [],
        ),
        Case(
            "nothing was ever handed out: it is not known who would",
            [_waits(900), _alive()],
            [],
        ),
        Case(
            "a queue that nothing was ever handed out of",
            [*_ran(200), _waits(900, queue="new"), _alive()],
            [],
        ),
        Case(
            "a schedule is due, and nothing is fired",
            [*_ran(200), *_due(), _alive()],
            ["oxr"],
            "confirmed",
        ),
        Case("a schedule was due 59 s ago", [*_ran(200), *_due(59), _alive()], []),
        Case(
            "a schedule was due 300 s ago by a clock that is 250 s behind",
            [*_ran(200), *_due(300, arrived=-50, instance="oxr-1"), _alive()],
            [],
        ),
        Case(
            "a schedule was due 311 s ago by a clock that is 250 s behind",
            [*_ran(200), *_due(311, arrived=-61, instance="oxr-1"), _alive()],
            ["oxr"],
            "confirmed",
        ),
        Case("the schedule is paused", [*_ran(200), *_due(paused=True), _alive()], []),
        Case(
            "another schedule was fired since",
            [
                *_ran(200),
                *_due(),
                {**_D, "t": -30, "schedule": "hourly", "phase": "schedule.fired"},
                _alive(),
            ],
            [],
        ),
        Case(
            "a job that pings is started by cron, not by this dispatcher",
            [
                *_ran(200),
                *({**one, "way": "ping"} for one in _due()),
                _alive(),
            ],
            [],
        ),
        Case(
            "the agents' side is heard, but not since it could be late: unknown",
            [*_ran(200), _waits(61), _alive(90, beat_s=40.0)],
            ["oxr"],
            "unknown",
        ),
    ],
)
