"""Reports take longer and longer at the dispatcher, though there are not more of them.

## Meaning
At a flat number of finished runs, or of report calls, the time that the callee takes for one has
been rising: nearly every bin of the window's last third lies above nearly every bin of its first
(`certainty` is the share of such pairs), which a few slow calls cannot bring about. Either number
may rise though the load does not: that of calls by retries, which follow from slowness, that of
runs where agents' clocks are off. A bin of fewer than `bin_calls_min` calls has no quarter, and is
left out. Either even the fastest quarter of calls takes twice as long as when the window began; or,
with `pairs_min` pairs of bins to tell by, the 95th percentile has doubled or has risen past half of
the caller's limit. A few calls may seem twice as slow by chance: a third of the window with n calls
has to show 1 + `growth_by_chance` / √n times as much, where that is more.

## Impact
When it crosses the limit, every report will be given up by its caller: finished work will
look unfinished, all of it at once.

## Diagnosis
Time that grows with history at constant load is a missing index, a growing table or list, or
a lock held ever longer. Compare the growth with the number of rows behind the look-up, and
ask the database for its plan.

## Mitigation
Add the index or archive old rows. Until then raise the caller's limit above what is needed,
and make sure that failed reports are retried.
"""

from detectors._kit import Case, Detector


def _calls(times: list[float], limit: float = 5.0, per_minute: int = 4) -> list[dict[str, object]]:
    """Return report calls that took *times* seconds, *per_minute* of each, a minute apart."""
    return [
        signal
        for minute, seconds in enumerate(times)
        for number in range(per_minute)
        for begun in [60.0 * (minute - len(times)) + 10 * number]
        for common in [{"request_id": f"r{minute}-{number}", "purpose": "report"}]
        for signal in (
            {
                **common,
                "side": "agent",
                "service": "agent",
                "phase": "call.sent",
                "t": begun,
                "call_timeout_s": limit,
            },
            {
                **common,
                "side": "dispatcher",
                "service": "oxr",
                "phase": "call.received",
                "t": begun,
            },
            {
                **common,
                "side": "dispatcher",
                "service": "oxr",
                "phase": "call.committed",
                "t": begun + seconds,
            },
        )
    ]


def _runs(minutes: int, per_minute: int, ahead: float = 0.0) -> list[dict[str, object]]:
    """Return *per_minute* runs in each of so many minutes, of an agent whose clock is *ahead*."""
    return [
        {"side": "agent", "service": "agent", "task": f"t{minute}-{number}", "phase": phase,
         "t": at + ahead, "arrived": at}
        for minute in range(minutes)
        for number in range(per_minute)
        for begun in [60.0 * (minute - minutes) + 10 * number]
        for phase, at in (("started", begun), ("finished", begun + 5.0))
    ]  # fmt: skip


