"""OTLP/JSON → the same Arrow shape that protobuf gives, by DuckDB's JSON reader.

As the specification (1.11) has it: IDs in hex of either case, enums as numbers (names are taken
too), 64-bit integers as text or number, bytes in base64, `NaN` and `Infinity` quoted, unknown
fields ignored. Field names in lowerCamelCase; the original names with underscores are taken too.
A value of the wrong type is no value; what is no list of objects where one must be is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector.engine import new_engine
from collector.otlp.messages import MESSAGES, ROOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from collector.batch import Array

_TYPES: Final = {
    "string": ("VARCHAR", pa.string()),
    "bool": ("BOOLEAN", pa.bool_()),
    "int64": ("BIGINT", pa.int64()),
    "sfixed64": ("BIGINT", pa.int64()),
    "fixed64": ("UBIGINT", pa.uint64()),
    "int32": ("INTEGER", pa.int32()),
    "uint32": ("UINTEGER", pa.uint32()),
    "double": ("DOUBLE", pa.float64()),
    "enum": ("VARCHAR", pa.int32()),
    "id": ("VARCHAR", pa.string()),
    "bytes": ("VARCHAR", pa.binary()),
    "raw": ("JSON", pa.binary()),
}

_ENUMS: Final[dict[str, int]] = {
    name: number
    for enum in (SeverityNumber, Span.SpanKind, Status.StatusCode, AggregationTemporality)
    for name, number in enum.items()
}
"""Names of enum values → numbers: the specification has numbers only, some senders write names."""


@cache
def _structure(message: str) -> dict[str, Any]:
    """Return what DuckDB is to read of a message, in its own notation."""
    return {
        name: [_kind(said.base)] if said.many else _kind(said.base)
        for name, said in MESSAGES[message].items()
    }


def _kind(base: str) -> Any:  # noqa: ANN401 - a type's name, or a structure
    return _TYPES[base][0] if base in _TYPES else _structure(base)


_ENGINES: Final = threading.local()


def _engine() -> duckdb.DuckDBPyConnection:
    """Return this thread's own small engine: the journal's and the fold's thread both decode."""
    if not hasattr(_ENGINES, "one"):
        _ENGINES.one = new_engine()
    one: duckdb.DuckDBPyConnection = _ENGINES.one
    return one


def decode(signal: str, bodies: Sequence[bytes]) -> pa.RecordBatch:
    """Decode *bodies*, export requests of one *signal* in JSON, a row each.

    Raises ValueError where one of them is not such a message.
    """
    message = ROOTS[signal]
    [(root, said)] = MESSAGES[message].items()
    texts = pa.table({"body": _texts([_camel(one) for one in bodies])})
    engine = _engine()
    engine.register("bodies", texts)
    try:
        structure = orjson.dumps(_structure(message)).decode()
        read = engine.sql(f"SELECT from_json(body, '{structure}') AS r FROM bodies")
        found = read.to_arrow_table().column("r")
    except duckdb.Error as error:
        raise ValueError(f"not JSON: {str(error).splitlines()[0]}") from None
    finally:
        engine.unregister("bodies")
    whole = pa.concat_arrays(found.chunks) if found.num_chunks != 1 else found.chunk(0)
    lists = _child(whole, 0)
    if not _plainly_sound(lists, said.base):
        for body in bodies:
            _check(orjson.loads(_camel(body)), message)
    return pa.RecordBatch.from_arrays([_list(lists, said.base)], names=[root])


