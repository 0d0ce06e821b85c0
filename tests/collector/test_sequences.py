"""What a process numbers shows what was lost of it: told once, and taken back when it comes."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import lost
from collector.ingest import BusyError
from collector.pipeline import Pipeline, Record
from collector.sequences import Sequences
from collector.store import fold
from collector.store.store import Store
from model.signals import SCHEMA
from tests.collector.stores import Turned, ask, crash, line, send, store

if TYPE_CHECKING:
    from pathlib import Path

    from collector.store.journal import Entry

SECOND = 1_000_000
START = 1_790_000_000 * SECOND


class _Told:
    """A journal that keeps what it is given; *full* is how often it has no room."""

    def __init__(self, full: int = 0) -> None:
        self.entries: list[Entry] = []
        self.full = full

    def append(self, entry: Entry) -> Future[int]:
        if self.full:
            self.full -= 1
            msg = "no room"
            raise BusyError(msg)
        self.entries.append(entry)
        done: Future[int] = Future()
        done.set_result(len(self.entries))
        return done

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for entry in self.entries for row in orjson.loads(entry.body)]

    @property
    def lost(self) -> dict[str, int]:
        """What is lost after all that was told: which numbers, and how many."""
        last = {row["error"]: row["lost"] for row in self.rows}
        return {name: number for name, number in last.items() if number}


def _signals(*said: tuple[int, float], arrived: float, **more: Any) -> pa.Table:
    """Return records, each a number and when it was said, in seconds."""
    rows = [
        dict.fromkeys(SCHEMA.names)
        | {"seq": at, "namespace": "test", "service": "agent", "instance": "a-1", "boot": "b"}
        | {"way": "otlp", "kind": "log", "sequence": number, "ts_us": START + round(when * 1e6)}
        | {"arrived_us": START + round(arrived * 1e6)}
        | more
        for at, (number, when) in enumerate(said)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def test_a_gap_is_told_after_ten_seconds_with_what_lies_around_it() -> None:
    """Three are missing between what was said at 2 s and at 5 s."""
    told = _Told()
    watch = Sequences(told.append)
    watch.look(_signals((1, 1), (2, 2), (6, 5), arrived=6))
    watch.look(_signals((7, 14.9), arrived=15.9))
    assert told.rows == []
    watch.look(_signals((8, 16), arrived=16))
    [row] = told.rows
    assert (row["lost"], row["error"]) == (3, "b/3-5")
    assert (row["from_us"] - START, row["to_us"] - START) == (2 * SECOND, 5 * SECOND)
    assert (row["service"], row["instance"], row["namespace"]) == ("agent", "a-1", "test")


def test_a_gap_in_what_was_held_up_is_told_after_two_seconds() -> None:
    """All came late, at once and in no order: what is missing was said long before the rest."""
    told = _Told()
    watch = Sequences(told.append)
    watch.look(_signals((1, 1), arrived=1))
    watch.look(_signals((9, 29), arrived=33))
    watch.look(_signals((6, 10), (4, 8), (5, 9), (10, 30), (8, 12), (7, 11), arrived=33.5))
    watch.look(_signals((11, 34), arrived=34.9))
    assert told.rows == []
    watch.look(_signals((12, 35), arrived=35))
    assert told.lost == {"b/2-3": 2}


def test_what_comes_in_disorder_or_twice_is_no_loss() -> None:
    """Within ten seconds nothing is told at all."""
    told = _Told()
    watch = Sequences(told.append)
    watch.look(_signals((5, 5), (3, 3), (3, 3), arrived=5))
    watch.look(_signals((4, 4), (6, 6), (5, 5), arrived=14))
    watch.look(_signals((7, 60), arrived=60))
    assert told.rows == []


def test_what_comes_after_it_was_told_is_taken_back_and_the_rest_stays() -> None:
    """Of 3 to 6 the fifth comes: 3 to 4 and 6 are lost."""
    told = _Told()
    watch = Sequences(told.append)
    watch.look(_signals((2, 2), (7, 7), arrived=7))
    watch.look(_signals((8, 20), arrived=20))
    assert told.lost == {"b/3-6": 4}
    watch.look(_signals((5, 5), arrived=21))
    assert told.lost == {"b/3-4": 2, "b/6-6": 1}
    watch.look(_signals((3, 3), (4, 4), (6, 6), arrived=22))
    assert told.lost == {}


def test_a_process_that_counts_anew_has_lost_nothing() -> None:
    """Another life, or the same one without a name for it."""
    told = _Told()
    watch = Sequences(told.append)
    watch.look(_signals((500, 5), arrived=5))
    watch.look(_signals((1, 6), (2, 7), arrived=7))
    watch.look(_signals((1, 8), (2, 9), arrived=9, boot="c"))
    watch.look(_signals((3, 60), arrived=60))
    assert told.rows == []


def test_two_processes_do_not_fill_each_others_gaps() -> None:
    """They count for themselves."""
    told = _Told()
    watch = Sequences(told.append)
    watch.look(_signals((1, 1), (3, 3), arrived=3))
    watch.look(_signals((1, 1), (2, 2), (3, 3), arrived=3, instance="a-2"))
    watch.look(_signals((4, 30), arrived=30))
    assert [(row["instance"], row["error"]) for row in told.rows] == [("a-1", "b/2-2")]


def test_what_cannot_be_written_is_told_next_time() -> None:
    """A busy journal loses nothing of it."""
    told = _Told(full=2)
    watch = Sequences(told.append)
    watch.look(_signals((1, 1), (3, 3), arrived=3))
    for at in (20.0, 21.0):
        watch.look(_signals((4, at), arrived=at))
    assert told.rows == []
    watch.look(_signals((4, 22), arrived=22, sequence=None))
    assert told.lost == {"b/2-2": 1}


def test_nothing_is_told_before_it_can_be_written() -> None:
    """While the journal is read again nobody waits for a word that nobody writes."""
    told, ready = _Told(), [False]
    watch = Sequences(told.append, lambda: ready[0])
    watch.look(_signals((1, 1), (3, 3), arrived=3))
    watch.look(_signals((4, 20), arrived=20))
    assert told.rows == []
    ready[0] = True
    watch.look(_signals((4, 21), arrived=21, sequence=None))
    assert told.lost == {"b/2-2": 1}


def test_what_is_lost_while_nobody_looks_leaves_its_gap() -> None:
    """What came before the end is the past: what came after it is counted on from there."""
    told = _Told()
    watch = Sequences(told.append)
    watch.resume(_signals((1, 1), (2, 2), (3, 3), arrived=3))
    watch.look(_signals((6, 10), arrived=10))
    watch.look(_signals((7, 20), arrived=20))
    assert told.lost == {"b/4-5": 2}
    assert told.rows[0]["from_us"] - START == 3 * SECOND


def test_what_was_not_told_yet_when_the_sidecar_ended_is_told_by_the_next() -> None:
    """It is missing of the past itself."""
    told = _Told()
    watch = Sequences(told.append)
    past = [_signals((one, one), arrived=one) for one in (1, 2, 5)]
    watch.resume(pa.concat_tables(past))
    watch.look(_signals((6, 15), arrived=15, sequence=None))
    assert told.lost == {"b/3-4": 2}


def test_what_came_just_before_the_past_is_not_missing() -> None:
    """4 came late, its follower in time: where the past begins, 5 lies before it."""
    told = _Told()
    watch = Sequences(told.append)
    past = [_signals((one, one), arrived=at) for one, at in ((4, 1), (6, 2), (7, 300))]
    watch.resume(pa.concat_tables(past))
    watch.look(_signals((8, 400), arrived=400))
    assert told.rows == []


def test_a_past_without_numbers_is_none() -> None:
    """Most do not number what they say."""
    told = _Told()
    watch = Sequences(told.append)
    watch.resume(_signals(arrived=0))
    watch.look(_signals((8, 400), (10, 401), arrived=401))
    watch.look(_signals((11, 500), arrived=500))
    assert told.lost == {"b/9-9": 1}


def test_of_very_many_gaps_the_older_half_becomes_one() -> None:
    """Memory is bounded; nothing is forgotten."""
    told = _Told()
    watch = Sequences(told.append)
    watch.look(_signals(*((2 * at, at / 100) for at in range(1_200)), arrived=12))
    watch.look(_signals((2_399, 30), arrived=30))
    assert len(told.rows) < 1_000
    assert sum(told.lost.values()) >= 1_199


@given(
    st.sets(st.integers(1, 40), min_size=2),
    st.randoms(use_true_random=False),
    st.integers(1, 6),
)
def test_in_any_order_just_what_never_came_is_lost(come: set[int], rng: Any, parts: int) -> None:
    """Told and taken back at whatever moment, the sum is what is missing after the first."""
    order = sorted(come)
    first, rest = order[0], order[1:]
    rng.shuffle(rest)
    told = _Told()
    watch = Sequences(told.append)
    watch.look(_signals((first, first), arrived=first))
    size = len(rest) // parts + 1
    for at in range(0, len(rest), size):
        part = rest[at : at + size]
        arrived = 100.0 + 20 * at
        watch.look(_signals(*((one, one) for one in part), arrived=arrived))
    watch.look(_signals((max(come), max(come)), arrived=10_000))
    missing = {
        number
        for name in told.lost
        for low, high in [name.removeprefix("b/").split("-")]
        for number in range(int(low), int(high) + 1)
    }
    assert missing == set(range(first, max(come))) - come


def test_what_is_told_is_a_signal_and_a_loss_that_can_be_asked_for() -> None:
    """From the journal's record to the view; found again, it is none."""
    told = _Told()
    watch = Sequences(told.append)
    watch.look(_signals((1, 1), (3, 3), arrived=4, side="agent"))
    watch.look(_signals((4, 20), arrived=20, side="agent"))
    watch.look(_signals((2, 2), arrived=21, side="agent"))
    pipeline = Pipeline(namespace="other", sides={}, rules=())
    connection = fold.connect(256 << 20)
    fold.create(connection)
    folding = fold.Fold(connection, bin_us=60 * SECOND, settle_us=3600 * SECOND)
    query = "SELECT namespace, side, service, instance, lost, from_us, to_us FROM lost"
    seen = []
    for number, entry in enumerate(told.entries, 1):
        record = Record(number, lost.KIND, entry.arrived_us, {}, entry.body)
        folding.apply(pipeline.signals([record])[0])
        seen.append(connection.execute(query).fetchall())
    assert seen[0] == [("test", "agent", "agent", "a-1", 1.0, START + SECOND, START + 3 * SECOND)]
    assert seen[1:] == [[]]
    # what we say of a process is no sign of it
    assert connection.execute("SELECT count(*) FROM sources").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM instances").fetchone() == (0,)
    pipeline.close()


