"""Nothing that was acknowledged is left out or doubled for want of memory."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from collector.pipeline import Pipeline
from collector.store import allocator, apply
from collector.store import store as stores_module
from collector.store.journal import Entry
from tests.collector.stores import START_US, Turned, ask, crash, line, send, store
from tests.e2e._sidecar import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from collector.pipeline import Record
    from collector.store.groups import Grouped
    from collector.store.store import Store

MIB: Final = 1 << 20


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon: these tests make the memory come back at once."""
    monkeypatch.setattr(apply, "_LONGEST_S", 0.1)


def story(task: str, at_us: int) -> tuple[bytes, bytes]:
    said = {"service": "oxr", "task_id": task}
    return (
        line("task.dispatched", at_us, **said),
        line("task.recorded", at_us, **said, task_state="success"),
    )


def submit(into: Store, *lines: bytes) -> Future[int]:
    return into.append(Entry("lines", into._clock(), b"".join(lines), {}))


def every_signal(of: Store) -> list[tuple[int, str]]:
    """Return the identity of all signals, hot or in segments, and their tasks, in order."""
    files = [one for one in of.history.segments if one.table == "signals"]
    sources = ["recent", *([of._disk.sql(files)] if files else [])]
    with of.reader() as reader:
        reader.register("recent", of._recent.table())
        return reader.execute(
            " UNION ALL ".join(f"SELECT seq, task FROM {one}" for one in sources) + " ORDER BY 1"
        ).fetchall()


class Scarce:
    """Stands before a store's fold: more than *rows* at once, or more than *folds*, is too much."""

    def __init__(self, of: Store, *, rows: int, folds: int = 1 << 30) -> None:
        self.rows, self.folds = rows, folds
        self.refused = threading.Event()
        self._fold = of._fold.apply
        of._fold.apply = self.apply  # type: ignore[method-assign]

    def apply(self, signals: pa.Table, groups: Grouped | None = None) -> None:
        if signals.num_rows > self.rows or not self.folds:
            if not self.folds:
                self.refused.set()
            raise duckdb.OutOfMemoryException("Out of Memory Error: there is none")
        self.folds -= 1
        self._fold(signals, groups)


def test_a_batch_is_folded_in_parts_where_memory_is_short(tmp_path: Path) -> None:
    """In as small ones as it takes, those of one record too; each signal is there once."""
    one = store(tmp_path)
    Scarce(one, rows=1)
    send(one, *(part for i in range(9) for part in story(f"t{i}", START_US)))
    assert one.stats.apply_errors == 0
    assert one.stats.memory_waits > 0
    expected = sorted(f"t{i}" for i in range(9) for _ in range(2))
    assert sorted(task for _, task in every_signal(one)) == expected
    assert ask(one, "SELECT count(*), count(DISTINCT seq) FROM marks") == [(18, 18)]
    one.close()


@pytest.mark.parametrize("records", [1, 4, 12])
@pytest.mark.parametrize("manifests", [True, False])
def test_what_a_checkpoint_in_the_middle_of_a_batch_holds_is_not_applied_again(
    tmp_path: Path, records: int, *, manifests: bool
) -> None:
    """Killed between two parts of a batch, at its restart each signal is there once."""
    clock = Turned()
    one = store(tmp_path, clock, memory_bytes=64 * MIB)
    send(one, *story("first", clock()))
    assert one.checkpoint()
    scarce = Scarce(one, rows=2, folds=3)
    lines = [part for i in range(12) for part in story(f"t{i:02}", clock())]
    size = len(lines) // records
    with one._journal._lock:  # all of them come at once
        written = [submit(one, *lines[i : i + size]) for i in range(0, len(lines), size)]
    numbers = [each.result(10) for each in written]
    assert scarce.refused.wait(20)
    crash(one)
    if not manifests:
        for manifest in tmp_path.glob("snapshots/*.json"):
            manifest.unlink()
    two = store(tmp_path, clock, memory_bytes=64 * MIB)
    assert two.applied == numbers[-1]
    found = every_signal(two)
    assert [task for _, task in found] == sorted(
        ["first"] * 2 + [f"t{i:02}" for i in range(12) for _ in range(2)]
    )
    assert len({seq for seq, _ in found}) == len(found)
    assert ask(two, "SELECT count(*), count(DISTINCT seq) FROM marks") == [(26, 26)]
    assert ask(two, "SELECT count(*), sum(n) FROM attempts, (SELECT 1 AS n)") == [(13, 13)]
    two.close()