DETECTOR = Detector(
    severity="warning",
    thresholds={
        "window_s": 1800.0,
        "bin_s": 60.0,
        "bins_min": 14.0,
        "bin_calls_min": 4.0,
        "certainty": 0.9,
        "pairs_min": 25.0,
        "growth": 2.0,
        "growth_by_chance": 10.0,
        "load_growth": 1.3,
        "floor_s": 0.05,
    },
    sql="""
WITH spread AS (
  SELECT a.namespace, a.service, CAST(floor(a.bin_us / {bin_us}) AS BIGINT) AS x, a.bucket,
    sum(a.n) AS n
  FROM (SELECT r.*, CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue FROM rates r
    WHERE r.measure = 'answer' AND r.key = 'report') a
  WHERE a.bin_us > {now} - {window_us} AND a.bin_us <= {now}
  GROUP BY a.namespace, a.service, x, a.bucket
), summed AS (
  SELECT namespace, service, x, bucket, n,
    sum(n) OVER (PARTITION BY namespace, service, x ORDER BY bucket) AS below,
    sum(n) OVER (PARTITION BY namespace, service, x) AS total
  FROM spread
), bins AS (
  SELECT namespace, service, x, max(total) AS n,
    power(2.0, (min(CASE WHEN below >= 0.25 * total THEN bucket END) + 0.5) / 8.0) / 1e6 AS p25_s,
    power(2.0, (min(CASE WHEN below >= 0.95 * total THEN bucket END) + 0.5) / 8.0) / 1e6 AS p95_s
  FROM (SELECT s.*, CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue FROM summed s) a
  GROUP BY namespace, service, x HAVING max(total) >= max({bin_calls_min})
), demand AS (
  SELECT a.namespace, CAST(floor(a.bin_us / {bin_us}) AS BIGINT) AS x, sum(a.n) AS n
  FROM (SELECT r.*, CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue FROM rates r
    WHERE r.measure = 'run') a
  GROUP BY a.namespace, x
), placed AS (
  SELECT b.namespace AS namespace, b.service AS service, b.x AS x, b.n AS n, b.p25_s AS p25_s,
    b.p95_s AS p95_s, CASE WHEN EXISTS (SELECT 1 FROM demand w WHERE w.namespace = b.namespace)
      THEN coalesce(d.n, 0) ELSE b.n END AS load,
    e.first_x, e.last_x, (b.x - e.first_x) * 3 < (e.last_x - e.first_x) AS early,
    (e.last_x - b.x) * 3 < (e.last_x - e.first_x) AS late
  FROM bins b LEFT JOIN demand d ON d.namespace = b.namespace AND d.x = b.x
  JOIN (SELECT namespace, service, min(x) AS first_x, max(x) AS last_x FROM bins
    GROUP BY namespace, service) e ON e.namespace = b.namespace AND e.service = b.service
), slopes AS (
  SELECT p.namespace, p.service, quantile_cont((q.p95_s - p.p95_s) / (q.x - p.x), 0.5) AS slope,
    quantile_cont((q.p25_s - p.p25_s) / (q.x - p.x), 0.5) AS slope25,
    avg(CASE WHEN p.early AND q.late THEN CASE WHEN q.p95_s > p.p95_s THEN 1.0 ELSE 0.0 END END)
      AS above,
    avg(CASE WHEN p.early AND q.late THEN CASE WHEN q.p25_s > p.p25_s THEN 1.0 ELSE 0.0 END END)
      AS above25,
    sum(CASE WHEN p.early AND q.late THEN 1 ELSE 0 END) AS pairs
  FROM placed p JOIN placed q ON q.namespace = p.namespace AND q.service = p.service AND q.x > p.x
  GROUP BY p.namespace, p.service
), ends AS (
  SELECT namespace, service, sum(n) AS n, count(*) AS bins, max(last_x) - min(first_x) AS width,
    min(first_x) AS first_x,
    quantile_cont(CASE WHEN early THEN p95_s END, 0.5) AS before_s,
    quantile_cont(CASE WHEN late THEN p95_s END, 0.5) AS now_s,
    quantile_cont(CASE WHEN early THEN p25_s END, 0.5) AS before25_s,
    quantile_cont(CASE WHEN late THEN p25_s END, 0.5) AS now25_s,
    avg(CASE WHEN early THEN load END) AS runs_before,
    avg(CASE WHEN late THEN load END) AS runs_now,
    avg(CASE WHEN early THEN n END) AS calls_before, avg(CASE WHEN late THEN n END) AS calls_now,
    least(sum(CASE WHEN early THEN n END), sum(CASE WHEN late THEN n END)) AS least_n
  FROM placed GROUP BY namespace, service
), patience AS (
  SELECT namespace, max(limit_s) AS limit_s FROM calls
  WHERE purpose = 'report' AND limit_s IS NOT NULL GROUP BY namespace
)
SELECT a.namespace, a.service AS subject, a.name, a.service, a.queue,
  a.first_x * {bin_us} AS since_us,
  a.before_s, a.now_s, a.before25_s, a.now25_s,
  greatest(a.slope, a.slope25) * 60 / {bin_s} AS rise_s_per_min,
  a.load_before, a.load_now, a.limit_s, a.n AS calls,
  CASE WHEN a.limit_s > a.now_s AND greatest(a.slope, a.slope25) > 0
    THEN (a.limit_s - a.now_s) / greatest(a.slope, a.slope25) * {bin_s} END AS crosses_in_s
FROM (
  SELECT e.namespace AS namespace, e.service AS service, e.n AS n, e.bins AS bins, e.width AS
    width, e.first_x AS first_x, e.before_s AS before_s, e.now_s AS now_s, e.before25_s AS
    before25_s, e.now25_s AS now25_s,
    CASE WHEN e.calls_now * e.runs_before < e.runs_now * e.calls_before THEN e.calls_before
      ELSE e.runs_before END AS load_before,
    CASE WHEN e.calls_now * e.runs_before < e.runs_now * e.calls_before THEN e.calls_now
      ELSE e.runs_now END AS load_now,
    s.slope AS slope, s.slope25 AS slope25, s.above AS above, s.above25 AS above25, s.pairs AS
    pairs, e.least_n AS least_n, l.limit_s AS limit_s,
    CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue
  FROM ends e
  JOIN slopes s ON s.namespace = e.namespace AND s.service = e.service
  LEFT JOIN patience l ON l.namespace = e.namespace
) a
WHERE a.bins >= {bins_min} AND a.slope25 >= 0 AND a.slope >= 0
  AND a.load_now <= a.load_before * {load_growth} AND a.now_s > {floor_s}
  AND (a.above25 >= {certainty} AND a.now25_s > {floor_s}
      AND a.now25_s >= a.before25_s * greatest({growth}, 1 + {growth_by_chance} / sqrt(a.least_n))
    OR a.above >= {certainty} AND a.pairs >= {pairs_min} AND (
      a.now_s >= a.before_s * greatest({growth}, 1 + {growth_by_chance} / sqrt(a.least_n))
      OR a.now_s >= a.limit_s / 2 AND a.slope * a.width >= a.limit_s / 5))
ORDER BY since_us, subject""",
    fix="Look for what grows behind {service}'s report path (an index that is missing?): even its"
    " fastest quarter of calls went from {before25_s} s to {now25_s} s, and its p95 from"
    " {before_s} s to {now_s} s, at constant load; callers give up at {limit_s} s.",
    only_if={
        "rates": (
            "a.measure = 'answer' AND a.key = 'report' AND a.bin_us > {now} - {window_most_us} "
            "AND power(2.0, (a.bucket + 0.5) / 8.0) > {floor_least_us}"
        ),
    },
    cases=[
        Case(
            "five times as slow at flat load",
            _calls([0.2, 0.2, 0.2, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.0]),
            ["oxr"],
            "confirmed",
        ),
        Case("a little slower is not slow", _calls([0.2 + 0.01 * i for i in range(15)]), []),
        Case("steady", _calls([0.9] * 15), []),
        Case("for thirteen minutes only", _calls([0.2 + 0.1 * i for i in range(13)]), []),
        *(
            Case(
                f"{per_minute} calls a minute, three times as slow",
                _calls([0.2] * 5 + [0.4] * 5 + [0.6] * 5, per_minute=per_minute),
                finds,
                "confirmed" if finds else None,
            )
            for per_minute, finds in ((4, []), (6, ["oxr"]))
        ),
        Case(
            "near half of the limit, but flat: that is a limit that does not fit, not a rise",
            _calls([3.0] * 15),
            [],
        ),
        Case(
            "load rose as well",
            [
                *({**one, "t": float(str(one["t"])) - 480} for one in _calls([0.2] * 8)),
                *(
                    {**one, "request_id": f"late-{one['request_id']}"}
                    for one in _calls([0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0], per_minute=6)
                ),
            ],
            [],
        ),
        Case(
            "load rose as well: more runs, and more reports of them",
            [
                *({**one, "t": float(str(one["t"])) - 480} for one in _calls([0.2] * 8)),
                *(
                    {**one, "request_id": f"late-{one['request_id']}"}
                    for one in _calls([0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0], per_minute=6)
                ),
                *_runs(16, 2),
                *({**one, "task": f"late-{one['task']}"} for one in _runs(8, 2)),
            ],
            [],
        ),
        Case(
            "as many reports, of an agent whose clock is ahead: its first minutes have no run",
            [*_calls([0.2 + 0.1 * i for i in range(14)]), *_runs(14, 4, ahead=180.0)],
            ["oxr"],
            "confirmed",
        ),
        Case(
            "more calls, since reports are tried again: as many runs as before",
            [
                *_calls([0.2 + 0.1 * i for i in range(14)]),
                *(
                    {**one, "request_id": f"again-{one['request_id']}"}
                    for one in _calls([1.2, 1.3, 1.4, 1.5])
                ),
                *_runs(14, 4),
            ],
            ["oxr"],
            "confirmed",
        ),
        Case(
            "four calls a minute, ever slower",
            _calls([0.2 + 0.1 * i for i in range(14)]),
            ["oxr"],
            "confirmed",
        ),
        Case(
            "three calls a minute: a quarter of them is chance",
            _calls([0.1 + 0.1 * i for i in range(14)], per_minute=3),
            [],
        ),
        Case(
            "half of the calls are held up by something now and then, the others are fast",
            [
                *_calls([0.1] * 15, per_minute=2),
                *(
                    {**one, "request_id": f"held-{one['request_id']}"}
                    for one in _calls([0.1] * 10 + [0.9, 0.1, 0.9, 0.1, 0.9], per_minute=2)
                ),
            ],
            [],
        ),
        Case("single slow calls among fast ones", _calls([0.1, 0.1, 0.9] * 5), []),
    ],
)
