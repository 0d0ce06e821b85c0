"""How the work goes, by task name and queue: what is open, what came and ended, how long it took.

In the words of the vocabulary, whatever the scheduler. Asked of the relations every few seconds:
each word of an attempt is counted once, a moment after it has come (by our clock), so that what
others say of that attempt at the same time is known: its name, and its queue.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from alerts.labels import OTHER, Labels
from alerts.standing import Standing
from model.units import SECOND_US

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    from prometheus_client.core import Metric

BUCKETS_S: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
EVERY_US: Final = 5 * SECOND_US
AFTER_US: Final = 5 * SECOND_US
"""So long after its word has come an attempt is counted."""

_PAIRS: Final = 2
"""So many queues each name may be in, on the average: series are bounded, not labels alone."""

_PHASES: Final = {
    "enqueued": "enqueued_seen_us",
    "dispatched": "running_seen_us",
    "started": "started_seen_us",
    "finished": "finished_seen_us",
    "recorded": "recorded_seen_us",
    "requeued": "requeued_seen_us",
    "dead_lettered": "dead_lettered_seen_us",
}
"""Phase → the column that says when it was first heard of, by our clock."""

_ENTERS: Final = {
    "enqueued": "waiting",
    "dispatched": "held",
    "started": "running",
    "finished": "unrecorded",
}
"""Phase → the state that it begins, for however short a time."""

_ANY: Final = """
SELECT EXISTS (SELECT 1 FROM open_attempts),
  EXISTS (SELECT 1 FROM attempts WHERE last_seen_us > $since)"""
"""Planning what follows takes far longer than this, and there is often nothing to look at."""

_OPEN: Final = """
SELECT state, coalesce(name, ''), coalesce(queue, ''), count(*), min(since_us) FROM (
  SELECT name, queue, CASE WHEN finished_us IS NOT NULL THEN 'unrecorded'
      WHEN coalesce(started_us, beat_us) IS NOT NULL THEN 'running'
      WHEN eta_us > $now THEN 'scheduled'
      WHEN coalesce(running_us, accepted_us) IS NOT NULL THEN 'held'
      ELSE 'waiting' END AS state,
    CASE WHEN finished_us IS NOT NULL THEN finished_seen_us
      WHEN started_us IS NOT NULL THEN started_seen_us WHEN beat_us IS NOT NULL THEN beat_seen_us
      WHEN eta_us > $now THEN $now
      ELSE greatest(coalesce(running_seen_us, accepted_seen_us, enqueued_seen_us, first_seen_us),
        coalesce(eta_us, 0)) END AS since_us
  FROM open_attempts
) o GROUP BY ALL ORDER BY count(*) DESC, 1, 2, 3"""


def _new() -> str:
    within = {
        phase: f"({column} > $since AND {column} <= $now)" for phase, column in _PHASES.items()
    }
    took = {
        "run": (within["finished"], "(finished_us - started_us) / 1e6"),
        "wait": (within["dispatched"], "(running_us - greatest(enqueued_us, eta_us)) / 1e6"),
    }
    sums = [f"sum(CASE WHEN {when} THEN 1 ELSE 0 END)" for when in within.values()]
    for when, value in took.values():
        sums += [f"sum(CASE WHEN {when} AND {value} <= {b} THEN 1 ELSE 0 END)" for b in BUCKETS_S]
        sums.append(f"sum(CASE WHEN {when} AND {value} IS NOT NULL THEN 1 ELSE 0 END)")
        sums.append(f"sum(CASE WHEN {when} THEN coalesce(greatest({value}, 0), 0) ELSE 0 END)")
    for when, value in took.values():  # the slowest that has a trace, to be looked at
        traced = f"{when} AND {value} >= 0 AND length(trace_id) = 32"
        sums.append(f"arg_max(trace_id, {value}) FILTER ({traced})")
        sums.append(f"max({value}) FILTER ({traced})")
    return (
        "SELECT coalesce(name, ''), coalesce(queue, ''), coalesce(outcome, ''),"
        f" coalesce(recorded_state, ''), {', '.join(sums)} FROM attempts"
        " WHERE last_seen_us > $since GROUP BY ALL"
    )


_NEW: Final = _new()
_TIMES: Final = ("run", "wait")


class Work:
    """What was counted since *now_us*; `look` is the judge's, `collect` anyone's."""

    def __init__(self, now_us: int, *, labels_max: int) -> None:
        self._since_us = now_us
        self._name, self._queue = Labels(labels_max), Labels(labels_max)
        self._pair = Labels(_PAIRS * labels_max)
        self._lock = threading.Lock()
        self._totals: Counter[tuple[str, ...]] = Counter()
        self._open: dict[tuple[str, ...], tuple[int, float]] = {}
        self._spread: dict[tuple[str, str, str], list[float]] = {}
        self._traced: dict[tuple[str, str, str], dict[int, Exemplar]] = {}
        self._standing = Standing(labels_max=labels_max)

    def look(self, reader: duckdb.DuckDBPyConnection, now_us: int) -> None:
        """Count what *reader* shows at *now_us*, until when all that came is in the relations."""
        if now_us - AFTER_US - self._since_us >= EVERY_US:
            self._look(reader, now_us)
        self._standing.look(reader, now_us)

    def _look(self, reader: duckdb.DuckDBPyConnection, now_us: int) -> None:
        upto_us = now_us - AFTER_US
        said = {"now": upto_us, "since": self._since_us}
        [(opened, seen)] = reader.execute(_ANY, {"since": self._since_us}).fetchall()
        waiting = reader.execute(_OPEN, {"now": now_us}).fetchall() if opened else []
        new = reader.execute(_NEW, said).fetchall() if seen else []
        with self._lock:
            self._since_us = upto_us
            # what falls to nothing is told as 0: a gauge that vanishes looks like no data
            self._open = dict.fromkeys(self._open, (0, 0.0))
            for state, name, queue, number, since_us in waiting:
                key = (state, *self._of(name, queue))
                before, oldest_s = self._open.get(key, (0, 0.0))
                age_s = max(oldest_s, (now_us - since_us) / SECOND_US)
                self._open[key] = (before + number, age_s)
            for name, queue, outcome, state, *more in new:
                labels = self._of(name, queue)
                sums, slowest = more[: -2 * len(_TIMES)], more[-2 * len(_TIMES) :]
                self._count(labels, {"finished": outcome, "recorded": state}, sums)
                self._trace(labels, slowest, upto_us)

    def _of(self, name: str, queue: str) -> tuple[str, str]:
        """Return the labels for work of that *name* in that *queue*."""
        labels = (self._name.take(name), self._queue.take(queue))
        return (OTHER, OTHER) if self._pair.take("\n".join(labels)) == OTHER else labels

    def _count(self, labels: tuple[str, str], ends: dict[str, str], sums: list[float]) -> None:
        for phase, number in zip(_PHASES, sums, strict=False):
            if number:
                self._totals[phase, *labels, ends.get(phase, "")] += int(number)
                if phase in _ENTERS:  # told as 0 from now on, if no look has ever met it
                    self._open.setdefault((_ENTERS[phase], *labels), (0, 0.0))
        at, size = len(_PHASES), len(BUCKETS_S) + 2
        for kind in _TIMES:
            part = sums[at : at + size]
            at += size
            if part[-2]:
                known = self._spread.setdefault((kind, *labels), [0.0] * size)
                self._spread[kind, *labels] = [a + b for a, b in zip(known, part, strict=True)]

    def _trace(self, labels: tuple[str, str], slowest: list[Any], at_us: int) -> None:
        """Keep the trace of the slowest, as the newest example of the bucket that it falls into."""
        for kind, trace, value in zip(_TIMES, slowest[::2], slowest[1::2], strict=True):
            if trace is not None:
                examples = self._traced.setdefault((kind, *labels), {})
                one = Exemplar({"trace_id": trace}, value, at_us / SECOND_US)
                examples[bisect_left(BUCKETS_S, value)] = one

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        with self._lock:
            totals, waiting = dict(self._totals), dict(self._open)
            spread = dict(self._spread)
            traced = {key: dict(examples) for key, examples in self._traced.items()}
        counts = CounterMetricFamily(
            "zombiewatch_tasks",
            "Attempts of which a phase was heard of; of ends, with their outcome.",
            labels=("phase", "task_name", "queue", "outcome"),
        )
        for labels, number in sorted(totals.items()):
            counts.add_metric(labels, number)
        yield counts
        names = ("state", "task_name", "queue")
        gauge = GaugeMetricFamily(
            "zombiewatch_tasks_open",
            "Attempts that are scheduled (their time has not come), waiting, held (handed out and"
            " not begun), running, or unrecorded (ended, and no final state was stored).",
            labels=names,
        )
        oldest = GaugeMetricFamily(
            "zombiewatch_tasks_oldest_age_seconds",
            "How long the oldest of them has been so.",
            labels=names,
        )
        for labels, (number, age_s) in sorted(waiting.items()):
            gauge.add_metric(labels, number)
            oldest.add_metric(labels, age_s)
        yield gauge
        yield oldest
        yield from self._histograms(spread, traced)
        yield from self._standing.collect()

    @staticmethod
    def _histograms(
        spread: dict[tuple[str, str, str], list[float]],
        traced: dict[tuple[str, str, str], dict[int, Exemplar]],
    ) -> Iterator[Metric]:
        told = {
            "run": ("zombiewatch_task_run_seconds", "From a run's start to its end."),
            "wait": ("zombiewatch_task_wait_seconds", "From eligible to handed out."),
        }
        bounds = [*(f"{bound:g}" for bound in BUCKETS_S), "+Inf"]
        for kind, (name, text) in told.items():
            family = HistogramMetricFamily(name, text, labels=("task_name", "queue"))
            for (of, *labels), numbers in sorted(spread.items()):
                if of == kind:
                    *buckets, total = numbers
                    examples = traced.get((of, labels[0], labels[1]), {})
                    told_by: list[Any] = [
                        (bound, number, *((examples[at],) if at in examples else ()))
                        for at, (bound, number) in enumerate(zip(bounds, buckets, strict=True))
                    ]
                    family.add_metric(labels, told_by, sum_value=total)
            yield family
