"""The OpenTelemetry SDK's own exporters, with a sidecar that is killed and restarted under them.

What an exporter reports as exported is stored, whatever happened to the sidecar meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.e2e._sidecar import eventually, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.e2e._sidecar import Running

KILLS = 3
EACH = 10
"""Records in one export."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the SDK's complaints about a sidecar that was killed out of the test's output."""
    logger = logging.getLogger("opentelemetry")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


@dataclass(slots=True)
class Kept:
    """An exporter that only keeps what the SDK made: to be exported by another, in batches."""

    batch: list[Any] = field(default_factory=list)

    def export(self, batch: Sequence[Any]) -> None:
        self.batch.extend(batch)

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return bool(timeout_millis) or True


def spans(names: Sequence[str]) -> list[Any]:
    """Return spans as the SDK makes them, one of each task."""
    kept: Any = Kept()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("e2e")
    for name in names:
        tracer.start_span("work", attributes={"task.id": name}).end()
    return list(kept.batch)


def records(names: Sequence[str]) -> list[Any]:
    """Return log records as the SDK makes them, one of each task."""
    kept: Any = Kept()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    logger = provider.get_logger("e2e")
    for name in names:
        logger.emit(LogRecord(timestamp=1_795_000_000_000_000_000, attributes={"task.id": name}))
    return list(kept.batch)


def exporter(sidecar: Running, way: str, signal: str) -> Any:
    if way == "grpc":
        grpc_class: Any = {
            "logs": grpc_logs.OTLPLogExporter,
            "traces": grpc_traces.OTLPSpanExporter,
        }[signal]
        return grpc_class(sidecar.url("grpc"), insecure=True)
    http_class: Any = {
        "logs": http_logs.OTLPLogExporter,
        "traces": http_traces.OTLPSpanExporter,
    }[signal]
    return http_class(f"{sidecar.url('otlp')}/v1/{signal}")


class Further:
    """Whether every sender has got some more exports through than when this was made."""

    def __init__(self, exported: list[int]) -> None:
        self._wanted = [number + 4 for number in exported]
        self._exported = exported

    def __call__(self) -> bool:
        pairs = zip(self._exported, self._wanted, strict=True)
        return all(now >= wanted for now, wanted in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["logs", "traces"])
@pytest.mark.parametrize("way", ["http", "grpc"])
def test_what_the_sdk_reports_as_exported_is_stored(
    run: Callable[..., Running], way: str, signal: str
) -> None:
    """Two exporters send without a pause while the sidecar is killed, three times over."""
    sidecar = run()
    made = {"logs": records, "traces": spans}[signal]
    done, exported = threading.Event(), [0, 0]
    reported: list[str] = []

    def exports(sender: int) -> None:
        to = exporter(sidecar, way, signal)
        number = 0
        while not done.is_set():
            names = [f"{sender}-{number}-{i}" for i in range(EACH)]
            if to.export(made(names)).name == "SUCCESS":
                reported.extend(names)
                exported[sender] += 1
            number += 1
        to.shutdown()

    with ThreadPoolExecutor(2) as pool:
        try:
            senders = [pool.submit(exports, sender) for sender in range(2)]
            for _ in range(KILLS):
                eventually(True, Further(exported))
                sidecar.kill()
                sidecar.again()
            eventually(True, Further(exported))
        finally:
            done.set()
        for one in senders:
            one.result()
    assert sidecar.stop() == 0, sidecar.log
    found = Counter(task for (task,) in stored(sidecar.data, "task"))
    assert Counter() == Counter(reported) - found
    assert len(reported) >= EACH * 2 * (KILLS + 1) * 4
