"""A process's telemetry as a team sets it up: spans over OTLP, and JSON lines into a file.

Neither may ever break or slow those who are watched: an unreachable collector costs them
nothing but the spans.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

if TYPE_CHECKING:
    from pathlib import Path

_EXPORT_S: Final = 2.0
_FLUSH_S: Final = 1.0
_BATCH_DELAY_MS: Final = 500
_FIELDS: Final = "fields"


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A process's tracer and log, both to be closed by `close`."""

    tracer: trace.Tracer
    log: logging.Logger
    _provider: TracerProvider
    _handler: logging.Handler

    def close(self) -> None:
        """Send what is left, for a second at most, and close the file."""
        # The SDK's own shutdown may take 30 s when nobody listens.
        flush = threading.Thread(target=self._provider.shutdown, daemon=True)
        flush.start()
        flush.join(_FLUSH_S)
        self.log.removeHandler(self._handler)
        self._handler.close()


def set_up(service: str, instance: str, *, otlp: str, logs: Path, logger: str) -> Telemetry:
    """Return the telemetry of the process *instance* of *service*.

    *otlp* is the collector's base URL; log lines of *logger* and those below it go to
    `<instance>.jsonl` in the folder *logs*.
    """
    # A collector that is away would fill stderr; that it is away is not this team's concern.
    for noisy in ("opentelemetry", "urllib3", "requests"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL + 1)
    resource = Resource.create(
        {
            "service.name": service,
            "service.instance.id": instance,
            "host.name": socket.gethostname(),
            "process.pid": os.getpid(),
        }
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{otlp.rstrip('/')}/v1/traces", timeout=_EXPORT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_BATCH_DELAY_MS))
    logs.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(logs / f"{instance}.jsonl", encoding="utf-8")
    handler.setFormatter(_JsonLines(service, instance))
    log = logging.getLogger(logger)
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    return Telemetry(provider.get_tracer(logger), log, provider, handler)


def fields(**values: object) -> dict[str, object]:
    """Return *values* as the `extra` of a log call: keys of the JSON line. None is left out."""
    return {_FIELDS: {name: value for name, value in values.items() if value is not None}}


def span_ids() -> dict[str, str]:
    """Return the current span's `trace_id` and `span_id`, in hexadecimal; empty without one."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(context.trace_id),
        "span_id": trace.format_span_id(context.span_id),
    }


class _JsonLines(logging.Formatter):
    """One JSON object a line, with the IDs of the span that it was written in."""

    def __init__(self, service: str, instance: str) -> None:
        super().__init__()
        self._of = {"service": service, "instance": instance}

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line = {
            "ts": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            **self._of,
            "logger": record.name,
            "message": record.getMessage(),
            **span_ids(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
