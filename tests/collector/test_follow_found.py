"""What patterns find, what of it is read, and how much of it is held open."""

import os
import socket
from pathlib import Path

import pytest

from collector.receivers import _follow_find
from tests.collector._watching import Watching, append, count, forbid, open_names


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


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

    def test_whole_tree(self, tmp_path: Path) -> None:
        """With `**` at the end, all that lies below is followed."""
        (tmp_path / "1").mkdir()
        watching = Watching(tmp_path / "**")
        watching.lines()
        watching.lines()
        append(tmp_path / "1" / "a", b"a\n")
        assert watching.lines() == [b"a\n"]

    def test_change_is_looked_at_twice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file that appears after a listing, within one tick of the disk's clock, is found."""
        ticks = [0]
        monkeypatch.setattr(_follow_find, "_mtime_ns", lambda _: ticks[0])
        watching = Watching(tmp_path / "*.log")
        watching.lines()
        watching.lines()
        ticks[0] = 1
        watching.lines()
        append(tmp_path / "a.log", b"1\n")
        assert watching.lines() == [b"1\n"]

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
        append(tmp_path / "b.log", b"newest\n")
        watching.restart()
        assert sorted(watching.lines()) == [b"new\n", b"newer\n", b"newest\n"]

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
            assert len(open_names(tmp_path)) <= 3

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

    def test_which_is_closed(self, tmp_path: Path) -> None:
        """The least recently changed file is closed; one that is not read to its end comes last."""
        for age, name in enumerate("abc"):
            append(tmp_path / name, b"1234567\n")
            os.utime(tmp_path / name, (1_000 - age, 1_000 - age))
        watching = Watching(tmp_path / "*", chunk_bytes=8, max_open=2)
        watching.lines()
        # Found in the order a, b; read in the order c, b, a, the longest unchanged first.
        while watching.lines():
            pass
        assert open_names(tmp_path) == ["a", "b"]
        with (tmp_path / "b").open("ab") as file:
            file.write(b"1234567\n" * 10)
        os.utime(tmp_path / "b", (1, 1))
        watching.lines(budget_bytes=1)
        append(tmp_path / "c", b"1234567\n")
        watching.lines(budget_bytes=1)
        assert open_names(tmp_path) == ["b", "c"]

    def test_folder_comes_back(self, tmp_path: Path) -> None:
        """A folder that vanishes and returns, as when it is mounted again, is not read again."""
        folder, unmounted = tmp_path / "logs", tmp_path / "unmounted"
        folder.mkdir()
        watching = Watching(folder / "*", max_open=1)
        for name in "abc":
            append(folder / name, b"1\n")
        assert len(watching.lines()) == 3
        folder.rename(unmounted)
        watching.lines()
        watching.later(10)
        watching.lines()
        unmounted.rename(folder)
        append(folder / "a", b"2\n")
        assert watching.lines() == [b"2\n"]

    def test_shorter_file_in_the_inode(self, tmp_path: Path) -> None:
        """A file that was seen and not opened yet is not mixed up with one that is shorter."""
        watching = Watching(tmp_path / "a", tmp_path / "b", max_open=1)
        append(tmp_path / "a", b"1234567\n")
        watching.lines()
        append(tmp_path / "b", b"1234567\n")
        watching.lines(budget_bytes=0)
        (tmp_path / "b").write_bytes(b"secret\n")
        (tmp_path / "b").rename(tmp_path / "private")
        assert watching.lines() == []

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
