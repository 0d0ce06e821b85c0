"""What waits to be applied comes in order, once, however little of it is held in memory."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest

from collector.store.backlog import ROWS, Backlog
from collector.store.journal import Entry, Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.pipeline import Record

NOW_US = 1_790_000_000_000_000
_LONG_S = 30.0


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite")
    yield made
    made.close()


def backlog(of: Journal, *, held_bytes: int = 1 << 20, after: int = 0) -> Backlog:
    return Backlog(of.read, after=after, newest=of.last_id, held_bytes=held_bytes)


def append(to: Journal, number: int, size: int = 1000) -> list[Record]:
    """Append so many records; each arrived a second after the one before."""
    first = to.last_id + 1
    return to.append(
        [Entry("lines", NOW_US + (first + i) * 1_000_000, b"x" * size) for i in range(number)]
    )


def drained(of: Backlog) -> list[int]:
    """Take all that there is; return the IDs in their order."""
    of.stop()
    ids = []
    while (batch := of.take(0)) is not None:
        ids += [record.id for record in batch]
        of.done()
    return ids


@pytest.mark.parametrize("held_bytes", [0, 9_000, 1 << 20])
def test_all_of_it_in_order(journal: Journal, held_bytes: int) -> None:
    """What did not fit into memory is read from the journal, in its turn."""
    waiting = backlog(journal, held_bytes=held_bytes)
    taken = []
    for _ in range(5):
        for _ in range(3):
            waiting.add(append(journal, 4))
        batch = waiting.take(0)
        taken += [record.id for record in batch or ()]
        waiting.done()
    waiting.add(append(journal, 2))
    assert taken + drained(waiting) == list(range(1, 63))
    assert waiting.applied == 62


def test_memory_is_bounded(journal: Journal) -> None:
    """A hundred megabytes that wait are not a hundred megabytes in memory."""
    waiting = backlog(journal, held_bytes=1 << 20)
    for _ in range(20):
        waiting.add(append(journal, 5, 1 << 20))
    assert sum(len(record.body) for record in waiting._held) <= 2 << 20
    assert len(drained(waiting)) == 100


def test_a_batch_has_its_rows(journal: Journal) -> None:
    """A batch is cut by what bodies of its kind have shown to hold."""
    waiting = backlog(journal, held_bytes=1 << 30)
    waiting.add(append(journal, 100, 400_000))
    first = waiting.take(0)
    assert first is not None
    assert 40 <= len(first) <= 60  # a thousand rows each, by the guess
    waiting.learn(first, ROWS * len(first))
    second = waiting.take(0)
    assert second is not None
    assert len(second) < 20


def test_a_damaged_record_is_passed_over(journal: Journal, tmp_path: Path) -> None:
    """It is counted; those before and behind it come, and the end is reached."""
    append(journal, 5)
    with sqlite3.connect(tmp_path / "journal.sqlite") as other:
        other.execute("UPDATE record SET body = 'y' WHERE id = 3")
        other.execute("DELETE FROM record WHERE id = 5")
    other.close()
    waiting = backlog(journal)
    assert drained(waiting) == [1, 2, 4]
    assert (waiting.applied, journal.damaged) == (5, 1)


@pytest.mark.parametrize("held_bytes", [0, 1 << 20])
def test_complete_until_the_oldest_that_waits(journal: Journal, held_bytes: int) -> None:
    """Nobody judges a moment of which something that had arrived is not in the relations."""
    waiting = backlog(journal, held_bytes=held_bytes)
    later = NOW_US + 3_600_000_000
    assert waiting.complete_us(later) == later
    records = append(journal, 3)
    waiting.add(records)
    assert waiting.complete_us(later) <= records[0].arrived_us
    waiting.take(0)
    assert waiting.complete_us(later) <= records[0].arrived_us
    waiting.done()
    assert waiting.complete_us(later) == later
    assert waiting.wait_applied(3, 0)
    assert not waiting.wait_applied(4, 0)


def test_what_is_gathered_is_taken_when_somebody_wants_to_look(journal: Journal) -> None:
    """The rest of the gathering is left out; what comes afterwards is gathered again."""
    waiting = backlog(journal)
    taken: list[list[int]] = []

    def take() -> None:
        while (batch := waiting.take(_LONG_S)) is not None:
            taken.append([record.id for record in batch])
            waiting.done()

    thread = threading.Thread(target=take)
    thread.start()
    begun = time.monotonic()
    waiting.add(append(journal, 2))
    assert waiting.hurry(_LONG_S)
    assert waiting.applied == 2
    waiting.add(append(journal, 1))
    assert not waiting.wait_applied(3, 0.05)
    assert waiting.hurry(_LONG_S)
    assert taken == [[1, 2], [3]]
    assert time.monotonic() - begun < _LONG_S
    waiting.stop()
    thread.join()


def test_where_nothing_waits_nobody_is_hurried(journal: Journal) -> None:
    """What comes next is gathered as ever."""
    waiting = backlog(journal)
    assert waiting.hurry(_LONG_S)
    waiting.add(append(journal, 1))
    assert not waiting._full()


def test_nobody_waits_for_what_is_far_behind(journal: Journal) -> None:
    """More waits than is held: an evaluation goes on with what there is."""
    waiting = backlog(journal, held_bytes=0)
    waiting.add(append(journal, 3))
    begun = time.monotonic()
    assert not waiting.hurry(_LONG_S)
    assert time.monotonic() - begun < _LONG_S
    assert drained(waiting) == [1, 2, 3]
