"""History: Parquet segments, and the signals that wait for one; read by anyone, damage or not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

import duckdb

from collector.store import memory
from model.signals import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from collector.store.disk import Disk, File
    from collector.store.recent import Recent
    from model.relation import Relation

T = TypeVar("T")

_KEYS: Final = frozenset({"task", "request_id", "trace_id"})


class History:
    """What has left the hot tables. `lock` is held while its files are read, or changed."""

    def __init__(self, db: duckdb.DuckDBPyConnection, disk: Disk, recent: Recent) -> None:
        self._db = db
        self._disk = disk
        self._recent = recent
        self._read: set[str] = set()
        self.scrubbed = False
        """Whether every segment has been read whole since the start."""
        self.segments: tuple[File, ...] = ()
        self.lock = threading.RLock()

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
        names = ", ".join(COLUMNS)

        def look() -> list[dict[str, Any]]:
            files = self._of("signals")
            sources = ["recent", *([self._disk.sql(files)] if files else [])]
            # by name: segments of an older version may lack a column
            every = " UNION ALL BY NAME ".join(f"SELECT * FROM {source}" for source in sources)
            with self._db.cursor() as cursor:
                cursor.register("recent", self._recent.table())
                rows = cursor.execute(
                    f"SELECT {names} FROM ({every}) WHERE {column} = $value"
                    f" ORDER BY ts_us, seq LIMIT {int(limit)}",
                    {"value": value},
                ).fetchall()
            return [dict(zip(COLUMNS, row, strict=True)) for row in rows]

        return self._looked(look)

    def lookup(self, relation: Relation, keys: pa.Table) -> pa.Table:
        """Return the rows that history has of *keys*, a table of a relation's keys."""

        def look() -> pa.Table:
            files = self._of(relation.name)
            sources = [f"settled_{relation.name}", *([self._disk.sql(files)] if files else [])]
            every = " UNION ALL BY NAME ".join(f"SELECT * FROM {source}" for source in sources)
            # a cursor of its own: a file that cannot be read must not end the fold's transaction
            with self._db.cursor() as cursor:
                cursor.register("wanted", keys)
                return cursor.sql(
                    f"SELECT h.* FROM ({every}) h SEMI JOIN wanted USING ({relation.key_list})"
                ).to_arrow_table()

        return self._looked(look)

    def _looked(self, look: Callable[[], T]) -> T:
        """Return what *look* finds; damaged segments are set aside where it cannot be read."""
        with self.lock:
            try:
                return look()
            except duckdb.Error as error:
                if memory.is_short(error) or not self.drop_damaged():
                    raise
                return look()

    def replace(self, segments: Iterable[File], signals: int) -> None:
        """Take *segments* for what there was; they hold the oldest *signals* tables of `recent`."""
        with self.lock:
            self.segments = tuple(segments)
            self._recent.drop(signals)

    def scrub(self) -> None:
        """Read one segment whole, another each time: damage is found before it is asked for."""
        names = {one.name for one in self.segments}
        self._read &= names
        unread = [one for one in self.segments if one.name not in self._read]
        if not unread:
            self.scrubbed = True
            self._read.clear()
            return
        self._read.add(unread[0].name)
        if not self._disk.good(unread[0], whole=True):
            self.drop_damaged()

    def drop_damaged(self) -> bool:
        """Read all segments; set aside those that are not as written. True where there were any."""
        with self.lock:
            damaged = [one for one in self.segments if not self._disk.good(one, whole=True)]
            for one in damaged:
                self._disk.set_aside(self._disk.root / one.name)
            self.segments = tuple(one for one in self.segments if one not in damaged)
        return bool(damaged)
