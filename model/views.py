"""Views over the relations, for joins that several detectors share. Portable SQL, like theirs."""

from __future__ import annotations

from typing import Final

BUCKETS: Final = 8
"""Histogram buckets for each doubling of a duration: bounds 9% apart."""

LEARNED: Final = f"""
WITH spread AS (
  SELECT namespace, measure, service, key, bucket, sum(n) AS n FROM rates GROUP BY ALL
), summed AS (
  SELECT *, sum(n) OVER w AS below,
    sum(n) OVER (PARTITION BY namespace, measure, service, key) AS total
  FROM spread WINDOW w AS (PARTITION BY namespace, measure, service, key ORDER BY bucket)
)
SELECT namespace, measure, service, key, max(total) AS n,
  power(2.0, (min(CASE WHEN below >= 0.50 * total THEN bucket END) + 1) / {BUCKETS}.0) AS p50_us,
  power(2.0, (min(CASE WHEN below >= 0.95 * total THEN bucket END) + 1) / {BUCKETS}.0) AS p95_us,
  power(2.0, (min(CASE WHEN below >= 0.99 * total THEN bucket END) + 1) / {BUCKETS}.0) AS p99_us
FROM summed GROUP BY namespace, measure, service, key"""
"""What usually is: for each measure (see `model.relations`), service and key, n and percentiles."""

QUEUES: Final = """
SELECT s.* FROM samples s
WHERE NOT EXISTS (SELECT 1 FROM samples t WHERE t.namespace = s.namespace AND t.queue = s.queue
  AND t.bin_us > s.bin_us)"""
"""Each queue as it was sampled last."""

PAUSED: Final = """
SELECT namespace, queue FROM samples WHERE paused IS NOT NULL GROUP BY namespace, queue
HAVING max(CASE WHEN paused THEN at_us ELSE 0 END) > max(CASE WHEN paused THEN 0 ELSE at_us END)"""
"""Queues that were said to be paused, and not since to be open."""

BEATS: Final = """
SELECT namespace, service, instance, count(*) AS n, min(arrived_us) AS first_seen_us,
  max(arrived_us) AS last_seen_us,
  (max(arrived_us) - min(arrived_us)) / greatest(count(*) - 1, 1) AS interval_us
FROM marks WHERE phase = 'heartbeat' AND task IS NULL GROUP BY namespace, service, instance"""
"""The beat that an instance keeps, learned from its recent heartbeats: how many, how far apart."""

LIVES: Final = """
SELECT i.namespace AS namespace, i.service AS service, i.instance AS instance, i.boot AS boot,
  i.first_us AS first_us, i.last_us AS last_us, i.last_seen_us AS last_seen_us, i.clean AS clean,
  i.stopped_last_us AS stopped_us,
  CASE WHEN i.stopped_last_us > i.stopped_us AND i.stopped_last_us > i.stopped_seen_us
    THEN i.stopped_last_us ELSE i.stopped_seen_us END AS stopped_seen_us,
  i.next_us AS next_us, i.next_seen_us AS next_seen_us,
  i.heard_us AS heard_us, i.spoke_us AS spoke_us, i.newest AS newest,
  coalesce(i.promised_s * 1e6, CASE WHEN b.n >= 3 THEN b.interval_us END) AS interval_us,
  max(CASE WHEN i.before_us > i.first_us + 1000000 THEN 1 ELSE 0 END)
    OVER (PARTITION BY i.namespace, i.service, i.instance) AS mixed
FROM (
  SELECT k.*,
    min(k.first_us) OVER (PARTITION BY k.namespace, k.service, k.instance, k.named
      ORDER BY k.first_us, k.boot ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) AS next_us,
    min(k.first_seen_us) OVER (PARTITION BY k.namespace, k.service, k.instance, k.named
      ORDER BY k.first_us, k.boot ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) AS next_seen_us,
    max(k.last_us) OVER (PARTITION BY k.namespace, k.service, k.instance, k.named
      ORDER BY k.first_us, k.boot ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before_us,
    max(k.last_seen_us) OVER (PARTITION BY k.namespace, k.service, k.instance) AS heard_us,
    max(k.last_us) OVER (PARTITION BY k.namespace, k.service, k.instance) AS spoke_us,
    max(k.beat_s) OVER (PARTITION BY k.namespace, k.service, k.instance) AS promised_s,
    row_number() OVER (PARTITION BY k.namespace, k.service, k.instance
      ORDER BY k.last_us DESC, k.boot DESC) AS newest
  FROM (SELECT o.*, CASE WHEN o.boot = '' THEN 0 ELSE 1 END AS named FROM instances o
    WHERE coalesce(o.side, 'agent') <> 'dispatcher' AND o.instance <> '') k
) i
LEFT JOIN beats b ON b.namespace = i.namespace AND b.service = i.service
  AND b.instance = i.instance"""
