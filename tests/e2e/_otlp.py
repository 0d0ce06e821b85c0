"""OTLP export requests, made with the official protobuf messages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["LogRecord", "Span", "Status", "attributes", "log", "logs", "span", "spans", "value"]


def value(said: object) -> AnyValue:
    """Return *said* as the AnyValue of its type; None is one that holds nothing."""
    match said:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=said)
        case int():
            return AnyValue(int_value=said)
        case float():
            return AnyValue(double_value=said)
        case bytes():
            return AnyValue(bytes_value=said)
        case list():
            return AnyValue(array_value=ArrayValue(values=[value(one) for one in said]))
        case dict():
            return AnyValue(kvlist_value=KeyValueList(values=attributes(said)))
    return AnyValue(string_value=str(said))


def attributes(said: Mapping[str, object]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value(one)) for key, one in said.items()]


def log(said: Mapping[str, object], body: object = None, **more: Any) -> LogRecord:
    """Return a record with the attributes *said*, of now unless *more* says when."""
    more.setdefault("time_unix_nano", time.time_ns())
    return LogRecord(attributes=attributes(said), body=value(body), **more)


def logs(records: Sequence[LogRecord], **resource: object) -> bytes:
    """Return the export request of *records*; in names of *resource*, `__` stands for a dot."""
    request = ExportLogsServiceRequest(
        resource_logs=[
            ResourceLogs(resource=_resource(resource), scope_logs=[ScopeLogs(log_records=records)])
        ]
    )
    return bytes(request.SerializeToString())


def span(name: str, said: Mapping[str, object], **more: Any) -> Span:
    """Return a span of a trace of its own that took the last 10 ms, unless *more* says other."""
    now = time.time_ns()
    more.setdefault("trace_id", now.to_bytes(16, "big"))
    more.setdefault("span_id", (now | 1).to_bytes(8, "big"))
    more.setdefault("start_time_unix_nano", now - 10_000_000)
    more.setdefault("end_time_unix_nano", now)
    return Span(name=name, attributes=attributes(said), **more)


def spans(records: Sequence[Span], **resource: object) -> bytes:
    """Return the export request of *records* (see `logs`)."""
    request = ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(resource=_resource(resource), scope_spans=[ScopeSpans(spans=records)])
        ]
    )
    return bytes(request.SerializeToString())


def _resource(said: Mapping[str, object]) -> Resource:
    named = {name.replace("__", "."): one for name, one in said.items()}
    return Resource(attributes=attributes(named))
