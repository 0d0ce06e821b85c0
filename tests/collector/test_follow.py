"""Following files: each line once, through rotation, truncation and restarts."""

import os
import re
import shutil
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from collector.receivers import _follow_find
from collector.receivers.follow import Follower, Position
from tests.collector._watching import SECOND_US, Watching, append


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


class TestRenameRotation:
    def test_old_file_first(self, log: Path) -> None:
        """The old file is read to its end through its handle, then the new one from its start."""
        append(log, b"1\n")
        watching = Watching(log)
        assert watching.lines() == [b"1\n"]
        append(log, b"2\n")
        log.rename(log.with_suffix(".old"))
        append(log, b"3\n")
        assert watching.lines() == [b"2\n", b"3\n"]

    def test_old_file_first_when_long(self, log: Path) -> None:
        """However long the old file is, and over however many polls, it comes first."""
        append(log, b"1\n")
        watching = Watching(log, chunk_bytes=1000)
        watching.lines()
        append(log, b"2\n" * 10_000)
        log.rename(log.with_suffix(".old"))
        append(log, b"3\n")
        lines = [line for _ in range(20) for line in watching.lines(budget_bytes=40_000)]
        assert lines == [b"2\n"] * 10_000 + [b"3\n"]

    def test_writer_keeps_old_file(self, log: Path) -> None:
        """What a writer still adds to the old file after the rotation is delivered."""
        append(log, b"1\n")
        watching = Watching(log)
        watching.lines()
        with log.open("ab") as writer:
            log.rename(log.with_suffix(".old"))
            append(log, b"new\n")
            assert watching.lines() == [b"new\n"]
            watching.later(4)
            writer.write(b"la")
            writer.flush()
            assert watching.lines() == []
            watching.later(4)
            writer.write(b"te\n")
            writer.flush()
            assert watching.lines() == [b"late\n"]

    @pytest.mark.parametrize("gone", ["renamed", "deleted"])
    def test_rest_is_a_line(self, log: Path, gone: str) -> None:
        """The last line of a file that went away is delivered though it has no newline."""
        append(log, b"one\ntw")
        watching = Watching(log)
        watching.lines()
        if gone == "renamed":
            log.rename(log.with_suffix(".old"))
        else:
            log.unlink()
        assert watching.lines() == []
        watching.later(4.9)
        assert watching.lines() == []
        watching.later(0.1)
        assert watching.lines() == [b"two\n"[:2] + b"\n"]
        watching.later(10)
        assert watching.lines() == []
        assert watching.follower.statuses() == []

    def test_rest_of_file_that_still_matches(self, log: Path) -> None:
        """The same holds where the pattern matches the rotated name, too."""
        append(log, b"one\ntw")
        watching = Watching(f"{log}*")
        watching.lines()
        log.rename(log.with_suffix(".log.1"))
        append(log, b"three\n")
        assert watching.lines() == [b"three\n"]
        watching.later(5)
        assert watching.lines() == [b"tw\n"]
        watching.restart()
        watching.later(5)
        assert watching.lines() == []

    def test_name_matches_after_rotation(self, log: Path) -> None:
        """A rotated file that still matches is the same file, and is not read again."""
        append(log, b"1\n")
        watching = Watching(f"{log}*")
        watching.lines()
        append(log, b"2\n")
        log.rename(log.with_suffix(".log.1"))
        append(log, b"3\n")
        assert watching.lines() == [b"2\n", b"3\n"]
        assert len(watching.follower.statuses()) == 2

    def test_file_comes_back(self, log: Path) -> None:
        """A file that was away long enough to be forgotten is not read again when it returns."""
        append(log, b"1\n")
        watching = Watching(f"{log}*")
        watching.lines()
        away = log.with_name("moving")
        log.rename(away)
        watching.lines()
        watching.later(10)
        watching.lines()
        assert watching.follower.statuses() == []
        append(away, b"2\n")
        away.rename(log.with_suffix(".log.1"))
        assert watching.lines() == [b"2\n"]

    def test_while_down(self, log: Path) -> None:
        """What was rotated to a name that no pattern matches, while we were down, comes first."""
        append(log, b"1\n")
        watching = Watching(log)
        watching.lines()
        watching.kill()
        append(log, b"2\nre")
        log.rename(log.with_suffix(".old"))
        append(log, b"3\n")
        watching.restart()
        assert watching.lines() == [b"2\n", b"3\n"]
        watching.later(5)
        assert watching.lines() == [b"re\n"]
        watching.restart()
        watching.later(10)
        assert watching.lines() == []

    def test_while_down_only_partial_line(self, log: Path) -> None:
        """That holds for a file that had given no whole line yet."""
        append(log, b"star")
        watching = Watching(log)
        assert watching.lines() == []
        watching.kill()
        append(log, b"t\n")
        log.rename(log.with_suffix(".old"))
        append(log, b"new\n")
        watching.restart()
        assert watching.lines() == [b"start\n", b"new\n"]

    def test_while_down_behind_symlink(self, tmp_path: Path) -> None:
        """It is found, too, in the folder that a symlink leads to."""
        target = tmp_path / "pods" / "0.log"
        target.parent.mkdir()
        append(target, b"1\n")
        link = tmp_path / "app.log"
        link.symlink_to(target)
        watching = Watching(link)
        watching.lines()
        watching.kill()
        append(target, b"2\n")
        target.rename(target.with_suffix(".log.20251120"))
        append(target, b"3\n")
        watching.restart()
        assert watching.lines() == [b"2\n", b"3\n"]

    def test_no_longer_wanted(self, log: Path) -> None:
        """A file with a stored position that patterns no longer match is left alone."""
        append(log, b"1\n")
        watching = Watching(log)
        watching.lines()
        append(log, b"2\n")
        follower = Follower(
            [f"{log}.other"], watching.positions.values(), now_us=lambda: watching.now_us
        )
        assert list(follower.poll()) == []

    def test_symlink_switches(self, tmp_path: Path) -> None:
        """A symlink that comes to lead elsewhere is a rotation."""
        link = tmp_path / "current"
        append(tmp_path / "1", b"1\n")
        link.symlink_to("1")
        watching = Watching(link)
        watching.lines()
        append(tmp_path / "1", b"one more\n")
        append(tmp_path / "2", b"2\n")
        link.unlink()
        link.symlink_to("2")
        assert watching.lines() == [b"one more\n", b"2\n"]

    def test_inode_used_again(self, log: Path) -> None:
        """Another file with the same inode, told by its mark, is read from its start."""
        append(log, b"first\n" * 10)
        watching = Watching(log)
        watching.lines()
        watching.kill()
        log.write_bytes(b"other\n" * 10 + b"last\n")
        watching.restart()
        assert watching.lines() == [b"other\n"] * 10 + [b"last\n"]
        assert watching.status(log).truncations == 1

    def test_inode_used_again_by_unmatched_file(self, tmp_path: Path) -> None:
        """Another file that took the inode, under a name that nobody asked for, is not read."""
        log = tmp_path / "app.log"
        append(log, b"ours\n")
        watching = Watching(log)
        watching.lines()
        watching.kill()
        log.write_bytes(b"a secret that is longer\n")
        log.rename(tmp_path / "private")
        append(log, b"new\n")
        watching.restart()
        assert watching.lines() == [b"new\n"]

    def test_device_number_changed(self, log: Path) -> None:
        """A file whose device has another number since the restart is still the same."""
        append(log, b"1\n")
        watching = Watching(log)
        watching.lines()
        (position,) = watching.positions.values()
        device, inode = position.file.split(":")
        moved = Position(f"{device}1:{inode}", position.mark, position.offset, position.path)
        watching.positions = {moved.file: moved}
        watching.restart()
        append(log, b"2\n")
        assert watching.lines() == [b"2\n"]