"""Each life of each agent process, beside what is known of the instance as a whole.

`next_us` is when the life after it began, by the same name; `heard_us` and `spoke_us` when the
instance was heard of last, by our clock and by its own; `newest` is 1 for the life that spoke last.
`interval_us` is its beat, promised or else learned. `mixed` is 1 where several lives of one name
spoke at the same time: that is a pool of processes, and a new one ends no other.
"""

FATES: Final = """
SELECT namespace, instance,
  max(CASE WHEN boot <> '' AND mixed = 0 THEN next_us END) AS back_us,
  max(stopped_us) AS stopped_us, max(CASE WHEN newest = 1 THEN heard_us END) AS heard_us,
  max(CASE WHEN newest = 1 THEN interval_us END) AS interval_us
FROM lives GROUP BY namespace, instance"""
"""What has become of each agent instance: by `lives`, for who asks of a task that it ran.

`back_us` is when a new process took its name, `stopped_us` when it said that it stopped, both by
its own clock; by ours, it was heard of last at `heard_us`, and beats every `interval_us`.
"""

LAGS: Final = """
SELECT namespace, service, instance, min(lag_us) AS lag_us
FROM instances WHERE lag_us IS NOT NULL GROUP BY namespace, service, instance"""
"""How old an instance's signals are at least when they arrive: how far its clock is behind ours,
and its way to us. What it said at a moment of its clock, and after, was not heard before that
moment and so much; so from then on, by our clock, it could have been missed.
"""

AWAITED: Final = """
SELECT d.*, CASE WHEN d.expected_seen_us - d.expected_us <= l.lag_us + 60000000 THEN l.lag_us END
    AS lag_us
FROM open_dues d
LEFT JOIN lags l ON l.namespace = d.namespace AND l.service = d.service AND l.instance = d.instance
WHERE d.expected_us IS NOT NULL AND NOT coalesce(d.paused, FALSE)"""
"""What is due and has not been fired, and how far the clock by which it is due is behind ours.

That is not known (null) where nobody in particular said it, or where what said it came much later
than that instance's words can: it was held back, or the clock has been set since.
"""

CLOCKS: Final = """
SELECT c.namespace, c.hop, c.caller, c.callee, c.caller_instance, c.callee_instance, c.last_seen_us,
  c.committed_us - c.ok_us AS at_least_us, c.received_us - c.sent_us AS at_most_us
FROM calls c
WHERE c.caller_instance IS NOT NULL AND c.callee_instance IS NOT NULL
  AND c.caller_instance <> c.callee_instance AND c.gave_up_us IS NULL AND c.failed_us IS NULL
  AND c.sent_us = c.sent_last_us AND c.received_us = c.received_last_us
  AND c.committed_us = c.committed_last_us
  AND c.committed_us - c.received_us <= c.ok_us - c.sent_us
  AND (c.sent_us > c.first_seen_us - 3600000000 OR c.received_us > c.first_seen_us - 3600000000)"""
"""How far the callee's clock is ahead of the caller's, as NTP would tell it from one call.

A request is not received before it is sent, nor an answer before it is given: the offset is at
least `at_least_us` and at most `at_most_us`, and between the greatest least and the least most of
all calls of a pair. (Where the least is above the most, a clock was set in between.)
A repeated try under the same key pairs the wrong ends, and proves nothing; nor does a replay.
"""

