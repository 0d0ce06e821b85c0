"""AnyValue, times and IDs as columns: what is common to all signals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

from collector.otlp import protobuf, raw_values
from collector.scrub import MARK, is_secret

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collector.batch import Array

_NONE: Final = pa.scalar(None, pa.string())


def whole(values: Array) -> Array:
    """Return *values* as one array."""
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def inside(parents: NDArray[np.int64], lists: Array) -> tuple[NDArray[np.int64], Array]:
    """Open a list column: the rows in it, and which parent's parent each belongs to."""
    lists = whole(lists)
    sizes = np.diff(lists.offsets.to_numpy())
    return np.repeat(parents, sizes), lists.flatten()


def field(held: Array, name: str) -> Array:
    """Return a field of a struct column; null where the struct is."""
    found = held.field(name)
    if not held.null_count:
        return found
    return pc.if_else(held.is_valid(), found, pa.scalar(None, found.type))


def value_text(values: Array) -> Array:
    """Return AnyValues as text; null where there is no value, or one by an index that we lack.

    Scalars are as written, bytes in hex, arrays their members joined by a comma, or JSON where
    they hold arrays and maps; maps are JSON.

    Raises ValueError where what was left as bytes is no AnyValue.
    """
    if pa.types.is_binary(values.type):
        return _raw_text(whole(values))
    text = field(values, "stringValue")
    if not text.null_count:
        return text
    return _filled(text, _others(values))


_AT_ONCE: Final = 65_536
"""So many values are decoded together: spread over a column for each type they take much room."""


def _raw_text(raw: Array) -> Array:
    if raw.null_count:
        raw = pc.fill_null(raw, b"")  # as if it had been there, and empty: no value either
    text, parts, unread = raw_values.read(raw)
    if not unread.any():
        return _filled(text, parts)
    spots = np.nonzero(unread)[0]
    told = _decoded_text(raw.take(pa.array(spots)))
    if not told.null_count:
        return _filled(text, [*parts, (spots, told)])
    absent = np.zeros(len(raw), bool)
    absent[spots] = told.is_null().to_numpy(zero_copy_only=False)
    text = _filled(text, [*parts, (spots, pc.fill_null(told, ""))])
    return pc.if_else(pa.array(absent), _NONE, text)


def _decoded_text(raw: Array) -> Array:
    parts = (raw.slice(at, _AT_ONCE) for at in range(0, len(raw), _AT_ONCE))
    return pa.concat_arrays([value_text(protobuf.values(part.to_pylist())) for part in parts])


def _others(values: Array) -> list[tuple[NDArray[np.int64], Array]]:
    """Return where values are that are not strings, and these as text."""
    found = []
    for name, told in _KINDS:
        some = field(values, name)
        if some.null_count == len(some):
            continue
        spots = np.nonzero(some.is_valid().to_numpy(zero_copy_only=False))[0]
        found.append((spots, told(some if len(spots) == len(some) else some.take(spots))))
    return found


def _filled(text: Array, parts: list[tuple[NDArray[np.int64], Array]]) -> Array:
    """Return *text* with the parts in their places, in one pass over the bytes."""
    if not parts:
        return text
    spots = np.concatenate([where for where, _ in parts])
    told = pa.concat_arrays([one for _, one in parts])
    if len(parts) > 1:
        order = np.argsort(spots, kind="stable")
        spots, told = spots[order], told.take(pa.array(order))
    sizes = np.zeros(len(text), np.int64)
    sizes[spots] = pc.binary_length(told).to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    first = told.buffers()[1]
    start = np.frombuffer(first, np.int32)[told.offset] if len(told) else 0
    data = told.buffers()[2]
    sparse = pa.StringArray.from_buffers(
        len(text), pa.py_buffer(offsets), data.slice(int(start)) if data else pa.py_buffer(b"")
    )
    taken = np.zeros(len(text), bool)
    taken[spots] = True
    return pc.if_else(pa.array(taken), sparse, text)


def _scalar(values: Array) -> Array:
    return pc.cast(values, pa.string())


def _array_text(arrays: Array) -> Array:
    members = arrays.field("values")
    inner = members.flatten()
    scalars = pc.fill_null(value_text(inner), "")
    sizes = np.diff(members.offsets.to_numpy())
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), scalars), ",")
    deep = ~(_null(inner, "arrayValue") & _null(inner, "kvlistValue"))
    if not deep.any():
        return joined
    told = joined.to_pylist()
    owner = np.repeat(np.arange(len(sizes)), sizes)
    for row in np.unique(owner[deep]).tolist():
        told[row] = _deep_text(inner.slice(offsets[row], sizes[row]))
    return pa.array(told, pa.string())


