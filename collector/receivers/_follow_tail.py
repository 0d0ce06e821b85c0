"""One followed file: where we are in it, and what it gives next."""

import os
import stat

from collector.receivers._follow_find import key_of
from collector.receivers._follow_lines import take
from collector.receivers._follow_mark import HEAD_BYTES, Mark, crc32c
from collector.receivers._follow_shapes import Chunk, FileStatus, Position

SETTLE_US = 5_000_000
"""How long a file that was rotated away must be unchanged before its last line counts as whole and
its handle is closed: a writer goes on with the old file until it has reopened its log."""


class Tail:
    """One file, from its being met to its being rotated away and read to its end.

    It keeps no bytes but the file's first `HEAD_BYTES`: the start of a line that has not ended is
    read again when there is more of it.
    """

    def __init__(
        self, path: str, file: str, now_us: int, *, chunk_bytes: int, line_bytes: int
    ) -> None:
        self.path = path
        self.file = file
        self.where = path
        self.away = False
        """No pattern matches it any more, under any name."""
        self.resumed = False
        """It proved to be the file that a stored position was of."""
        self.deleted = False
        """It has no name at all any more."""
        self.served = 0
        """When it last had its turn, as a number that only grows."""
        self.changed_us = now_us
        self.eof_us: int | None = None
        self.at_end = False
        self.error: str | None = None
        self.offset = 0
        self.size = 0
        self.lost_bytes = 0
        self.mtime_ns = 0
        self._resume: Position | None = None
        self._from_end = False
        self._seen = (-1, 0)
        self._fd: int | None = None
        self._chunk_bytes = chunk_bytes
        self._line_bytes = line_bytes
        self._head = b""
        self._mark = Mark()
        self._proved_size = 0
        self._announce = False
        self._stored = False
        self._cut_lines = 0
        self._truncations = 0

    @property
    def is_open(self) -> bool:
        """Whether it holds a handle."""
        return self._fd is not None

    @property
    def moved(self) -> bool:
        """Whether it was rotated: it has another name than when we met it, or none that matches."""
        return self.away or self.where != self.path

    def settled(self, now_us: int) -> bool:
        """Tell whether it was rotated so long ago that nobody writes to it any more."""
        return self.moved and now_us - self.changed_us >= SETTLE_US

    def go_on_from(self, position: Position) -> None:
        """Start at a stored position, if the file proves to be the one that it was stored for."""
        self._resume = position
        self.offset = position.offset

    def skip_history(self) -> None:
        """Start at the line that is being written when the file is first opened."""
        self._from_end = True

    def leave(self, now_us: int) -> None:
        """Take note that no pattern finds it any more."""
        if not self.away:
            self.away = True
            self.changed_us = now_us
            self.at_end = False

    def saw(self, st: os.stat_result, now_us: int) -> None:
        """Take note of what the file looks like from outside."""
        seen = (st.st_size, st.st_mtime_ns)
        if seen != self._seen:
            self._seen = seen
            self.size, self.mtime_ns = seen
            self.changed_us = now_us
            self.at_end = False

    def look(self, now_us: int) -> None:
        """Take note of what it looks like through its handle, if it has one."""
        if self._fd is not None:
            try:
                st = os.fstat(self._fd)
            except OSError as error:
                self._failed("read", error)
            else:
                self.deleted = st.st_nlink == 0
                self.saw(st, now_us)

    def open(self) -> bool:
        """Open it under the name that it has now; tell whether it is open.

        A file that cannot be opened has an `error` instead.
        """
        if self._fd is not None:
            return True
        try:
            # O_NONBLOCK: should a FIFO have taken the name just now, opening it does not wait.
            fd = os.open(self.where, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._failed("opened", error)
            return False
        self._fd = fd
        self.error = None
        try:
            st = os.fstat(fd)
            if not stat.S_ISREG(st.st_mode) or key_of(st) != self.file:
                self.close()
                return False
            self._begin(fd, st.st_size)
        except OSError as error:
            self._failed("read", error)
            return False
        return True

    def _begin(self, fd: int, size: int) -> None:
        """Find where to start, if that is not yet known."""
        if self._resume is not None:
            resume, mark = self._resume, Mark.parse(self._resume.mark)
            head = os.pread(fd, HEAD_BYTES, 0)
            if mark.fits(head):
                # Where the whole folder has moved it was not rotated.
                if self.away or os.path.dirname(resume.path) == os.path.dirname(self.where):
                    self.path = resume.path
                self.resumed = True
                self._mark = mark
                self._head = head[: mark.length]
                self._stored = True
            else:
                self.offset = 0
                self._truncations += resume.path == self.where
            self._resume = None
        elif self._from_end:
            window = max(0, size - self._line_bytes)
            newline = os.pread(fd, size - window, window).rfind(b"\n")
            inside = newline < 0 < window
            self.offset = size if inside else window + newline + 1
            self._mark = Mark(skipping=inside)
            self._from_end = False
            self._announce = True

    def proves_same(self) -> bool:
        """Tell whether the open file is the one that we met, not another one in its inode."""
        if self._fd is None:
            return False
        try:
            head = os.pread(self._fd, HEAD_BYTES, 0)
            size = os.fstat(self._fd).st_size
        except OSError as error:
            self._failed("read", error)
            return False
        return head.startswith(self._head) and size >= max(self.size, self.offset)

    def close(self) -> None:
        """Give the handle back; reading opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def read(self, now_us: int) -> Chunk | None:
        """Read on by at most one chunk from the open file.

        Afterwards `at_end` says whether there is nothing more for now, and `error` whether reading
        failed. No chunk comes of a line that has not ended, of what is skipped, and of a file that
        turns out to have been truncated.
        """
        if self._fd is None:
            return None
        try:
            return self._read(self._fd, now_us)
        except OSError as error:
            self._failed("read", error)
            return None

    def _read(self, fd: int, now_us: int) -> Chunk | None:
        asked = self._chunk_bytes
        buffer = os.pread(fd, asked, self.offset)
        full = len(buffer) == asked <= self._line_bytes
        if full and not self._mark.skipping and b"\n" not in buffer:
            asked = self._line_bytes + 1
            buffer = os.pread(fd, asked, self.offset)
        # After the reading: what was read before the file was truncated is still what it was.
        if not self._same(fd, self.offset + len(buffer)):
            self._truncated()
            return None
        self.error = None
        self.at_end = len(buffer) < asked
        if self.at_end:
            self.eof_us = now_us
        if self._mark.skipping:
            self._skip(buffer)
            return None
        taken = take(buffer, self._line_bytes)
        if taken.used:
            return self._chunk(taken.data, taken.used, cut=taken.cut, skipping=taken.skipping)
        if self.at_end and not self._stored and (self._head or self._announce):
            # Should it be rotated while we are down, only a stored position tells that it was ours.
            return self._chunk(b"", 0)
        return None

    def rest(self) -> Chunk | None:
        """Deliver the last line of a file that nobody writes to any more, though it has no end."""
        if self._fd is None or self._mark.skipping:
            return None
        try:
            rest = os.pread(self._fd, self._line_bytes, self.offset)
        except OSError as error:
            self._failed("read", error)
            return None
        if not rest:
            return None
        return self._chunk(rest.removesuffix(b"\n") + b"\n", len(rest))

    def _skip(self, buffer: bytes) -> None:
        newline = buffer.find(b"\n")
        if newline < 0:
            self.offset += len(buffer)
            return
        self.offset += newline + 1
        self.at_end = False
        self._mark = Mark(self._mark.length, self._mark.crc)

    def _same(self, fd: int, read_to: int) -> bool:
        """Tell whether it is still the file that it was, and learn more of its start."""
        head = os.pread(fd, HEAD_BYTES, 0)
        size = os.fstat(fd).st_size
        if size < read_to or not head.startswith(self._head):
            return False
        self.size = self._proved_size = size
        if len(head) > len(self._head):
            crc = crc32c(head[len(self._head) :], self._mark.crc)
            self._mark = Mark(len(head), crc, self._mark.skipping)
            self._head = head
        return True

    def _truncated(self) -> None:
        self._truncations += 1
        self.lost_bytes += max(0, self._proved_size - self.offset)
        self.offset = self._proved_size = 0
        self.at_end = self._stored = False
        self._head = b""
        self._mark = Mark()

    def _chunk(self, data: bytes, used: int, *, cut: int = 0, skipping: bool = False) -> Chunk:
        start = self.offset
        self.offset += used
        self._mark = Mark(self._mark.length, self._mark.crc, skipping)
        self._cut_lines += cut
        self._stored = True
        return Chunk(self.path, self.file, str(self._mark), start, self.offset, data=data, cut=cut)

    def _failed(self, verb: str, error: OSError) -> None:
        # Closed, so that the next poll tries with a handle of its own.
        self.close()
        self.at_end = False
        self.error = (
            f"cannot be {verb}: {error.strerror};"
            f" give zombiewatch the right to read it, or leave it out of the patterns"
            if isinstance(error, PermissionError)
            else f"cannot be {verb}: {error.strerror}; it is tried again at each poll"
        )

    def position(self) -> Position:
        """Return where it stands."""
        return self._resume or Position(self.file, str(self._mark), self.offset, self.path)

    def status(self) -> FileStatus:
        """Return how it stands."""
        return FileStatus(
            path=self.where,
            file=self.file,
            offset=self.offset,
            size=self.size,
            behind_bytes=max(0, self.size - self.offset),
            eof_us=self.eof_us,
            error=self.error,
            cut_lines=self._cut_lines,
            lost_bytes=self.lost_bytes,
            truncations=self._truncations,
        )
