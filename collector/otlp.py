"""OTLP protobuf → Arrow → columns, without a loop over records.

The descriptor is narrow: only the fields that are kept are decoded, the rest is skipped as
unknown. Field numbers are those of opentelemetry-proto 1.x (`common`, `logs`, `trace`).
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValueList
from ptars import HandlerPool

from collector.attributes import Attributes
from collector.batch import Array, Batch
from collector.standard import CLIENT, SERVER, task_ids, task_spans
from model.phases import CALLEE, CALLER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_TYPES: Final = {
    "string": Field.TYPE_STRING,
    "bool": Field.TYPE_BOOL,
    "int64": Field.TYPE_INT64,
    "int32": Field.TYPE_INT32,  # enums are int32 on the wire
    "double": Field.TYPE_DOUBLE,
    "bytes": Field.TYPE_BYTES,
    "fixed64": Field.TYPE_FIXED64,
}

_SCALAR: Final = {
    "string": (1, "string"),
    "bool": (2, "bool"),
    "int": (3, "int64"),
    "double": (4, "double"),
}

_MESSAGES: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "Scalar": _SCALAR,
    "Values": {"values": (1, "[Scalar]")},
    "AnyValue": {**_SCALAR, "array": (5, "Values"), "map": (6, "bytes"), "bytes": (7, "bytes")},
    "KeyValue": {"key": (1, "string"), "value": (2, "AnyValue")},
    "Resource": {"attributes": (1, "[KeyValue]")},
    "LogRecord": {
        "time": (1, "fixed64"),
        "severity": (2, "int32"),
        "body": (5, "AnyValue"),
        "attributes": (6, "[KeyValue]"),
        "trace_id": (9, "bytes"),
        "span_id": (10, "bytes"),
        "observed": (11, "fixed64"),
        "name": (12, "string"),
    },
    "ScopeLogs": {"records": (2, "[LogRecord]")},
    "ResourceLogs": {"resource": (1, "Resource"), "scopes": (2, "[ScopeLogs]")},
    "Logs": {"resources": (1, "[ResourceLogs]")},
    "Status": {"message": (2, "string"), "code": (3, "int32")},
    "Span": {
        "trace_id": (1, "bytes"),
        "span_id": (2, "bytes"),
        "parent_id": (4, "bytes"),
        "name": (5, "string"),
        "kind": (6, "int32"),
        "time": (7, "fixed64"),
        "end": (8, "fixed64"),
        "attributes": (9, "[KeyValue]"),
        "status": (15, "Status"),
    },
    "ScopeSpans": {"records": (2, "[Span]")},
    "ResourceSpans": {"resource": (1, "Resource"), "scopes": (2, "[ScopeSpans]")},
    "Traces": {"resources": (1, "[ResourceSpans]")},
}

_ONE_OF: Final = ("Scalar", "AnyValue")

ROOTS: Final = {"logs": "Logs", "traces": "Traces"}
"""Signal kind, as in the URL path, → message."""


@cache
def _pool() -> tuple[Any, Any]:
    file = FileDescriptorProto(name="narrow.proto", package="narrow", syntax="proto3")
    for message, fields in _MESSAGES.items():
        proto = file.message_type.add(name=message)
        if message in _ONE_OF:
            proto.oneof_decl.add(name="value")
        for name, (number, kind) in fields.items():
            many, base = kind.startswith("["), kind.strip("[]")
            field = proto.field.add(name=name, number=number)
            field.label = Field.LABEL_REPEATED if many else Field.LABEL_OPTIONAL
            field.type = _TYPES.get(base, Field.TYPE_MESSAGE)
            if base not in _TYPES:
                field.type_name = f".narrow.{base}"
            if message in _ONE_OF:
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    found = pool.AddSerializedFile(file.SerializeToString())
    return pool, HandlerPool([found])


@cache
def _handler(kind: str) -> Any:  # noqa: ANN401 - ptars has no types
    pool, handlers = _pool()
    return handlers.get_for_message(pool.FindMessageTypeByName(f"narrow.{ROOTS[kind]}"))


def decode(kind: str, bodies: Sequence[bytes]) -> pa.RecordBatch:
    """Decode *bodies*, export requests of one *kind* (`logs` or `traces`), a row each.

    Raises ValueError where one of them is not such a message.
    """
    return _handler(kind).list_to_record_batch(list(bodies))


def _inside(parents: NDArray[np.int64], lists: Array) -> tuple[NDArray[np.int64], Array]:
    """Open a list column: the rows in it, and which parent's parent each belongs to."""
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
    sizes = np.diff(lists.offsets.to_numpy())
    return np.repeat(parents, sizes), lists.flatten()


