"""Work waits in a queue for longer than it may, or nothing takes it out any more.

## Meaning
One of four, in this order:
- *stopped*: work waits, and none was completed for longer than `stopped_s` (while some is being
  worked on, for more than three times the longest usual run as well);
- *too old*: the oldest entry is older than `age_limit_s`;
- *too much*: where ages are not told, what waits takes longer than `age_limit_s` at the rate at
  which work is completed;
- *falling behind*: work is completed, but for `window_s` no sample showed less waiting than the
  one before, and by now it takes longer than `age_limit_s`.

Each must show in three samples at least, `apart_s` from each other; with fewer samples than that
the verdict is *unknown*. Depth alone is no reason: a full queue that drains in time does its work.

## Impact
Whatever waits is late by the time shown, and what comes after it waits as long or longer.

## Diagnosis
The evidence says which side changed. Completions fell: are there consumers, do they take
anything, and what do they wait for? Arrivals rose: who sends so much, and is it new work or the
same again (`retry_storm`)? Neither: it has been too slow for a long time.

## Mitigation
Too many arrivals: hold back or shed what can wait, and add consumers if what is behind them can
bear it. Too few completions: restart consumers that take nothing, mend what they wait for, and
only then add more. A paused queue needs a person to say when it goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors._kit import Case, Detector

if TYPE_CHECKING:
    from collections.abc import Sequence


def _queue(
    depths: Sequence[float], ages: Sequence[float] | None = None, step: int = 30, **more: object
) -> list[dict[str, object]]:
    """Return a sample every *step* seconds, the last one now; *done* counts up by so many each."""
    done, kept = more.pop("done", None), dict(more)
    return [
        {
            "side": "dispatcher",
            "service": "oxr",
            "phase": "queue.sampled",
            "kind": "queue",
            "queue": "mail",
            "t": step * (i + 1 - len(depths)),
            "depth": float(depth),
            "oldest_age_s": ages[i] if ages else None,
            "completed_total": 1000.0 + float(str(done)) * i if done is not None else None,
            **kept,
        }
        for i, depth in enumerate(depths)
    ]


def _ran(seconds: float, **more: object) -> list[dict[str, object]]:
    """Return 20 runs that took so long, some time ago."""
    one = {"side": "agent", "service": "agent", "task_name": "send", **more}
    return [
        {**one, "t": t, "phase": phase, "task": f"t{i}", "outcome": "success"}
        for i in range(20)
        for t, phase in ((-900.0, "started"), (seconds - 900.0, "finished"))
    ]


DETECTOR = Detector(
    severity="warning",
    every_s=30,
    follows=(
        "crash_loop",
        "rate_limited",
        "agent_down",
        "retry_storm",
        "dispatcher_stalled",
    ),
    thresholds={
        "age_limit_s": 300.0,
        "apart_s": 30.0,
        "stopped_s": 300.0,
        "window_s": 300.0,
        "changed_by": 1.3,
        "stale_s": 600.0,
    },
    sql="""
