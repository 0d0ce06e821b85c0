"""Following files: each line once, from the file to the chunk."""

import os
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from collector.receivers.follow import Follower, Position
from tests.collector._watching import SECOND_US, Watching, append, open_names


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


class TestLines:
    def test_whole_lines(self, log: Path) -> None:
        """What is there is delivered, then what is added, with its place in the file."""
        append(log, b"one\ntwo\n")
        watching = Watching(log)
        assert watching.lines() == [b"one\n", b"two\n"]
        append(log, b"three\n")
        assert watching.lines() == [b"three\n"]
        assert watching.lines() == []
        st = log.stat()
        chunk = watching.chunks[-1]
        assert (chunk.path, chunk.file) == (str(log), f"{st.st_dev}:{st.st_ino}")
        assert (chunk.start, chunk.end, chunk.cut) == (8, 14, 0)

    def test_partial_line_waits(self, log: Path) -> None:
        """The start of a line is not delivered before its newline is there."""
        append(log, b"one\ntw")
        watching = Watching(log)
        assert watching.lines() == [b"one\n"]
        watching.later(3600)
        assert watching.lines() == []
        append(log, b"o\n")
        assert watching.lines() == [b"two\n"]

    def test_restart_in_partial_line(self, log: Path) -> None:
        """A restart in the middle of a line neither loses its start nor splits it."""
        append(log, b"one\ntw")
        watching = Watching(log)
        assert watching.lines() == [b"one\n"]
        watching.restart()
        assert watching.lines() == []
        watching.restart()
        append(log, b"o\nthr")
        assert watching.lines() == [b"two\n"]
        watching.kill()
        append(log, b"ee\n")
        watching.restart()
        assert watching.lines() == [b"three\n"]

    def test_not_stored_is_given_again(self, log: Path) -> None:
        """A chunk whose position was not stored is given again after a restart."""
        append(log, b"one\n" * 10)
        watching = Watching(log, chunk_bytes=8)
        assert watching.lines(killed_at=2) == [b"one\n"] * 4
        watching.restart()
        assert watching.lines() == [b"one\n"] * 6

    def test_bytes_pass_through(self, log: Path) -> None:
        """Binary data, carriage returns and empty lines arrive as they are."""
        data = b"\x00\xff\xfe\r\n\n\x1b[0m\r\n\xc3\n"
        append(log, data)
        watching = Watching(log)
        watching.lines()
        assert watching.chunks[0].data == data

    def test_line_longer_than_a_chunk(self, log: Path) -> None:
        """A line may be longer than what is read at a time."""
        append(log, b"a" * 50 + b"\nb\n")
        watching = Watching(log, chunk_bytes=8, line_bytes=100)
        assert watching.lines() == [b"a" * 50 + b"\n", b"b\n"]

    def test_budget(self, tmp_path: Path) -> None:
        """A poll ends about when its budget is spent, and files take turns."""
        for name in "abc":
            append(tmp_path / name, b"12345678\n" * 10_000)
        watching = Watching(tmp_path / "*", chunk_bytes=9_000)
        assert len(watching.lines(budget_bytes=27_000)) == 3_000
        assert {Path(chunk.path).name for chunk in watching.chunks} == {"a", "b", "c"}
        assert len(watching.lines()) == 27_000

    def test_busy_file_does_not_starve_others(self, tmp_path: Path) -> None:
        """A file that gives more than a poll reads leaves the others their turns."""
        append(tmp_path / "busy", b"12345678\n" * 10_000)
        watching = Watching(tmp_path / "*", chunk_bytes=9_000)
        watching.lines(budget_bytes=9_000)
        append(tmp_path / "calm", b"hello\n")
        assert b"hello\n" in watching.lines(budget_bytes=18_000)

    def test_every_file_has_its_turn(self, tmp_path: Path) -> None:
        """However little a poll reads, no file waits until another one is read to its end."""
        for name in "abc":
            append(tmp_path / name, b"12345678\n" * 10)
        watching = Watching(tmp_path / "*", chunk_bytes=9)
        for _ in range(6):
            watching.lines(budget_bytes=1)
        assert sorted(Path(chunk.path).name for chunk in watching.chunks) == list("aabbcc")


