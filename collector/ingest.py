"""The way in: many senders, one journal, one sync for all that came meanwhile.

Receivers call `submit` and wait on the future; it is done when the record is on disk, and
only then may they acknowledge. Bodies that cannot be decoded are refused alone. The thread that
writes outlives whatever a body, the journal or somebody who waits does: without it all would hang.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from collector import otlp
from collector.store.journal import Entry, Journal, JournalFullError

if TYPE_CHECKING:
    from collector.pipeline import Record

_LOG: Final = logging.getLogger("zombiewatch.store")

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
        self._stopped = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self.full = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether what is handed in is written."""
        return self._thread.is_alive() and not self._stopped

    def submit(self, entry: Entry) -> Future[int]:
        """Return a future of the record's ID, done when it is synced.

        It fails with ValueError (cannot be decoded), JournalFullError, or whatever else became of
        this one. It cannot be cancelled: what was handed in is written, though the sender be gone.
        Raises BusyError where too much is waiting, or where we have stopped.
        """
        size = _size(entry)
        done: Future[int] = Future()
        done.set_running_or_notify_cancel()
        with self._lock:
            if self._stopped:
                msg = "the sidecar is stopping"
                raise BusyError(msg)
            if self._waiting + size > self._limit and self._waiting:
                msg = "too much is waiting to be written"
                raise BusyError(msg)
            self._waiting += size
            self._queue.put((entry, done))
        return done

    def stop(self) -> None:
        """Write what is waiting, then end."""
        with self._lock:
            self._stopped = True
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
            try:
                self._commit(group)
            except Exception:  # noqa: BLE001 - the thread must live: without it nothing is taken in
                _LOG.exception("a group could not be taken in; the next ones are")
            del first, group  # not to be kept while the next one is waited for

    def _commit(self, group: list[tuple[Entry, Future[int]]]) -> None:
        try:
            sound = [(entry, done) for entry, done in group if _sound(entry, done)]
            records = self._written(sound)
        finally:
            with self._lock:
                self._waiting -= sum(_size(entry) for entry, _ in group)
            for _, done in group:  # who is told nothing waits for ever
                if not done.done():
                    done.set_exception(RuntimeError("it could not be taken in; the log says why"))
        if records:
            self._applied(records)

    def _written(self, sound: list[tuple[Entry, Future[int]]]) -> list[Record]:
        """Return the records of *sound* that are on disk now; tell those who wait for them."""
        try:
            records = self._journal.append([entry for entry, _ in sound]) if sound else []
        except JournalFullError as error:
            self.full += 1
            for _, done in sound:
                done.set_exception(error)
            return []
        except Exception as error:  # noqa: BLE001 - it is told to whoever waits
            if len(sound) > 1:  # one of them must not fail the others
                return [record for one in sound for record in self._written([one])]
            sound[0][1].set_exception(error)
            return []
        for record, (_, done) in zip(records, sound, strict=True):
            done.set_result(record.id)
        return records


def _size(entry: Entry) -> int:
    return len(entry.body) + 512


def _sound(entry: Entry, done: Future[int]) -> bool:
    """Say whether *entry* can be decoded; where it cannot, its future fails."""
    if entry.kind in otlp.ROOTS:
        try:
            otlp.check(entry.kind, entry.body)
        except Exception as error:  # noqa: BLE001 - ValueError, mostly; it is this sender's alone
            done.set_exception(error)
            return False
    return True