ASKED: Final = """
SELECT c.namespace, coalesce(c.caller, '') AS service, coalesce(c.callee, c.peer, '') AS peer,
  CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue, c.last_seen_us,
  coalesce(c.sent_us, c.received_us, c.first_seen_us) AS at_us, c.caller_instance, c.request_id,
  c.status_code, c.quota_limit, c.quota_left,
  coalesce(c.ok_us, c.failed_us, c.gave_up_us, c.committed_us, c.errored_us) IS NOT NULL AS ended
FROM calls c
WHERE (c.caller IS NOT NULL OR c.purpose IN ('dispatch', 'report', 'heartbeat'))
  AND coalesce(c.sent_us, c.received_us, c.ok_us, c.failed_us, c.gave_up_us, c.committed_us,
    c.errored_us) > c.first_seen_us - 3600000000"""
"""Every call as a service's at a peer, the callee's name or else the address that was called.

A call of which only the callee speaks counts where it is the scheduler's own traffic: whoever
else knocks at a server is not ours. Nor does one that came after the settle time.
"""

TIMEOUTS: Final = f"""
WITH said AS (
  SELECT namespace, name, min(timeout_s) AS timeout_s, min(beat_timeout_s) AS beat_timeout_s,
    max(beat_s) AS beat_s, min(CASE WHEN timeout_s IS NOT NULL THEN service END) AS timeout_by,
    min(CASE WHEN beat_timeout_s IS NOT NULL THEN service END) AS beat_timeout_by,
    min(first_seen_us) AS first_seen_us
  FROM (SELECT l.namespace, l.service, l.name, max(l.timeout_s) AS timeout_s,
      max(l.beat_timeout_s) AS beat_timeout_s, max(l.beat_s) AS beat_s,
      min(l.first_seen_us) AS first_seen_us
    FROM limits l WHERE l.last_us > l.last_seen_us - 3600000000
    GROUP BY l.namespace, l.service, l.name) o
  GROUP BY namespace, name
), tasks AS (
  SELECT t.namespace AS namespace, t.name AS name, max(t.timeout_s) AS timeout_s,
    sum(CASE WHEN t.beat_us IS NOT NULL THEN 1 ELSE 0 END) AS beats
  FROM attempts t JOIN said s ON s.namespace = t.namespace AND s.name = t.name
  WHERE s.name <> '' AND coalesce(s.timeout_s, s.beat_timeout_s) IS NOT NULL
  GROUP BY t.namespace, t.name
), learnt AS (
  SELECT namespace, measure, service, key, n,
    CAST(round(p50_us / power(2.0, 1.0 / {BUCKETS})) AS BIGINT) AS p50_us,
    CAST(round(p99_us / power(2.0, 1.0 / {BUCKETS})) AS BIGINT) AS p99_us, p99_us AS top_us
  FROM learned WHERE measure IN ('run', 'answer')
), runs_of AS (
  SELECT namespace, key, max(n) AS n, max(p50_us) AS p50_us, max(p99_us) AS p99_us,
    max(top_us) AS top_us
  FROM learnt WHERE measure = 'run' GROUP BY namespace, key
), asks AS (
  SELECT namespace, service, purpose, max(call_timeout_s) AS call_timeout_s,
    max(retry_window_s) AS retry_window_s, min(first_seen_us) AS first_seen_us
  FROM limits WHERE coalesce(call_timeout_s, retry_window_s) IS NOT NULL
    AND last_us > last_seen_us - 3600000000
  GROUP BY namespace, service, purpose
), hops AS (
  SELECT c.namespace AS namespace, c.caller AS caller, c.callee AS callee, a.purpose AS purpose,
    a.call_timeout_s AS call_timeout_s, a.retry_window_s AS retry_window_s,
    a.first_seen_us AS first_seen_us, max(c.limit_s) AS limit_s,
    sum(CASE WHEN c.gave_up_us IS NOT NULL AND c.ok_us IS NULL THEN 1 ELSE 0 END) AS gave_up
  FROM calls c JOIN asks a ON a.namespace = c.namespace AND a.service = c.caller
    AND a.purpose = coalesce(c.purpose, '')
  WHERE c.callee IS NOT NULL
  GROUP BY c.namespace, c.caller, c.callee, a.purpose, a.call_timeout_s, a.retry_window_s,
    a.first_seen_us
), holding AS (
  SELECT namespace, queue, max(visibility_s) AS visibility_s, min(service) AS service,
    min(first_seen_us) AS first_seen_us
  FROM limits WHERE visibility_s IS NOT NULL AND queue <> ''
    AND last_us > last_seen_us - 3600000000
  GROUP BY namespace, queue
), held AS (
  SELECT t.namespace AS namespace, t.queue AS queue, h.visibility_s AS visibility_s,
    h.service AS service, h.first_seen_us AS first_seen_us,
    CASE WHEN t.finished_us IS NULL THEN NULL
      WHEN t.acks_early THEN t.started_us - t.accepted_us
      WHEN t.accepted_us IS NOT NULL THEN t.finished_us - t.accepted_us
      WHEN t.running_us IS NOT NULL THEN t.finished_seen_us - t.running_seen_us END AS held_us,
    t.eta_us - coalesce(t.running_us, t.accepted_us) AS ahead_us,
    t.started_last_us - t.started_us AS again_us
  FROM attempts t JOIN holding h ON h.namespace = t.namespace AND h.queue = t.queue
), heard AS (
  SELECT namespace, max(heard) AS heard, max(called) AS called FROM (
    SELECT namespace, 1 AS heard, 0 AS called FROM sources WHERE beat_seen_us IS NOT NULL
    UNION ALL
    SELECT namespace, 1 AS heard, 0 AS called FROM said WHERE beat_s IS NOT NULL
    UNION ALL
    SELECT namespace, CASE WHEN measure = 'beat' THEN 1 ELSE 0 END AS heard,
      CASE WHEN key = 'heartbeat' AND measure <> 'beat' THEN 1 ELSE 0 END AS called
    FROM rates WHERE measure IN ('beat', 'call', 'answer')
  ) o GROUP BY namespace
), limited AS (
  SELECT s.namespace AS namespace, s.name AS name, s.timeout_by AS timeout_by,
    s.beat_timeout_by AS beat_timeout_by, s.beat_timeout_s AS beat_timeout_s,
    CASE WHEN t.timeout_s > s.timeout_s THEN t.timeout_s ELSE s.timeout_s END AS timeout_s,
    s.beat_s AS beat_s, s.first_seen_us AS first_seen_us,
    CASE WHEN s.beat_s IS NULL AND coalesce(t.beats, 0) = 0 AND coalesce(h.called, 0) = 0
      THEN 1 ELSE 0 END AS beatless,
    coalesce(h.heard, 0) AS heard, coalesce(r.n, 0) AS n, r.p50_us AS p50_us, r.p99_us AS p99_us,
    r.top_us AS top_us
  FROM said s
  LEFT JOIN tasks t ON t.namespace = s.namespace AND t.name = s.name
  LEFT JOIN runs_of r ON r.namespace = s.namespace AND r.key = s.name
  LEFT JOIN heard h ON h.namespace = s.namespace
)
SELECT namespace, 'run' AS pair, timeout_by AS service, name, '' AS queue, '' AS peer,
  timeout_s AS limit_s, CAST(NULL AS DOUBLE) AS beat_s, n, p50_us, p99_us, top_us, 0 AS failures,
  1 AS heard, first_seen_us
FROM limited WHERE name <> '' AND timeout_s IS NOT NULL AND n > 0
UNION ALL
SELECT namespace, 'run without beats', timeout_by, name, '', '', timeout_s, NULL, n, p50_us, p99_us,
  top_us, 0, heard, first_seen_us
FROM limited WHERE name <> '' AND timeout_s IS NOT NULL AND beat_timeout_s IS NULL AND n > 0
  AND beatless = 1
UNION ALL
SELECT namespace, 'beat that never comes', beat_timeout_by, name, '', '', beat_timeout_s, NULL, n,
  p50_us, p99_us, top_us, 0, heard, first_seen_us
FROM limited WHERE name <> '' AND beat_timeout_s IS NOT NULL AND n > 0 AND beatless = 1
UNION ALL
SELECT namespace, 'beat', beat_timeout_by, name, '', '', beat_timeout_s, beat_s, n, NULL, NULL,
  NULL, 0, 1, first_seen_us
FROM limited WHERE beat_timeout_s IS NOT NULL AND beat_s IS NOT NULL
UNION ALL
SELECT h.namespace, 'call', h.caller, h.purpose, '', h.callee,
  coalesce(h.limit_s, h.call_timeout_s), NULL, l.n, l.p50_us, l.p99_us, l.top_us, h.gave_up, 1,
  h.first_seen_us
FROM hops h
JOIN learnt l ON l.namespace = h.namespace AND l.measure = 'answer' AND l.service = h.callee
  AND l.key = h.purpose
WHERE coalesce(h.limit_s, h.call_timeout_s) IS NOT NULL
UNION ALL
SELECT h.namespace, 'retry', h.caller, h.purpose, '', h.callee, h.retry_window_s, NULL, l.n,
  l.p50_us, l.p99_us, l.top_us, h.gave_up, 1, h.first_seen_us
FROM hops h
JOIN learnt l ON l.namespace = h.namespace AND l.measure = 'answer' AND l.service = h.callee
  AND l.key = h.purpose
WHERE h.retry_window_s IS NOT NULL
UNION ALL
SELECT namespace, 'visibility', service, '', queue, '', visibility_s, NULL, count(hold_us),
  CAST(round(quantile_cont(hold_us, 0.5)) AS BIGINT),
  CAST(round(quantile_cont(hold_us, 0.99)) AS BIGINT), quantile_cont(hold_us, 0.99),
  sum(CASE WHEN again_us >= visibility_s * 1e6 THEN 1 ELSE 0 END), 1, first_seen_us
FROM (SELECT e.*,
    CASE WHEN ahead_us > coalesce(held_us, 0) THEN ahead_us ELSE held_us END AS hold_us
  FROM held e) e
GROUP BY namespace, service, queue, visibility_s, first_seen_us HAVING count(hold_us) > 0"""
"""Every declared limit beside what it has to hold, as far as it is learned.

`p50_us` and `p99_us` are what was reached at least (the lower bound of a bucket), `top_us` what was
surely not exceeded by 99%. `name` of a call is its purpose. Failures (of calls and holds; those of
tasks are dear to count, and left to who asks) are the hot rows' that came of it.
A limit of which we heard after the settle time only may have changed since, and does not count.
Where one limit was said more than once by one service, the greatest counts; of several services'
the least.
"""