class TestLongLines:
    def test_cut(self, log: Path) -> None:
        """A line that is too long is cut, its rest skipped, and counted; at the limit it is not."""
        append(log, b"a" * 10 + b"\n" + b"b" * 11 + b"\n" + b"c" * 35 + b"\nd\n")
        watching = Watching(log, line_bytes=10)
        assert watching.lines() == [b"a" * 10 + b"\n", b"b" * 10 + b"\n", b"c" * 10 + b"\n", b"d\n"]
        (chunk,) = watching.chunks
        assert (chunk.cut, chunk.end) == (2, log.stat().st_size)
        assert watching.status(log).cut_lines == 2

    @pytest.mark.parametrize("restart", [False, True])
    @pytest.mark.parametrize("chunk_bytes", [4, 10, 1000])
    def test_skipped_across_polls(self, log: Path, chunk_bytes: int, *, restart: bool) -> None:
        """The rest of a cut line is skipped whenever it comes, after a restart, too."""
        watching = Watching(log, line_bytes=10, chunk_bytes=chunk_bytes)
        lines = []
        for data in (b"x" * 10, b"x", b"x" * 100, b"x" * 10 + b"\nnext\n", b"y" * 11 + b"\n"):
            append(log, data)
            lines += watching.lines()
            if restart:
                watching.restart()
        assert lines == [b"x" * 10 + b"\n", b"next\n", b"y" * 10 + b"\n"]
        assert sum(chunk.cut for chunk in watching.chunks) == 2

    def test_memory_is_bounded(self, log: Path) -> None:
        """A line of 200 MB, here a hole of NULs, takes no more memory than a few chunks."""
        append(log, b"before\n")
        os.truncate(log, 200 << 20)
        append(log, b"\nafter\n")
        watching = Watching(log)
        lines: list[bytes] = []
        tracemalloc.start()
        try:
            for _ in range(100):
                lines += watching.lines(budget_bytes=4 << 20)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert lines == [b"before\n", bytes(1 << 20) + b"\n", b"after\n"]
        assert peak < 10 << 20

    def test_rest_of_cut_line_at_end(self, log: Path) -> None:
        """A cut line that ends with its rotated file leaves nothing behind."""
        append(log, b"x" * 25)
        watching = Watching(log, line_bytes=10)
        assert watching.lines() == [b"x" * 10 + b"\n"]
        log.unlink()
        watching.lines()
        watching.later(5)
        assert watching.lines() == []
        assert watching.follower.statuses() == []


class TestCaughtUp:
    def test_nothing_there(self, log: Path) -> None:
        """Where there is no file, nothing is missing: the clock's now, once we looked."""
        watching = Watching(log)
        watching.later(7)
        assert watching.follower.caught_up_us() is None
        watching.lines()
        watching.later(1)
        assert watching.follower.caught_up_us() == 8 * SECOND_US

    def test_oldest_end(self, tmp_path: Path) -> None:
        """It is when the file that is furthest behind was last read to its end."""
        append(tmp_path / "a", b"1234567\n")
        watching = Watching(tmp_path / "*", chunk_bytes=8)
        watching.later(1)
        watching.lines()
        assert watching.follower.caught_up_us() == 1 * SECOND_US
        watching.later(1)
        watching.lines()
        assert watching.follower.caught_up_us() == 2 * SECOND_US
        append(tmp_path / "a", b"1234567\n" * 5)
        watching.later(1)
        watching.lines(budget_bytes=1)
        assert watching.follower.caught_up_us() == 2 * SECOND_US
        assert watching.status(tmp_path / "a").behind_bytes == 32
        append(tmp_path / "b", b"1234567\n" * 5)
        watching.lines(budget_bytes=1)
        assert watching.follower.caught_up_us() is None
        watching.later(1)
        watching.lines()
        assert watching.follower.caught_up_us() == 4 * SECOND_US

    def test_rotated_file_holds_back(self, log: Path) -> None:
        """A rotated file counts until it is read to its end."""
        append(log, b"1\n")
        watching = Watching(log, chunk_bytes=8)
        watching.lines()
        append(log, b"1234567\n" * 5)
        log.rename(log.with_suffix(".old"))
        watching.later(1)
        watching.lines(budget_bytes=1)
        assert watching.follower.caught_up_us() == 0
        watching.lines()
        assert watching.follower.caught_up_us() == 1 * SECOND_US


class TestErrors:
    def test_read_fails(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A read that fails is a status; the file is opened anew and read at the next poll."""
        append(log, b"1\n")
        watching = Watching(log)

        def broken(*_: Any) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "pread", broken)
        assert watching.lines() == []
        assert watching.status(log).error == (
            "cannot be read: Input/output error; it is tried again at each poll"
        )
        monkeypatch.undo()
        assert watching.lines() == [b"1\n"]

    def test_bad_mark(self, log: Path) -> None:
        """A position that makes no sense is refused at the start, and how to mend it is said."""
        position = Position("1:2", "nonsense", 0, str(log))
        message = (
            "'nonsense' is no mark of a followed file: expected length:crc32c, as in"
            " 1024:1a2b3c4d; remove that position to read the file from its start"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            Follower([str(log)], [position], now_us=lambda: 0)

    @pytest.mark.parametrize("name", ["chunk_bytes", "line_bytes", "max_open"])
    def test_bad_limit(self, log: Path, name: str) -> None:
        """A limit below one is refused."""
        limits: dict[str, Any] = {name: 0}
        with pytest.raises(ValueError, match=f"^{name} is 0: set it to 1 or more$"):
            Follower([str(log)], [], now_us=lambda: 0, **limits)

    def test_polls_after_close(self, log: Path) -> None:
        """After a close all handles are given back, and another poll goes on."""
        append(log, b"1\n")
        watching = Watching(log)
        watching.lines()
        watching.follower.close()
        assert open_names(log.parent) == []
        append(log, b"2\n")
        assert watching.lines() == [b"2\n"]
