"""OTLP read plainly: field by field, with the official messages. What the columns must equal."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from collector.scrub import MARK, is_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.message import Message

REQUESTS: dict[str, Any] = {
    "logs": ExportLogsServiceRequest,
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


# -- made ---------------------------------------------------------------------------------------


def pair(key: str, value: object) -> KeyValue:
    """Return an attribute; a value of None is an AnyValue with nothing in it."""
    return KeyValue(key=key, value=any_value(value))


def any_value(value: object) -> AnyValue:
    """Return what Python has as AnyValue has it."""
    whole = AnyValue()
    match value:
        case None:
            pass
        case bool():
            whole.bool_value = value
        case int():
            whole.int_value = value
        case float():
            whole.double_value = value
        case bytes():
            whole.bytes_value = value
        case list():
            whole.array_value.SetInParent()
            whole.array_value.values.extend(any_value(one) for one in value)
        case dict():
            whole.kvlist_value.SetInParent()
            whole.kvlist_value.values.extend(pair(key, one) for key, one in value.items())
        case _:
            whole.string_value = str(value)
    return whole


def as_json(message: Message, *, names: bool = False, snake: bool = False) -> bytes:
    """Return *message* in OTLP/JSON: IDs in hex, enums as numbers (or *names*)."""
    said = MessageToDict(
        message, use_integers_for_enums=not names, preserving_proto_field_name=snake
    )
    return json.dumps(_hexed(said)).encode()


_IDS = {"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"}


def _hexed(said: Any) -> Any:
    if isinstance(said, dict):
        return {
            key: base64.b64decode(one).hex().upper() if key in _IDS else _hexed(one)
            for key, one in said.items()
        }
    return [_hexed(one) for one in said] if isinstance(said, list) else said


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_keys = st.one_of(_text, st.sampled_from(["a", "b", "task.name", "queue.name", "state"]))
_scalars = st.one_of(
    _text,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=True, allow_infinity=True),
    st.binary(max_size=6),
    st.none(),
)
_nested = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_text, inner, max_size=3)),
    max_leaves=4,
)
_attributes = st.lists(st.tuples(_keys, _nested), max_size=4)
_nanos = st.one_of(st.just(0), st.integers(0, 2**63), st.just(2**64 - 1))
_trace = st.sampled_from([b"", bytes(16), b"\xab\x01" * 8, b"short"])
_span = st.sampled_from([b"", bytes(8), b"\xcd\x02" * 4, b"a longer one"])
_log = st.fixed_dictionaries(
    {
        "time_unix_nano": _nanos,
        "observed_time_unix_nano": _nanos,
        "severity_number": st.integers(0, 24),
        "body": _nested,
        "attributes": _attributes,
        "trace_id": _trace,
        "span_id": _span,
        "event_name": _text,
    }
)
_span_record = st.fixed_dictionaries(
    {
        "trace_id": _trace,
        "span_id": _span,
        "parent_span_id": _span,
        "name": _text,
        "kind": st.integers(0, 5),
        "start_time_unix_nano": _nanos,
        "end_time_unix_nano": _nanos,
        "attributes": _attributes,
        "status": st.one_of(st.none(), st.tuples(st.integers(0, 2), _text)),
    }
)
_point = st.fixed_dictionaries(
    {
        "time_unix_nano": st.sampled_from([0, 5_000, 7_000_000]),
        "value": st.one_of(
            st.none(), st.integers(-100, 2**40), st.floats(-1e9, 1e9), st.just(float("nan"))
        ),
        "attributes": st.lists(
            st.tuples(
                st.sampled_from(["queue.name", "queue", "state", "x"]),
                st.sampled_from(["", "q1", "q2", "ready", "unacknowledged", 7]),
            ),
            max_size=3,
            unique_by=lambda one: one[0],
        ),
        "flags": st.sampled_from([0, 0, 0, 1]),
    }
)
_metric = st.tuples(
    st.sampled_from([
        "queue.depth", "queue.oldest_age_s", "queue.paused", "queue.in_flight",
        "rabbitmq.message.current", "celery_queue_length", "http.server.duration", "",
    ]),
    st.sampled_from(["gauge", "sum", "delta", "histogram", "exponential_histogram", "summary"]),
    st.lists(_point, max_size=3),
)  # fmt: skip
_RECORDS: dict[str, st.SearchStrategy[Any]] = {
    "logs": _log,
    "traces": _span_record,
    "metrics": _metric,
}


def groups(signal: str) -> st.SearchStrategy[list[Any]]:
    """Return what fills a request: resources' attributes, and records of scopes of each."""
    scopes = st.lists(st.lists(_RECORDS[signal], max_size=3), max_size=2)
    return st.lists(st.tuples(st.one_of(st.none(), _attributes), scopes), max_size=3)


