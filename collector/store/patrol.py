"""The patrol: segments are read again, all the time and little by little, to find damage early.

As much is read a second as costs well under one part in a hundred of a core; after the first
round since the start, a quarter of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import google_crc32c

from collector.store.disk import BLOCK
from model.units import SECOND_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from collector.store.disk import Disk, File

_BYTES_PER_S: Final = 4 << 20
_SLOWER: Final = 4

_LONGEST_S: Final = 4
"""Time that passed since the last walk counts up to here: the fold waits while we read."""

_OPENED: Final = 64 << 10
"""What opening a file costs, as bytes read."""


class Patrol:
    """Goes round the segments that *segments* tells; *prove* is told of those not as written.

    Also of those without a checksum: it finds out what that is.
    """

    def __init__(
        self, disk: Disk, segments: Callable[[], Sequence[File]], prove: Callable[[File], None]
    ) -> None:
        self._disk = disk
        self._segments = segments
        self._prove = prove
        self._steps = self._round()
        self._walked_us = 0
        self._allowed = 0.0
        self.rounds = 0
        """How often all segments have been read whole."""

    def walk(self, now_us: int) -> None:
        """Read as much as the time since the last walk allows, once round at most."""
        passed_s = min(_LONGEST_S, max(0, now_us - self._walked_us) / SECOND_US)
        self._walked_us = now_us
        # what was read too much the last time counts
        self._allowed = min(self._allowed, 0) + passed_s * _BYTES_PER_S / (
            _SLOWER if self.rounds else 1
        )
        while self._allowed > 0:
            step = next(self._steps, None)
            if step is None:
                self.rounds += 1
                self._steps = self._round()
                return
            self._allowed -= step

    def _round(self) -> Iterator[int]:
        """Read all segments, the newest first; yield how many bytes were read."""
        for file in sorted(self._segments(), key=lambda one: one.to_us, reverse=True):
            if file in self._segments():  # else it is merged, or removed, by now
                yield from self._read(file)

    def _read(self, file: File) -> Iterator[int]:
        yield _OPENED
        if file.crc < 0:
            self._prove(file)
            yield file.size
            return
        crc, size = 0, 0
        try:
            with (self._disk.root / file.name).open("rb", buffering=0) as opened:
                while block := opened.read(BLOCK):
                    crc = google_crc32c.extend(crc, block)
                    size += len(block)
                    yield len(block)
        except OSError:
            size = -1
        if (crc, size) != (file.crc, file.size):
            self._prove(file)
