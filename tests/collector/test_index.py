"""Looking keys up through the index equals searching all of history, whatever became of either."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collector.store import fold, history, run
from collector.store.disk import Disk, File
from collector.store.history import History
from collector.store.recent import Recent
from collector.store.run import PLACES, Of, Run, RunError
from collector.store.segment import Segment
from model.relations import ATTEMPTS
from tests.collector.stores import START_US, Turned, ask, crash, line, send, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Key = tuple[str, int]

TASKS: Final = ["a", "b", "c"]

KEYS: Final = st.lists(st.tuples(st.sampled_from(TASKS), st.integers(-1, 2)), max_size=4)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path, at: float = 0.5) -> None:
    body = bytearray(path.read_bytes())
    body[int(len(body) * at)] ^= 0x10
    path.write_bytes(body)


def remove(path: Path) -> None:
    path.unlink()


HARMS: Final = [cut, flip, lambda path: flip(path, 0), lambda path: flip(path, 0.99), remove]


class Held:
    """A history in a folder, which can be opened anew."""

    def __init__(self, root: Path) -> None:
        self.db = fold.connect(256 << 20)
        fold.create(self.db)
        rows = "SELECT * EXCLUDE (h, closed) FROM attempts_rows LIMIT 0"
        self.db.execute(f"CREATE TABLE settled_attempts AS {rows}")
        self.disk = Disk(root)
        self.number = 0
        self.history = self.opened()

    def opened(self) -> History:
        return History(self.db, self.disk, Recent())

    @property
    def index(self) -> Any:
        return self.history.indexes["attempts"]

    def write(self, keys: Iterable[Key]) -> File:
        """Write a segment of *keys*; `last_seen_us` says which one it is."""
        self.number += 1
        rows = [{"namespace": "n", "task": task, "attempt": attempt} for task, attempt in keys]
        shape = pa.schema(
            [("namespace", pa.string()), ("task", pa.string()), ("attempt", pa.int32())]
        )
        with self.db.cursor() as cursor:
            cursor.register("keys", pa.Table.from_pylist(rows, shape))
            query = f"SELECT *, {self.number}::BIGINT AS last_seen_us FROM keys"
            name = f"segments/attempts-{self.number:020d}-{self.number:020d}.parquet"
            file = self.disk.write(cursor, "attempts", name, query)
        assert file is not None
        return file

    def lookup(self, keys: Iterable[Key]) -> list[tuple[str, int, int]]:
        wanted = sorted(set(keys))
        table = pa.table({
            "namespace": pa.array(["n"] * len(wanted), pa.string()),
            "task": pa.array([task for task, _ in wanted], pa.string()),
            "attempt": pa.array([attempt for _, attempt in wanted], pa.int32()),
        })  # fmt: skip
        found = self.history.lookup(ATTEMPTS, table)
        rows = found.select(["task", "attempt", "last_seen_us"]).to_pylist()
        return sorted((one["task"], one["attempt"], one["last_seen_us"]) for one in rows)

    def close(self) -> None:
        self.history.close()
        self.db.close()


class Histories(RuleBasedStateMachine):
    """Segments come, are merged, go; the index rots; the sidecar starts anew."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.held = Held(Path(self.folder.name))
        self.segments: dict[File, Sequence[Key]] = {}

    def teardown(self) -> None:
        self.held.close()
        self.folder.cleanup()

    @rule(keys=KEYS.filter(bool), wait=st.booleans())
    def settled(self, keys: list[Key], wait: bool) -> None:  # noqa: FBT001 - drawn
        self.segments[self.held.write(keys)] = keys
        self.changed(wait=wait)

    @precondition(lambda self: len(self.segments) > 1)
    @rule(data=st.data(), wait=st.booleans())
    def merged(self, data: st.DataObject, wait: bool) -> None:  # noqa: FBT001 - drawn
        files = st.lists(st.sampled_from(list(self.segments)), min_size=2, max_size=4, unique=True)
        chosen = data.draw(files)
        keys = [key for one in chosen for key in self.segments[one]]
        self.segments[self.held.write(keys)] = keys
        self.gone(chosen, wait=wait)

    @precondition(lambda self: self.segments)
    @rule(data=st.data(), wait=st.booleans())
    def removed(self, data: st.DataObject, wait: bool) -> None:  # noqa: FBT001 - drawn
        self.gone([data.draw(st.sampled_from(list(self.segments)))], wait=wait)

    @precondition(lambda self: self.segments)
    @rule(data=st.data(), wait=st.booleans())
    def made_anew(self, data: st.DataObject, wait: bool) -> None:  # noqa: FBT001 - drawn
        """A checkpoint was dropped: another segment has the name of one that was."""
        old = data.draw(st.sampled_from(list(self.segments)))
        keys = data.draw(KEYS.filter(bool))
        del self.segments[old]
        number, self.held.number = self.held.number, int(old.name[-28:-8]) - 1
        self.segments[self.held.write(keys)] = keys
        self.held.number = number
        self.changed(wait=wait)

    @rule(which=st.integers(0, 9), harm=st.sampled_from(HARMS))
    def index_rots(self, which: int, harm: Callable[[Path], None]) -> None:
        self.held.index.wait()
        paths = sorted(Path(self.folder.name).glob("index/*.run"))
        if paths:
            harm(paths[which % len(paths)])  # how many there are is a matter of timing

    @rule()
    def starts_anew(self) -> None:
        self.held.history.close()
        self.held.history = self.held.opened()
        self.changed(wait=False)

    @rule(keys=KEYS)
    def looked_up(self, keys: list[Key]) -> None:
        expected = [
            (*key, int(one.name[-28:-8]))
            for one, held in self.segments.items()
            for key in held
            if key in keys
        ]
        assert sorted(expected) == self.held.lookup(keys)

    @invariant()
    def no_segment_was_harmed(self) -> None:
        assert set(self.held.history.segments) == set(self.segments)

    def gone(self, files: Iterable[File], *, wait: bool) -> None:
        for one in files:
            del self.segments[one]
        self.changed(wait=wait)
        for one in files:
            (Path(self.folder.name) / one.name).unlink()

    def changed(self, *, wait: bool) -> None:
        self.held.history.replace(self.segments, 0)
        if wait:
            self.held.index.wait()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.fixture
