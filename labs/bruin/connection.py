"""One SQLite connection for many coroutines: one at a time, off the event loop, and revocable.

Who is cancelled, or runs out of time, has the statement under way interrupted and the
transaction rolled back. A commit that has begun is seen through, and then counts as done.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

_INTERRUPT_EVERY_S: Final = 0.01


class OutOfTimeError(Exception):
    """The deadline passed before the commit: nothing was changed."""


class Connection:
    """A pool of one. *path* is the database file; it is created where it is missing."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        self._raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._raw.execute("PRAGMA journal_mode = WAL")
        # A lab's data need not outlive a power cut, and a sync would tie us to the disk's mood.
        self._raw.execute("PRAGMA synchronous = OFF")
        # Whoever commits would pay for everybody's pages; housekeeping does that (`Store.tidy`).
        self._raw.execute("PRAGMA wal_autocheckpoint = 0")
        self._turns = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")

    async def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        commit_by: float | None = None,
        transaction: bool = True,
    ) -> T:
        """Return what *work* returns, run in a transaction of its own, in a thread.

        *commit_by* (as `time.monotonic` tells it, in seconds) bounds the wait for our turn, the
        work, and the moment at which the commit may still begin. Without *transaction*, *work*
        must commit for itself.

        Raises:
            OutOfTimeError: it could not begin to commit in time.
        """
        try:
            async with asyncio.timeout_at(commit_by), self._turns:
                return await self._turn(work, _Turn(commit_by), transaction=transaction)
        except TimeoutError:
            raise OutOfTimeError from None

    async def _turn(
        self, work: Callable[[sqlite3.Connection], T], turn: _Turn, *, transaction: bool
    ) -> T:
        call = self._transact if transaction else self._bare
        future = asyncio.get_running_loop().run_in_executor(self._thread, call, work, turn)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The next in line must not get the connection before this one's thread has let go.
            while not future.done():
                turn.interrupt(self._raw)
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({future}, timeout=_INTERRUPT_EVERY_S)
            if future.exception() is None:
                return future.result()
            raise

    def _transact(self, work: Callable[[sqlite3.Connection], T], turn: _Turn) -> T:
        raw = self._raw
        try:
            raw.execute(self._begin)
            result = work(raw)
            turn.close()
            raw.execute("COMMIT")
        except BaseException:
            turn.quiet()
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raise
        return result

    def _bare(self, work: Callable[[sqlite3.Connection], T], turn: _Turn) -> T:
        try:
            return work(self._raw)
        finally:
            turn.quiet()

    def close(self) -> None:
        """Close the connection; nobody may be using it."""
        self._thread.shutdown()
        self._raw.close()


class _Turn:
    """One transaction's right to go on, shared by its thread and whoever waits for it."""

    def __init__(self, commit_by: float | None) -> None:
        self._commit_by = commit_by
        self._gate = threading.Lock()
        self._open = True
        self._revoked = False

    def interrupt(self, raw: sqlite3.Connection) -> None:
        """Revoke the turn unless its commit has begun."""
        with self._gate:
            if self._open:
                self._revoked = True
                raw.interrupt()

    def close(self) -> None:
        """Pass the point of no return, or raise `OutOfTimeError`."""
        with self._gate:
            late = self._commit_by is not None and time.monotonic() > self._commit_by
            if self._revoked or late:
                raise OutOfTimeError
            self._open = False

    def quiet(self) -> None:
        """Let no interrupt through from here on: it would hit the rollback."""
        with self._gate:
            self._open = False
