"""The way in: many senders, one journal, one sync for all that came meanwhile.

Receivers call `submit` and wait on the future; it is done when the record is on disk, and
only then may they acknowledge. Bodies that cannot be decoded are refused alone.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from collector import otlp
from collector.store.journal import Entry, Journal, JournalFullError

if TYPE_CHECKING:
    from collector.pipeline import Record

_GROUP_BYTES: Final = 4 << 20
_GROUP: Final = 256

Applied = Callable[[list["Record"]], None]


class BusyError(Exception):
    """More is waiting than memory may hold: ask the sender to come again in a second."""


class Ingest:
    """Group commit into *journal*; hands what is on disk to *applied*, in journal order."""

    def __init__(
        self, journal: Journal, applied: Applied, *, waiting_bytes: int = 64 << 20
    ) -> None:
        self._journal = journal
        self._applied = applied
        self._queue: queue.SimpleQueue[tuple[Entry, Future[int]] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._limit = waiting_bytes
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self.full = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def submit(self, entry: Entry) -> Future[int]:
        """Return a future of the record's ID, done when it is synced.

        It fails with ValueError (cannot be decoded), JournalFullError, or BusyError at once.
        """
        size = len(entry.body) + 512
        with self._lock:
            if self._waiting + size > self._limit and self._waiting:
                msg = "too much is waiting to be written"
                raise BusyError(msg)
            self._waiting += size
        done: Future[int] = Future()
        self._queue.put((entry, done))
        return done

    def stop(self) -> None:
        """Write what is waiting, then end."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        running = True
        while running:
            first = self._queue.get()
            if first is None:
                break
            group, size = [first], len(first[0].body)
            while len(group) < _GROUP and size < _GROUP_BYTES:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    running = False
                    break
                group.append(more)
                size += len(more[0].body)
            self._commit(group)
            del first, group  # not to be kept while the next one is waited for

    def _commit(self, group: list[tuple[Entry, Future[int]]]) -> None:
        sound = [(entry, done) for entry, done in group if _sound(entry, done)]
        records: list[Record] = []
        try:
            records = self._journal.append([entry for entry, _ in sound]) if sound else []
        except JournalFullError as error:
            self.full += 1
            for _, done in sound:
                done.set_exception(error)
        with self._lock:
            self._waiting -= sum(len(entry.body) + 512 for entry, _ in group)
        if records:
            for record, (_, done) in zip(records, sound, strict=True):
                done.set_result(record.id)
            self._applied(records)


def _sound(entry: Entry, done: Future[int]) -> bool:
    """Say whether *entry* can be decoded; where it cannot, its future fails."""
    if entry.kind in otlp.ROOTS:
        try:
            otlp.check(entry.kind, entry.body)
        except ValueError as error:
            done.set_exception(error)
            return False
    return True