def request(signal: str, said: list[Any]) -> Message:
    """Return an export request of *signal* of what `groups` drew."""
    made: Message = REQUESTS[signal]()
    for shared, scopes in said:
        resource = getattr(made, f"resource_{_ROOTS[signal]}").add()
        if shared is not None:
            resource.resource.attributes.extend(pair(key, one) for key, one in shared)
        for records in scopes:
            scope = getattr(resource, f"scope_{_ROOTS[signal]}").add()
            for one in records:
                _ADDED[signal](scope, one)
    return made


_ROOTS = {"logs": "logs", "traces": "spans", "metrics": "metrics"}


def _add_log(scope: Any, said: dict[str, Any]) -> None:
    record = scope.log_records.add()
    for name, value in said.items():
        if name == "body":
            if value is not None:
                record.body.CopyFrom(any_value(value))
        elif name == "attributes":
            record.attributes.extend(pair(key, one) for key, one in value)
        else:
            setattr(record, name, value)


def _add_span(scope: Any, said: dict[str, Any]) -> None:
    span = scope.spans.add()
    for name, value in said.items():
        if name == "status":
            if value is not None:
                span.status.code, span.status.message = value
        elif name == "attributes":
            span.attributes.extend(pair(key, one) for key, one in value)
        else:
            setattr(span, name, value)


def _add_metric(scope: Any, said: tuple[str, str, list[dict[str, Any]]]) -> None:
    name, kind, points = said
    metric = scope.metrics.add(name=name)
    held = getattr(metric, "sum" if kind == "delta" else kind)
    held.SetInParent()
    if kind in {"sum", "delta"}:
        held.aggregation_temporality = 1 if kind == "delta" else 2
    for one in points:
        point = held.data_points.add(time_unix_nano=one["time_unix_nano"])
        if kind not in {"gauge", "sum", "delta"}:
            continue
        point.flags = one["flags"]
        point.attributes.extend(pair(key, value) for key, value in one["attributes"])
        if isinstance(one["value"], int):
            point.as_int = one["value"]
        elif one["value"] is not None:
            point.as_double = one["value"]


_ADDED: dict[str, Any] = {"logs": _add_log, "traces": _add_span, "metrics": _add_metric}


# -- read ---------------------------------------------------------------------------------------


def text_of(value: AnyValue) -> str | None:
    """Return a value as text: members joined by a comma, what nests as JSON."""
    match value.WhichOneof("value"):
        case None | "string_value_strindex":
            return None
        case "array_value":
            members = value.array_value.values
            if any(one.WhichOneof("value") in {"array_value", "kvlist_value"} for one in members):
                return json.dumps([_plain(one) for one in members])
            return ",".join(text_of(one) or "" for one in members)
        case "kvlist_value":
            return json.dumps(_plain(value))
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "bytes_value":
            return value.bytes_value.hex()
        case "double_value":
            return f"double {value.double_value!r}"
        case kind:
            return str(getattr(value, kind))


def _plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_plain(one) for one in value.array_value.values]
        case "kvlist_value":
            return {
                one.key: MARK if is_secret(one.key) else _plain(one.value)
                for one in value.kvlist_value.values
            }
        case "bytes_value":
            return value.bytes_value.hex()
        case kind:
            return getattr(value, kind)


def attributes_of(*sides: Iterable[KeyValue]) -> dict[str, str]:
    """Return attributes as text, those without a value left out."""
    found = {}
    for side in sides:
        for one in side:
            text = text_of(one.value)
            if text is not None:
                found[one.key] = MARK if is_secret(one.key) else text
    return found


