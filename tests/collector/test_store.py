"""The store keeps its promise: what was acknowledged is there, once, whatever happened."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from collector.store import checkpoint
from collector.store.folder import DataFolderError
from collector.store.journal import Entry, JournalFullError
from tests.collector.stores import START_US, Turned, ask, crash, line, send, store

if TYPE_CHECKING:
    from pathlib import Path


def test_a_killed_store_has_everything_after_its_restart(tmp_path: Path) -> None:
    """Without any checkpoint, the journal alone brings every signal and row back, once."""
    one = store(tmp_path)
    for number in range(5):
        send(one, line("task.dispatched", START_US, service="oxr", task_id=f"t{number}"))
    crash(one)
    two = store(tmp_path)
    assert [len(two.timeline("task", f"t{number}")) for number in range(5)] == [1] * 5
    assert ask(two, "SELECT count(DISTINCT task), count(*) FROM attempts") == [(5, 5)]
    two.close()


def test_a_checkpoint_and_a_replay_add_up_to_once(tmp_path: Path) -> None:
    """What a snapshot covers is not replayed, what came after it is."""
    one = store(tmp_path)
    send(one, line("task.dispatched", START_US, service="oxr", task_id="a"))
    assert one.checkpoint()
    send(one, line("task.dispatched", START_US, service="oxr", task_id="b"))
    crash(one)
    two = store(tmp_path)
    assert ask(two, "SELECT task FROM attempts ORDER BY task") == [("a",), ("b",)]
    assert [row["task"] for row in two.timeline("task", "a")] == ["a"]
    assert [row["task"] for row in two.timeline("task", "b")] == ["b"]
    two.close()


def test_a_damaged_snapshot_is_set_aside_and_the_older_one_serves(tmp_path: Path) -> None:
    """The journal is trimmed only behind the older of two snapshots: nothing is lost by one."""
    one = store(tmp_path)
    for task in "abc":
        send(one, line("task.dispatched", START_US, service="oxr", task_id=task))
        assert one.checkpoint()
    crash(one)
    newest = max(tmp_path.glob("snapshots/*-attempts_rows.parquet"))
    body = bytearray(newest.read_bytes())
    body[len(body) // 2] ^= 0xFF
    newest.write_bytes(body)
    two = store(tmp_path)
    assert two.damaged == 1
    assert ask(two, "SELECT task FROM attempts ORDER BY task") == [("a",), ("b",), ("c",)]
    assert [two.timeline("task", task)[0]["task"] for task in "abc"] == ["a", "b", "c"]
    assert list((tmp_path / "damaged").iterdir())
    two.close()


def test_an_interrupted_checkpoint_leaves_nothing_behind(tmp_path: Path) -> None:
    """Files that no manifest names are rubbish, and are swept."""
    one = store(tmp_path)
    send(one, line("task.dispatched", START_US, service="oxr", task_id="a"))
    assert one.checkpoint()
    crash(one)
    stray = tmp_path / "segments" / "signals-00000000000000000099.parquet"
    stray.write_bytes(b"half")
    (tmp_path / "snapshots" / "x.partial").write_bytes(b"half")
    two = store(tmp_path)
    assert not stray.exists()
    assert not list(tmp_path.glob("snapshots/*.partial"))
    assert ask(two, "SELECT count(*) FROM attempts") == [(1,)]
    two.close()


def test_a_damaged_journal_record_is_skipped_and_counted(tmp_path: Path) -> None:
    """One flipped bit costs one record, not the start."""
    one = store(tmp_path)
    for task in "abc":
        send(one, line("task.dispatched", START_US, service="oxr", task_id=task))
    crash(one)
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        db.execute("UPDATE record SET body = zeroblob(length(body)) WHERE id = 2")
    db.close()
    two = store(tmp_path)
    assert two.damaged == 1
    assert ask(two, "SELECT task FROM attempts ORDER BY task") == [("a",), ("c",)]
    two.close()


def test_the_journal_is_trimmed_behind_the_older_snapshot(tmp_path: Path) -> None:
    """After three checkpoints only what the second-last does not cover is still in the journal."""
    one = store(tmp_path)
    for task in "abc":
        send(one, line("task.dispatched", START_US, service="oxr", task_id=task))
        assert one.checkpoint()
    records, _ = one._journal.read(0)
    assert [record.id for record in records] == [3]
    one.close()


def test_a_position_is_kept_with_its_chunk_or_not_at_all(tmp_path: Path) -> None:
    """A file's position and the chunk that it stands for are one transaction."""
    one = store(tmp_path)
    send(one, b"{}\n", position=("f", "m", 3, "a.log"))
    one._journal._max_bytes = 0
    with pytest.raises(JournalFullError):
        one.append(Entry("lines", START_US, b"{}\n", {}, ("f", "m", 6, "a.log"))).result(10)
    assert one.positions() == [("f", "m", 3, "a.log")]
    assert one.refused_full == 1
    one._journal._max_bytes = 1 << 30
    send(one, b"{}\n", position=("f", "m", 6, "a.log"))
    crash(one)
    two = store(tmp_path)
    assert two.positions() == [("f", "m", 6, "a.log")]
    two.close()