def _value_text(values: Array) -> Array:
    """Return AnyValues as text: scalars as written, arrays as their members joined by a comma."""
    whole = pc.cast(values.field("int"), pa.string())
    floating = pc.cast(values.field("double"), pa.string())
    text = pc.coalesce(
        values.field("string"), whole, floating, pc.cast(values.field("bool"), pa.string())
    )
    array = values.field("array")
    if array.null_count < len(array):
        members = array.field("values")
        owner, inner = _inside(np.arange(len(members)), members)
        del owner
        lists = pa.ListArray.from_arrays(members.offsets, pc.fill_null(_scalar_text(inner), ""))
        text = pc.coalesce(text, pc.if_else(array.is_valid(), pc.binary_join(lists, ","), None))
    maps = values.field("map")
    if maps.null_count < len(maps):
        text = pc.coalesce(text, _map_text(maps))
    raw = values.field("bytes")
    if raw.null_count < len(raw):
        text = pc.coalesce(text, _hex(raw, None))
    return text


def _map_text(raw: Array) -> Array:
    """Return maps (rare, and nested at will: read one by one) as JSON; null where there is none."""
    told: list[str | None] = []
    for one in raw.to_pylist():
        try:
            told.append(
                None if one is None else json.dumps(_plain_map(KeyValueList.FromString(one)))
            )
        except (DecodeError, RecursionError):
            told.append(None)
    return pa.array(told, pa.string())


def _plain_map(values: KeyValueList) -> dict[str, Any]:
    return {one.key: _plain(one.value) for one in values.values}


def _plain(value: AnyValue) -> Any:  # noqa: ANN401 - whatever JSON can hold
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return _plain_map(value.kvlist_value)
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    if kind == "bytes_value":
        return value.bytes_value.hex()
    return None if kind is None else getattr(value, kind)


def _scalar_text(values: Array) -> Array:
    return pc.coalesce(
        values.field("string"),
        pc.cast(values.field("int"), pa.string()),
        pc.cast(values.field("double"), pa.string()),
        pc.cast(values.field("bool"), pa.string()),
    )


_HEX: Final = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), dtype="S2")


