"""Followed files → the journal: every chunk with its position, in one transaction."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from collector.receivers.follow import Chunk, FileStatus, Follower, Position
from collector.store.journal import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from model.clock import Clock

_LOG = logging.getLogger("zombiewatch.follow")
_PAUSE_S: Final = 5.0
"""Rest after an error that nobody foresaw: it is said, but not four times a second."""

_JOIN: Final = "|"

_HEX: Final = "hex:"
"""Begins a position's path whose bytes are no UTF-8; all others are absolute."""


@dataclass(frozen=True, slots=True)
class Followed:
    """One pattern of the configuration, and what its lines belong to."""

    pattern: str
    service: str | None = None
    side: str | None = None
    from_end: bool = False
    expect_s: float | None = None


class Files:
    """Polls followers in a thread of its own, until `stop`."""

    def __init__(
        self,
        followed: Sequence[Followed],
        positions: Iterable[tuple[str, str, int, str]],
        append: Callable[[Entry], Future[int]],
        clock: Clock,
        *,
        every_s: float,
    ) -> None:
        known = list(positions)
        self._followers = [
            (one, Follower([one.pattern], _own(one, known), now_us=clock, from_end=one.from_end))
            for one in followed
        ]
        self._append = append
        self._clock = clock
        self._every_s = every_s
        self._stop = threading.Event()
        self._marks: deque[tuple[int, int | None]] = deque(maxlen=256)
        self._last_id = 0
        self._statuses: list[FileStatus] = []
        self._thread = threading.Thread(target=self._run, name="follow", daemon=True)

    def start(self) -> None:
        """Begin to follow, where there is anything to follow."""
        if self._followers:
            self._thread.start()

    def stop(self) -> None:
        """End after the chunk in hand; all that was read is in the journal then."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for _, follower in self._followers:
            follower.close()

    def heard_us(self, applied: int) -> int | None:
        """Return until when all followed files are in the relations, given what is *applied*.

        None while some file has never been read to its end; the clock's now without files.
        """
        if not self._followers:
            return self._clock()
        heard = None
        for last_id, caught_up in list(self._marks):
            if last_id <= applied:
                heard = caught_up
        return heard

    def statuses(self) -> list[FileStatus]:
        """Return how it stands with each file, as of the last poll."""
        return self._statuses

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                busy = self.poll()
            except Exception:  # noqa: BLE001 - whatever a file does, the others are read
                _LOG.exception("following files failed; trying again")
                self._stop.wait(_PAUSE_S)
                busy = False
            self._stop.wait(0.0 if busy else self._every_s)

    def poll(self) -> bool:
        """Take in what can be read now; True if there may be more at once."""
        read = 0
        for one, follower in self._followers:
            for chunk in follower.poll():
                self._keep(one, chunk)
                read += len(chunk.data)
        ends = [follower.caught_up_us() for _, follower in self._followers]
        caught_up = None if None in ends else min(end for end in ends if end is not None)
        self._marks.append((self._last_id, caught_up))
        self._statuses = [
            replace(status, path=_shown(status.path))
            for _, follower in self._followers
            for status in follower.statuses()
        ]
        return read > 0

    def _keep(self, one: Followed, chunk: Chunk) -> None:
        """Return when *chunk* is on disk, trying again while there is no room.

        One at a time: a later chunk on disk before an earlier one would be a lie about how far
        the file was read.
        """
        meta = {
            "source": _shown(chunk.path),
            "service": one.service,
            "side": one.side,
            "offset": chunk.start,
            "expect_s": one.expect_s,
            "cut": chunk.cut,
        }
        position = (f"{one.pattern}{_JOIN}{chunk.file}", chunk.mark, chunk.end, _kept(chunk.path))
        while True:
            entry = Entry("lines", self._clock(), chunk.data, meta, position)
            try:
                self._last_id = self._append(entry).result()
            except Exception as error:
                _LOG.warning("waiting with %s: %s", _shown(chunk.path), error)
                if self._stop.wait(1.0):
                    raise
            else:
                return


def _shown(path: str) -> str:
    """Return *path* as people and programs can be told of it: a name may be any bytes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _kept(path: str) -> str:
    """Return *path* as the journal can keep it."""
    return path if _shown(path) == path else _HEX + os.fsencode(path).hex()


def _path(kept: str) -> str:
    """Return the path that `_kept` was given."""
    return os.fsdecode(bytes.fromhex(kept[len(_HEX) :])) if kept.startswith(_HEX) else kept


def _own(one: Followed, positions: Iterable[tuple[str, str, int, str]]) -> list[Position]:
    prefix = one.pattern + _JOIN
    return [
        Position(file.removeprefix(prefix), mark, offset, _path(path))
        for file, mark, offset, path in positions
        if file.startswith(prefix)
    ]
