"""What Prometheus scrapes: findings, and how the sidecar itself is doing.

Label values are sticky, so that a gauge falls to 0 instead of vanishing, and capped: past
the limit they become `__other__`. A failing detector's samples disappear; its errors count.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from alerts.degrade import metrics as degrade
from alerts.labels import Labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

_LABELS: Final = ("detector", "service", "queue", "severity", "team")
_ENDS: Final = ("confirmed", "resolved", "retracted")
_DELAYS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Watched(Protocol):
    """What the metrics are read from: the service."""

    store: Any
    judge: Any
    causes: dict[tuple[str, str], str]
    files: Any
    intake: Any
    forward: Any
    celery: Any
    work: Any
    switches: Any
    degrading: Any
    following: Any
    pushing: Any
    silencing: Any
    otlp_connections: Any
    clock: Callable[[], int]
    judged_us: dict[str, int]
    last_report: Any
    started_us: int
    ready: bool

    def hidden(self, lease: Any) -> Any: ...  # noqa: ANN401, D102 - findings, see Service


class Metrics(Collector):
    """Collects at each scrape from what the sidecar holds in memory; asks no engine."""

    def __init__(self, watched: Watched, *, labels_max: int) -> None:
        self._of = watched
        self._service, self._queue = Labels(labels_max), Labels(labels_max)
        self._event = Labels(labels_max)
        self._sticky: set[tuple[str, ...]] = set()
        self._delay_counts: dict[str, Counter[float]] = {}
        self._delay_sums: Counter[str] = Counter()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition that *accept* asks for, and its content type."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        yield from self._findings()
        yield from self._verdicts()
        yield from self._judging()
        yield from self._of.work.collect()
        yield from degrade.collect(
            self._of.switches,
            self._of.degrading,
            self._of.clock(),
            label=self._service.take,
            hides=lambda lease: len(self._of.hidden(lease)),
            followed=self._of.following is None or self._of.following.attempts.well,
        )
        yield from self._input()
        yield from self._forwarding()
        yield from self._pushing()
        yield from self._silencing()
        yield from self._celery()
        yield from self._storage()

    def _findings(self) -> Iterator[Metric]:
        judge, now = self._of.judge, self._of.clock()
        open_now = [one for one in list(judge.open.values()) if one.detector not in judge.failing]
        counts: dict[str, Counter[tuple[str, ...]]] = {
            verdict: Counter() for verdict in ("confirmed", "suspected", "unknown")
        }
        oldest: dict[tuple[str, ...], float] = {}
        muted: Counter[tuple[str, ...]] = Counter()
        for one in open_now:
            if one.muted and one.verdict == "confirmed":
                muted[one.detector, one.muted] += 1
                continue
            labels: tuple[str, ...] = (
                one.detector,
                self._service.take(one.service),
                self._queue.take(one.queue),
                one.severity,
                one.team or "",
            )
            verdict = one.verdict
            if verdict not in counts:  # it ended while we read
                continue
            counts[verdict][labels] += 1
            if verdict == "confirmed":
                self._sticky.add(labels)
                oldest[labels] = max(oldest.get(labels, 0.0), (now - one.since_us) / 1e6)
        told = {
            "confirmed": (
                "zombiewatch_findings",
                "Findings that are confirmed, have not ended, and tell somebody.",
            ),
            "suspected": ("zombiewatch_findings_suspected", "Findings that wait to be confirmed."),
            "unknown": ("zombiewatch_findings_unknown", "Findings that silence does not prove."),
        }
        for verdict, (name, text) in told.items():
            family = GaugeMetricFamily(name, text, labels=_LABELS)
            zeros = {one: 0 for one in self._sticky if one[0] not in judge.failing}
            for labels, number in sorted({**zeros, **counts[verdict]}.items()):
                family.add_metric(labels, number)
            yield family
        family = GaugeMetricFamily(
            "zombiewatch_findings_muted",
            "Findings that are confirmed and tell nobody, by why.",
            labels=("detector", "reason"),
        )
        for (detector, why), number in sorted(muted.items()):
            family.add_metric((detector, why), number)
        yield family
        ages = GaugeMetricFamily(
            "zombiewatch_findings_oldest_age_seconds",
            "Time since the oldest confirmed finding began.",
            labels=_LABELS,
        )
        for labels, age in sorted(oldest.items()):
            ages.add_metric(labels, age)
        yield ages

    def _verdicts(self) -> Iterator[Metric]:
        judge = self._of.judge
        total = CounterMetricFamily(
            "zombiewatch_verdicts",
            "Verdicts reached; a retracted one was a false alarm.",
            labels=("detector", "verdict"),
        )
        # from the start: of a counter that is born at 1 nobody sees the first
        zeros = {(one.name, verdict): 0 for one in judge.detectors for verdict in _ENDS}
        for labels, number in sorted({**zeros, **judge.totals}.items()):
            total.add_metric(labels, number)
        yield total
        cause = GaugeMetricFamily(
            "zombiewatch_finding_cause",
            "What the findings of a detector for a service seem to follow from: its detector.",
            labels=("detector", "service", "cause"),
        )
        for (detector, service), head in sorted(self._of.causes.items()):
            cause.add_metric((detector, self._service.take(service), head), 1)
        yield cause
        yield self._delays()

    def _delays(self) -> Metric:
        delays, self._of.judge.delays = self._of.judge.delays, []
        for detector, seconds in delays:
            self._delay_sums[detector] += seconds
            of = self._delay_counts.setdefault(detector, Counter())
            of[next((bound for bound in _DELAYS if seconds <= bound), float("inf"))] += 1
        family = HistogramMetricFamily(
            "zombiewatch_detection_delay_seconds",
            "From the moment at which a finding could be known to its confirmation.",
            labels=("detector",),
        )
        for detector, of in sorted(self._delay_counts.items()):
            running, buckets = 0, []
            for bound in (*_DELAYS, float("inf")):
                running += of[bound]
                buckets.append((str(bound) if bound != float("inf") else "+Inf", running))
            family.add_metric((detector,), buckets, self._delay_sums[detector])
        return family

    def _judging(self) -> Iterator[Metric]:
        of, now = self._of, self._of.clock()
        took = GaugeMetricFamily(
            "zombiewatch_evaluation_seconds",
            "Duration of the last evaluation of a detector.",
            labels=("detector",),
        )
        if of.last_report:
            for name, seconds in sorted(of.last_report.took_s.items()):
                took.add_metric((name,), seconds)
        yield took
        age = GaugeMetricFamily(
            "zombiewatch_detector_age_seconds",
            "Time since a detector was last evaluated without an error.",
            labels=("detector",),
        )
        for name, at in sorted(of.judged_us.items()):
            age.add_metric((name,), max(0.0, (now - at) / 1e6))
        yield age
        errors = CounterMetricFamily(
            "zombiewatch_detector_errors", "Evaluations that failed.", labels=("detector",)
        )
        for name, number in sorted(of.judge.errors.items()):
            errors.add_metric((name,), number)
        yield errors
        yield GaugeMetricFamily(
            "zombiewatch_ready",
            "Whether all that was kept has been applied.",
            value=float(of.ready),
        )

    def _input(self) -> Iterator[Metric]:
        of, stats = self._of, self._of.store.stats
        signals = CounterMetricFamily(
            "zombiewatch_signals", "Signals applied, by the way they came.", labels=("way", "kind")
        )
        for way, kind in sorted(stats.by_way):
            signals.add_metric((way, kind), stats.by_way[way, kind])
        yield signals
        oddities = CounterMetricFamily(
            "zombiewatch_input_oddities",
            "Records kept with a remark: not JSON, impossible times, values of a wrong type.",
            labels=("kind",),
        )
        for kind, number in sorted(stats.counts.items()):
            oddities.add_metric((kind,), number)
        yield oddities
        lag = GaugeMetricFamily(
            "zombiewatch_collection_lag_seconds",
            "From event to arrival, the longest of the last batch heard of a service.",
            labels=("service", "way"),
        )
        age = GaugeMetricFamily(
            "zombiewatch_source_age_seconds",
            "Time since a service was last heard.",
            labels=("service", "way"),
        )
        heard: dict[tuple[str, str], tuple[int, float]] = {}
        for (service, way), (at, behind) in list(stats.heard.items()):
            key = (self._service.take(service), way)
            before = heard.get(key, (at, behind))
            heard[key] = (max(at, before[0]), max(behind, before[1]))
        for key, (at, behind) in sorted(heard.items()):
            lag.add_metric(key, behind)
            age.add_metric(key, max(0.0, (of.clock() - at) / 1e6))
        yield lag
        yield age
        requests = CounterMetricFamily(
            "zombiewatch_otlp_requests",
            "Export requests answered, by the status that HTTP or gRPC gave.",
            labels=("protocol", "signal", "code"),
        )
        for labels, number in sorted(of.intake.requests.items()):
            requests.add_metric(labels, number)
        yield requests
        rejected = CounterMetricFamily(
            "zombiewatch_otlp_rejected",
            "Records of export requests that were left out, the rest having been taken.",
            labels=("signal",),
        )
        for signal, number in sorted(of.intake.rejected.items()):
            rejected.add_metric((signal,), number)
        yield rejected
        yield GaugeMetricFamily(
            "zombiewatch_otlp_in_flight_bytes", "Export requests in hand.",
            value=of.intake.budget.held,
        )  # fmt: skip
        yield GaugeMetricFamily(
            "zombiewatch_otlp_connections", "HTTP connections of exporters.",
            value=of.otlp_connections.open,
        )  # fmt: skip
        yield CounterMetricFamily(
            "zombiewatch_otlp_connections_closed",
            "HTTP connections closed or refused because there were otlp.max_connections of them.",
            value=of.otlp_connections.closed,
        )
        yield CounterMetricFamily(
            "zombiewatch_records_left_out", "Journal records that could not be applied.",
            value=stats.apply_errors,
        )  # fmt: skip
        yield CounterMetricFamily(
            "zombiewatch_memory_waits",
            "How often what came in had to wait in the journal because memory was short.",
            value=stats.memory_waits,
        )
        yield GaugeMetricFamily(
            "zombiewatch_apply_lag_seconds",
            "Age of the oldest record that is on disk and not yet in the relations.",
            value=max(0.0, (of.clock() - of.store.complete_us()) / 1e6),
        )
        statuses = of.files.statuses()
        yield GaugeMetricFamily(
            "zombiewatch_follow_files", "Files that are followed.",
            value=sum(1 for one in statuses if one.error is None),
        )  # fmt: skip
        yield GaugeMetricFamily(
            "zombiewatch_follow_behind_bytes", "Bytes of followed files that were not read yet.",
            value=sum(one.behind_bytes for one in statuses),
        )  # fmt: skip
        yield GaugeMetricFamily(
            "zombiewatch_follow_failing_files", "Files that match and cannot be read.",
            value=sum(1 for one in statuses if one.error is not None),
        )  # fmt: skip

    def _forwarding(self) -> Iterator[Metric]:
        forward = self._of.forward
        if forward is None:
            return
        sent = CounterMetricFamily(
            "zombiewatch_forward_sent", "Export requests that were sent on.", labels=("signal",)
        )
        for signal, number in sorted(forward.sent.items()):
            sent.add_metric((signal,), number)
        yield sent
        dropped = CounterMetricFamily(
            "zombiewatch_forward_dropped",
            "Export requests that could not be sent on.",
            labels=("signal", "reason"),
        )
        for labels, number in sorted(forward.dropped.items()):
            dropped.add_metric(labels, number)
        yield dropped
        yield CounterMetricFamily(
            "zombiewatch_forward_retries", "Attempts to send on that were not the first.",
            value=forward.retried,
        )  # fmt: skip
        yield GaugeMetricFamily(
            "zombiewatch_forward_queued_bytes", "Export requests that wait to be sent on.",
            value=forward.queued_bytes,
        )  # fmt: skip

    def _silencing(self) -> Iterator[Metric]:
        silencing = self._of.silencing
        if silencing is None:
            return
        yield GaugeMetricFamily(
            "zombiewatch_silences",
            "Silences of switches at Alertmanager, as was last arranged.",
            value=silencing.silences,
        )
        yield CounterMetricFamily(
            "zombiewatch_silence_errors",
            "How often Alertmanager did not do what was asked of silences.",
            value=silencing.attempts.failed,
        )

    def _pushing(self) -> Iterator[Metric]:
        pushing = self._of.pushing
        if pushing is None:
            return
        told = CounterMetricFamily(
            "zombiewatch_pushes",
            "How often Alertmanager was told what fires, and took it or not.",
            labels=("outcome",),
        )
        told.add_metric(("taken",), pushing.attempts.good)
        told.add_metric(("failed",), pushing.attempts.failed)
        yield told

    def _celery(self) -> Iterator[Metric]:
        if self._of.celery is None:
            return
        status = self._of.celery.status
        reached = GaugeMetricFamily(
            "zombiewatch_celery_reached",
            "Whether Celery's broker (its events), or its result backend, is reached.",
            labels=("part",),
        )
        reached.add_metric(("events",), int(status.connected))
        if status.backend is not None:
            reached.add_metric(("results",), int(status.backend))
        yield reached
        heard = CounterMetricFamily(
            "zombiewatch_celery_events", "Celery's events that were heard.", labels=("type",)
        )
        for kind, number in sorted(status.events.items()):
            heard.add_metric((self._event.take(kind),), number)
        yield heard
        yield CounterMetricFamily(
            "zombiewatch_celery_unreadable",
            "Messages on Celery's event exchange that were not understood.",
            value=status.unreadable,
        )
        yield CounterMetricFamily(
            "zombiewatch_celery_losses", "How often the stream of Celery's events was lost.",
            value=status.losses,
        )  # fmt: skip

    def _storage(self) -> Iterator[Metric]:
        store = self._of.store
        sizes = GaugeMetricFamily(
            "zombiewatch_store_bytes", "Room taken on disk.", labels=("part",)
        )
        for part, size in store.sizes():
            sizes.add_metric((part,), size)
        yield sizes
        yield CounterMetricFamily(
            "zombiewatch_checkpoints", "Checkpoints written.", value=store.checkpoints.made
        )
        yield CounterMetricFamily(
            "zombiewatch_checkpoint_errors", "Checkpoints that could not be written.",
            value=store.checkpoints.errors,
        )  # fmt: skip
        yield CounterMetricFamily(
            "zombiewatch_damaged", "Files and journal records whose checksum did not hold.",
            value=store.damaged,
        )  # fmt: skip
        yield CounterMetricFamily(
            "zombiewatch_refused_full", "Groups of records refused for want of room on disk.",
            value=store.refused_full,
        )  # fmt: skip
        yield GaugeMetricFamily(
            "zombiewatch_settle_seconds", "How long what has closed stays in memory.",
            value=store.checkpoints.settle_us / 1e6,
        )  # fmt: skip
