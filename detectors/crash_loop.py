"""A process dies soon after each start, and is started again.

## Meaning
On one host, at least `ends_min` processes of one service ended uncleanly within `window_s`, none
of which had lived for `short_life_s`. An end is unclean if it was said to be, or if a process
fell silent for `beats_missed` of the service's heartbeats without a word and another one took its
place. Only a service that is meant to run long is judged: it has kept a heartbeat, or one of its
processes has lived longer. Critical once it has gone on for another `window_s`, or the starts have
stopped and nothing lives: the supervisor gave up.

## Impact
Nothing gets done there: each start costs what starting costs, and what it fetches on the way it
asks of others again each time (`rate_limited`). Once the supervisor gives up, it stays down until
a person starts it.

## Diagnosis
Read the last lines of the process that ended last, and its exit status in the supervisor's log.
Does it die at the same step each time? A start that needs something optional, an error that nobody
handles, memory that does not suffice. What was deployed or configured just before the first end?

## Mitigation
Roll back, or switch off the step that it dies of. If the supervisor gave up, start it by hand
once the cause is mended (`systemctl reset-failed` first). Then let starts depend on nothing
optional, and space them out.
"""

from detectors._kit import Case, Detector

_W = {"side": "agent", "service": "web", "host": "h1"}


def _life(
    boot: int, t: float, seconds: float, *, clean: bool | None = False, **more: object
) -> list[dict[str, object]]:
    """Return the words of a process from *t* on; without a last one where *clean* is None."""
    one = {**_W, "instance": "web-1", "boot": f"b{boot}", **more}
    words = [
        {**one, "t": t, "phase": "instance.started"},
        {**one, "t": t + seconds, "body": "last words"},
    ]
    if clean is not None:
        words.append({**one, "t": t + seconds, "phase": "instance.stopped", "clean": clean})
    return words


