"""Unpacks gzip within bounds: what would be too large is found out before it is held."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STEP: Final = 256 << 10
_HELD: Final = 8 << 20
"""What unpacks to more than this is first measured, then unpacked: a bomb costs no more."""


class TooLargeError(Exception):
    """A body, once decompressed, is over the limit."""


def gunzip(body: bytes, most: int, grow: Callable[[int], None]) -> bytes:
    """Return what *body* holds: gzip of one member, or of several in a row (RFC 1952).

    *grow* is told of each piece before it is kept, and may refuse it by an error of its own.
    Raises TooLargeError past *most* bytes, zlib.error where it is not gzip or ends too early.
    """
    out, measured = io.BytesIO(), False
    for part in _parts(body, most):
        if not measured and out.tell() > _HELD:
            for _ in _parts(body, most):
                pass
            measured = True
        grow(len(part))
        out.write(part)
    return out.getvalue()


def _parts(body: bytes, most: int) -> Iterator[bytes]:
    size, left = 0, body
    while left:
        member: Any = zlib.decompressobj(31)  # zlib does not say of what type it is
        while not member.eof:
            part = member.decompress(left, _STEP)
            left = member.unconsumed_tail
            size += len(part)
            if size > most:
                raise TooLargeError
            if part:
                yield part
            elif not left and not member.eof:
                msg = "it ends before its end"
                raise zlib.error(msg)
        left = member.unused_data