def _null(values: Array, name: str) -> NDArray[np.bool_]:
    if name not in [one.name for one in values.type]:
        return np.ones(len(values), bool)
    told: NDArray[np.bool_] = field(values, name).is_null().to_numpy(zero_copy_only=False)
    return told


def _deep_text(members: Array) -> str:
    """Return an array that holds arrays or maps, as JSON."""
    plain: list[Any] = []
    for one in members.to_pylist():
        said = next(((name, value) for name, value in one.items() if value is not None), None)
        match said:
            case ("arrayValue", raw):
                plain.append(_read(ArrayValue, raw))
            case ("kvlistValue", raw):
                plain.append(_read(KeyValueList, raw))
            case ("bytesValue", raw):
                plain.append(raw.hex())
            case (_, value):
                plain.append(value)
            case None:
                plain.append(None)
    return json.dumps(plain)


def _map_text(raw: Array) -> Array:
    """Return maps (rare, and nested at will: read one by one) as JSON."""
    return pa.array([json.dumps(_read(KeyValueList, one)) for one in raw.to_pylist()], pa.string())


def _list_text(raw: Array) -> Array:
    return pa.array([json.dumps(_read(ArrayValue, one)) for one in raw.to_pylist()], pa.string())


def _read(kind: type[ArrayValue | KeyValueList], raw: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return what nests in *raw*; null where that is no message, or deeper than protobuf goes."""
    try:
        held = kind.FromString(raw)
        if isinstance(held, KeyValueList):
            return _plain_map(held)
        return [_plain(one) for one in held.values]
    except (DecodeError, RecursionError):
        return None


def _plain_map(values: KeyValueList) -> dict[str, Any]:
    return {one.key: MARK if is_secret(one.key) else _plain(one.value) for one in values.values}


def _plain(value: AnyValue) -> Any:  # noqa: ANN401 - whatever JSON can hold
    match value.WhichOneof("value"):
        case "kvlist_value":
            return _plain_map(value.kvlist_value)
        case "array_value":
            return [_plain(one) for one in value.array_value.values]
        case "bytes_value":
            return value.bytes_value.hex()
        case None | "string_value_strindex":
            return None
        case kind:
            return getattr(value, kind)


# -- IDs and times ------------------------------------------------------------------------------

_HEX: Final = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), np.uint16)


def hex_text(raw: Array) -> Array:
    """Return bytes as lower-case hex."""
    raw = whole(raw)
    offsets = np.frombuffer(raw.buffers()[1], np.int32)[raw.offset :][: len(raw) + 1]
    data = np.frombuffer(raw.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    return pa.StringArray.from_buffers(
        len(raw),
        pa.py_buffer(((offsets - offsets[0]) * 2).astype(np.int32)),
        pa.py_buffer(_HEX.take(data)),
    )


def hex_id(ids: Array, length: int) -> Array:
    """Return IDs as lower-case hex: bytes, or hex of either case as JSON has them.

    What is not *length* bytes long, no hex, or all zero, is no ID: null.
    """
    ids = whole(ids)
    if pa.types.is_string(ids.type):
        text = pc.ascii_lower(ids)
        good = pc.match_substring_regex(text, f"^[0-9a-f]{{{2 * length}}}$")
    else:
        filled = pc.fill_null(ids, b"") if ids.null_count else ids
        text = hex_text(filled)
        good = pc.equal(pc.binary_length(text), 2 * length)
    good = pc.and_(good, pc.not_equal(text, "0" * (2 * length)))
    return pc.if_else(good, text, _NONE)


def micros(nanos: Array) -> NDArray[np.int64]:
    """Return microseconds since 1970 UTC; 0 where no time is said."""
    if nanos.null_count:
        nanos = pc.fill_null(nanos, 0)
    # unsigned: times past 2262 stay positive and are found implausible, not negative
    told: NDArray[np.int64] = nanos.to_numpy(zero_copy_only=False) // np.uint64(1000)
    return told.astype(np.int64)


def some_text(text: Array) -> Array:
    """Return *text*, null where it is empty."""
    return pc.if_else(pc.equal(text, ""), _NONE, text)


def _array_or_list(arrays: Array) -> Array:
    return _array_text(arrays) if pa.types.is_struct(arrays.type) else _list_text(arrays)


_KINDS: Final = (
    ("intValue", _scalar),
    ("doubleValue", _scalar),
    ("boolValue", _scalar),
    ("bytesValue", hex_text),
    ("arrayValue", _array_or_list),
    ("kvlistValue", _map_text),
)
"""Fields of an AnyValue that are not strings, and what makes text of them."""
