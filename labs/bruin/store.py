"""The control plane's store: one writer, one reader, and what goes through each."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from labs.bruin import database
from labs.bruin.connection import Connection

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from labs.bruin.database import Order, Planned, Size

_BILLED_AT_ONCE: Final = 5_000


class UnknownTaskError(LookupError):
    """No task bears that reference."""


class Store:
    """Tasks in a SQLite file, written by one transaction at a time, as SQLite would have it.

    *commit_by* is always as for `Connection.run`, and so is `OutOfTimeError`.
    """

    def __init__(self, path: Path) -> None:
        self._writer = Connection(path)
        self._reader = Connection(path, read_only=True)
        self._janitor = Connection(path)
        self._serial = 0
        self._billed = 0
        self.announced_us = 0
        """Tasks due by then (microseconds since 1970) may be handed out."""

    async def build(self, *, index: bool) -> Size:
        """Create and fill the tables; see `database.build`."""
        size = await self._writer.run(partial(database.build, index=index), transaction=False)
        self._serial = size.first_rows
        await self.tidy()
        return size

    async def plan(self, tasks: Sequence[Planned]) -> None:
        """Queue *tasks*, to be handed out once they are announced as due."""
        await self._writer.run(lambda raw: database.plan(raw, tasks))

    async def hand_out(self, agent: str, *, commit_by: float | None = None) -> Order | None:
        """Give *agent* the task that waits longest, now running in the table; None if none waits.

        What is due is decided when our turn comes, not when we were called.
        """

        def work(raw: sqlite3.Connection) -> Order | None:
            return database.hand_out(raw, agent, self.announced_us)

        return await self._writer.run(work, commit_by=commit_by)

    async def record(
        self, ref: str, attempt: int, state: str, *, commit_by: float | None = None
    ) -> bool:
        """Write the final state of an attempt; return False if it had one already.

        Raises:
            UnknownTaskError: no task bears the reference *ref*.
        """
        row = await self._reader.run(lambda raw: database.look_up(raw, ref), commit_by=commit_by)
        if row is None:
            raise UnknownTaskError(ref)
        found = row
        return await self._writer.run(
            lambda raw: database.record(raw, found, attempt, state), commit_by=commit_by
        )

    async def grow(self, rows: int) -> None:
        """Take over *rows* finished tasks of other tenants."""
        first = self._serial
        await self._writer.run(lambda raw: database.grow(raw, first, rows))
        self._serial += rows

    async def roll_up(self, seconds: float) -> int:
        """Bill for *seconds*, in one transaction, going on where the last roll-up stopped.

        Returns the number of rows that were billed.
        """
        return await self._writer.run(lambda raw: self._roll_up(raw, seconds))

    def _roll_up(self, raw: sqlite3.Connection, seconds: float) -> int:
        until = time.monotonic() + seconds
        billed = 0
        while time.monotonic() < until:
            if database.bill(raw, self._billed, _BILLED_AT_ONCE):
                self._billed += _BILLED_AT_ONCE
                billed += _BILLED_AT_ONCE
            else:
                self._billed = 0
        return billed

    async def tidy(self) -> None:
        """Move pages from the write-ahead log into the table's file, beside whoever writes."""
        await self._janitor.run(
            lambda raw: raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall(),
            transaction=False,
        )

    @property
    def rows(self) -> int:
        """How many rows of other tenants the table holds."""
        return self._serial

    def close(self) -> None:
        """Close every connection; nobody may be using one."""
        for connection in (self._reader, self._janitor, self._writer):
            connection.close()
