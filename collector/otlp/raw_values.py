"""Encoded AnyValues → text, without a decoder: strings and whole numbers, nearly all there is.

An AnyValue is a byte that tells its type, then the number, or how long the string is and the string
itself (protobuf's wire format). So a string is what comes after a head of two bytes, or three where
it is long. What is anything else, longer than that, or written in an unusual way, is left to the
decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collector.batch import Array

_STRING, _INT = 0x0A, 0x18
_MORE: Final = 0x80
"""So much is a byte at least where another one of the same number follows."""

_EMPTY: Final = bytes((_STRING, 0))
_LONGEST_INT: Final = 11
_NO_END: Final = 1 << 30


class Read(NamedTuple):
    """Values as text, what is to be put into it at which places, and where values are unread."""

    text: Array
    parts: list[tuple[NDArray[np.int64], Array]]
    unread: NDArray[np.bool_]


def read(raw: Array) -> Read:
    """Read encoded values, none of which is null; one that is empty stays unread.

    Raises ValueError where a string is no UTF-8.
    """
    offsets = np.frombuffer(raw.buffers()[1], np.int32)[raw.offset :][: len(raw) + 1]
    data = np.frombuffer(raw.buffers()[2] or bytes(1), np.uint8)
    begins, sizes = offsets[:-1], np.diff(offsets)
    first, second, third = (data[np.minimum(begins + at, len(data) - 1)] for at in range(3))
    string = first == _STRING
    short = string & (second < _MORE) & (sizes == second.astype(np.int32) + 2)
    if short.all():
        return Read(_behind(raw, 2), [], ~short)
    length = (second.astype(np.int32) & 0x7F) + (third.astype(np.int32) << 7)
    long = string & (second >= _MORE) & (third < _MORE) & (sizes == length + 3)
    number = (first == _INT) & (sizes > 1) & (sizes <= _LONGEST_INT)
    numbers, sound = _varints(data, begins[number] + 1, sizes[number] - 1)
    number[number] = sound
    parts = []
    if long.any():
        parts.append((np.nonzero(long)[0], _behind(raw.filter(pa.array(long)), 3)))
    if number.any():
        told = pc.cast(pa.array(numbers[sound]), pa.string())
        parts.append((np.nonzero(number)[0], told))
    text = _behind(pc.if_else(pa.array(short), raw, _EMPTY), 2)
    return Read(text, parts, ~(short | long | number))


def _behind(strings: Array, head: int) -> Array:
    """Return the text behind a head of so many bytes, which each of *strings* must have."""
    # Arrow's kernel fails where no end is said
    return pc.cast(pc.binary_slice(strings, head, _NO_END), pa.string())


def _varints(
    data: NDArray[np.uint8], begins: NDArray[np.int32], sizes: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the numbers that *sizes* bytes from *begins* on hold, and which of them are just one.

    Seven bits a byte, the lowest first; of each but the last one the eighth is set.
    """
    numbers = np.zeros(len(begins), np.uint64)
    sound = data[begins + sizes - 1] < _MORE
    for place in range(int(sizes.max(initial=0))):
        here = np.nonzero(sizes > place)[0]
        some = data[begins[here] + place]
        numbers[here] |= (some & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * place)
        sound[here] &= (some >= _MORE) | (sizes[here] == place + 1)
    return numbers.view(np.int64), sound
