"""Signals that no segment holds yet: Arrow tables as the pipeline made them, copied nowhere."""

from __future__ import annotations

import pyarrow as pa

from model.signals import SCHEMA


class Recent:
    """Filled and emptied by the thread that folds; any thread may take a look."""

    def __init__(self) -> None:
        self._tables: tuple[pa.Table, ...] = ()

    @property
    def rows(self) -> int:
        """How many signals are waiting for a segment."""
        return sum(table.num_rows for table in self._tables)

    @property
    def tables(self) -> int:
        """In how many tables they are."""
        return len(self._tables)

    def add(self, signals: pa.Table) -> None:
        """Take *signals* in, in the shape of `model.signals.SCHEMA`."""
        self._tables = (*self._tables, signals)

    def table(self) -> pa.Table:
        """Return all of them as one table, without copying."""
        return pa.concat_tables(self._tables) if self._tables else SCHEMA.empty_table()

    def drop(self, tables: int) -> None:
        """Forget the oldest *tables*: a segment holds them now."""
        self._tables = self._tables[tables:]