def _id(raw: bytes, length: int) -> str | None:
    return raw.hex() if len(raw) == length and any(raw) else None


def _us(nanos: int) -> int | None:
    told = nanos // 1000
    return told or None


def logs(made: Any) -> Iterator[dict[str, Any]]:
    """Yield the records of an export request of logs."""
    for resource in made.resource_logs:
        for scope in resource.scope_logs:
            for one in scope.log_records:
                yield {
                    "ts_us": _us(one.time_unix_nano) or _us(one.observed_time_unix_nano),
                    "severity": one.severity_number,
                    "body": text_of(one.body),
                    "trace_id": _id(one.trace_id, 16),
                    "span_id": _id(one.span_id, 8),
                    "attributes": attributes_of(resource.resource.attributes, one.attributes),
                }


def traces(made: Any) -> Iterator[dict[str, Any]]:
    """Yield the spans of an export request of traces."""
    for resource in made.resource_spans:
        for scope in resource.scope_spans:
            for one in scope.spans:
                yield {
                    "ts_us": _us(one.start_time_unix_nano),
                    "end_us": _us(one.end_time_unix_nano),
                    "name": one.name,
                    "severity": 17 if one.status.code == 2 else 9,
                    "body": one.status.message or None,
                    "trace_id": _id(one.trace_id, 16),
                    "span_id": _id(one.span_id, 8),
                    "parent_id": _id(one.parent_span_id, 8),
                    "attributes": attributes_of(resource.resource.attributes, one.attributes),
                }


_QUEUE_METRICS = {
    "queue.depth": "depth",
    "queue.oldest_age_s": "oldest_age_s",
    "queue.in_flight": "in_flight",
    "queue.paused": "paused",
    "celery_queue_length": "depth",
}


def metrics(made: Any) -> tuple[list[dict[str, Any]], int]:
    """Return the samples of queues in a request of metrics, and how many points are none."""
    samples: dict[tuple[int, str, int], dict[str, dict[Any, float]]] = {}
    every = used = 0
    for number, resource in enumerate(made.resource_metrics):
        shared = attributes_of(resource.resource.attributes)
        for kind, name, delta, points in _points(resource):
            every += len(points)
            for point in points if kind in {"gauge", "sum"} and not delta else ():
                own = attributes_of(point.attributes)
                found = [
                    each[key]
                    for each in (own, shared)
                    for key in ("queue.name", "task.queue", "queue")
                    if key in each
                ]
                column = _QUEUE_METRICS.get(name)
                if name == "rabbitmq.message.current":
                    state = own.get("state", shared.get("state", ""))
                    column = {"ready": "depth", "unacknowledged": "in_flight"}.get(state)
                value = getattr(point, point.WhichOneof("value") or "flags")
                nothing = point.WhichOneof("value") is None or value != value  # noqa: PLR0124
                if not column or not found or not found[0] or nothing or point.flags & 1:
                    continue
                used += 1
                sample = samples.setdefault((number, found[0], point.time_unix_nano // 1000), {})
                sample.setdefault(column, {})[tuple(own.items())] = float(value)
    told = []
    for (_, queue, at), columns in samples.items():
        row: dict[str, Any] = {"queue": queue, "ts_us": at or None}
        for column, values in columns.items():
            every_value = values.values()
            row[column] = max(every_value) if column == "oldest_age_s" else sum(every_value)
            if column == "paused":
                row[column] = max(every_value) != 0
        told.append(row)
    return told, every - used


def _points(resource: Any) -> Iterator[tuple[str, str, bool, Any]]:
    """Yield gauges before sums, as the columns have them."""
    found = [one for scope in resource.scope_metrics for one in scope.metrics]
    for kinds in (("gauge",), ("sum",), ("histogram", "exponential_histogram", "summary")):
        for one in found:
            kind = one.WhichOneof("data")
            if kind in kinds:
                delta = kind == "sum" and one.sum.aggregation_temporality == 1
                yield kind, one.name, delta, getattr(one, kind).data_points
