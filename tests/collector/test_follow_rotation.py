"""Files that are rotated and truncated, while we watch and while we are down."""

import os
import shutil
from pathlib import Path

import pytest

from collector.receivers.follow import Follower, Position
from tests.collector._watching import Watching, append


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


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

    def test_rest_is_not_hurried(self, log: Path) -> None:
        """A line that has waited for long when its file is rotated still has its five seconds."""
        append(log, b"tw")
        watching = Watching(log)
        watching.lines()
        watching.later(3600)
        log.rename(log.with_suffix(".old"))
        assert watching.lines() == []
        append(log.with_suffix(".old"), b"o\n")
        assert watching.lines() == [b"two\n"]

    def test_rest_after_restart(self, log: Path) -> None:
        """That a file was rotated is known after a restart: its position tells its name."""
        append(log, b"one\ntw")
        watching = Watching(f"{log}*")
        watching.lines()
        watching.kill()
        log.rename(log.with_suffix(".log.1"))
        watching.restart()
        watching.lines()
        watching.later(5)
        assert watching.lines() == [b"tw\n"]

    def test_folder_renamed(self, tmp_path: Path) -> None:
        """A file whose folder has another name since the restart was not rotated."""
        before, after = tmp_path / "before", tmp_path / "after"
        before.mkdir()
        append(before / "a.log", b"one\ntw")
        watching = Watching(tmp_path / "*" / "a.log")
        watching.lines()
        watching.kill()
        before.rename(after)
        watching.restart()
        watching.lines()
        watching.later(5)
        assert watching.lines() == []
        append(after / "a.log", b"o\n")
        assert watching.lines() == [b"two\n"]

    def test_second_name(self, log: Path) -> None:
        """A file that gets one more name was not rotated."""
        append(log, b"tw")
        watching = Watching(log.parent / "*")
        watching.lines()
        os.link(log, log.with_name("a.link"))
        watching.lines()
        watching.later(5)
        assert watching.lines() == []
        assert watching.status(log).behind_bytes == 2

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

    def test_deleted_file_is_forgotten(self, log: Path) -> None:
        """Of a deleted file nothing is remembered: the next one often has its inode."""
        append(log, b"header\n")
        watching = Watching(log)
        watching.lines()
        log.unlink()
        watching.lines()
        watching.later(5)
        watching.lines()
        assert watching.follower._done == {}

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

    def test_while_down_and_folder_missing(self, tmp_path: Path) -> None:
        """It is found, too, where the folder appears only some time after the restart."""
        folder, unmounted = tmp_path / "logs", tmp_path / "unmounted"
        folder.mkdir()
        append(folder / "a.log", b"1\n")
        watching = Watching(folder / "a.log")
        watching.lines()
        watching.kill()
        append(folder / "a.log", b"2\n")
        (folder / "a.log").rename(folder / "a.old")
        folder.rename(unmounted)
        watching.restart()
        assert watching.lines() == []
        unmounted.rename(folder)
        assert watching.lines() == [b"2\n"]

    def test_while_down_without_proof(self, log: Path) -> None:
        """Of a file that was empty only its inode is known: that is too little to read another."""
        append(log, b"")
        watching = Watching(log, from_end=True)
        watching.lines()
        watching.kill()
        append(log, b"1\n")
        log.rename(log.with_suffix(".old"))
        watching.restart()
        assert watching.lines() == []

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

    def test_renamed_between_look_and_open(
        self, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A rotation in the very moment of opening mixes nothing up."""
        append(log, b"old\n")
        watching = Watching(log)
        real = os.open

        def rotate_and_open(path: str, flags: int) -> int:
            if not log.with_suffix(".old").exists():
                log.rename(log.with_suffix(".old"))
                log.write_bytes(b"new\n")
            return real(path, flags)

        monkeypatch.setattr(os, "open", rotate_and_open)
        lines = watching.lines()
        monkeypatch.undo()
        lines += watching.lines()
        assert lines == [b"old\n", b"new\n"]


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
