"""Files that rot: set aside, counted, and made anew from what the journal still has."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from collector.store.disk import Disk, File
from collector.store.memory import pack
from tests.collector.stores import START_US, Turned, ask, crash, line, send, store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from collector.store.store import Store

TASKS: Final = "abcd"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0x10
    path.write_bytes(body)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def remove(path: Path) -> None:
    path.unlink()


HARMS: Final = pytest.mark.parametrize("harm", [cut, flip, zero, remove])


def unlike(size: int) -> bytes:
    """Return *size* bytes of text that no packing makes much smaller."""
    return os.urandom(size // 2).hex().encode()


def filled(folder: Path) -> None:
    """Leave a folder with a checkpoint after each of three tasks, and a fourth in the journal."""
    one = store(folder)
    for task in TASKS:
        send(one, line("task.dispatched", START_US, service="oxr", task_id=task))
        send(
            one, line("task.recorded", START_US, service="oxr", task_id=task, task_state="running")
        )
        if task != TASKS[-1]:
            assert one.checkpoint()
    crash(one)


def has_all(of: Store) -> None:
    assert ask(of, "SELECT task FROM attempts ORDER BY task") == [(task,) for task in TASKS]
    for task in TASKS:
        assert [one["phase"] for one in of.timeline("task", task)] == ["dispatched", "recorded"]


@HARMS
@pytest.mark.parametrize("which", ["signals-0", "attempts_rows", "sources_rows", ".json"])
def test_what_the_journal_covers_is_made_anew(
    tmp_path: Path, harm: Callable[[Path], None], which: str
) -> None:
    """Any file of the newest checkpoint may be damaged: everything is there, and there once."""
    filled(tmp_path)
    newest = max(
        path
        for path in (*tmp_path.glob("segments/*"), *tmp_path.glob("snapshots/*"))
        if which in path.name
    )
    harm(newest)
    two = store(tmp_path)
    has_all(two)
    assert two.damaged == (0 if harm is remove and which == ".json" else 1)
    assert two.checkpoint()
    crash(two)
    three = store(tmp_path)
    has_all(three)
    assert three.damaged == 0
    three.close()


@pytest.mark.parametrize("harm", [cut, zero, remove])  # a single bit is for the scrubbing to find
def test_a_segment_that_the_journal_no_longer_covers(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """It costs what it held and nothing else, whether it shows at the start or when it is read."""
    filled(tmp_path)
    oldest = min(tmp_path.glob("segments/signals-*"))
    harm(oldest)
    two = store(tmp_path)
    assert ask(two, "SELECT task FROM attempts ORDER BY task") == [(task,) for task in TASKS]
    assert two.timeline("task", "a") == []
    assert [len(two.timeline("task", task)) for task in TASKS[1:]] == [2, 2, 2]
    assert two.damaged == 1
    two.close()


def test_history_that_cannot_be_read_does_not_hold_up_the_fold(tmp_path: Path) -> None:
    """A late signal of a task whose settled rows are damaged is taken as any late one is."""
    clock = Turned()
    one = store(tmp_path, clock, settle_s=60)
    for task in ("a", "b"):
        said = {"service": "oxr", "task_id": task}
        send(one, line("task.dispatched", clock.at_us, **said))
        send(one, line("task.recorded", clock.at_us, **said, task_state="success"))
        clock.on(3600)
        assert one.checkpoint()
    zero(min(tmp_path.glob("segments/attempts-*")))
    late = {"service": "agent", "task_id": "a"}
    send(one, line("task.finished", START_US, **late, task_outcome="success"))
    assert one.stats.apply_errors == 0
    assert one.damaged == 1
    assert ask(one, "SELECT joined_late FROM attempts WHERE task = 'a'") == [(True,)]
    one.close()


def test_damage_is_found_before_it_is_asked_for(tmp_path: Path) -> None:
    """Once a minute a segment is read whole, though nobody wants to know what it holds."""
    clock = Turned()
    one = store(tmp_path, clock)
    for task in "abc":
        send(one, line("task.enqueued", START_US, service="oxr", task_id=task))
        assert one.checkpoint()
    flip(min(tmp_path.glob("segments/signals-*")))
    for _ in range(10):
        clock.on(61)
        send(one, line("task.enqueued", START_US, service="oxr", task_id="d"))
        one.checkpoint()  # between two batches: what is to be done each minute was done
    assert one.damaged == 1
    one.close()


def test_a_start_with_one_manifest_reads_no_old_segment_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what the journal could make anew is read whole: of weeks of history, that is little."""
    filled(tmp_path)
    min(tmp_path.glob("snapshots/*.json")).unlink()
    read: list[str] = []
    good = Disk.good

    def watched(disk: Disk, file: File, *, whole: bool) -> bool:
        read.extend([file.name] if whole else [])
        return good(disk, file, whole=whole)

    monkeypatch.setattr(Disk, "good", watched)
    two = store(tmp_path)
    has_all(two)
    assert read
    assert [name for name in read if name.startswith("segments/")] == []
    two.close()