def test_what_waits_for_memory_is_applied_when_there_is_some(tmp_path: Path) -> None:
    """However long that takes; meanwhile records are taken in, and what is in is to be read."""
    one = store(tmp_path)
    scarce = Scarce(one, rows=9, folds=1)
    send(one, *story("a", START_US))
    number = submit(one, *story("b", START_US)).result(10)
    assert scarce.refused.wait(20)
    assert not one.wait_applied(number, 0)
    assert ask(one, "SELECT task FROM attempts") == [("a",)]
    assert submit(one, *story("c", START_US)).result(10) == number + 1
    scarce.folds = 9
    assert one.wait_applied(number + 1, 20)
    assert [task for _, task in every_signal(one)] == ["a", "a", "b", "b", "c", "c"]
    assert one.stats.apply_errors == 0
    one.close()


def test_a_stop_while_it_waits_leaves_the_rest_to_the_next_start(tmp_path: Path) -> None:
    """It ends at once, in good order; the journal has what was not applied."""
    one = store(tmp_path)
    scarce = Scarce(one, rows=3, folds=2)
    numbers = [submit(one, *story(task, START_US), *story(task, START_US)) for task in "abcd"]
    assert scarce.refused.wait(20)
    last = max(each.result(10) for each in numbers)
    one.close()
    two = store(tmp_path)
    assert two.applied == last
    assert [task for _, task in every_signal(two)] == sorted("abcd" * 4)
    assert two.stats.apply_errors == 0
    two.close()


class Poisoned(Pipeline):
    """Makes signals of a time beyond any of those whose name begins with `poison`; and runs out."""

    scarce: Callable[[Sequence[Record]], bool] = staticmethod(lambda _records: False)

    def signals(self, records: Sequence[Record]) -> tuple[pa.Table, dict[str, int]]:
        if self.scarce(records):
            raise pa.ArrowMemoryError("malloc of size 1 failed")
        signals, counts = super().signals(records)
        poison = pc.starts_with(signals["task"], "poison")
        never = pa.scalar(np.iinfo(np.int64).max)
        at = signals.schema.get_field_index("ts_us")
        return signals.set_column(at, "ts_us", pc.if_else(poison, never, signals["ts_us"])), counts