@pytest.mark.parametrize("total", [True, False])
def test_a_counter_of_losses_says_since_when(total: bool) -> None:  # noqa: FBT001
    """Of a total, what was added since the last export; else what it says itself."""
    connection = fold.connect(256 << 20)
    fold.create(connection)
    folding = fold.Fold(connection, bin_us=60 * SECOND, settle_us=3600 * SECOND)
    rows = []
    for at, (second, number) in enumerate(((60, 2), (120, 2), (180, 7))):
        said = {"lost_total": float(number), "from_us": START} if total else {"lost": 5.0}
        if not total:
            said["from_us"] = START + (second - 60) * SECOND
        rows.append(
            dict.fromkeys(SCHEMA.names)
            | {"seq": at, "namespace": "test", "service": "agent", "instance": "a-1"}
            | {"phase": "export.failed", "way": "otlp", "kind": "event", "name": "exported"}
            | {"ts_us": START + second * SECOND, "to_us": START + second * SECOND}
            | {"arrived_us": START + second * SECOND, "error": "timeout"}
            | said
        )
    folding.apply(pa.Table.from_pylist(rows, schema=SCHEMA))
    found = connection.execute(
        "SELECT lost, (from_us - ?) // 1000000, (to_us - ?) // 1000000 FROM lost ORDER BY to_us",
        [START, START],
    ).fetchall()
    if total:
        assert found == [(2.0, 0, 60), (5.0, 120, 180)]
    else:
        assert found == [(5.0, 0, 60), (5.0, 60, 120), (5.0, 120, 180)]