def test_settled_rows_leave_memory_and_come_back_for_a_late_signal(tmp_path: Path) -> None:
    """A late key is folded with its history: a finished task does not become a zombie again."""
    clock = Turned()
    one = store(tmp_path, clock, settle_s=10.0)
    story = [
        line("task.dispatched", clock(), service="oxr", task_id="a"),
        line("task.started", clock(), service="agent", task_id="a"),
        line("task.finished", clock(), service="agent", task_id="a", task_outcome="success"),
        line("task.recorded", clock(), service="oxr", task_id="a", task_state="success"),
    ]
    send(one, *story)
    clock.on(60)
    assert one.checkpoint()
    assert ask(one, "SELECT count(*) FROM attempts") == [(0,)]
    send(one, story[0])
    found = ask(one, "SELECT task, recorded_state, outcome, joined_late FROM attempts")
    assert found == [("a", "success", "success", False)]
    assert ask(one, "SELECT count(*) FROM open_attempts") == [(0,)]
    one.close()


def test_a_late_key_that_nobody_knows_is_joined_late(tmp_path: Path) -> None:
    """A hand-out from before the settle time, unknown to history, supports no verdict."""
    clock = Turned()
    one = store(tmp_path, clock, settle_s=10.0)
    send(one, line("task.dispatched", clock() - 3_600_000_000, service="oxr", task_id="old"))
    send(one, line("task.dispatched", clock(), service="oxr", task_id="new"))
    send(one, line("task.started", clock(), service="agent", task_id="middle"))
    found = ask(one, "SELECT task, joined_late FROM attempts ORDER BY task")
    assert found == [("middle", True), ("new", False), ("old", True)]
    one.close()


def test_retention_deletes_the_oldest_segments_by_age_and_by_size(tmp_path: Path) -> None:
    """History is bounded by `max_age_s` and by `max_bytes`."""
    clock = Turned()
    one = store(tmp_path, clock, keep_s=3600.0)
    for task in "abc":
        send(one, line("task.enqueued", clock(), service="oxr", task_id=task))
        assert one.checkpoint()
        clock.on(2000)
    send(one, line("task.enqueued", clock(), service="oxr", task_id="d"))
    assert one.checkpoint()
    assert one.timeline("task", "a") == []
    assert len(one.timeline("task", "c")) == 1
    one.close()
    small = store(tmp_path, clock, keep_bytes=1)
    send(small, line("task.enqueued", clock(), service="oxr", task_id="e"))
    assert small.checkpoint()
    assert small.timeline("task", "d") == []
    small.close()


def test_small_segments_are_merged(tmp_path: Path) -> None:
    """Many checkpoints make few files, and nothing of them is lost or doubled."""
    one = store(tmp_path)
    for number in range(20):
        send(one, line("task.enqueued", START_US, service="oxr", task_id=f"t{number}"))
        assert one.checkpoint()
    files = [file for file in one.history.segments if file.table == "signals"]
    assert len(files) < 10
    assert sum(file.rows for file in files) == 20
    assert len(one.timeline("task", "t0")) == 1
    one.close()


def test_a_checkpoint_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    """A folder that cannot be written costs a checkpoint, not a signal."""
    one = store(tmp_path)
    send(one, line("task.enqueued", START_US, service="oxr", task_id="a"))
    segments = tmp_path / "segments"
    segments.rmdir()
    segments.write_text("in the way")
    assert not one.checkpoint()
    assert len(one.timeline("task", "a")) == 1
    segments.unlink()
    segments.mkdir()
    assert one.checkpoint()
    assert one.checkpoints.errors == 1
    assert len(one.timeline("task", "a")) == 1
    one.close()


def test_two_sidecars_do_not_share_a_folder(tmp_path: Path) -> None:
    """The second one is told whose it is and what to do."""
    one = store(tmp_path)
    with pytest.raises(DataFolderError, match="in use by another zombiewatch"):
        store(tmp_path)
    one.close()
    store(tmp_path).close()


def test_a_newer_version_s_folder_is_refused_untouched(tmp_path: Path) -> None:
    """A format from the future is named, with what to do."""
    (tmp_path / "format.json").write_text('{"format": 99}')
    with pytest.raises(DataFolderError, match=r"newer zombiewatch \(format 99"):
        store(tmp_path)
    (tmp_path / "format.json").unlink()
    store(tmp_path).close()


def test_our_own_absence_is_a_gap_unless_it_was_short(tmp_path: Path) -> None:
    """What was pushed while nobody listened may be lost: the time is remembered."""
    clock = Turned()
    store(tmp_path, clock).close()
    began = clock()
    clock.on(3)
    store(tmp_path, clock).close()
    clock.on(3600)
    three = store(tmp_path, clock)
    gaps = ask(three, "SELECT from_us, to_us FROM gaps ORDER BY from_us")
    assert gaps == [(0, began), (began + 3_000_000, clock())]
    three.close()


