"""A stream of the job: passed on as it comes, unchanged, while its two ends are kept."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

_CHUNK: Final = 1 << 16


@dataclass(slots=True)
class Ends:
    """The first and the last *keep* bytes of a stream of any length."""

    keep: int
    size: int = 0
    _first: bytearray = field(default_factory=bytearray)
    _last: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes) -> None:
        """Take in the next bytes."""
        self.size += len(data)
        room = self.keep - len(self._first)
        self._first += data[:room]
        self._last += data[room:] if room > 0 else data
        del self._last[: -self.keep]

    def text(self) -> str:
        """Return both ends, and between them how much is left out."""
        left_out = self.size - len(self._first) - len(self._last)
        first, last = (bytes(one) for one in (self._first, self._last))
        if not left_out:
            return (first + last).decode(errors="replace")
        between = f"\n[… {left_out:,} bytes …]\n"
        return first.decode(errors="replace") + between + last.decode(errors="replace")


class Pump:
    """Passes on, in a thread, what comes out of *source*, to the descriptor *target*.

    Where *target* takes nothing any more, *source* is closed: the job has to notice, as it would
    without us.
    """

    def __init__(self, source: int, target: int, ends: Ends) -> None:
        self._source, self._target, self._ends = source, target, ends
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, within_s: float) -> None:
        """Wait for the stream's end: what the job has left running may hold it open for long."""
        self._thread.join(max(0.0, within_s))

    def _run(self) -> None:
        with suppress(OSError):
            while data := os.read(self._source, _CHUNK):
                self._ends.add(data)
                self._pass_on(data)
        os.close(self._source)

    def _pass_on(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._target, left) :]
            except BlockingIOError:  # somebody made it so, and we wait all the same
                select.select([], [self._target], [])


def is_open(descriptor: int) -> bool:
    """Say whether the descriptor is there: a job may be started with its output closed."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