def test_the_store_tells_of_a_gap_in_what_it_is_sent(tmp_path: Path) -> None:
    """Through journal, columns and fold, and over a restart."""
    clock = Turned()
    one = store(tmp_path, clock)
    for after_s, numbers in ((0, (1, 2)), (2, (5,)), (30, (6,))):
        clock.on(after_s)
        lines = [
            line("note", clock(), service_name="agent", zombiewatch_sequence=number)
            for number in numbers
        ]
        send(one, *lines)
    assert one.wait_applied(one.journal_last_id, 20)
    told = [(2.0, "agent")]
    assert ask(one, "SELECT lost, service FROM lost") == told
    one.close()
    again = store(tmp_path, clock)
    assert ask(again, "SELECT lost, service FROM lost") == told
    again.close()


@pytest.mark.parametrize("killed", [False, True])
def test_the_store_tells_of_what_was_lost_across_its_restart(
    tmp_path: Path,
    killed: bool,  # noqa: FBT001
) -> None:
    """5 was lost just before it ended, 7 and 8 while it was away."""
    clock = Turned()

    def say(into: Store, *numbers: int) -> None:
        for number in numbers:
            clock.on(1)
            said = {"service_name": "agent", "zombiewatch_sequence": number}
            send(into, line("note", clock(), **said))

    one = store(tmp_path, clock)
    say(one, 1, 2, 3)
    assert one.checkpoint()
    say(one, 4, 6)
    (crash if killed else Store.close)(one)
    clock.on(3)
    two = store(tmp_path, clock)
    say(two, 9)
    clock.on(20)
    say(two, 10)
    assert two.wait_applied(two.journal_last_id, 20)
    assert ask(two, "SELECT lost FROM lost ORDER BY from_us") == [(1.0,), (2.0,)]
    two.close()
