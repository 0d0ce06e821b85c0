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

BEATS: Final = """
SELECT namespace, service, instance, count(*) AS n, min(arrived_us) AS first_seen_us,
  max(arrived_us) AS last_seen_us,
  (max(arrived_us) - min(arrived_us)) / greatest(count(*) - 1, 1) AS interval_us
FROM marks WHERE phase = 'heartbeat' AND task IS NULL GROUP BY namespace, service, instance"""
"""The beat that an instance keeps, learned from its recent heartbeats: how many, how far apart."""

CLOCKS: Final = """
SELECT namespace, caller, callee, caller_instance, callee_instance, count(*) AS n,
  min(spread_us) AS uncertainty_us,
  min(CASE WHEN place = 1 THEN offset_us END) AS offset_us, max(last_seen_us) AS last_seen_us
FROM (
  SELECT p.*, row_number() OVER (PARTITION BY namespace, caller_instance, callee_instance
    ORDER BY spread_us, last_seen_us DESC, hop) AS place
  FROM (
    SELECT c.namespace, c.caller, c.callee, c.caller_instance, c.callee_instance, c.hop,
      c.last_seen_us,
      ((c.received_us - c.sent_us) + (coalesce(c.committed_us, c.errored_us)
        - coalesce(c.ok_us, c.failed_us))) / 2 AS offset_us,
      ((coalesce(c.ok_us, c.failed_us) - c.sent_us)
        - (coalesce(c.committed_us, c.errored_us) - c.received_us)) / 2 AS spread_us
    FROM calls c
    WHERE c.caller_instance IS NOT NULL AND c.callee_instance IS NOT NULL
      AND c.caller_instance <> c.callee_instance AND c.gave_up_us IS NULL
      AND c.sent_us = c.sent_last_us AND c.received_us = c.received_last_us
  ) p WHERE spread_us >= 0
) q GROUP BY namespace, caller, callee, caller_instance, callee_instance"""
"""How far the callee's clock is ahead of the caller's, as NTP would tell it from their calls.

The call with the least time on its way decides: the offset is off by no more than `uncertainty_us`.
A repeated try under the same key pairs the wrong ends, and proves nothing.
"""

ASKED: Final = """
SELECT c.namespace, coalesce(c.caller, '') AS service, coalesce(c.callee, c.peer, '') AS peer,
  CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue, c.last_seen_us,
  coalesce(c.sent_us, c.received_us, c.first_seen_us) AS at_us, c.caller_instance, c.request_id,
  c.status_code, c.quota_limit, c.quota_left,
  coalesce(c.ok_us, c.failed_us, c.gave_up_us, c.committed_us, c.errored_us) IS NOT NULL AS ended
FROM calls c WHERE c.caller IS NOT NULL OR c.purpose IN ('dispatch', 'report', 'heartbeat')"""
"""Every call as a service's at a peer, the callee's name or else the address that was called.

A call of which only the callee speaks counts where it is the scheduler's own traffic: whoever
else knocks at a server is not ours.
"""

VIEWS: Final = {
    "learned": LEARNED,
    "queues": QUEUES,
    "beats": BEATS,
    "clocks": CLOCKS,
    "asked": ASKED,
}
"""Name → SELECT, each over the relations, `rates` and `marks` only."""
