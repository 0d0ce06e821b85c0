"""The journal's thread takes in what comes, whatever a body, the journal or a waiter does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from collector.ingest import BusyError, Ingest
from collector.store.backlog import Backlog
from collector.store.journal import Entry, Journal
from tests.collector.stores import START_US

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.pipeline import Record


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite")
    yield made
    made.close()


def entry(body: bytes = b"{}\n", kind: str = "lines", **meta: Any) -> Entry:
    return Entry(kind, START_US, body, meta)


def bodies(of: Journal) -> list[bytes]:
    return [record.body for record in of.read(0)[0]]


def test_a_sender_that_goes_away_while_it_waits_stops_nobody(journal: Journal) -> None:
    """What it handed in is written all the same; the next sender is answered."""
    applied: list[Record] = []
    ingest = Ingest(journal, applied.extend)
    ingest.start()

    async def gone() -> None:
        with journal._lock:  # the disk is slow
            waiting = asyncio.create_task(_waited(ingest, entry(b"1\n")))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(gone())
    assert ingest.submit(entry(b"2\n")).result(10) == 2
    ingest.stop()
    assert bodies(journal) == [b"1\n", b"2\n"] == [record.body for record in applied]


async def _waited(ingest: Ingest, one: Entry) -> int:
    return await asyncio.wrap_future(ingest.submit(one))


def test_what_cannot_be_written_fails_alone(journal: Journal) -> None:
    """Those that came with it are on disk, and what it took of memory is free again."""
    applied: list[Record] = []
    ingest = Ingest(journal, applied.extend)
    odd = entry(b"odd", source=object())  # no JSON
    futures = [ingest.submit(one) for one in (entry(b"1\n"), odd, entry(b"3\n"))]
    ingest.start()
    with pytest.raises(TypeError):
        futures[1].result(10)
    assert [futures[0].result(10), futures[2].result(10)] == [1, 2]
    ingest.stop()
    assert bodies(journal) == [b"1\n", b"3\n"] == [record.body for record in applied]
    assert ingest._waiting == 0


def test_what_is_on_disk_and_was_not_handed_on_is_read_from_there(journal: Journal) -> None:
    """A failure between the two costs nothing: the next batch begins with what is missing."""
    backlog = Backlog(journal.read, after=0, newest=0, held_bytes=1 << 20)
    broken = iter((True, False))

    def add(records: list[Record]) -> None:
        if next(broken):
            raise MemoryError
        backlog.add(records)

    ingest = Ingest(journal, add)
    ingest.start()
    assert ingest.submit(entry(b"1\n")).result(10) == 1
    assert ingest.submit(entry(b"2\n")).result(10) == 2
    ingest.stop()
    backlog.stop()
    batch = backlog.take(0)
    assert batch is not None
    assert [record.id for record in batch] == [1, 2]
    assert backlog.take(0) is None


def test_who_comes_after_the_end_is_told_so(journal: Journal) -> None:
    """And does not wait for ever."""
    ingest = Ingest(journal, lambda _records: None)
    ingest.start()
    ingest.stop()
    with pytest.raises(BusyError, match="stopping"):
        ingest.submit(entry())
