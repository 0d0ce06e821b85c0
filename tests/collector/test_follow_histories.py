"""Random histories of log files: every line is delivered exactly once."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.collector._watching import Watching, append


class RenameRotation(RuleBasedStateMachine):
    """A writer that rotates by renaming, and a follower that is killed at any moment.

    The pattern matches the current name alone, or the rotated ones as well. In the first case a
    file is not rotated before a position of it was stored, as otherwise nobody could know of it
    after a restart; in the second, not within a line, as otherwise nobody could know that it ever
    was the current one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.log = self.folder / "app.log"
        self.rotated = 0
        self.written = 0
        self.open_line = b""
        self.expected: list[bytes] = []
        self.got: list[bytes] = []
        self.up = True

    @initialize(
        all_names=st.booleans(),
        chunk_bytes=st.integers(1, 40),
        line_bytes=st.sampled_from([30, 1000]),
        max_open=st.integers(1, 3),
    )
    def start(self, chunk_bytes: int, line_bytes: int, max_open: int, *, all_names: bool) -> None:
        self.all_names = all_names
        self.line_bytes = line_bytes
        self.watching = Watching(
            f"{self.log}*" if all_names else self.log,
            chunk_bytes=chunk_bytes,
            line_bytes=line_bytes,
            max_open=max_open,
        )

    def end_line(self) -> None:
        if self.open_line:
            self.expected.append(self.open_line[: self.line_bytes] + b"\n")
            self.open_line = b""

    @rule(lengths=st.lists(st.integers(0, 60), min_size=1, max_size=5))
    def write_lines(self, lengths: list[int]) -> None:
        for length in lengths:
            self.written += 1
            text = b"%d %s" % (self.written, b"x" * length)
            append(self.log, text + b"\n")
            self.open_line += text
            self.end_line()

    @rule(length=st.integers(0, 60))
    def write_part(self, length: int) -> None:
        self.written += 1
        text = b"%d %s" % (self.written, b"p" * length)
        append(self.log, text)
        self.open_line += text

    @precondition(lambda self: self.may_rotate())
    @rule()
    def rotate(self) -> None:
        self.rotated += 1
        self.log.rename(f"{self.log}.{self.rotated}")
        self.end_line()

    @precondition(lambda self: self.all_names and self.may_rotate())
    @rule()
    def shift_all(self) -> None:
        """Rotate as logrotate does: each file takes the next name."""
        for number in range(self.rotated, 0, -1):
            Path(f"{self.log}.{number}").rename(f"{self.log}.{number + 1}")
        self.log.rename(f"{self.log}.1")
        self.rotated += 1
        self.end_line()

    @precondition(lambda self: self.up)
    @rule(budget_bytes=st.sampled_from([1, 10_000, 1 << 20]))
    def poll(self, budget_bytes: int) -> None:
        self.got += self.watching.lines(budget_bytes)

    @precondition(lambda self: self.up)
    @rule(at=st.integers(0, 5))
    def die_while_polling(self, at: int) -> None:
        self.got += self.watching.lines(killed_at=at)
        self.die()

    @precondition(lambda self: self.up)
    @rule()
    def die(self) -> None:
        self.watching.kill()
        self.up = False

    @precondition(lambda self: not self.up)
    @rule()
    def start_again(self) -> None:
        self.watching.restart()
        self.up = True

    @precondition(lambda self: self.up)
    @rule(seconds=st.sampled_from([1, 6]))
    def wait(self, seconds: int) -> None:
        # The writer goes on with a line within seconds, or never.
        if not self.open_line:
            self.watching.later(seconds)

    def may_rotate(self) -> bool:
        if not self.log.exists():
            return False
        now = self.log.stat()
        stored = self.watching.positions.get(f"{now.st_dev}:{now.st_ino}")
        return not self.open_line if self.all_names else stored is not None

    @invariant()
    def nothing_twice(self) -> None:
        assert len(self.got) == len(set(self.got))

    def teardown(self) -> None:
        try:
            if hasattr(self, "watching"):
                self.finish()
        finally:
            shutil.rmtree(self.folder)

    def finish(self) -> None:
        if not self.up:
            self.start_again()
        self.drain()
        if self.open_line:
            append(self.log, b"\n")
            self.end_line()
        for _ in range(3):
            self.drain()
            self.watching.later(6)
        self.watching.kill()
        assert sorted(self.got) == sorted(self.expected)
        assert all(not status.lost_bytes for status in self.watching.follower.statuses())

    def drain(self) -> None:
        for _ in range(25):
            self.got += self.watching.lines()


TestRenameRotation = RenameRotation.TestCase
TestRenameRotation.settings = settings(max_examples=150, stateful_step_count=40)