_SCRAPE_US: Final = 60_000_000
"""So often metrics are exported, where nothing else is said (the default of OpenTelemetry)."""

LOST: Final = f"""
SELECT l.namespace AS namespace, l.side AS side, l.service AS service, l.instance AS instance,
  l.lost AS lost, l.from_us + coalesce(i.lag_us, 0) AS from_us,
  l.to_us + coalesce(i.lag_us, 0) AS to_us
FROM (
  SELECT o.namespace, o.service, o.instance, o.side,
    CASE WHEN o.total < 0 THEN o.lost ELSE o.total - coalesce(o.before, 0) END AS lost,
    CASE WHEN o.total < 0 THEN coalesce(o.from_us, o.first_us - {_SCRAPE_US})
      WHEN o.before IS NOT NULL THEN o.before_us
      ELSE greatest(o.start_us, o.first_us - {_SCRAPE_US}) END AS from_us,
    CASE WHEN o.total < 0 THEN coalesce(o.to_us, o.first_us) ELSE o.first_us END AS to_us
  FROM (SELECT k.*, max(k.total) OVER earlier AS before, max(k.last_us) OVER earlier AS before_us
    FROM losses k WINDOW earlier AS (PARTITION BY k.namespace, k.service, k.instance, k.series,
      k.start_us ORDER BY k.total ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) o
) l
LEFT JOIN lags i
  ON i.namespace = l.namespace AND i.service = l.service AND i.instance = l.instance
WHERE l.lost > 0"""
"""Records that will never come: whose, how many, and between which moments by our clock.

Of a total that counts on, what was added since it was told last is lost since then.
"""

VIEWS: Final = {
    "learned": LEARNED,
    "queues": QUEUES,
    "paused": PAUSED,
    "beats": BEATS,
    "lives": LIVES,
    "fates": FATES,
    "lags": LAGS,
    "awaited": AWAITED,
    "clocks": CLOCKS,
    "asked": ASKED,
    "timeouts": TIMEOUTS,
    "lost": LOST,
}
"""Name → SELECT, each over the relations, `rates` and `marks` only."""