def _hex(raw: Array, length: int | None) -> Array:
    """Return bytes as lower-case hex; IDs of a wrong *length* or all zero become null."""
    if isinstance(raw, pa.ChunkedArray):
        raw = raw.combine_chunks()
    filled = pc.fill_null(raw, b"")
    offsets = np.frombuffer(filled.buffers()[1], np.int32)[filled.offset :][: len(filled) + 1]
    data = np.frombuffer(filled.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    text = pa.StringArray.from_buffers(
        len(filled),
        pa.py_buffer(((offsets - offsets[0]) * 2).astype(np.int32)),
        pa.py_buffer(_HEX[data].tobytes()),
    )
    valid = pc.is_valid(raw)
    if length is not None:
        good = pc.equal(pc.binary_length(filled), length)
        valid = pc.and_(good, pc.not_equal(text, "0" * (2 * length)))
    return pc.if_else(valid, text, pa.scalar(None, pa.string()))


def _attributes(rows: int, lists: Array) -> Attributes:
    owner, pairs = _inside(np.arange(rows), lists)
    return Attributes.of(rows, owner, pairs.field("key"), _value_text(pairs.field("value")))


_SDK: Final = frozenset({"telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version"})
"""Resource attributes that say nothing of the work."""


def _micros(nanos: Array) -> NDArray[np.int64]:
    # unsigned: times past 2262 stay positive and are found implausible, not negative
    micros: NDArray[np.int64] = nanos.to_numpy(zero_copy_only=False) // np.uint64(1000)
    return micros.astype(np.int64)


def flatten(kind: str, decoded: pa.RecordBatch, arrived_us: NDArray[np.int64]) -> Batch:
    """Return the records of *decoded* as one batch, in their order.

    `arrived_us[i]` is when request *i* came. The batch has a column `request` (which
    request each record came in) beside those of the model.
    """
    request, resources = _inside(np.arange(decoded.num_rows), decoded.column(0))
    of_resource, scopes = _inside(np.arange(len(resources)), resources.field("scopes"))
    resource, records = _inside(of_resource, scopes.field("records"))
    rows = len(records)
    own = _attributes(rows, records.field("attributes"))
    held = resources.field("resource")
    shared = _attributes(len(resources), _lists_or_empty(held.field("attributes"), held))
    columns, misfits = own.promoted()
    common, more = shared.promoted()
    spread = pa.array(resource)
    for name, values in common.items():
        wide = values.take(spread)
        columns[name] = pc.coalesce(columns[name], wide) if name in columns else wide
    keys, values = own.packed()
    shared_keys, shared_values = shared.packed(_SDK)
    columns["attr_keys"] = _beside(shared_keys.take(spread), keys)
    columns["attr_values"] = _beside(shared_values.take(spread), values)
    columns["arrived_us"] = pa.array(arrived_us[request[resource]] if rows else [], pa.int64())
    columns["request"] = pa.array(request[resource] if rows else [], pa.int64())
    columns["trace_id"] = _hex(records.field("trace_id"), 16)
    columns["span_id"] = _hex(records.field("span_id"), 8)

    def attribute(key: str) -> Array | None:
        mine, theirs = own.text(key), shared.text(key)
        if theirs is None:
            return mine
        wide = theirs.take(spread)
        return wide if mine is None else pc.coalesce(mine, wide)

    batch = Batch(rows, columns, attribute)
    batch.count("misfit_values", misfits + more)
    (_log_columns if kind == "logs" else _span_columns)(batch, records)
    return batch


def _lists_or_empty(lists: Array, owner: Array) -> Array:
    """Return *lists* with a null owner's list empty."""
    return pc.if_else(owner.is_valid(), lists, pa.scalar([], lists.type))


def _beside(left: Array, right: Array) -> Array:
    """Return two packed columns as one; a side without attributes is null."""
    # not null_handling="skip": in pyarrow 26 that drops rows of which both are null
    both = pc.binary_join_element_wise(left, right, "\x1f")
    return pc.if_else(left.is_null(), right, pc.if_else(right.is_null(), left, both))


def _log_columns(batch: Batch, records: Array) -> None:
    stated, observed = _micros(records.field("time")), _micros(records.field("observed"))
    either = np.where(stated == 0, observed, stated)
    batch.columns["ts_us"] = pa.array(either, mask=either == 0)
    batch.columns["kind"] = pa.repeat("log", batch.rows)
    batch.columns["severity"] = pc.cast(records.field("severity"), pa.int16(), safe=False)
    batch.columns["body"] = _value_text(records.field("body"))
    named = records.field("name")
    named = pc.if_else(pc.equal(named, ""), pa.scalar(None, pa.string()), named)
    batch.columns["name"] = pc.coalesce(named, batch.get("name"))


_ERROR_STATUS: Final = 2
_GAVE_UP: Final = r"(?i)time_?out|cancel|deadline"
_SERVER_FAULT: Final = 500
_CLIENT_FAULT: Final = 400


def _span_columns(batch: Batch, records: Array) -> None:
    """Fill what a span says; client and server spans are the two ends of a call."""
    for name, said in (("ts_us", "time"), ("end_us", "end")):
        micros = _micros(records.field(said))
        batch.columns[name] = pa.array(micros, mask=micros == 0)
    batch.columns["kind"] = pa.repeat("span", batch.rows)
    batch.columns["parent_id"] = _hex(records.field("parent_id"), 8)
    batch.columns["name"] = records.field("name")
    status = records.field("status")
    code = pc.fill_null(status.field("code"), 0)
    message = status.field("message")
    batch.columns["body"] = pc.if_else(pc.equal(message, ""), pa.scalar(None, pa.string()), message)
    error = pc.equal(code, _ERROR_STATUS)
    batch.columns["severity"] = pc.cast(pc.if_else(error, 17, 9), pa.int16())
    kind = records.field("kind")
    http = pc.fill_null(batch.get("status_code"), 0)
    gave_up = pc.fill_null(pc.match_substring_regex(batch.get("error"), _GAVE_UP), False)
    failed = pc.or_(error, pc.greater_equal(http, _CLIENT_FAULT))
    gave_up = pc.and_(pc.and_(error, gave_up), pc.less(http, 1))
    errored = pc.or_(error, pc.greater_equal(http, _CLIENT_FAULT))
    _, ok, lost, away = CALLER
    _, committed, broken = CALLEE
    caller = pc.if_else(gave_up, away, pc.if_else(failed, lost, ok))
    callee = pc.if_else(errored, broken, committed)
    none = pa.scalar(None, pa.string())
    batch.columns["phase"] = pc.if_else(
        pc.equal(kind, CLIENT), caller, pc.if_else(pc.equal(kind, SERVER), callee, none)
    )
    task_ids(batch)
    task_spans(batch, kind, error)
