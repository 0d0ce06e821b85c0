"""Records as OTLP has them: made with the official messages, parts that come again made once."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Value: TypeAlias = str | int | float | bool
Record: TypeAlias = LogRecord | Span

START_S: Final = 1_790_000_000
"""When the simulation begins: seconds since 1970 UTC."""


def micros(at_s: float) -> int:
    """Return the moment *at_s* (simulated seconds) in microseconds since 1970 UTC."""
    return round((START_S + at_s) * 1e6)


@lru_cache(maxsize=100_000)
def _pair(key: str, kind: str, value: Value) -> KeyValue:
    if kind == "bool":
        said = AnyValue(bool_value=bool(value))
    elif kind == "int":
        said = AnyValue(int_value=int(value))
    elif kind == "float":
        said = AnyValue(double_value=float(value))
    else:
        said = AnyValue(string_value=str(value))
    return KeyValue(key=key, value=said)


def _pairs(said: Mapping[str, Value]) -> list[KeyValue]:
    return [_pair(key, type(value).__name__, value) for key, value in said.items()]


def resource(said: Mapping[str, Value]) -> Resource:
    """Return who speaks."""
    return Resource(attributes=_pairs(said))


def log(
    event: str, clock_s: float, said: Mapping[str, Value], *, severity: int = 9, text: str = ""
) -> LogRecord:
    """Return a log record that was made at *clock_s* of its process's own clock."""
    made = LogRecord(
        time_unix_nano=micros(clock_s) * 1000,
        severity_number=severity,  # type: ignore[arg-type]  # an enumeration, by its number
        event_name=event,
        attributes=_pairs(said),
    )
    if text:
        made.body.string_value = text
    return made


def span(
    name: str,
    clock_s: tuple[float, float],
    ids: tuple[bytes, bytes, bytes],
    said: Mapping[str, Value],
    *,
    server: bool,
    error: bool = False,
) -> Span:
    """Return one end of a call: when it began and ended, and its trace, own and parent's IDs."""
    trace, own, parent = ids
    made = Span(
        trace_id=trace,
        span_id=own,
        parent_span_id=parent,
        name=name,
        kind=Span.SPAN_KIND_SERVER if server else Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=micros(clock_s[0]) * 1000,
        end_time_unix_nano=micros(clock_s[1]) * 1000,
        attributes=_pairs(said),
    )
    if error:
        made.status.code = Status.STATUS_CODE_ERROR
    return made


def number(record: Record, number: int) -> None:
    """Let *record* bear its place among all that its process says."""
    record.attributes.append(_pair("zombiewatch.sequence", "int", number))


def bodies(heard: Iterable[tuple[Resource, list[Record]]]) -> list[tuple[str, bytes]]:
    """Return the requests that bring *heard*: the kind of journal record, and the body."""
    logs, traces = ExportLogsServiceRequest(), ExportTraceServiceRequest()
    for who, records in heard:
        told = [one for one in records if isinstance(one, LogRecord)]
        spans = [one for one in records if isinstance(one, Span)]
        if told:
            logs.resource_logs.add(resource=who).scope_logs.add(log_records=told)
        if spans:
            traces.resource_spans.add(resource=who).scope_spans.add(spans=spans)
    made = []
    if logs.resource_logs:
        made.append(("logs", logs.SerializeToString()))
    if traces.resource_spans:
        made.append(("traces", traces.SerializeToString()))
    return made