def test_only_the_record_that_cannot_be_folded_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted and logged, wherever in a batch it lies; no memory is waited for."""
    one = store(tmp_path)
    one._apply._pipeline = Poisoned(namespace="test", sides={}, rules=())
    tasks = ["a", "poison-1", "b", "c", "poison-2"]
    with one._journal._lock:
        written = [submit(one, *story(task, START_US)) for task in tasks]
    last = max(each.result(10) for each in written)
    assert one.wait_applied(last, 20)
    assert (one.stats.apply_errors, one.stats.memory_waits) == (2, 0)
    assert [f"journal record {number} (log) left out" for number in (2, 5)] == caplog.messages
    assert [task for _, task in every_signal(one)] == ["a", "a", "b", "b", "c", "c"]
    one.close()


def test_want_of_memory_while_columns_are_made_leaves_out_nothing(tmp_path: Path) -> None:
    """A batch is decoded in parts, and a record is waited with until there is room for it."""
    one = store(tmp_path)
    pipeline = Poisoned(namespace="test", sides={}, rules=())
    refused: list[int] = []

    def scarce(records: Sequence[Record]) -> bool:
        if len(records) > 1 or len(refused) < 5:
            refused.append(len(records))
            return True
        return False

    pipeline.scarce = scarce
    one._apply._pipeline = pipeline
    with one._journal._lock:
        written = [submit(one, *story(task, START_US)) for task in "abcdef"]
    last = max(each.result(10) for each in written)
    assert one.wait_applied(last, 20)
    assert len(refused) >= 5
    assert [task for _, task in every_signal(one)] == sorted("abcdef" * 2)
    assert one.stats.apply_errors == 0
    one.close()


def test_all_that_comes_is_kept_in_a_tiny_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine itself runs out: what closed goes to disk, and all is there after a restart."""
    monkeypatch.setattr(stores_module, "_HEADROOM", 0)
    clock = Turned()
    one = store(tmp_path, clock, memory_bytes=16 * MIB)
    tasks = 0
    while tasks < 90_000 and not one.stats.memory_waits:
        with one._journal._lock:  # so that they are applied together
            for _ in range(6):
                ids = range(tasks, tasks + 3000)
                last = submit(one, *[part for i in ids for part in story(f"t{i}", clock())])
                tasks += 3000
                clock.on(1)
        assert one.wait_applied(last.result(10), 120)
    assert one.stats.apply_errors == 0
    assert one.stats.memory_waits > 0
    one.close()
    two = store(tmp_path, clock, memory_bytes=16 * MIB)
    found = every_signal(two)
    assert len(found) == len({seq for seq, _ in found}) == 2 * tasks
    [(hot,)] = ask(two, "SELECT count(*) FROM attempts")
    settled = sum(one.rows for one in two.history.segments if one.table == "attempts")
    assert hot + settled == tasks
    two.close()


def test_what_is_hot_is_packed_before_it_is_moved_away(tmp_path: Path) -> None:
    """What has closed can still be contradicted: it stays where it has room once it is packed."""
    clock = Turned()
    one = store(tmp_path, clock, memory_bytes=32 * MIB, segment_rows=20_000)
    tasks = 0
    while tasks < 36_000:
        ids = range(tasks, tasks + 2000)
        send(one, *[part for i in ids for part in story(f"t{i}", clock())])
        tasks += 2000
        clock.on(2)
    one.checkpoint()
    assert one._checkpoints.made > 1
    assert ask(one, "SELECT count(*) FROM attempts WHERE closed") == [(tasks,)]
    assert not [seg for seg in one.history.segments if seg.table == "attempts"]
    assert one.stats.memory_waits == 0
    one.close()


def test_an_engine_beyond_use_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes is taken in and waits; it is said what to do, and the next start has it all."""
    one = store(tmp_path)
    send(one, *story("a", START_US))
    one._apply.do(lambda: broken(one))
    number = submit(one, *story("b", START_US)).result(10)
    said = "the engine cannot go on: restart the sidecar"
    eventually(True, lambda: said in caplog.text)
    assert not one.wait_applied(number, 0)
    one.close()
    two = store(tmp_path)
    assert [task for _, task in every_signal(two)] == ["a", "a", "b", "b"]
    assert ask(two, "SELECT count(*), count(DISTINCT seq) FROM marks") == [(4, 4)]
    two.close()


def broken(of: Store) -> None:
    """Let the engine run out of memory where it does not survive that."""
    of._db.execute("SET memory_limit = '64MB'")
    of._db.execute("CREATE TABLE filler (i BIGINT, a VARCHAR, u UUID)")
    more = "INSERT INTO filler SELECT i, 'task-' || uuid(), uuid() FROM range(50000) r(i)"
    with suppress(duckdb.Error):
        for _ in range(100):
            of._db.execute(more)
    with pytest.raises(duckdb.FatalException):
        of._db.execute("CHECKPOINT")


def test_memory_is_given_back_after_a_start_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading takes more than what is kept: it is given back, once, though no batch ever comes."""
    given: list[int] = []
    clock = Turned()
    monkeypatch.setattr(allocator, "give_back", lambda: given.append(clock.at_us))
    one = store(tmp_path, clock)
    for _ in range(4):
        clock.on(3)
        one._apply.do(one._housekeeping)
    assert given == [START_US + 6_000_000]
    one.close()