def _beats(t: float, seconds: float, **more: object) -> list[dict[str, object]]:
    """Return the heartbeats of a process that lived from *t* on."""
    one = {**_W, "instance": "web-0", "boot": "b0", "phase": "heartbeat", "beat_s": 10.0, **more}
    return [{**one, "t": t + 10 * i} for i in range(int(seconds // 10) + 1)]


_WEB = ["web on h1"]
_LONG = _life(0, -2000, 1000, clean=True)
_LOOP = [*_life(1, -250, 59), *_life(2, -150, 5), *_life(3, -40, 5)]
_SILENT = [*_life(1, -250, 9, clean=None), *_life(2, -150, 5, clean=None)]
_SILENT += _life(3, -60, 5, clean=None)
_NEXT = _life(4, -20, 20, clean=None)

DETECTOR = Detector(
    severity="warning",
    wakes=1,
    every_s=15,
    follows=("rate_limited", "auth_failure"),
    thresholds={
        "ends_min": 3.0,
        "window_s": 300.0,
        "short_life_s": 60.0,
        "beats_missed": 3.0,
        "given_up_s": 60.0,
        "remember_s": 86_400.0,
    },
    sql="""
WITH busy AS (
  SELECT a.namespace, a.service, a.place
  FROM (SELECT i.*, coalesce(i.host, i.instance) AS place, CAST(NULL AS VARCHAR) AS name,
      CAST(NULL AS VARCHAR) AS queue
    FROM instances i WHERE i.service <> '' AND i.instance || i.boot <> '') a
  WHERE a.last_seen_us > {now} - {remember_us}
    AND coalesce(a.stopped_us, a.last_us) - a.first_us < {short_life_us}
  GROUP BY a.namespace, a.service, a.place HAVING count(*) >= max({ends_min})
), roles AS (
  SELECT a.namespace, a.service, max(a.beat_s) AS beat_s, max(a.lived_us) AS longest_us,
    max(CASE WHEN a.lived_us >= {short_life_us} THEN a.first_us END) AS fresh_us
  FROM (SELECT i.*, coalesce(i.stopped_us, i.last_us) - i.first_us AS lived_us,
      CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue
    FROM instances i JOIN (SELECT DISTINCT namespace, service FROM busy) b
      ON b.namespace = i.namespace AND b.service = i.service) a
  GROUP BY a.namespace, a.service
), lives AS (
  SELECT i.namespace AS namespace, i.service AS service, b.place AS place,
    CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue, i.instance, i.boot, i.first_us,
    i.first_seen_us, i.last_seen_us, i.stopped_us, i.clean,
    coalesce(i.stopped_us, i.last_us) AS end_us,
    r.beat_s AS beat_s, r.longest_us AS longest_us, r.fresh_us AS fresh_us,
    max(i.last_us) OVER (PARTITION BY i.namespace, i.service, b.place
      ORDER BY i.first_us, i.instance, i.boot
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before_last_us,
    max(i.first_us) OVER (PARTITION BY i.namespace, i.service, b.place
      ORDER BY i.first_us, i.instance, i.boot
      ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS before_first_us,
    min(i.first_us) OVER (PARTITION BY i.namespace, i.service, b.place
      ORDER BY i.first_us, i.instance, i.boot
      ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) AS next_first_us
  FROM instances i
  JOIN busy b ON b.namespace = i.namespace AND b.service = i.service
    AND b.place = coalesce(i.host, i.instance)
  JOIN roles r ON r.namespace = i.namespace AND r.service = i.service
  WHERE i.instance || i.boot <> ''
), judged AS (
  SELECT a.*, a.end_us - a.first_us >= {short_life_us} OR a.stopped_us IS NULL
      AND a.beat_s IS NULL AND {now} - a.first_seen_us >= {short_life_us} AS lasted,
    a.stopped_us IS NULL AND ({now} - a.last_seen_us <= {beats_missed} * a.beat_s * 1e6
      OR a.beat_s IS NULL AND a.next_first_us IS NULL) AS living
  FROM lives a
  WHERE a.last_seen_us > {now} - {remember_us}
    AND a.end_us > a.last_seen_us - 3600000000
    AND (a.beat_s IS NOT NULL OR a.longest_us >= {short_life_us})
), places AS (
  SELECT namespace, service, place, max(CASE WHEN lasted THEN first_us ELSE 0 END) AS good_us,
    max(CASE WHEN living THEN 1 ELSE 0 END) AS living, max(last_seen_us) AS heard_us
  FROM judged GROUP BY namespace, service, place
), unclean AS (
  SELECT j.*, p.living AS some_living, p.heard_us
  FROM judged j
  JOIN places p ON p.namespace = j.namespace AND p.service = j.service AND p.place = j.place
  WHERE NOT j.lasted AND j.end_us > p.good_us
    AND (j.stopped_us IS NOT NULL AND NOT coalesce(j.clean, TRUE)
      OR j.stopped_us IS NULL AND NOT j.living AND j.next_first_us >= j.end_us
        AND coalesce(j.before_last_us, 0) <= j.first_us
        AND j.first_seen_us > coalesce((SELECT max(g.to_us) FROM gaps g), 0))
), worked AS (
  SELECT DISTINCT r.namespace, r.instance, r.boot
  FROM runs r JOIN unclean u ON u.namespace = r.namespace AND u.instance = r.instance
    AND u.boot = r.boot AND u.stopped_us IS NULL
  WHERE r.finished_us IS NOT NULL
), ends AS (
  SELECT u.*, row_number() OVER (PARTITION BY u.namespace, u.service, u.place
      ORDER BY u.end_us, u.instance, u.boot) AS number
  FROM unclean u LEFT JOIN worked w ON w.namespace = u.namespace AND w.instance = u.instance
    AND w.boot = u.boot
  WHERE u.stopped_us IS NOT NULL OR w.namespace IS NULL
), loops AS (
  SELECT a.namespace, a.service, a.place, min(b.first_us) AS begun_us
  FROM ends a JOIN ends b ON b.namespace = a.namespace AND b.service = a.service
    AND b.place = a.place AND b.number = a.number - CAST({ends_min} AS BIGINT) + 1
  WHERE a.end_us - b.end_us <= {window_us}
  GROUP BY a.namespace, a.service, a.place
), told AS (
  SELECT a.namespace, a.service, a.place, a.name, a.queue, l.begun_us, count(*) AS ends,
    sum(CASE WHEN a.stopped_us IS NULL THEN 1 ELSE 0 END) AS unsaid, max(a.end_us) AS last_us,
    max(a.end_us - a.first_us) / 1e6 AS lived_s, max(a.heard_us) AS heard_us,
    max(a.instance) AS instance, max(a.some_living) AS living,
    max(a.fresh_us) AS fresh_us,
    max(CASE WHEN a.first_us - a.before_first_us <= {window_us}
      THEN a.first_us - a.before_first_us END) AS apart_us
  FROM ends a JOIN loops l ON l.namespace = a.namespace AND l.service = a.service
    AND l.place = a.place
  WHERE a.first_us >= l.begun_us
  GROUP BY a.namespace, a.service, a.place, a.name, a.queue, l.begun_us
)
SELECT a.namespace, a.service || ' on ' || a.place AS subject, a.name, a.service, a.queue,
  a.begun_us AS since_us,
  CASE WHEN a.given_up OR a.last_us - a.begun_us > {window_us}
    THEN 'critical' ELSE 'warning' END AS severity,
  a.place AS host, a.instance, a.ends, a.unsaid, a.lived_s, ({now} - a.heard_us) / 1e6 AS silent_s,
  CASE WHEN a.given_up THEN 'it is started no more, and nothing lives'
    ELSE 'it is started again and again' END AS state
FROM (
  SELECT a.*, a.living = 0
    AND {now} - a.heard_us > greatest({given_up_us}, 3.0 * coalesce(a.apart_us, 0)) AS given_up
  FROM told a
) a
WHERE NOT (a.given_up AND coalesce(a.fresh_us, 0) > a.last_us)
ORDER BY since_us, subject""",
    fix="Read the last words of {instance} on {host}: {service} ended {ends} times within {lived_s}"
    " s of its start; {state} (last heard {silent_s} s ago).",
    only_if={
        "instances": (
            "a.service <> '' AND a.instance || a.boot <> '' "
            "AND coalesce(a.stopped_us, a.last_us) - a.first_us < {short_life_most_us}"
        ),
    },
    cases=[
        Case("three unclean ends, none after a minute", [*_LONG, *_LOOP], _WEB, "confirmed"),
        Case("two ends", [*_LONG, *_LOOP[3:]], []),
        Case(
            "three within exactly five minutes",
            [*_LONG, *_life(1, -310, 5), *_LOOP[3:6], *_life(3, -10, 5)],
            _WEB,
            "confirmed",
        ),
        Case(
            "three, within a little more than five minutes",
            [*_LONG, *_life(1, -310, 4), *_LOOP[3:6], *_life(3, -10, 5)],
            [],
        ),
        Case("one of three lived for a minute", [*_LONG, *_life(1, -250, 60), *_LOOP[3:]], []),
        Case(
            "three on three hosts",
            [*_LONG, *_LOOP[:3], *_life(2, -150, 5, host="h2"), *_life(3, -40, 5, host="h3")],
            [],
        ),
        Case(
            "it lives again, and has for a minute",
            [*_LONG, *_life(1, -300, 5), *_life(2, -200, 5), *_life(3, -100, 5), *_beats(-60, 60)],
            [],
        ),
        Case(
            "started a minute ago, and no word of an end since",
            [*_LONG, *_life(1, -250, 5), *_LOOP[3:6], *_life(3, -90, 5), *_life(4, -60, 0)[:1]],
            [],
        ),
        Case(
            "it keeps a heartbeat, and falls silent without a word",
            [*_beats(-900, 600), *_SILENT, *_NEXT],
            _WEB,
            "confirmed",
        ),
        Case(
            "the last of them may still be alive: three beats have not passed",
            [*_beats(-900, 600), *_SILENT[:4], *_life(3, -35, 5, clean=None), *_NEXT],
            [],
        ),
        Case(
            "silent, and not replaced: that is told of the agent",
            [*_beats(-900, 600), *_SILENT],
            [],
        ),
        Case(
            "no heartbeat was ever promised: silence is not an end",
            [*_LONG, *_SILENT, *_NEXT],
            [],
        ),
        Case(
            "worker recycling: each did its work, then another took its place",
            [
                *_beats(-900, 600),
                *_SILENT,
                *_NEXT,
                *[
                    {
                        **_SILENT[i],
                        "t": t,
                        "phase": "finished",
                        "task": f"t{i}",
                        "outcome": "success",
                    }
                    for i, t in ((0, -242), (2, -146), (4, -56))
                ],
            ],
            [],
        ),
        Case(
            "a pool whose other processes live on: one of them ended, and was replaced",
            [*_beats(-900, 900), *_SILENT, *_NEXT],
            [],
        ),
        Case(
            "pod per task: each pod is a host",
            [
                *_beats(-900, 600),
                *(
                    one
                    for i in range(5)
                    for one in _life(i + 1, -250 + 40 * i, 5, instance=f"p{i}", host=f"p{i}")
                ),
            ],
            [],
        ),
        Case(
            "short jobs: what never lived long is not meant to",
            [one for i in range(4) for one in _life(i, -250 + 60 * i, 20)],
            [],
        ),
        Case(
            "short jobs that end as they should",
            [
                *_LONG,
                *(one for i in range(4) for one in _life(i + 1, -250 + 60 * i, 20, clean=True)),
            ],
            [],
        ),
        Case(
            "a rolling deployment: what ends had lived for long",
            [
                one
                for i in range(4)
                for one in [
                    *_life(2 * i, -3000, 2800 + 20 * i, instance=f"w{i}", clean=None),
                    *_life(2 * i + 1, -200 + 20 * i, 1, instance=f"w{i}", clean=None),
                    *_beats(-190 + 20 * i, 190 - 20 * i, instance=f"w{i}", boot=f"b{2 * i + 1}"),
                ]
            ],
            [],
        ),
        Case(
            "given up here, and living on another host since",
            [
                *_LONG,
                *_life(1, -600, 5),
                *_life(2, -590, 5),
                *_life(3, -580, 5),
                *_beats(-200, 200, host="h2"),
            ],
            [],
        ),
    ],
)
