"""History: Parquet segments, and the signals that wait for one; read by anyone, damage or not."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import duckdb
import pyarrow as pa

from collector.store import memory
from collector.store.index import Index
from collector.store.patrol import Patrol
from collector.store.segment import Segment, UnreadableError
from model.relations import ATTEMPTS
from model.signals import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from collector.store.disk import Disk, File
    from collector.store.recent import Recent
    from model.relation import Relation

T = TypeVar("T")

_KEYS: Final = frozenset({"task", "request_id", "trace_id"})

INDEXED: Final = (ATTEMPTS,)
"""Relations whose keys are looked up (see `fold.py`)."""


class History:
    """What has left the hot tables. `lock` is held while its files are read, or changed."""

    def __init__(self, db: duckdb.DuckDBPyConnection, disk: Disk, recent: Recent) -> None:
        self._db = db
        self._disk = disk
        self._recent = recent
        self.segments: tuple[File, ...] = ()
        self.lock = threading.RLock()
        self.patrol = Patrol(disk, lambda: self.segments, self.prove)
        self.indexes = {
            one.name: Index(one, db, disk, segments=partial(self._of, one.name), prove=self.prove)
            for one in INDEXED
        }
        for index in self.indexes.values():
            index.load()

    def _of(self, table: str) -> list[File]:
        return [one for one in self.segments if one.table == table]

    def timeline(self, column: str, value: str, limit: int) -> list[dict[str, Any]]:
        """Return the signals whose *column* (task, request_id or trace_id) is *value*, by time.

        Hot ones and those in segments, as dictionaries with the columns of `model.signals`.
        Raises ValueError for another column.
        """
        if column not in _KEYS:
            msg = f"{column} is not a key of timelines"
            raise ValueError(msg)
        found = self._signals(
            ", ".join(COLUMNS), f"{column} = $value ORDER BY ts_us, seq LIMIT {int(limit)}", value
        )
        rows: list[dict[str, Any]] = found.to_pylist()
        return rows

    def newest(self, columns: Iterable[str], having: str, since_us: int, limit: int) -> pa.Table:
        """Return *columns* of the newest *limit* signals that arrived since and have *having*."""
        return self._signals(
            ", ".join(columns),
            f"{having} IS NOT NULL AND arrived_us >= $value ORDER BY seq DESC LIMIT {int(limit)}",
            since_us,
        )

    def _signals(self, columns: str, where: str, value: object) -> pa.Table:
        """Return *columns* of the signals, hot ones and those in segments; *value* is `$value`."""

        def look() -> pa.Table:
            files = self._of("signals")
            sources = ["recent", *([self._disk.sql(files)] if files else [])]
            # by name: segments of an older version may lack a column
            every = " UNION ALL BY NAME ".join(f"SELECT * FROM {source}" for source in sources)
            with self._db.cursor() as cursor:
                cursor.register("recent", self._recent.table())
                return cursor.sql(
                    f"SELECT {columns} FROM ({every}) WHERE {where}", params={"value": value}
                ).to_arrow_table()

        return self._looked(look, "signals")

    def lookup(self, relation: Relation, keys: pa.Table) -> pa.Table:
        """Return the rows that history has of *keys*, a table of a relation's keys.

        What is read depends on how many of them history has, not on how long it is (see `Index`).
        """

        def look() -> pa.Table:
            held = list(self._having(relation, keys))
            # a cursor of its own: a file that cannot be read must not end the fold's transaction
            with self._db.cursor() as cursor:
                cursor.register("wanted", keys)
                every = f"SELECT * FROM settled_{relation.name}"
                if held:
                    # segments of an older version may lack a column
                    cursor.register("held", pa.concat_tables(held, promote_options="permissive"))
                    every += " UNION ALL BY NAME SELECT * FROM held"
                return cursor.sql(
                    f"SELECT h.* FROM ({every}) h SEMI JOIN wanted USING ({relation.key_list})"
                ).to_arrow_table()

        return self._looked(look, relation.name)

    def _having(self, relation: Relation, keys: pa.Table) -> Iterator[pa.Table]:
        """Yield rows of segments that may be of *keys*; those that are of them are among these."""
        index = self.indexes.get(relation.name)
        places, known = index.find(keys) if index else ({}, set())
        for file in self._of(relation.name):
            if file.name in known and file.name not in places:
                continue
            with Segment(self._disk.root, file) as segment:
                groups = places[file.name] if file.name in known else range(segment.groups)
                yield from segment.having(keys, sorted(groups))

    def _looked(self, look: Callable[[], T], table: str) -> T:
        """Return what *look* finds; segments of *table* that are damaged are set aside for it."""
        with self.lock:
            while True:
                try:
                    return look()
                except UnreadableError as error:
                    if not self.drop_damaged([error.file]):
                        raise
                except duckdb.Error as error:
                    if memory.is_short(error) or not self.drop_damaged(self._of(table)):
                        raise

    def replace(self, segments: Iterable[File], signals: int) -> None:
        """Take *segments* for what there was; they hold the oldest *signals* tables of `recent`."""
        with self.lock:
            self.segments = tuple(segments)
            self._recent.drop(signals)
        for index in self.indexes.values():
            index.refresh()

    def drop_damaged(self, suspects: Iterable[File]) -> bool:
        """Set those of *suspects* aside that are not as written; True where there were any.

        They are read whole only where none shows it at once: that takes long where there are many.
        """
        with self.lock:
            suspects = [one for one in suspects if one in self.segments]
            damaged = [one for one in suspects if not self._disk.good(one, whole=False)]
            damaged = damaged or [one for one in suspects if not self._disk.good(one, whole=True)]
            for one in damaged:
                self._disk.set_aside(self._disk.root / one.name)
            self.segments = tuple(one for one in self.segments if one not in damaged)
        return bool(damaged)

    def prove(self, file: File) -> None:
        """Read *file* whole: give it its checksum where it has none, set it aside if damaged."""
        if file.crc >= 0:
            self.drop_damaged([file])
            return
        proven = self._disk.proven(file)  # long, and nobody waits for it
        with self.lock:
            if proven is None:
                self.drop_damaged([file])
            else:
                self.segments = tuple(proven if one == file else one for one in self.segments)

    def close(self) -> None:
        """End what goes on in the background."""
        for index in self.indexes.values():
            index.close()
