"""OTLP protobuf → Arrow, by a descriptor made from the table of messages.

The values of attributes are left as they came, and read apart (see `values`): nearly all are short
strings, and to spread each over a column for every type that it might have takes most of the time.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Proto
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from ptars import HandlerPool

from collector.otlp.messages import MESSAGES, ONE_OF, ROOTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_AT_ONCE: Final = 512 << 10
"""Bytes: the decoder holds Python's lock all the time, some 3 ms for so many."""

_TYPES: Final = {
    "string": Proto.TYPE_STRING,
    "bool": Proto.TYPE_BOOL,
    "int64": Proto.TYPE_INT64,
    "int32": Proto.TYPE_INT32,
    "uint32": Proto.TYPE_UINT32,
    "enum": Proto.TYPE_INT32,  # enums are int32 on the wire
    "double": Proto.TYPE_DOUBLE,
    "bytes": Proto.TYPE_BYTES,
    "id": Proto.TYPE_BYTES,
    "raw": Proto.TYPE_BYTES,
    "fixed64": Proto.TYPE_FIXED64,
    "sfixed64": Proto.TYPE_SFIXED64,
}


_VALUE: Final = "AnyValue"


@cache
def _pool(*, whole: bool) -> tuple[Any, Any]:
    """Return the messages, and what reads them; values are bytes there, unless they are *whole*."""
    file = FileDescriptorProto(name="narrow.proto", package="narrow", syntax="proto3")
    types = _TYPES if whole else {**_TYPES, _VALUE: Proto.TYPE_BYTES}
    for message, fields in MESSAGES.items():
        proto = file.message_type.add(name=message)
        if message in ONE_OF:
            proto.oneof_decl.add(name="value")
        for name, said in fields.items():
            field = proto.field.add(name=name, number=said.number)
            field.label = Proto.LABEL_REPEATED if said.many else Proto.LABEL_OPTIONAL
            field.type = types.get(said.base, Proto.TYPE_MESSAGE)
            if said.base not in types:
                field.type_name = f".narrow.{said.base}"
            if name in ONE_OF.get(message, ()):
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    found = pool.AddSerializedFile(file.SerializeToString())
    return pool, HandlerPool([found])


@cache
def _handler(message: str) -> Any:  # noqa: ANN401 - ptars has no types
    pool, handlers = _pool(whole=message == _VALUE)
    return handlers.get_for_message(pool.FindMessageTypeByName(f"narrow.{message}"))


@cache
def _message(signal: str) -> Any:  # noqa: ANN401 - a class that is made at run time
    pool, _ = _pool(whole=True)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"narrow.{ROOTS[signal]}"))


def check(signal: str, body: bytes) -> None:
    """Raise ValueError where *body* is no such message as `decode` takes."""
    try:
        _message(signal).FromString(body)
    except DecodeError as error:
        raise ValueError(str(error)) from None


def decode(signal: str, bodies: Sequence[bytes]) -> pa.RecordBatch:
    """Decode *bodies*, export requests of one *signal*, a row each; values in them are bytes.

    Raises ValueError where one of them is not such a message.
    """
    some = _handler(ROOTS[signal]).list_to_record_batch
    return pa.concat_batches([some(part) for part in _parts(bodies)])


def values(raw: Sequence[bytes]) -> pa.StructArray:
    """Decode AnyValues. Raises ValueError where one of them is none."""
    return _handler(_VALUE).list_to_record_batch(raw).to_struct_array()


def _parts(bodies: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield *bodies* in parts of a few milliseconds: no other thread can run while one is read."""
    part: list[bytes] = []
    size = 0
    for body in bodies:
        part.append(body)
        size += len(body)
        if size >= _AT_ONCE:
            yield part
            part, size = [], 0
    if part or not bodies:
        yield part