class TestTruncation:
    def test_copytruncate(self, log: Path) -> None:
        """A file that became shorter is read from its start, and that is counted."""
        append(log, b"one\ntwo\n")
        watching = Watching(log)
        watching.lines()
        shutil.copy(log, log.with_suffix(".1"))
        os.truncate(log, 0)
        append(log, b"3\n")
        assert watching.lines() == [b"3\n"]
        assert watching.status(log).truncations == 1
        assert watching.status(log).lost_bytes == 0

    def test_grown_past_us(self, log: Path) -> None:
        """That holds, too, where it has grown past where we were: its start is another."""
        append(log, b"one\n")
        watching = Watching(log)
        watching.lines()
        os.truncate(log, 0)
        append(log, b"two\nthree\n")
        assert watching.lines() == [b"two\n", b"three\n"]
        assert watching.status(log).truncations == 1

    def test_unread_is_lost(self, log: Path) -> None:
        """What we saw was there, and did not read before it was cut off, is counted as lost."""
        append(log, b"1234567\n" * 100)
        watching = Watching(log, chunk_bytes=80)
        assert len(watching.lines(budget_bytes=1)) == 10
        os.truncate(log, 0)
        append(log, b"new\n")
        assert watching.lines() == [b"new\n"]
        assert watching.status(log).lost_bytes == 720

    def test_while_down(self, log: Path) -> None:
        """A truncation while we were down is noticed by the size."""
        append(log, b"same\n" * 400)
        watching = Watching(log)
        watching.lines()
        os.truncate(log, 5 * 300)
        watching.restart()
        assert len(watching.lines()) == 300
        assert watching.status(log).truncations == 1


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


