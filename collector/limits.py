"""How much one record may say: what is over it is cut, with a mark, and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collector.batch import Array

LEFT_OUT: Final = "zombiewatch.attributes_left_out"
"""The attribute that says of how many others its record was relieved."""


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """Attributes of a record, bytes of a name or value of one, and bytes of a text, at most."""

    attributes: int = 128
    value_bytes: int = 32 << 10
    body_bytes: int = 64 << 10


def cut(text: Array, most: int) -> tuple[Array, int]:
    """Return *text*, none longer than *most* bytes and a mark, and how many were.

    Cut between characters; the mark says how long it was.
    """
    if not len(text):
        return text, 0
    offsets = np.frombuffer(text.buffers()[1], np.int32)[text.offset :][: len(text) + 1]
    if offsets[-1] - offsets[0] <= most:
        return text, 0
    sizes = np.diff(offsets)
    if sizes.max() <= most:
        return text, 0
    mask = sizes > most
    if text.null_count:
        mask &= text.is_valid().to_numpy(zero_copy_only=False)
    short = [_short(one, most) for one in text.filter(pa.array(mask)).to_pylist()]
    number = int(mask.sum())
    return pc.replace_with_mask(text, pa.array(mask), pa.array(short, pa.string())), number


def _short(text: str, most: int) -> str:
    raw = text.encode()
    return f"{raw[:most].decode(errors='ignore')}… [cut: it was {len(raw)} bytes]"