WITH latest AS (
  SELECT s.*, CAST(NULL AS VARCHAR) AS name
  FROM samples s JOIN (SELECT namespace, queue, max(bin_us) AS bin_us FROM samples
    GROUP BY namespace, queue) m
    ON m.namespace = s.namespace AND m.queue = s.queue AND m.bin_us = s.bin_us
  WHERE coalesce(s.depth, s.oldest_age_s) > 0 AND s.at_us > s.last_seen_us - 3600000000
), ring AS (
  SELECT s.namespace AS namespace, s.queue AS queue, s.at_us AS at_us, s.depth AS depth,
    s.oldest_age_s AS oldest_age_s, s.completed_total AS completed_total,
    s.enqueued_total AS enqueued_total, coalesce(s.depth, s.oldest_age_s, 0) <= 0 AS empty,
    s.completed_total <> l.completed_total AS moved, l.service AS service, l.name AS name,
    l.at_us AS now_at,
    max(s.depth) OVER (PARTITION BY s.namespace, s.queue ORDER BY s.bin_us
      ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS depth_before,
    max(s.at_us) OVER (PARTITION BY s.namespace, s.queue ORDER BY s.bin_us
      ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) AS next_at
  FROM samples s JOIN latest l ON l.namespace = s.namespace AND l.queue = s.queue
), bounds AS (
  SELECT a.namespace, a.queue, min(a.at_us) AS first_at,
    coalesce(max(CASE WHEN a.empty THEN a.next_at END), min(a.at_us)) AS busy_at,
    coalesce(max(CASE WHEN a.empty OR a.moved THEN a.next_at END), min(a.at_us)) AS still_at,
    coalesce(max(CASE WHEN a.at_us <= a.now_at - {window_us} THEN a.at_us END), 0) AS from_at
  FROM ring a GROUP BY a.namespace, a.queue
), done AS (
  SELECT t.namespace AS namespace, t.queue AS queue,
    max(coalesce(t.finished_seen_us, t.recorded_seen_us)) AS done_at,
    sum(CASE WHEN coalesce(t.finished_seen_us, t.recorded_seen_us) > greatest(b.busy_at, b.from_at)
      THEN 1 ELSE 0 END) AS done,
    CASE WHEN max(t.running_us) IS NOT NULL THEN sum(CASE WHEN t.running_us IS NOT NULL
      AND NOT t.closed AND t.finished_us IS NULL THEN 1 ELSE 0 END) END AS in_flight
  FROM attempts t JOIN latest l ON l.namespace = t.namespace AND l.queue = t.queue
  JOIN bounds b ON b.namespace = t.namespace AND b.queue = t.queue
  WHERE l.completed_total IS NULL OR l.in_flight IS NULL
  GROUP BY t.namespace, t.queue
), usual AS (
  SELECT namespace, max(p99_us) AS run_us FROM learned WHERE measure = 'run' AND n >= 20
  GROUP BY namespace
), flow AS (
  SELECT l.namespace AS namespace, l.queue AS queue, l.service AS service, l.name AS name,
    l.at_us AS at_us, l.last_seen_us AS last_seen_us, l.depth AS depth,
    l.oldest_age_s AS oldest_age_s, l.consumers AS consumers, l.paused AS paused,
    coalesce(l.in_flight, d.in_flight) AS in_flight, u.run_us AS run_us, b.first_at AS first_at,
    b.from_at AS from_at, w.at_us AS win_at, f.depth AS depth_before,
    CASE WHEN l.completed_total IS NOT NULL THEN b.still_at
      WHEN d.done_at > b.busy_at THEN d.done_at WHEN d.done_at IS NOT NULL THEN b.busy_at END
      AS still_at,
    (l.at_us - w.at_us) / 1e6 AS span_s, (w.at_us - f.at_us) / 1e6 AS before_s,
    l.depth - w.depth AS grown, w.depth - f.depth AS grown_before,
    coalesce(l.completed_total - w.completed_total, d.done) AS completed,
    w.completed_total - f.completed_total AS completed_before,
    l.enqueued_total - w.enqueued_total AS enqueued,
    w.enqueued_total - f.enqueued_total AS enqueued_before
  FROM latest l
  JOIN bounds b ON b.namespace = l.namespace AND b.queue = l.queue
  JOIN ring w ON w.namespace = l.namespace AND w.queue = l.queue
    AND w.at_us = greatest(b.busy_at, b.from_at)
  JOIN ring f ON f.namespace = l.namespace AND f.queue = l.queue AND f.at_us = b.first_at
  LEFT JOIN done d ON d.namespace = l.namespace AND d.queue = l.queue
  LEFT JOIN usual u ON u.namespace = l.namespace
), rates AS (
  SELECT f.*, grown / nullif(span_s, 0) AS growth_per_s,
    CASE WHEN completed >= 0 THEN completed / nullif(span_s, 0) END AS completions_per_s,
    CASE WHEN completed_before >= 0 THEN completed_before / nullif(before_s, 0) END
      AS completions_before_per_s,
    coalesce(enqueued, completed + grown) / nullif(span_s, 0) AS arrivals_per_s,
    coalesce(enqueued_before, completed_before + grown_before) / nullif(before_s, 0)
      AS arrivals_before_per_s
  FROM flow f
), waits AS (
  SELECT r.namespace AS namespace, r.queue AS queue, r.at_us AS at_us, r.next_at AS next_at,
    f.win_at AS win_at, r.depth < r.depth_before AS falls,
    CASE WHEN f.oldest_age_s IS NOT NULL THEN r.oldest_age_s
      ELSE r.depth / nullif(f.completions_per_s, 0) END AS lag_s,
    r.service AS service, r.name AS name
  FROM ring r JOIN rates f ON f.namespace = r.namespace AND f.queue = r.queue
), stretches AS (
  SELECT a.namespace, a.queue, sum(CASE WHEN a.falls AND a.at_us > a.win_at THEN 1 ELSE 0 END)
      AS falls,
    coalesce(max(CASE WHEN coalesce(a.lag_s, 0) <= {age_limit_s}
      THEN coalesce(a.next_at, a.at_us + 1) END), min(a.at_us)) AS over_at,
    max(CASE WHEN a.next_at IS NULL THEN a.lag_s END) AS lag_s
  FROM waits a GROUP BY a.namespace, a.queue
), middles AS (
  SELECT a.namespace AS namespace, a.queue AS queue, s.over_at AS over_at, s.falls AS falls,
    s.lag_s AS lag_s,
    sum(CASE WHEN r.at_us >= a.first_at + {apart_us} THEN r.early ELSE 0 END) AS in_all,
    sum(CASE WHEN r.at_us >= a.still_at + {apart_us} THEN r.early ELSE 0 END) AS in_still,
    sum(CASE WHEN r.at_us >= s.over_at + {apart_us} THEN r.early ELSE 0 END) AS in_over,
    sum(CASE WHEN r.at_us >= a.win_at + {apart_us} THEN r.early ELSE 0 END) AS in_window
  FROM rates a
  JOIN stretches s ON s.namespace = a.namespace AND s.queue = a.queue
  JOIN (SELECT a.namespace, a.queue, a.at_us,
      CASE WHEN a.at_us <= a.now_at - {apart_us} THEN 1 ELSE 0 END AS early FROM ring a) r
    ON r.namespace = a.namespace AND r.queue = a.queue
  GROUP BY a.namespace, a.queue, s.over_at, s.falls, s.lag_s
), judged AS (
  SELECT a.*, b.in_all AS in_all, b.over_at AS over_at, b.lag_s AS lag_s,
    (a.at_us - a.still_at) / 1e6 AS still_s,
    CASE WHEN b.in_still > 0 AND a.at_us - a.still_at > {stopped_us}
        AND (a.in_flight = 0 OR a.run_us IS NULL OR a.at_us - a.still_at > 3.0 * a.run_us)
        THEN 'stopped'
      WHEN b.over_at <= a.at_us AND (b.in_over > 0 OR b.in_all = 0)
        THEN CASE WHEN a.oldest_age_s IS NOT NULL THEN 'too old' ELSE 'too much' END
      WHEN a.win_at = a.from_at AND b.in_window > 0 AND b.falls = 0 AND a.grown > 0
        AND a.completed > 0 AND a.depth > {age_limit_s} * a.completions_per_s
        THEN 'falling behind' END AS what
  FROM rates a JOIN middles b ON b.namespace = a.namespace AND b.queue = a.queue
)
SELECT a.namespace, a.queue AS subject, a.name, a.service, a.queue,
  CASE a.what WHEN 'stopped' THEN a.still_at WHEN 'falling behind' THEN a.win_at ELSE a.over_at END
    AS since_us,
  CASE WHEN a.paused THEN 'info' WHEN a.what IN ('stopped', 'too old') THEN 'critical'
    ELSE 'warning' END AS severity,
  CASE WHEN a.in_all = 0 THEN 'too few samples yet'
    WHEN {now} - a.last_seen_us > {stale_us} THEN 'the queue is no longer sampled'
    WHEN a.what = 'stopped' AND coalesce(a.in_flight, 1) > 0 AND a.run_us IS NULL
      THEN 'how long its tasks run, if any run, is not known' END AS unproven,
  a.what, a.depth, a.oldest_age_s,
  CASE WHEN a.what = 'falling behind' THEN a.depth / nullif(a.completions_per_s, 0)
    ELSE coalesce(a.lag_s, a.still_s) END AS late_s, a.in_flight, a.consumers, a.paused,
  a.depth_before, a.growth_per_s, a.completions_per_s, a.arrivals_per_s,
  a.completions_before_per_s, a.arrivals_before_per_s,
  CASE WHEN a.growth_per_s < 0 THEN -a.depth / a.growth_per_s END AS drain_s,
  CASE WHEN a.growth_per_s < 0
    THEN 'in ' || CAST(CAST(ceil(-a.depth / a.growth_per_s) AS BIGINT) AS VARCHAR) || ' s'
    ELSE 'never' END AS drains,
  CASE WHEN a.paused THEN 'it is paused' WHEN a.consumers = 0 THEN 'it has no consumers'
    WHEN a.completions_per_s * {changed_by} < a.completions_before_per_s THEN
      CASE WHEN a.arrivals_per_s > a.arrivals_before_per_s * {changed_by}
        THEN 'more arrives, and less is completed' ELSE 'less is completed than before' END
    WHEN a.arrivals_per_s > a.arrivals_before_per_s * {changed_by}
      THEN 'more arrives than before'
    WHEN a.arrivals_before_per_s IS NULL THEN 'what changed is not known'
    ELSE 'neither side changed' END AS changed
FROM judged a WHERE a.what IS NOT NULL
ORDER BY since_us, subject""",
    fix="See why {queue} is behind ({what}): {depth} wait, late by {late_s} s or so; it drains:"
    " {drains}; {changed}.",
    only_if={
        "samples": "coalesce(a.depth, a.oldest_age_s) > 0",
    },
    cases=[
        Case(
            "older than its limit in three samples, 30 s apart",
            _queue([9] * 3, [301] * 3, done=3),
            ["mail"],
            "confirmed",
        ),
        Case("as old as its limit", _queue([9] * 3, [300] * 3, done=3), []),
        Case(
            "older in three samples that are less than 30 s apart",
            _queue([9] * 6, [9] * 3 + [301] * 3, step=29, done=3),
            [],
        ),
        Case(
            "older in one sample of three",
            _queue([9] * 3, [301, 200, 301], done=3),
            [],
        ),
        Case(
            "two samples are not enough to judge by",
            _queue([9] * 2, [301] * 2, done=3),
            ["mail"],
            "unknown",
        ),
        Case(
            "looked at 10 minutes ago, it was too old",
            _queue([9] * 3, [301] * 3, done=3, arrived=-600),
            ["mail"],
            "confirmed",
        ),
        Case(
            "an older one still is of no use if nobody has looked for 10 minutes",
            _queue([9] * 3, [301] * 3, done=3, arrived=-601),
            ["mail"],
            "unknown",
        ),
        Case(
            "ages are not told: 9,030 wait, and 30 are done each second",
            _queue([9030] * 3, done=900),
            ["mail"],
            "confirmed",
        ),
        Case("9,000 wait, and 30 are done each second", _queue([9000] * 3, done=900), []),
        Case(
            "nothing was done for 330 s, and nothing is being worked on",
            _queue([5] * 12, done=0, in_flight=0.0),
            ["mail"],
            "confirmed",
        ),
        Case("nothing was done for 300 s", _queue([5] * 11, done=0, in_flight=0.0), []),
        Case(
            "it was empty a while ago: nothing could be done",
            _queue([5, 5, 0, *[5] * 9], done=0, in_flight=0.0),
            [],
        ),
        Case(
            "nothing was done, but one is being worked on, and they take their time",
            [*_ran(120), *_queue([5] * 12, done=0, in_flight=1.0)],
            [],
        ),
        Case(
            "one is being worked on, three times as long as they take",
            [*_ran(90), *_queue([5] * 12, done=0, in_flight=1.0)],
            ["mail"],
            "confirmed",
        ),
        Case(
            "one is being worked on, and nobody knows how long that takes",
            _queue([5] * 12, done=0, in_flight=1.0),
            ["mail"],
            "unknown",
        ),
        Case(
            "no totals are told, but the tasks of this queue are seen: none has ended for 330 s",
            [*_ran(90, queue="mail"), *_queue([5] * 12)],
            ["mail"],
            "confirmed",
        ),
        Case("neither totals nor tasks nor ages are seen", _queue([5] * 12), []),
        Case(
            "more waits with each sample, and takes longer than the limit by now",
            _queue([8910 + 10 * i for i in range(11)], [100] * 11, done=900),
            ["mail"],
            "confirmed",
        ),
        Case(
            "more waits with each sample, and takes as long as the limit",
            _queue([8890 + 10 * i for i in range(12)], [100] * 12, done=900),
            [],
        ),
        Case(
            "once, less waited",
            _queue([*range(9000, 9090, 10), 9079, 9090, 9100], [100] * 12, done=900),
            [],
        ),
        Case(
            "more waits with each sample, for less than 5 minutes",
            _queue([9000 + 10 * i for i in range(10)], [100] * 10, done=900),
            [],
        ),
        Case(
            "a full queue that drains in time",
            _queue([20_000 - 1000 * i for i in range(12)], done=1200),
            [],
        ),
        Case("steady state", _queue([2000, 2100] * 6, [200, 210] * 6, done=300), []),
        Case(
            "the nightly fan-out within its limit: idle, then 1,000 more each half minute",
            _queue([0] * 5 + [1000 * i for i in range(1, 13)], done=1200),
            [],
        ),
        Case("empty again", _queue([9] * 11 + [0], [900] * 11 + [0], done=0, in_flight=0.0), []),
    ],
)