def test_segments_taken_over_by_name_get_their_checksums(tmp_path: Path) -> None:
    """A start reads their ends alone; the patrol finds the checksum of each, or that it is bad."""
    filled(tmp_path)
    lost(tmp_path, "journal.sqlite*", "snapshots/*")
    first, second, third = sorted(tmp_path.glob("segments/signals-*"))
    body = bytearray(second.read_bytes())
    body[4:200] = bytes(196)
    second.write_bytes(body)
    clock = Turned()
    two = store(tmp_path, clock, settle_s=0)
    for _ in range(3):
        clock.on(61)
        two._apply.do(two._housekeeping)
    held = {path.name for path in (first, third)}
    assert {one.name.partition("/")[2] for one in two.history.segments} == held
    assert all(one.crc >= 0 for one in two.history.segments)
    assert two.damaged == 1
    two.close()


@HARMS
def test_all_manifests_lost(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """Without any manifest the segments are taken over by their names, and folded again."""
    filled(tmp_path)
    for manifest in tmp_path.glob("snapshots/*.json"):
        harm(manifest)
    two = store(tmp_path)
    has_all(two)
    two.close()


@HARMS
def test_both_snapshots_lost(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """What segments and journal hold is folded again."""
    filled(tmp_path)
    for snapshot in tmp_path.glob("snapshots/*-attempts_rows.parquet"):
        harm(snapshot)
    two = store(tmp_path)
    has_all(two)
    assert two.damaged == 2
    two.close()


def test_merged_segments_are_not_taken_over_twice(tmp_path: Path) -> None:
    """A merged segment names its parts: those that are still there are not counted beside it."""
    one = store(tmp_path)
    for number in range(17):
        send(one, line("task.enqueued", START_US, service="oxr", task_id=f"t{number}"))
        assert one.checkpoint()
    crash(one)
    assert list(tmp_path.glob("segments/signals-merged-*"))
    for manifest in tmp_path.glob("snapshots/*.json"):
        manifest.unlink()
    two = store(tmp_path)
    assert [len(two.timeline("task", f"t{number}")) for number in range(17)] == [1] * 17
    assert ask(two, "SELECT count(*) FROM attempts") == [(17,)]
    two.close()


def test_a_journal_with_a_damaged_page_is_renewed(tmp_path: Path) -> None:
    """What can be read of it is applied and written down; then it takes in as before."""
    one = store(tmp_path)
    numbers = [
        send(one, line("task.enqueued", START_US, service="oxr", task_id=f"t{i}"), unlike(50_000))
        for i in range(10)
    ]
    crash(one)
    path = tmp_path / "journal.sqlite"
    body = bytearray(path.read_bytes())
    body[len(body) // 2 : len(body) // 2 + 9000] = os.urandom(9000)
    path.write_bytes(body)
    two = store(tmp_path)
    assert two.damaged > 0
    again = send(two, line("task.enqueued", START_US, service="oxr", task_id="new"))
    assert again > numbers[-1]
    kept = {task for (task,) in ask(two, "SELECT task FROM attempts")}
    assert "new" in kept
    assert len(kept) >= 5
    two.close()
    three = store(tmp_path)
    assert {task for (task,) in ask(three, "SELECT task FROM attempts")} == kept
    assert three.damaged == 0
    three.close()


@pytest.mark.parametrize("at", [0, 20, 60, 100, 5000])
def test_a_journal_with_a_damaged_header_does_not_hold_up_the_start(
    tmp_path: Path, at: int
) -> None:
    """It is set aside or mended; what two snapshots have is there, and it takes in again."""
    filled(tmp_path)
    path = tmp_path / "journal.sqlite"
    body = bytearray(path.read_bytes())
    body[at : at + 16] = b"\xa5" * 16
    path.write_bytes(body)
    two = store(tmp_path)
    send(two, line("task.enqueued", START_US, service="oxr", task_id="new"))
    tasks = {task for (task,) in ask(two, "SELECT task FROM attempts")}
    assert {"a", "b", "c", "new"} <= tasks
    two.close()


def test_the_first_checkpoint_cut_off_is_rubbish(tmp_path: Path) -> None:
    """Segments that no manifest names are not taken over where the journal has it all."""
    one = store(tmp_path)
    for task in TASKS:
        send(one, line("task.dispatched", START_US, service="oxr", task_id=task))
        send(
            one, line("task.recorded", START_US, service="oxr", task_id=task, task_state="running")
        )
    assert one.checkpoint()
    crash(one)
    for path in tmp_path.glob("snapshots/*"):
        path.unlink()
    two = store(tmp_path)
    has_all(two)
    assert two.damaged == 0
    assert not list(tmp_path.glob("segments/*"))
    two.close()


def lost(folder: Path, *patterns: str) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()


def test_history_outlives_the_loss_of_journal_and_manifests(tmp_path: Path) -> None:
    """Signals and settled rows are taken over from segments: an empty journal has none of them."""
    clock = Turned()
    one = store(tmp_path, clock, settle_s=60)
    for task in "ab":
        said = {"service": "oxr", "task_id": task}
        send(one, line("task.dispatched", clock.at_us, **said))
        send(one, line("task.recorded", clock.at_us, **said, task_state="success"))
        clock.on(3600)
        assert one.checkpoint()
    crash(one)
    lost(tmp_path, "journal.sqlite*", "snapshots/*")
    two = store(tmp_path, clock, settle_s=60)
    assert [len(two.timeline("task", task)) for task in "ab"] == [2, 2]
    late = {"service": "agent", "task_id": "a", "task_outcome": "success"}
    number = send(two, line("task.finished", START_US, **late))
    assert number > 4  # no ID is given again
    rows = "SELECT recorded_state, joined_late FROM attempts WHERE task = 'a'"
    assert ask(two, rows) == [("success", False)]
    assert two.checkpoint()
    crash(two)
    three = store(tmp_path, clock, settle_s=60)
    assert [len(three.timeline("task", task)) for task in "ab"] == [3, 2]
    assert ask(three, rows) == [("success", False)]
    three.close()


def test_a_lost_journal_makes_nothing_anew(tmp_path: Path) -> None:
    """What is damaged of the newest checkpoint costs what it held, and nothing else."""
    filled(tmp_path)
    lost(tmp_path, "journal.sqlite*")
    flip(max(tmp_path.glob("snapshots/*-sources_rows.parquet")))
    two = store(tmp_path)
    assert two.damaged == 1
    assert ask(two, "SELECT task FROM attempts ORDER BY task") == [("a",), ("b",), ("c",)]
    assert [len(two.timeline("task", task)) for task in "abc"] == [2, 2, 2]
    two.close()


def test_a_start_loads_what_is_hot_in_parts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was packed in memory before fits again after a restart: it is packed as it comes."""
    marks = 400_000
    one = store(tmp_path, memory_bytes=32 << 20)
    for first in range(0, marks, 20_000):
        one._apply.do(partial(many, one, first, 20_000))
    assert one.checkpoint()
    expected = ask(one, "SELECT count(*), sum(seq), max(task) FROM marks")
    crash(one)
    with caplog.at_level("WARNING"):
        two = store(tmp_path, memory_bytes=32 << 20)
    assert caplog.messages == []
    assert ask(two, "SELECT count(*), sum(seq), max(task) FROM marks") == expected
    assert two.stats.apply_errors == 0
    two.close()


def many(into: Store, first: int, number: int) -> None:
    """Put so many marks into a store, packed."""
    into._db.execute(
        "INSERT INTO marks (seq, arrived_us, ts_us, kind, namespace, service, instance, phase,"
        " request_id, trace_id, task)"
        f" SELECT i, {START_US} + i, {START_US} + i, 'log', 'test', 'oxr', 'oxr-' || i % 50,"
        " 'enqueued', md5(i::VARCHAR), md5(i::VARCHAR), 'a-task-of-some-length-' || i"
        f" FROM range({first}, {first + number}) r(i)"
    )
    pack(into._db, 32 << 20)
