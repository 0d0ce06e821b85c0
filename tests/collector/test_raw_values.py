"""Encoded values become the text that they become when each is decoded."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue

from collector.otlp import raw_values
from collector.otlp.values import value_text

STRINGS = ["", "x", "é" * 63, "x" * 127, "x" * 128, "é" * 100, "x" * 16_383, "x" * 16_384]
NUMBERS = [0, 1, 127, 128, 300, 2**31, 2**63 - 1, -1, -(2**63)]


def text(*raw: bytes) -> list[str | None]:
    told: list[str | None] = value_text(pa.array(raw, pa.binary())).to_pylist()
    return told


def unread(*raw: bytes) -> list[bool]:
    """Return which of *raw* are left to the decoder."""
    left: list[bool] = raw_values.read(pa.array(raw, pa.binary())).unread.tolist()
    return left


def encoded(said: Any) -> bytes:
    match said:
        case bool():
            value = AnyValue(bool_value=said)
        case int():
            value = AnyValue(int_value=said)
        case float():
            value = AnyValue(double_value=said)
        case str():
            value = AnyValue(string_value=said)
        case _:
            value = AnyValue(array_value=ArrayValue(values=said))
    raw: bytes = value.SerializeToString()
    return raw


def test_strings_of_any_length() -> None:
    """But for the longest they are not decoded."""
    raw = [encoded(one) for one in STRINGS]
    assert text(*raw) == STRINGS
    assert unread(*raw) == [len(one) > 16_383 for one in STRINGS]


def test_whole_numbers() -> None:
    """Each is read without being decoded."""
    raw = [encoded(one) for one in NUMBERS]
    assert text(*raw) == [str(one) for one in NUMBERS]
    assert not any(unread(*raw))


def test_what_is_neither_is_decoded_in_its_place() -> None:
    """Nothing, too, stays where it is."""
    array = encoded([AnyValue(string_value="a"), AnyValue(int_value=2)])
    raw = [encoded("a"), encoded(True), b"", encoded(7), array, encoded(1.5), encoded("z" * 200)]
    assert text(*raw) == ["a", "true", None, "7", "a,2", "1.5", "z" * 200]
    assert unread(*raw) == [False, True, True, False, True, True, False]


def test_very_many_are_decoded_in_parts() -> None:
    """In their order."""
    some = [True] * 65_536 + [False] * 3
    assert text(*map(encoded, some)) == [str(one).lower() for one in some]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (encoded("a") + encoded("b"), "b"),
        (encoded(7) + encoded(8), "8"),
        (b"\x18\x87\x00", "7"),  # in more bytes than it needs
        (b"\x0a\x81\x00x", "x"),  # likewise its length
        (encoded("a") + b"\x98\x06\x01", "a"),  # with a field that nobody knows
    ],
)
def test_what_is_written_in_an_unusual_way_is_understood(raw: bytes, told: str) -> None:
    """Of several values the last one counts."""
    assert AnyValue.FromString(raw).WhichOneof("value")
    assert text(raw) == [told]


@pytest.mark.parametrize(
    "raw", [b"\x0a\x01\xff", b"\x0a\x81\x01" + b"\xff" * 129, b"\x0a\x05x", b"\x18\x80", b"\x18"]
)
def test_what_is_no_value_is_an_error(raw: bytes) -> None:
    """No UTF-8, or too short for what it says."""
    with pytest.raises(ValueError, match=r"."):
        text(encoded("a"), raw)


def test_a_part_of_an_array_is_read_as_the_whole() -> None:
    """What lies before it is not looked at."""
    raw = pa.array([encoded("gone"), encoded("a"), encoded(1), encoded(True)], pa.binary())
    assert value_text(raw[1:3]).to_pylist() == ["a", "1"]
    assert value_text(raw[:0]).to_pylist() == []


@given(st.lists(st.one_of(st.text(max_size=300), st.integers(-(2**63), 2**63 - 1), st.booleans())))
def test_any_values(said: list[Any]) -> None:
    """Each as it is written."""
    written = [str(one).lower() if isinstance(one, bool) else str(one) for one in said]
    assert text(*(encoded(one) for one in said)) == written
