"""What surrounds the work: queues as they were sampled, limits beside what is usual, processes.

Asked of the relations now and then, as none of it changes fast. What is not told any more
vanishes: a number from yesterday is no news of today.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from alerts.labels import OTHER, Labels
from model.units import MINUTE_US, SECOND_US

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb
    from prometheus_client.core import Metric

EVERY_US: Final = 15 * SECOND_US
_FRESH_US: Final = 10 * MINUTE_US
"""A queue that was not sampled for so long is told no more."""

_HEARD_US: Final = 2 * MINUTE_US
_SILENT_US: Final = 60 * MINUTE_US
"""A process that was not heard for so long is forgotten."""

_PAIRS: Final = 10
"""So many limits or measures each name may have, on the average."""

_QUEUES: Final = """
SELECT coalesce(queue, ''), sum(depth), max(oldest_age_s), sum(in_flight), sum(consumers),
  max(CAST(paused AS INTEGER)), sum(enqueued_total), sum(completed_total)
FROM queues WHERE last_seen_us > $now - $fresh GROUP BY 1 ORDER BY 1"""

_LIMITS: Final = """
SELECT coalesce(service, ''), coalesce(nullif(name, ''), purpose, ''), coalesce(queue, ''),
  timeout_s, beat_timeout_s, call_timeout_s, retry_window_s, visibility_s
FROM limits WHERE last_us > last_seen_us - 3600000000 ORDER BY ALL"""

_USUAL: Final = """
SELECT coalesce(service, ''), coalesce(key, ''), measure, p50_us, p99_us
FROM learned ORDER BY ALL"""

_PROCESSES: Final = """
SELECT coalesce(side, ''), service, count(*),
  sum(CASE WHEN last_seen_us > $now - $heard THEN 1 ELSE 0 END)
FROM (SELECT max(side) AS side, service, instance, max(last_seen_us) AS last_seen_us,
    arg_max(stopped_us IS NOT NULL, last_seen_us) AS stopped
  FROM instances WHERE instance <> '' GROUP BY namespace, service, instance) i
WHERE last_seen_us > $now - $silent AND NOT stopped GROUP BY 1, 2 ORDER BY 1, 2"""

_ANY: Final = """
SELECT EXISTS (SELECT 1 FROM samples), EXISTS (SELECT 1 FROM limits), EXISTS (SELECT 1 FROM rates),
  EXISTS (SELECT 1 FROM instances)"""
"""Whether there is anything that each of the four could show: planning them takes longer."""

_SAMPLED: Final = (
    ("depth", "Work that waits in a queue, as it was sampled last."),
    ("oldest_age_seconds", "Age of what waits longest in a queue, as it was sampled last."),
    ("in_flight", "Work of a queue that is being worked on, as it was sampled last."),
    ("consumers", "Consumers of a queue, as it was sampled last."),
    ("paused", "Whether a queue is paused."),
)
_COUNTED: Final = (
    ("enqueued", "What came into a queue, by the queue's own count."),
    ("completed", "What was taken out of a queue and done, by the queue's own count."),
)
_KINDS: Final = ("run", "heartbeat", "call", "retries", "visibility")

Row = tuple[Any, ...]


class Standing:
    """What was seen last; `look` is the judge's, `collect` anyone's."""

    def __init__(self, *, labels_max: int) -> None:
        self._service, self._queue = Labels(labels_max), Labels(labels_max)
        self._limit, self._measure = Labels(_PAIRS * labels_max), Labels(_PAIRS * labels_max)
        self._next_us = 0
        self._lock = threading.Lock()
        self._seen: tuple[Sequence[Row], ...] = ((), (), (), ())

    def look(self, reader: duckdb.DuckDBPyConnection, now_us: int) -> None:
        """See what *reader* shows at *now_us*, if it is time for that."""
        if now_us < self._next_us:
            return
        spans = {"fresh": _FRESH_US, "heard": _HEARD_US, "silent": _SILENT_US}
        seen: list[Sequence[Row]] = []
        [known] = reader.execute(_ANY).fetchall()
        for query, there in zip((_QUEUES, _LIMITS, _USUAL, _PROCESSES), known, strict=True):
            if not there:
                seen.append([])
                continue
            asked = {name: span for name, span in spans.items() if f"${name}" in query}
            given = {"now": now_us, **asked} if asked else {}
            seen.append(reader.execute(query, given).fetchall())
        with self._lock:
            self._next_us = now_us + EVERY_US
            self._seen = tuple(seen)

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        with self._lock:
            queues, limits, usual, processes = self._seen
        yield from self._queues(queues)
        yield self._limits(limits)
        yield self._usual(usual)
        yield self._processes(processes)

    def _queues(self, rows: Sequence[Row]) -> Iterator[Metric]:
        gauges: list[GaugeMetricFamily | CounterMetricFamily] = [
            GaugeMetricFamily(f"zombiewatch_queue_{name}", text, labels=("queue",))
            for name, text in _SAMPLED
        ]
        counters = [
            CounterMetricFamily(f"zombiewatch_queue_{name}", text, labels=("queue",))
            for name, text in _COUNTED
        ]
        for queue, *values in rows:
            label = self._queue.take(queue)
            if label == OTHER:  # several under one name would be samples that repeat
                continue
            for family, value in zip((*gauges, *counters), values, strict=True):
                if value is not None:
                    family.add_metric((label,), value)
        yield from gauges
        yield from counters

    def _limits(self, rows: Sequence[Row]) -> Metric:
        told: dict[tuple[str, ...], float] = {}
        for service, name, queue, *values in rows:
            for kind, value in zip(_KINDS, values, strict=True):
                if value is not None:
                    key = self._known(self._limit, (kind, service, name, queue))
                    told[key] = max(value, told.get(key, 0.0))
        return _gauge(
            "zombiewatch_limit_seconds",
            "A limit that was declared: of a run, between heartbeats, of a call, of its retries"
            " (for these two the name is the purpose), or until a queue hands out again.",
            ("limit", "service", "name", "queue"),
            told,
        )

    def _usual(self, rows: Sequence[Row]) -> Metric:
        told: dict[tuple[str, ...], float] = {}
        for service, name, measure, p50_us, p99_us in rows:
            labels = self._known(self._measure, (measure, service, name))
            for quantile, value_us in (("0.5", p50_us), ("0.99", p99_us)):
                key = (*labels, quantile)
                told[key] = max(value_us / SECOND_US, told.get(key, 0.0))
        return _gauge(
            "zombiewatch_usual_seconds",
            "How long it usually takes, over the last day: to accept, run, record, wait; between"
            " heartbeats; the answer to a call, and the call (the name is the purpose).",
            ("measure", "service", "name", "quantile"),
            told,
        )

    def _processes(self, rows: Sequence[Row]) -> Metric:
        told: dict[tuple[str, ...], float] = {}
        for side, service, every, heard in rows:
            for state, number in (("heard", heard), ("silent", every - heard)):
                key = (side, self._service.take(service), state)
                told[key] = told.get(key, 0.0) + number
        return _gauge(
            "zombiewatch_processes",
            "Processes that have not said that they stopped: heard within two minutes, or silent"
            " since, within an hour.",
            ("side", "service", "state"),
            told,
        )

    @staticmethod
    def _known(within: Labels, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return *labels*, or only the first of them where there are too many already."""
        if within.take("\n".join(labels)) == OTHER:
            return (labels[0], *[OTHER] * (len(labels) - 1))
        return labels


def _gauge(
    name: str, text: str, labels: Sequence[str], told: dict[tuple[str, ...], float]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(told.items()):
        family.add_metric(key, value)
    return family
