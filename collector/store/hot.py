"""The hot relations alone, without files: for who judges what was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.store import fold
from collector.store.checkpoint import SETTLING
from collector.store.relation_fold import settled
from model.units import DAY_US, HOUR_US, us

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb
    import pyarrow as pa

    from collector.store.limits import Limits


class Hot:
    """Relations that *limits* keep; what settles is forgotten. Used by one thread.

    *gaps* are times in which nobody listened: (way, from, to), in microseconds.
    """

    def __init__(self, limits: Limits, gaps: Iterable[tuple[str, int, int]] = ()) -> None:
        self._limits = limits
        self._db = fold.connect(limits.memory_bytes)
        fold.create(self._db)
        self._fold = fold.Fold(self._db, bin_us=us(limits.bin_s), settle_us=us(limits.settle_s))
        for gap in gaps:
            self._db.execute("INSERT INTO gaps VALUES (?, ?, ?)", gap)

    def apply(self, signals: pa.Table) -> None:
        """Fold *signals* in. Raises duckdb.OutOfMemoryException where they are too many."""
        self._fold.apply(signals)

    def settle(self, now_us: int) -> None:
        """Forget what is past contradiction at *now_us*, as the store would, and tidy memory."""
        closed_us = now_us - us(self._limits.settle_s)
        open_us = now_us - us(self._limits.abandon_s)
        for relation in SETTLING:
            old = settled(relation, closed_us, open_us)
            self._db.execute(f"DELETE FROM {relation.rows} WHERE {old}")
        marked_us = now_us - min(us(self._limits.settle_s), HOUR_US)
        self._db.execute(f"DELETE FROM marks WHERE arrived_us <= {marked_us}")
        self._fold.compact_rates(now_us, DAY_US)
        self._db.execute("CHECKPOINT")

    def reader(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor on the relations, to be closed by who asked."""
        return self._db.cursor()

    def close(self) -> None:
        """Let go of the memory."""
        self._db.close()
