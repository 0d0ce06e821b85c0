"""Follows files of lines, found by patterns, through rotation, truncation and restarts.

Whoever calls `Follower.poll` writes each chunk and its `(file, mark, end, path)` to the journal in
one transaction, and hands the positions back after a restart: so no line is lost and none is
repeated. What does *not* hold:

- A file that appears and is rotated to a name that no pattern matches, both between two polls or
  while we are down, is never seen. Patterns that match the rotated names too (`app.log*`) see it.
- With copytruncate, what is written between the copy and the truncation is lost to everybody; what
  we saw was there and did not read in time is counted as `lost_bytes`.
- A file that was truncated and has regrown past where we were is recognised by its first bytes;
  where these are the same again, it is not. Nor is a file that took the inode of a deleted one.
"""

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from collector.receivers._follow_find import Finder, Found, inode_of, key_of, look_at, same_inode
from collector.receivers._follow_mark import Mark
from collector.receivers._follow_shapes import Chunk, FileStatus, Position
from collector.receivers._follow_tail import Tail

__all__ = ["Chunk", "FileStatus", "Follower", "Position"]

_READ_COST = 4096
"""What a read takes from the budget at least: files that give nothing end a poll, too."""
_REMEMBERED = 10_000
"""How many files that we are done with are remembered, should they come back under another name."""
_GONE = 100
"""How many files that vanished unread stay in the statuses."""