def check(signal: str, body: bytes) -> None:
    """Raise ValueError where *body* is no export request of *signal* in JSON."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if _is_snake(body):
        said = _renamed(said)
    _check(said, ROOTS[signal])


def _texts(bodies: list[bytes]) -> Array:
    try:
        return pc.cast(pa.array(bodies, pa.binary()), pa.string())
    except pa.ArrowInvalid as error:
        raise ValueError(f"not UTF-8: {error}") from None


def _plainly_sound(lists: Array, base: str) -> bool:
    """Return whether there is a list at every level, and something of ours in each member.

    DuckDB reads nothing where a list or an object should be and is not, as where there is none.
    """
    if lists.null_count:
        return False
    members = lists.flatten()
    children = members.flatten() if len(members) else []
    if children and np.logical_and.reduce([_is_null(one) for one in children]).any():
        return False
    within = next((name for name, one in MESSAGES[base].items() if one.base in _LEVELS), None)
    if within is None or not children:
        return True
    place = list(MESSAGES[base]).index(within)
    return _plainly_sound(children[place], MESSAGES[base][within].base)


def _is_null(column: Array) -> NDArray[np.bool_]:
    nulls: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return nulls


_LEVELS: Final = frozenset(
    field.base
    for message in MESSAGES
    if message.startswith(("Logs", "Traces", "Metrics", "Resource", "Scope"))
    for field in MESSAGES[message].values()
    if field.many and field.base != "KeyValue"
)
"""Messages that lie in lists on the way to the records, and these."""


def _check(said: object, message: str) -> None:
    """Refuse what is no object, or has no list of objects where one must be."""
    if not isinstance(said, dict):
        what = type(said).__name__
        raise ValueError(f"{message} must be an object, and is a {what}")  # noqa: TRY004 - of a value
    for name, field in MESSAGES[message].items():
        if field.base not in _LEVELS or said.get(name) is None:
            continue
        if not isinstance(said[name], list):
            what = type(said[name]).__name__
            raise ValueError(f"{name} must be a list, and is a {what}")  # noqa: TRY004 - likewise
        for one in said[name]:
            _check(one, field.base)


# -- into the shape of protobuf -----------------------------------------------------------------


def _child(whole: Array, index: int) -> Array:
    """Return a field of a struct array; null where the struct is."""
    return whole.flatten()[index] if whole.null_count else whole.field(index)


def _list(lists: Array, base: str) -> Array:
    """Return *lists* of the message *base*, none instead of null, each member shaped."""
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate((np.zeros(1, np.int32), np.cumsum(sizes, dtype=np.int32)))
    return pa.ListArray.from_arrays(pa.array(offsets), _shaped(lists.flatten(), base))


def _shaped(found: Array, message: str) -> Array:
    columns, names = [], []
    for index, (name, said) in enumerate(MESSAGES[message].items()):
        column = _child(found, index)
        if said.many:
            columns.append(_list(column, said.base))
        elif said.base in _TYPES:
            columns.append(_leaf(column, said.base, name))
        else:
            columns.append(_shaped(column, said.base))
        names.append(name)
    if not columns or not len(found):
        kinds = [pa.field(name, column.type) for name, column in zip(names, columns, strict=True)]
        return pa.array([], pa.struct(kinds))
    mask = found.is_null() if found.null_count else None
    return pa.StructArray.from_arrays(columns, names=names, mask=mask)


def _leaf(column: Array, base: str, name: str) -> Array:
    kind = _TYPES[base][1]
    if column.null_count == len(column):
        return pa.nulls(len(column), kind)
    if base == "enum":
        coded = pc.dictionary_encode(column)
        numbers = [_number(one) for one in coded.dictionary.to_pylist()]
        return pa.array(numbers, pa.int32()).take(coded.indices)
    if base == "bytes":
        return _each(column, _from_base64)
    if base == "raw":
        return _each(column, _list_bytes if name == "arrayValue" else _map_bytes)
    return column


def _number(said: str | None) -> int | None:
    if said is None:
        return None
    if re.fullmatch(r"-?\d{1,9}", said):
        return int(said)
    return _ENUMS.get(said, 0)


def _each(column: Array, read: Callable[[str], bytes | None]) -> Array:
    """Return what *read* makes of each text: such values are few."""
    return pa.array([None if one is None else read(one) for one in column.to_pylist()], pa.binary())


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=_alphabet(text))
    except (binascii.Error, ValueError):
        return None


def _alphabet(text: str) -> bytes | None:
    return b"-_" if "-" in text or "_" in text else None


# -- what nests at will -------------------------------------------------------------------------


def _map_bytes(text: str) -> bytes | None:
    value = _nested({"kvlistValue": orjson.loads(text)})
    return None if value is None else value.kvlist_value.SerializeToString()


def _list_bytes(text: str) -> bytes | None:
    value = _nested({"arrayValue": orjson.loads(text)})
    return None if value is None else value.array_value.SerializeToString()


def _nested(said: object) -> AnyValue | None:
    try:
        return _value(said)
    except (TypeError, ValueError, OverflowError, RecursionError, AttributeError):
        return None


def _value(said: Any) -> AnyValue:  # noqa: ANN401 - whatever JSON can hold
    """Return one AnyValue of JSON. Raises what Python raises where it is none."""
    for name, value in (said or {}).items():
        if name in _SCALARS and value is not None:
            field, read = _SCALARS[name]
            return AnyValue(**{field: read(value)})
        if name == "arrayValue":
            members = [_value(one) for one in value.get("values") or ()]
            return AnyValue(array_value=ArrayValue(values=members))
        if name == "kvlistValue":
            held = KeyValueList()
            for one in value.get("values") or ():
                held.values.add(key=one.get("key") or "", value=_value(one.get("value")))
            return AnyValue(kvlist_value=held)
    return AnyValue()


_SCALARS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "stringValue": ("string_value", str),
    "boolValue": ("bool_value", bool),
    "intValue": ("int_value", int),
    "doubleValue": ("double_value", float),
    "bytesValue": ("bytes_value", _from_base64),
}


# -- names with underscores ---------------------------------------------------------------------


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), name)


_SNAKES: Final = {
    _snake(name): name for fields in MESSAGES.values() for name in fields if _snake(name) != name
}
_SNAKE_ROOTS: Final = tuple(
    _snake(name).encode() for root in ROOTS.values() for name in MESSAGES[root]
)
_HEAD: Final = 4096


def _is_snake(body: bytes) -> bool:
    """Return whether a body's names have underscores: who writes one so writes all so."""
    head = body[:_HEAD]
    return any(root in head for root in _SNAKE_ROOTS)


def _camel(body: bytes) -> bytes:
    """Return *body* with the names of fields in lowerCamelCase, where they had underscores."""
    if not _is_snake(body):
        return body
    try:
        return orjson.dumps(_renamed(orjson.loads(body)))
    except (orjson.JSONDecodeError, TypeError) as error:
        raise ValueError(f"not JSON: {error}") from None


def _renamed(said: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(said, dict):
        return {_SNAKES.get(key, key): _renamed(value) for key, value in said.items()}
    return [_renamed(one) for one in said] if isinstance(said, list) else said