def held(tmp_path: Path) -> Any:
    """A history, closed after the test."""
    one = Held(tmp_path)
    yield one
    with suppress(Exception):
        one.close()


def test_only_what_holds_a_key_is_read(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of keys that history has not nothing is opened; of others, their segments alone."""
    files = [held.write([(f"task-{i}-{j}", 1) for j in range(100)]) for i in range(20)]
    held.history.replace(files, 0)
    held.index.wait()
    opened: list[str] = []

    def watched(root: Path, file: File) -> Segment:
        opened.append(file.name)
        return Segment(root, file)

    monkeypatch.setattr(history, "Segment", watched)
    assert held.lookup([("task-0-x", 1), ("task-3-7", 2)]) == []
    assert opened == []
    assert held.lookup([("task-3-7", 1), ("task-9-0", 1)]) == [
        ("task-3-7", 1, 4), ("task-9-0", 1, 10),
    ]  # fmt: skip
    assert opened == [files[3].name, files[9].name]


def test_runs_stay_few_and_hold_nothing_that_is_gone(held: Held) -> None:
    """Many segments are of few runs; their entries go with the segments."""
    files = []
    for i in range(40):
        files.append(held.write([(f"task-{i}-{j}", 1) for j in range(50)]))
        held.history.replace(files, 0)
        held.index.wait()
    assert sum(one.entries for one in held.index.runs) == 2000
    assert len(held.index.runs) <= 6
    held.history.replace(files[:1], 0)
    held.index.wait()
    assert sum(one.entries for one in held.index.runs) == 50
    assert len(list(held.disk.root.glob("index/*"))) == len(held.index.runs)
    held.history.replace([], 0)
    held.index.wait()
    assert not list(held.disk.root.glob("index/*"))


def test_a_merge_that_was_cut_off_leaves_no_entry_twice(held: Held) -> None:
    """Killed between a merged run and the removal of its parts: the parts go at the next start."""
    files = [held.write([("a", 1)])]
    held.history.replace(files, 0)
    held.index.wait()
    part = held.index.runs[0].path
    body = part.read_bytes()
    files.append(held.write([("b", 1)]))
    held.history.replace(files, 0)
    held.index.wait()
    part.write_bytes(body)
    (part.parent / "attempts-000000000009.partial").write_bytes(body)
    held.history.close()
    held.history = held.opened()
    held.history.replace(files, 0)
    held.index.wait()
    assert sum(one.entries for one in held.index.runs) == 2
    assert len(list(held.disk.root.glob("index/*"))) == 1


def test_an_index_of_another_way_of_hashing_is_made_anew(held: Held) -> None:
    """An engine that hashes otherwise finds nothing by old hashes: it is known by one key's."""
    files = [held.write([("a", 1)])]
    entries = np.array([1 << 40], np.uint64)
    run.write(
        held.disk.root / "index" / "attempts-000000000001.run", "another",
        [Of(files[0].name, files[0].crc, 1)], [entries],
    )  # fmt: skip
    held.history.close()
    held.history = held.opened()
    held.history.replace(files, 0)
    assert held.lookup([("a", 1)]) == [("a", 1, 1)]
    held.index.wait()
    assert held.lookup([("a", 1)]) == [("a", 1, 1)]
    assert held.disk.damaged == 0


def test_entries_of_a_segment_that_was_made_anew_are_ignored(held: Held) -> None:
    """It has fewer row groups than the one that had its name: what is not there is not read."""
    many = [(f"t{number}", 1) for number in range(40_000)]
    held.history.replace([held.write(many)], 0)
    held.index.wait()
    held.number = 0
    files = [held.write([("a", 1)])]
    held.history.close()
    held.history = held.opened()  # and killed before the index was brought up to date
    held.history.segments = tuple(files)
    assert held.lookup([("a", 1), ("t39999", 1), ("t0", 1)]) == [("a", 1, 1)]


def test_a_damaged_segment_costs_what_it_held_and_no_more(held: Held) -> None:
    """It is set aside when it is read, also where several are; the others are searched."""
    files = [held.write([("a", 1)]) for _ in range(3)]
    held.history.replace(files, 0)
    held.index.wait()
    for one in files[:2]:
        (held.disk.root / one.name).write_bytes(b"rotten")
    assert held.lookup([("a", 1)]) == [("a", 1, 3)]
    assert held.disk.damaged == 2


@pytest.mark.parametrize("entries", [1, 511, 512, 513, 5000])
@pytest.mark.parametrize("values", [3, 1 << 40])
def test_a_run_finds_each_of_its_entries(tmp_path: Path, entries: int, values: int) -> None:
    """At the edges of blocks too, and where one hash fills more than a block."""
    random = np.random.default_rng(entries)
    hashes = (random.integers(0, values, entries, np.uint64)) << np.uint64(24)
    places = np.arange(entries, dtype=np.uint64) % np.uint64(50)
    rows = np.sort(hashes | places)
    of = [Of("x", 1, 20), Of("y", 2, 30)]
    made = run.write(tmp_path / "x.run", "m", of, np.array_split(rows, 3))
    for one in np.unique(hashes)[:200]:
        at = rows[(rows & ~PLACES) == one] & PLACES
        expected = {(of[p >= 20], p - 20 * (p >= 20)) for p in at.tolist()}
        assert set(made.find(np.array([one], np.uint64))) == expected
    absent = np.setdiff1d(np.arange(1000, dtype=np.uint64) << np.uint64(24), hashes)
    assert list(made.find(absent)) == []
    cuts = [0, *rows[:: max(1, entries // 7)].tolist(), (1 << 64) - 1]
    parts = [made.between(low, high) for low, high in pairwise(cuts)]
    assert np.concatenate(parts).tolist() == rows.tolist()


def test_each_damaged_byte_of_a_run_is_noticed(tmp_path: Path) -> None:
    """By its end when it is opened, or by its block when that is read."""
    path = tmp_path / "x.run"
    rows = np.arange(600, dtype=np.uint64) << np.uint64(40)
    run.write(path, "m", [Of("x", 1, 1)], [rows])
    body = path.read_bytes()
    for at in range(0, len(body), 7):
        path.write_bytes(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
        with pytest.raises(RunError):
            list(Run(path, "m").find(rows))


def test_settled_rows_are_found_by_the_index_of_a_real_store(tmp_path: Path) -> None:
    """After checkpoints, restarts, and an index that was lost: late words are no zombies."""
    clock = Turned()
    one = store(tmp_path, clock, settle_s=60)
    for number in range(20):
        said = {"service": "oxr", "task_id": f"t{number}"}
        send(one, line("task.dispatched", clock.at_us, **said))
        send(one, line("task.recorded", clock.at_us, **said, task_state="success"))
        clock.on(3600)
        assert one.checkpoint()
    one.history.indexes["attempts"].wait()
    assert one.history.indexes["attempts"].runs
    crash(one)
    for path in sorted(tmp_path.glob("index/*"))[:1]:
        path.unlink()
    two = store(tmp_path, clock, settle_s=60)
    for number in (0, 7, 18):
        said = {"service": "agent", "task_id": f"t{number}", "task_outcome": "success"}
        send(two, line("task.finished", START_US, **said))
    rows = ask(
        two, "SELECT recorded_state, joined_late FROM attempts WHERE agent_service = 'agent'"
    )
    assert rows == [("success", False)] * 3
    two.close()