class TestWhatIsThere:
    def test_folder_appears(self, tmp_path: Path) -> None:
        """A folder that does not exist yet is watched for."""
        folder = tmp_path / "not" / "yet"
        watching = Watching(folder / "*.log", folder / "fixed")
        assert watching.lines() == []
        folder.mkdir(parents=True)
        append(folder / "a.log", b"a\n")
        append(folder / "fixed", b"b\n")
        assert sorted(watching.lines()) == [b"a\n", b"b\n"]

    def test_recursive_pattern(self, tmp_path: Path) -> None:
        """With `**` folders are followed as they appear, however deep."""
        watching = Watching(tmp_path / "**" / "*.log")
        append(tmp_path / "a.log", b"a\n")
        assert watching.lines() == [b"a\n"]
        deep = tmp_path / "1" / "2"
        deep.mkdir(parents=True)
        append(deep / "b.log", b"b\n")
        assert watching.lines() == [b"b\n"]

    def test_permission(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that may not be read is a status, and is read as soon as it may be."""
        append(log, b"one\n")
        watching = Watching(log)
        forbid(monkeypatch, "open", log)
        assert watching.lines() == []
        assert watching.status(log).error == (
            "cannot be opened: Permission denied;"
            " give zombiewatch the right to read it, or leave it out of the patterns"
        )
        assert watching.follower.caught_up_us() is None
        monkeypatch.undo()
        assert watching.lines() == [b"one\n"]
        assert watching.status(log).error is None

    def test_permission_keeps_position(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that may not be read for a while after a restart goes on where it was."""
        append(log, b"one\n")
        watching = Watching(log)
        watching.lines()
        append(log, b"two\n")
        watching.restart()
        forbid(monkeypatch, "open", log)
        watching.lines()
        assert watching.status(log).offset == 4
        monkeypatch.undo()
        assert watching.lines() == [b"two\n"]

    def test_folder_permission(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A folder that may not be listed is a status, and nothing is said to be caught up."""
        watching = Watching(log.parent / "*")
        forbid(monkeypatch, "scandir", log.parent)
        assert watching.lines() == []
        assert "Permission denied" in (watching.status(log.parent).error or "")
        assert watching.follower.caught_up_us() is None

    def test_only_files_are_opened(self, tmp_path: Path) -> None:
        """Folders, FIFOs and sockets are not opened: some would block for ever."""
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "fifo")
        append(tmp_path / "file", b"1\n")
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(tmp_path / "socket"))
            watching = Watching(tmp_path / "*")
            assert watching.lines() == [b"1\n"]
        errors = {Path(s.path).name: s.error for s in watching.follower.statuses()}
        assert errors == {
            "fifo": "is a FIFO, and only files can be followed",
            "file": None,
            "socket": "is a socket, and only files can be followed",
        }

    @pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst"])
    def test_compressed(self, log: Path, suffix: str) -> None:
        """A compressed file is not read, and its status says so."""
        packed = log.with_suffix(f".log.1.{suffix}")
        append(packed, b"\x1f\x8b\n")
        watching = Watching(f"{log}*")
        assert watching.lines() == []
        assert "is compressed" in (watching.status(packed).error or "")

    def test_read_once(self, tmp_path: Path) -> None:
        """A file with two names, or that two patterns match, is read once."""
        append(tmp_path / "a.log", b"1\n")
        os.link(tmp_path / "a.log", tmp_path / "b.log")
        (tmp_path / "c.log").symlink_to("a.log")
        watching = Watching(tmp_path / "*.log", tmp_path / "a*")
        assert watching.lines() == [b"1\n"]
        (status,) = watching.follower.statuses()
        assert status.path == str(tmp_path / "a.log")

    def test_relisted_now_and_then(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What does not show in a folder's mtime is found after some polls all the same."""
        watching = Watching(tmp_path / "*.log")
        monkeypatch.setattr(_follow_find, "_mtime_ns", lambda _: 0)
        watching.lines()
        watching.lines()
        append(tmp_path / "a.log", b"1\n")
        polls = [watching.lines() for _ in range(_follow_find.RESCAN_POLLS)]
        assert polls[0] == []
        assert [lines for lines in polls if lines] == [[b"1\n"]]

    def test_from_end(self, tmp_path: Path) -> None:
        """On the first start what is there can be left out; what appears later is read whole."""
        append(tmp_path / "a.log", b"old\nha")
        append(tmp_path / "empty.log", b"")
        watching = Watching(tmp_path / "*.log", from_end=True)
        assert watching.lines() == []
        append(tmp_path / "a.log", b"lf\n")
        append(tmp_path / "b.log", b"new\n")
        assert sorted(watching.lines()) == [b"half\n", b"new\n"]

    def test_from_end_restarted(self, tmp_path: Path) -> None:
        """From then on a restart loses nothing, though nothing had been delivered."""
        append(tmp_path / "a.log", b"old\n")
        append(tmp_path / "empty.log", b"")
        watching = Watching(tmp_path / "*.log", from_end=True)
        watching.lines()
        watching.kill()
        append(tmp_path / "a.log", b"new\n")
        append(tmp_path / "empty.log", b"newer\n")
        watching.restart()
        assert sorted(watching.lines()) == [b"new\n", b"newer\n"]

    def test_from_end_inside_a_long_line(self, log: Path) -> None:
        """A line that is too long, and not at its end when we start, is left out whole."""
        append(log, b"x" * 100)
        watching = Watching(log, line_bytes=10, from_end=True)
        watching.lines()
        append(log, b"x\nnew\n")
        assert watching.lines() == [b"new\n"]


class TestManyFiles:
    def test_max_open(self, tmp_path: Path) -> None:
        """More files than may be open are read without loss, over several rounds."""
        watching = Watching(tmp_path / "*", max_open=3)
        for round_ in range(3):
            expected = []
            for number in range(20):
                line = b"%d in %d\n" % (number, round_)
                append(tmp_path / str(number), line)
                expected.append(line)
            assert sorted(watching.lines()) == sorted(expected)
            assert open_below(tmp_path) <= 3

    def test_closed_file_rotates(self, tmp_path: Path) -> None:
        """A file that is closed for lack of handles, and rotated meanwhile, is found again."""
        watching = Watching(*(tmp_path / name for name in "abc"), max_open=1)
        for name in "abc":
            append(tmp_path / name, b"1\n")
        assert len(watching.lines()) == 3
        for name in "abc":
            append(tmp_path / name, b"2\n")
            (tmp_path / name).rename(tmp_path / f"{name}.old")
            append(tmp_path / name, b"3\n")
        assert sorted(watching.lines()) == [b"2\n"] * 3 + [b"3\n"] * 3

    def test_vanished_unread(self, tmp_path: Path) -> None:
        """What vanishes while we have no handle of it is counted as lost, and said."""
        paths = [tmp_path / name for name in "abc"]
        watching = Watching(*paths, max_open=1)
        for path in paths:
            append(path, b"1234567\n")
        watching.lines(budget_bytes=1)
        for path in paths:
            path.unlink()
        watching.lines()
        lost = [status for status in watching.follower.statuses() if status.lost_bytes]
        assert [status.lost_bytes for status in lost] == [8, 8]
        assert lost[0].error == "vanished with 8 bytes unread: raise max_open, or rotate less often"

    def test_another_file_in_the_inode(self, tmp_path: Path) -> None:
        """A file that takes the inode of one that vanished, unmatched, is not read in its place."""
        paths = [tmp_path / name for name in "ab"]
        watching = Watching(*paths, max_open=1)
        for path in paths:
            append(path, path.name.encode() * 20 + b"\n")
        assert len(watching.lines()) == 2
        for path in paths:
            path.write_bytes(b"secret\n" * 10)
            path.rename(path.with_suffix(".private"))
        lines = watching.lines()
        # The one that was open is the same file to everybody: truncated, then renamed.
        assert lines == [b"secret\n"] * 10

    def test_idle_is_only_stat(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Looking at a hundred idle files stats each and its folder once; nothing is opened."""
        for number in range(100):
            append(tmp_path / str(number), b"line\n")
        watching = Watching(tmp_path / "*")
        while watching.lines():
            pass
        watching.lines()
        calls: list[str] = []
        for name in ("stat", "open", "pread", "scandir", "fstat", "lstat", "listdir"):
            count(monkeypatch, name, calls)
        assert watching.lines() == []
        assert calls == ["stat"] * 101


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
        assert open_below(log.parent) == 0
        append(log, b"2\n")
        assert watching.lines() == [b"2\n"]


def forbid(monkeypatch: pytest.MonkeyPatch, call: str, path: Path) -> None:
    """Let a call of `os` be refused for one path; file modes do not bind root, who runs CI."""
    real = getattr(os, call)

    def refuse(name: Any, *args: Any) -> Any:
        if os.fspath(name).rstrip("/") == str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(name, *args)

    monkeypatch.setattr(os, call, refuse)


def count(monkeypatch: pytest.MonkeyPatch, call: str, calls: list[str]) -> None:
    real = getattr(os, call)

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(call)
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, counted)


def open_below(folder: Path) -> int:
    """Return how many of this process's handles are of files in a folder."""
    handles = Path("/proc/self/fd")
    names = [os.readlink(handle) for handle in handles.iterdir() if handle.is_symlink()]
    return sum(name.startswith(f"{folder}/") for name in names)