def test_a_checkpoint_is_of_the_moment_at_which_it_began(tmp_path: Path) -> None:
    """What is applied while it is written is in the next one: nothing is lost, nothing twice."""
    clock = Turned()
    one = store(tmp_path, clock, settle_s=60)
    said = {"service": "oxr", "task_id": "a"}
    send(one, line("task.dispatched", START_US, **said))
    send(one, line("task.recorded", START_US, **said, task_state="success"))
    clock.on(3600)
    assert one._apply.do(lambda: one._checkpoints.begin(one.applied, clock()))
    send(one, line("task.dispatched", clock.at_us, service="oxr", task_id="b"))
    late = {"service": "agent", "task_id": "a", "task_outcome": "success"}
    send(one, line("task.finished", START_US, **late))
    rows = "SELECT task, recorded_us IS NOT NULL, finished_us IS NOT NULL FROM attempts ORDER BY 1"
    expected = [("a", True, True), ("b", False, False)]
    assert ask(one, rows) == expected  # settled, and in no segment yet: found all the same
    one._apply.do(lambda: one._checkpoints.end(wait=True))
    assert one.checkpoints.made == 1
    assert [len(one.timeline("task", task)) for task in "ab"] == [3, 1]
    crash(one)
    two = store(tmp_path, clock, settle_s=60)
    assert ask(two, rows) == expected
    assert [len(two.timeline("task", task)) for task in "ab"] == [3, 1]
    two.close()


def test_what_is_hot_settles_earlier_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settle time in force shrinks, and is published; nothing is lost or refused by that.

    What is few stays: among it is which records will never come.
    """
    monkeypatch.setattr(checkpoint, "_FULL", 0.02)  # of 64 MiB: a few thousand rows
    clock = Turned()
    one = store(tmp_path, clock, memory_bytes=64 << 20)
    send(one, line("export.failed", clock.at_us, service="oxr"))
    for number in range(4):
        tasks = [f"{number}-{i:04d}-{os.urandom(100).hex()}" for i in range(1500)]
        said = [{"service": "oxr", "task_id": task} for task in tasks]
        send(one, *(line("task.enqueued", clock.at_us, **each) for each in said))
        ended = {"task_state": "success"}
        send(one, *(line("task.recorded", clock.at_us, **each, **ended) for each in said))
        clock.on(1)
        assert one.checkpoint()
    assert one.stats.apply_errors == 0
    assert one.checkpoints.settle_us < 10_000_000
    [(hot,)] = ask(one, "SELECT count(*) FROM attempts")
    files = [file for file in one.history.segments if file.table == "attempts"]
    assert hot < 6000
    assert ask(one, "SELECT count(*) FROM losses") == [(1,)]
    assert hot + sum(file.rows for file in files) == 6000
    one.close()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_word_that_comes_twice_opens_nothing_that_settled_early(
    tmp_path: Path, *, restarted: bool
) -> None:
    """Too many rows for memory: the oldest leave it long before the settle time."""
    clock = Turned()
    one = store(tmp_path, clock, hot_rows=10)
    first = line("task.enqueued", clock.at_us, service="oxr", task_id="a")
    for task in ("a", *(f"b{i}" for i in range(10))):
        said = {"service": "oxr", "task_id": task}
        send(one, line("task.enqueued", clock.at_us, **said))
        send(one, line("task.recorded", clock.at_us, **said, task_state="success"))
        clock.on(1)
    assert one.checkpoint()
    assert ask(one, "SELECT 1 FROM attempts WHERE task = 'a'") == []
    if restarted:
        crash(one)
        one = store(tmp_path, clock, hot_rows=10)
    send(one, first)
    rows = "SELECT closed, joined_late FROM attempts WHERE task = 'a'"
    assert ask(one, rows) == [(True, False)]
    one.close()


def test_the_journal_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It holds what came in as it came, secrets included."""
    one = store(tmp_path)
    send(one, line("task.enqueued", START_US, service="oxr", task_id="a"))
    files = list(tmp_path.glob("journal.sqlite*"))
    assert len(files) > 1
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    one.close()


def test_a_file_that_is_swept_while_sizes_are_asked_for_has_none(tmp_path: Path) -> None:
    """Whoever asks for metrics at that moment is answered."""
    one = store(tmp_path)
    send(one, line("task.enqueued", START_US, service="oxr", task_id="a"))
    assert one.checkpoint()
    whole = dict(one.sizes())
    assert whole.pop("index") == 0  # nothing has settled
    assert min(whole.values()) > 0
    for name in ("segments", "snapshots"):
        # a name that was listed and is no more: nothing is behind it
        (tmp_path / name / "swept.parquet").symlink_to(tmp_path / "gone")
    assert dict(one.sizes()) == {**whole, "index": 0}
    (tmp_path / "journal.sqlite").rename(tmp_path / "set-aside")
    assert dict(one.sizes())["journal"] == 0
    (tmp_path / "set-aside").rename(tmp_path / "journal.sqlite")
    one.close()
