"""Cuts what was read from a file into whole lines, none of them too long."""

from typing import NamedTuple


class Taken(NamedTuple):
    """What became of a buffer."""

    data: bytes
    """Whole lines, each ended by `\\n`; over-long ones cut."""
    used: int
    """Bytes of the buffer that are dealt with; what follows is the start of a line."""
    cut: int
    """How many lines in `data` were cut."""
    skipping: bool
    """Whether the buffer ends inside a line that was cut: its rest is still to be skipped."""


def take(buffer: bytes, line_bytes: int) -> Taken:
    """Take the whole lines off the front of a buffer, which starts at the start of a line.

    A line of more than `line_bytes` bytes, its newline not counted, is cut to them and ended by a
    newline. A line that has not ended is left, unless it is too long already.
    """
    last = buffer.rfind(b"\n") + 1
    pieces: list[bytes] = []
    at = cut = 0
    # One search settles all the lines in a window of line_bytes: none of them can be too long.
    while last - at > line_bytes:
        newline = buffer.rfind(b"\n", at, at + line_bytes + 1)
        if newline < 0:
            cut += 1
            pieces += (buffer[at : at + line_bytes], b"\n")
            newline = buffer.find(b"\n", at + line_bytes)
        else:
            pieces.append(buffer[at : newline + 1])
        at = newline + 1
    if at < last:
        pieces.append(buffer[at:last])
    skipping = len(buffer) - last > line_bytes
    if skipping:
        cut += 1
        pieces += (buffer[last : last + line_bytes], b"\n")
        last = len(buffer)
    return Taken(b"".join(pieces), last, cut, skipping)