class Follower:
    """Follows all files that match some patterns.

    It has no thread and no clock of its own, and reads only while `poll` is iterated.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        positions: Iterable[Position],
        *,
        now_us: Callable[[], int],
        chunk_bytes: int = 1 << 20,
        line_bytes: int = 1 << 20,
        max_open: int = 256,
        from_end: bool = False,
    ) -> None:
        """Prepare to follow; nothing is looked at before the first `poll`.

        Args:
            patterns: paths with the wildcards of `glob`, `**` included.
            positions: what was stored of chunks that *this* follower gave before.
            now_us: the clock, microseconds since 1970 UTC.
            chunk_bytes: how much is read at a time, and about how long a chunk is.
            line_bytes: longer lines are cut to this, newline not counted.
            max_open: how many files are held open; only files that have been rotated away, and
                would be lost by closing them, may be more.
            from_end: on the very first start, when there are no positions, leave out what the
                files that are there already hold. What appears later is read from its start.

        Raises:
            ValueError: a limit is not positive, or a position's mark is not one.
        """
        for name, limit in (
            ("chunk_bytes", chunk_bytes),
            ("line_bytes", line_bytes),
            ("max_open", max_open),
        ):
            if limit < 1:
                raise ValueError(f"{name} is {limit}: set it to 1 or more")
        self._positions = {position.file: position for position in positions}
        for position in self._positions.values():
            Mark.parse(position.mark)
        self._by_name = {(p.path, inode_of(p.file)): p.file for p in self._positions.values()}
        self._unsearched = list(self._positions.values())
        self._now_us = now_us
        self._chunk_bytes = chunk_bytes
        self._line_bytes = line_bytes
        self._max_open = max_open
        self._from_end = from_end and not self._positions
        self._finder = Finder(patterns)
        self._tails: dict[str, Tail] = {}
        self._open: list[Tail] = []
        self._polled = False
        self._served = 0
        self._found = Found({}, {}, {})
        self._done: dict[str, Position] = {}
        self._gone: deque[FileStatus] = deque(maxlen=_GONE)

    def poll(self, budget_bytes: int = 16 << 20) -> Iterator[Chunk]:
        """Yield what can be read now, until all files are at their ends or the budget is spent.

        What was rotated is read first, the others by turns. Errors become statuses.

        Each chunk is yielded once by this follower, and again by one that is made later of what
        was stored, unless its position was. So whoever fails to store a chunk must not go on with
        this follower, or the chunk is lost: make a new one of the stored positions.

        Args:
            budget_bytes: read about as much, at least one chunk if there is one; with 0 only look.
        """
        now_us = self._now_us()
        self._look(now_us)
        queue = deque(sorted(self._ready(now_us), key=_turn))
        while queue and budget_bytes > 0:
            tail = queue.popleft()
            if not self._hold(tail):
                continue
            self._served += 1
            tail.served = self._served
            before = tail.offset
            chunk = tail.read(now_us)
            budget_bytes -= max(tail.offset - before, _READ_COST)
            if chunk is not None:
                yield chunk
            if tail.error is not None:
                continue
            if not tail.at_end:
                (queue.appendleft if tail.moved else queue.append)(tail)
            elif tail.settled(now_us):
                rest = tail.rest()
                if rest is not None:
                    yield rest
                if tail.away:
                    self._forget(tail, returns=not tail.deleted)

    def statuses(self) -> list[FileStatus]:
        """Return how it stands with each file, as of the last poll, sorted by path.

        Also with files that match and are not followed, with folders that cannot be listed, and
        with the last 100 files that vanished unread.
        """
        refused = self._finder.errors | self._found.unreadable | self._found.skipped
        return sorted(
            [
                *(tail.status() for tail in self._tails.values()),
                *(FileStatus(path, error=error) for path, error in refused.items()),
                *self._gone,
            ],
            key=lambda status: (status.path, status.file),
        )

    def caught_up_us(self) -> int | None:
        """Return until when everything that was written has been yielded, microseconds.

        That is when the file that is furthest behind was last read to its end; the clock's now if
        there is no file. `None` while that cannot be said: before the first poll, while a file has
        never been read to its end since this process began, and while something that matches
        cannot be looked at. The start of a line that has not ended does not count as behind.
        """
        if not self._polled or self._finder.errors or self._found.unreadable:
            return None
        oldest = self._now_us()
        for tail in self._tails.values():
            if tail.eof_us is None:
                return None
            oldest = min(oldest, tail.eof_us)
        return oldest

    def close(self) -> None:
        """Close all files. Another poll opens what it needs again."""
        for tail in self._tails.values():
            tail.close()
        self._open.clear()

    def _look(self, now_us: int) -> None:
        listed = self._finder.refresh()
        known = {file: tail.path for file, tail in self._tails.items()}
        self._found = look_at(self._finder.paths, known)
        found = self._found.files
        for file, (path, st) in found.items():
            tail = self._tails.get(file) or self._meet(file, path, now_us)
            tail.where = path
            tail.away = False
            tail.saw(st, now_us)
            if len(self._open) < self._max_open and not tail.at_end:
                self._hold(tail)
        missing = [tail for file, tail in self._tails.items() if file not in found]
        for tail in missing:
            tail.leave(now_us)
        # Only now: opening one must not close another one that has no name any more either.
        for tail in missing:
            self._look_after(tail, now_us)
        if listed and self._unsearched:
            self._search(now_us)
        for tail in self._tails.values():
            if tail.at_end:
                tail.eof_us = now_us
        self._polled = True

    def _meet(self, file: str, path: str, now_us: int) -> Tail:
        tail = self._tails[file] = self._tail(file, path, now_us)
        position = self._known(file, path)
        if position is not None:
            tail.go_on_from(position)
        elif self._from_end and not self._polled:
            tail.skip_history()
        return tail

    def _tail(self, file: str, path: str, now_us: int) -> Tail:
        return Tail(path, file, now_us, chunk_bytes=self._chunk_bytes, line_bytes=self._line_bytes)

    def _known(self, file: str, path: str) -> Position | None:
        if file in self._done:
            return self._done.pop(file)
        # A device's number may change when the machine starts anew; the inode then vouches with
        # the path and the mark.
        stored = file if file in self._positions else self._by_name.get((path, inode_of(file)))
        return None if stored is None else self._positions.pop(stored, None)

    def _look_after(self, tail: Tail, now_us: int) -> None:
        """See what became of a file that no pattern finds any more."""
        if not tail.is_open:
            names = list(same_inode(tail.where, inode_of(tail.file)))
            if not names:
                self._lose(tail)
                return
            tail.where = names[0]
            if self._hold(tail) and not tail.proves_same():
                self._lose(tail)
                return
        tail.look(now_us)

    def _search(self, now_us: int) -> None:
        """Find what was rotated while we were down: in the same folder, under another name."""
        searched, self._unsearched = self._unsearched, []
        for position in searched:
            if self._positions.get(position.file) is not position:
                continue
            if not os.path.isdir(os.path.dirname(position.path)):
                self._unsearched.append(position)
                continue
            for name in same_inode(position.path, inode_of(position.file)):
                self._resume_moved(position, name, now_us)

    def _resume_moved(self, position: Position, name: str, now_us: int) -> None:
        try:
            st = os.lstat(name)
        except OSError:
            return
        # Under its old name it is one that the patterns no longer match. An empty mark fits any.
        unproven = Mark.parse(position.mark).length == 0
        if name == position.path or unproven or not stat.S_ISREG(st.st_mode):
            return
        tail = self._tail(key_of(st), name, now_us)
        if tail.file in self._tails:
            return
        tail.away = True
        tail.go_on_from(position)
        if self._hold(tail) and tail.resumed:
            tail.look(now_us)
            self._tails[tail.file] = tail
            self._positions.pop(position.file, None)
        else:
            tail.close()

    def _ready(self, now_us: int) -> list[Tail]:
        return [
            tail
            for tail in self._tails.values()
            if not tail.at_end or (tail.settled(now_us) and (tail.away or tail.offset < tail.size))
        ]

    def _hold(self, tail: Tail) -> bool:
        """Open a file, closing the least recently changed one if there are too many."""
        if tail.is_open:
            return True
        self._open = [held for held in self._open if held.is_open]
        if len(self._open) >= self._max_open:
            closable = [held for held in self._open if not held.away]
            if closable:
                min(closable, key=lambda held: (not held.at_end, held.mtime_ns)).close()
        if tail.open():
            self._open.append(tail)
        return tail.is_open

    def _forget(self, tail: Tail, *, returns: bool) -> None:
        """Be done with a file that went away; should it come back, go on where we were."""
        tail.close()
        del self._tails[tail.file]
        if returns:
            self._done[tail.file] = tail.position()
        if len(self._done) > _REMEMBERED:
            del self._done[next(iter(self._done))]

    def _lose(self, tail: Tail) -> None:
        # A whole folder that is gone may be a file system that is mounted again later.
        self._forget(tail, returns=not os.path.isdir(os.path.dirname(tail.where)))
        lost = max(0, tail.size - tail.offset)
        if lost:
            tail.lost_bytes += lost
            tail.error = f"vanished with {lost} bytes unread: raise max_open, or rotate less often"
            self._gone.append(tail.status())


def _turn(tail: Tail) -> tuple[bool, int, int]:
    return (not tail.moved, tail.served, tail.mtime_ns)
