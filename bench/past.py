"""A data folder with a long past, made in minutes: what the store would hold after weeks.

The first segments and the snapshot are written by the store's own checkpoint, of signals folded
by its own fold. What is to be many is then made of these: rows with keys that look random and
times further back, written by the store's own writer; and of such files, copies under other
names. The manifests name them all, so that the real store opens the folder as its own; the index
is made by the store's own code.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from collector.store import fold
from collector.store.checkpoint import Checkpoints
from collector.store.disk import Disk, Manifest
from collector.store.history import History
from collector.store.limits import Limits
from collector.store.recent import Recent
from model.clock import system_clock
from model.units import HOUR_US, MINUTE_US, us

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pyarrow as pa

    from collector.store.disk import File

MEMORY: Final = 4 << 30
"""What the engine may hold here, bytes: a million hot attempts are more than the default allows."""

FILE_ROWS: Final = 500_000
"""Rows of a file of history: about what merging leaves."""

DISTINCT: Final = 10
"""So many files of a table have rows of their own; the rest are copies of these, but the first."""

_KEYS: Final = ("task", "trace_id", "request_id")
_DIGITS: Final = 17


class Past:
    """The data folder at *root*, which no sidecar holds. Use `hold`, then `lengthen`."""

    def __init__(self, root: Path) -> None:
        self.now_us = system_clock()
        self._disk = Disk(root)
        self._made = 0
        self._own: dict[str, list[File]] = {}
        self.indexed_s = 0.0
        """How long the index took for what was last added: seconds."""

    def hold(self, settled: Iterable[pa.Table], hot: Iterable[pa.Table]) -> None:
        """Write signals: *settled*, which has all closed hours ago, into segments, *hot* as hot.

        Of *hot* there are no segments of signals: these are not what is looked at.
        """
        limits = Limits(memory_bytes=MEMORY)
        db = fold.connect(MEMORY)
        fold.create(db)
        recent = Recent()
        history = History(db, self._disk, recent)
        folding = fold.Fold(db, bin_us=us(limits.bin_s), settle_us=us(limits.settle_s))
        checkpoints = Checkpoints(
            db, fold=folding, recent=recent, history=history, disk=self._disk, limits=limits,
            engine_bytes=MEMORY, trim=lambda _: None,
        )  # fmt: skip
        for signals in settled:
            folding.apply(signals)
            recent.add(signals)
        checkpoints.make(1, self.now_us)
        for signals in hot:
            folding.apply(signals)
            db.execute("CHECKPOINT")  # as the store does: it tidies memory
        checkpoints.make(2, self.now_us)
        checkpoints.close()
        db.close()

    def manifest(self) -> Manifest:
        """Return the newest checkpoint."""
        return next(self._disk.manifests())

    def rows(self, table: str) -> int:
        """Return how many rows of *table* are in segments."""
        return sum(one.rows for one in self.manifest().segments if one.table == table)

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(one.size for one in self.manifest().segments)

    def lengthen(
        self,
        table: str,
        *,
        rows: int = 0,
        size: int = 0,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Add files of *table* until it has *rows*, or until they all take *size* bytes.

        Rows are like those of its first file; *more* says what else is replaced: column → SQL.
        """
        manifest = self.manifest()
        first = next(one for one in manifest.segments if one.table == table)
        of_table = sum(one.rows for one in manifest.segments if one.table == table)
        total = sum(one.size for one in manifest.segments)
        own = self._own.setdefault(table, [])
        while of_table < rows or total < size:
            limit = min(FILE_ROWS, rows - of_table) if rows else FILE_ROWS
            if limit == FILE_ROWS and len(own) == DISTINCT:
                file = self._copied(own[1 + self._made % (DISTINCT - 1)])
            else:
                file = self._written(first, limit, more or {})
                own += [file] if limit == FILE_ROWS or not own else []
            manifest.segments.append(file)
            of_table += file.rows
            total += file.size
        manifest.segments.sort(key=lambda one: one.to_us)
        self._commit(manifest)

    def tasks(self, number: int, *, spread: bool = False) -> list[str]:
        """Return *number* tasks with a settled attempt, once each: no copy holds them too.

        They lie side by side, or are *spread* over the whole of a file.
        """
        db = fold.connect(MEMORY)
        source = self._disk.sql([self._own["attempts"][0]])
        order = " ORDER BY hash(task)" if spread else ""
        found = db.execute(f"SELECT task FROM {source}{order} LIMIT {number}").fetchall()
        db.close()
        return [str(task) for (task,) in found]

    def _commit(self, manifest: Manifest) -> None:
        """Make two checkpoints of it, as there are in a folder with a past; and its index."""
        known = Manifest(manifest.applied, manifest.made_us + 1, manifest.hot, manifest.segments)
        self._disk.commit(known)
        manifest = replace(known, made_us=known.made_us + 1)
        self._disk.commit(manifest)
        self._disk.sweep([manifest, known], ())
        self._index(manifest)

    def _index(self, manifest: Manifest) -> None:
        """Bring the index up to date, as the sidecar does in the background."""
        begun = time.perf_counter()
        db = fold.connect(MEMORY)
        history = History(db, self._disk, Recent())
        history.replace(manifest.segments, 0)
        for index in history.indexes.values():
            index.wait()
        history.close()
        db.close()
        self.indexed_s = time.perf_counter() - begun

    @property
    def index_size(self) -> int:
        """Bytes of the index."""
        return self._disk.size("index")

    def _name(self, table: str) -> str:
        self._made += 1
        earlier_us = self.now_us - self._made * HOUR_US  # as no checkpoint of ours is named
        return f"segments/{table}-{1:020d}-{earlier_us:020d}.parquet"

    def _written(self, first: File, rows: int, more: Mapping[str, str]) -> File:
        """Write a file of rows like those of *first*, with other keys and earlier."""
        name = self._name(first.table)
        earlier = self._made * HOUR_US
        times = -(-rows // first.rows)
        db = fold.connect(MEMORY, threads=2)
        source = self._disk.sql([first])
        said = db.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        instead = {
            column: _instead(column, f"{self._made}-", f"({earlier} + n * {MINUTE_US})")
            for column, *_ in said
        }
        changes = ", ".join(f"{sql} AS {c}" for c, sql in {**instead, **more}.items() if sql)
        query = (
            f"SELECT * EXCLUDE (n) REPLACE ({changes}) FROM {source}, range({times}) r(n)"
            f" LIMIT {rows}"
        )
        file = self._disk.write(db, first.table, name, query)
        db.close()
        assert file is not None  # noqa: S101 - rows were asked for
        low, high = first.from_us - earlier - times * MINUTE_US, first.to_us - earlier
        return replace(file, from_us=low, to_us=high)

    def _copied(self, file: File) -> File:
        name = self._name(file.table)
        shutil.copyfile(self._disk.root / file.name, self._disk.root / name)
        return replace(file, name=name)


def _instead(column: str, salt: str, earlier: str) -> str:
    """Return what a column of a new row is, as SQL over an old one; empty for the same."""
    if column in _KEYS:
        begin = "'task-' || " if column == "task" else ""  # as new ones begin that are looked up
        return f"{begin}md5('{salt}' || n || {column})"
    if column.endswith("_us"):
        return f"{column} - {earlier}"
    if column.endswith("__at"):  # a *last*: the time in fixed width, then the value
        at, value = f"substr({column}, 1, {_DIGITS})", f"substr({column}, {_DIGITS + 1})"
        return f"CAST(CAST({at} AS BIGINT) - {earlier} AS VARCHAR) || {value}"
    return ""
