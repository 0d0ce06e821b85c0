"""What the sidecar says of itself, through the OpenTelemetry SDK: spans and metrics over OTLP.

A span is made for each group commit, batch, evaluation and checkpoint, never for a record; what
an export of ours causes here, where we are our own collector, is a few spans an interval.
Imported only where it is on: the SDK costs time and memory.
"""

from __future__ import annotations

import os
import socket
import threading
from functools import wraps
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from zombiewatch._version import ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions
    from opentelemetry.trace import Tracer

    from zombiewatch.config import Telemetry
    from zombiewatch.service import Service

_END_S: Final = 2.0
_SPANS: Final = 2048

_AROUND: Final = {
    "group commit": "store._ingest._commit",
    "apply batch": "store._apply._apply",
    "checkpoint": "store.checkpoints._write",
    "evaluation": "judge.evaluate",
}
"""Span → what it is put around, from outside: none of these knows of telemetry."""

Counts = dict[tuple[tuple[str, str], ...], float]


class SelfTelemetry:
    """The sidecar's own tracer and meter; `close` sends what is left."""

    def __init__(self, service: Service, said: Telemetry) -> None:
        headers = {}
        if said.token:
            headers["Authorization"] = f"Bearer {said.token.get_secret_value()}"
        timeout_s = min(10.0, said.interval_s)
        resource = Resource.create(_who())
        self._tracing = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._tracing.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(
                    f"{said.endpoint}/v1/traces",
                    headers=headers,
                    timeout=timeout_s,
                    compression=Compression.Gzip,
                ),
                max_queue_size=_SPANS,
                schedule_delay_millis=said.interval_s * 1000,
            )
        )
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(
                f"{said.endpoint}/v1/metrics",
                headers=headers,
                timeout=timeout_s,
                compression=Compression.Gzip,
            ),
            export_interval_millis=said.interval_s * 1000,
            export_timeout_millis=timeout_s * 1000,
        )
        self._metering = MeterProvider([reader], resource, shutdown_on_exit=False)
        _measure(self._metering, service)
        tracer = self._tracing.get_tracer("zombiewatch")
        for name, path in _AROUND.items():
            owner, _, method = path.rpartition(".")
            _wrap(attrgetter(owner)(service), method, name, tracer)

    def close(self) -> None:
        """Send what is left, for a moment: the collector may be away."""
        ends = [
            threading.Thread(target=one.shutdown, daemon=True)
            for one in (self._tracing, self._metering)
        ]
        for one in ends:
            one.start()
        for one in ends:
            one.join(_END_S)


def _who() -> Mapping[str, str | int]:
    return {
        "service.name": "zombiewatch",
        "service.version": ours(),
        "service.instance.id": uuid4().hex,
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }


def _wrap(owner: object, method: str, name: str, tracer: Tracer) -> None:
    """Put a span around *method* of *owner*; its size is said where the first argument has one."""
    call: Callable[..., Any] = getattr(owner, method)

    @wraps(call)
    def traced(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever is around
        with tracer.start_as_current_span(name) as span:
            if args and hasattr(args[0], "__len__"):
                span.set_attribute("zombiewatch.records", len(args[0]))
            return call(*args, **named)

    setattr(owner, method, traced)


def _measure(provider: MeterProvider, of: Service) -> None:
    """Let the main counters be read at each export, from where `/metrics` reads them."""
    meter = provider.get_meter("zombiewatch")

    def counted(name: str, read: Callable[[], Counts], unit: str = "1") -> None:
        meter.create_observable_counter(name, [_observed(read)], unit)

    def gauged(name: str, read: Callable[[], float], unit: str) -> None:
        meter.create_observable_gauge(name, [_observed(lambda: {(): read()})], unit)

    counted("zombiewatch.signals", lambda: _labelled(("way", "kind"), of.store.stats.by_way))
    counted(
        "zombiewatch.otlp.requests",
        lambda: _labelled(("protocol", "signal", "code"), of.intake.requests),
    )
    counted("zombiewatch.verdicts", lambda: _labelled(("detector", "verdict"), of.judge.totals))
    counted("zombiewatch.records_left_out", lambda: {(): of.store.stats.apply_errors})
    counted("zombiewatch.refused_full", lambda: {(): of.store.refused_full})
    counted("zombiewatch.checkpoints", lambda: {(): of.store.checkpoints.made})
    counted("zombiewatch.damaged", lambda: {(): of.store.damaged})
    gauged("zombiewatch.findings", lambda: len(of.judge.open), "1")
    gauged("zombiewatch.otlp.in_flight", lambda: of.intake.budget.held, "By")
    gauged(
        "zombiewatch.apply_lag",
        lambda: max(0.0, (of.clock() - of.store.complete_us()) / 1e6),
        "s",
    )


def _labelled(names: tuple[str, ...], counts: Mapping[Any, float]) -> Counts:
    return {tuple(zip(names, key, strict=True)): number for key, number in list(counts.items())}


def _observed(read: Callable[[], Counts]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(number, dict(labels)) for labels, number in read().items()]

    return observe
