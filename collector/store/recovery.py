"""Recovery: the newest checkpoint that is whole, or as much of one as there is.

What is loaded, or folded again, is so in parts, and packed as it grows: as a whole, not packed, it
would take many times the room that it took when it was written.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from collector.pipeline import ROW_BITS
from collector.store import memory
from collector.store.disk import KEEP, File, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.store.disk import Disk
    from collector.store.fold import Fold

_LOG = logging.getLogger("zombiewatch.store")

_SEGMENT: Final = re.compile(r"([a-z]+)-(?:merged-)?(\d{20})-(\d{20})\.parquet")

_PART: Final = 16_384
"""Rows that are taken at once."""

_GROWN: Final = 8
"""What is in memory is packed when it has grown by this part of the engine's limit."""

_UNREADABLE: Final = (duckdb.Error, pa.ArrowException, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the journal has: no ID before *first*, none past *last* (0 where it was lost)."""

    first: int
    last: int

    def has(self, after: int, upto: int) -> bool:
        """Tell whether it has all that is past the ID *after*, up to *upto*."""
        return self.first <= after + 1 and self.last >= upto


class Recovery:
    """Brings what *disk* has back into *fold*, whose connection is *db*.

    *limit_bytes* is what the engine may use. Signals of the last *settle_us* are folded again
    where no snapshot can be used.
    """

    def __init__(
        self,
        disk: Disk,
        db: duckdb.DuckDBPyConnection,
        fold: Fold,
        *,
        limit_bytes: int,
        settle_us: int,
    ) -> None:
        self._disk = disk
        self._db = db
        self._fold = fold
        self._limit = limit_bytes
        self._settle_us = settle_us
        self._packed = 0

    def recover(self, journal: Kept) -> list[Manifest]:
        """Load the newest checkpoint that is whole; return it, and those before it.

        Where *journal* still has all that is past an older checkpoint, a newer one with any damage
        is dropped: replaying makes it anew. Where it has not, what is whole is taken, and what is
        damaged is lost; hot tables are then folded from signals. Start-up never refuses.

        Segments are many: only those are read whole here that could be made anew. What is wrong
        with others is found when they are read, or by the `Patrol`.
        """
        found = list(self._disk.manifests())
        for at, manifest in enumerate(found):
            older = found[at + 1] if at + 1 < len(found) else Manifest(0, 0)
            known = {file.name for file in older.segments}
            covered = journal.has(older.applied, manifest.applied)
            damaged = [
                *(file for file in manifest.hot if not self._disk.good(file, whole=True)),
                *(
                    file
                    for file in manifest.segments
                    if not self._disk.good(file, whole=covered and file.name not in known)
                ),
            ]
            for file in damaged:
                self._disk.set_aside(self._disk.root / file.name)
            new = [file.name for file in damaged if file.name not in known]
            if new and covered:
                _LOG.warning("damaged, and made anew: %s", ", ".join(new))
                continue
            manifest.segments = [one for one in manifest.segments if one not in damaged]
            if any(one in damaged for one in manifest.hot) or not self._load(manifest):
                manifest.hot = []
                self._fold_again(manifest)
            return [manifest, *found[at + 1 :]][:KEEP]
        adopted = self._adopted(journal)
        if adopted is None:
            return []
        self._fold_again(adopted)
        return [adopted]

    # -- the hot tables ---------------------------------------------------------------------

    def _load(self, manifest: Manifest) -> bool:
        """Take the hot tables of *manifest*, all or none; False where one could not be loaded."""
        try:
            self._loaded(manifest)
        except _UNREADABLE as error:  # as it was written, and yet not to be read
            if not memory.is_short(error):
                _LOG.warning("a snapshot could not be loaded: %s", error)
                self._empty(manifest)
                return False
        else:
            return True
        # written with a larger limit than there is now: the first relief moves on what is too much
        _LOG.warning("what is hot takes more memory than it may (memory_limit); it is loaded")
        self._empty(manifest)
        with memory.lifted(self._db, self._limit):
            self._loaded(manifest)
        return True

    def _loaded(self, manifest: Manifest) -> None:
        for file in manifest.hot:
            for part in _parts(self._disk.root / file.name):
                self._take(file.table, part)
        self._pack()

    def _take(self, table: str, part: pa.Table) -> None:
        self._db.register("part", part)
        try:
            self._fold.take(table, "part")
        finally:
            self._db.unregister("part")
        self._tidy()

    def _empty(self, manifest: Manifest) -> None:
        for file in manifest.hot:
            self._db.execute(f"TRUNCATE {file.table}")
        self._pack()

    def _tidy(self) -> None:
        """Pack what is in memory, if it has grown by much."""
        if memory.used_bytes(self._db) > self._packed + self._limit // _GROWN:
            self._pack()

    def _pack(self) -> None:
        with suppress(duckdb.Error):  # it only takes more room then
            memory.pack(self._db, self._limit)
        self._packed = memory.used_bytes(self._db)

    # -- from segments ----------------------------------------------------------------------

    def _fold_again(self, manifest: Manifest) -> None:
        """Fold the signals of the last `settle_us` that segments hold: what was lately is known."""
        signals = [one for one in manifest.segments if one.table == "signals"]
        newest = max((one.to_us for one in signals), default=0)
        recent = [one for one in signals if one.to_us >= newest - self._settle_us]
        _LOG.warning("no snapshot could be used: folding %d segments again", len(recent))
        for one in sorted(recent, key=lambda one: one.to_us):
            path = self._disk.root / one.name
            try:
                for part in _parts(path):
                    self._fold.apply(self._signals(part))
                    self._tidy()
            except _UNREADABLE as error:
                _LOG.warning("%s could not be read: %s", one.name, error)
                self._disk.set_aside(path)
                manifest.segments.remove(one)

    def _signals(self, part: pa.Table) -> pa.Table:
        """Return *part* in the shape of `model.signals`: an older version may lack a column."""
        self._db.register("part", part)
        try:
            return self._fold.read("part")
        finally:
            self._db.unregister("part")

    def _adopted(self, journal: Kept) -> Manifest | None:
        """Return a manifest of the segments that are there though none names them; None without.

        None also where *journal* has all of it: then they are of a first checkpoint that was cut
        off. A journal that was lost has nothing.
        """
        paths = sorted((self._disk.root / "segments").glob("*.parquet"))
        named = [_SEGMENT.fullmatch(path.name) for path in paths]
        if journal.has(0, max((int(one[2]) for one in named if one), default=0)):
            return None
        files: dict[str, File] = {}
        merged: set[str] = set()
        applied = made_us = within = 0
        for path, name in zip(paths, named, strict=True):
            try:
                if name is None:
                    raise ValueError(path.name)  # none of ours
                files[path.name], parts, last = self._found(path, name[1])
            except _UNREADABLE:
                self._disk.set_aside(path)
                continue
            merged |= parts
            applied, made_us = max(applied, int(name[2])), max(made_us, int(name[3]))
            within = max(within, last)
        if not files:
            return None
        kept = [one for name, one in files.items() if name not in merged]
        _LOG.warning("no manifest could be read: %d segments taken over by their names", len(kept))
        within = within if within >> ROW_BITS > applied else 0
        return Manifest(applied, made_us, segments=kept, within=within)

    def _found(self, path: Path, table: str) -> tuple[File, set[str], int]:
        """Return what a segment holds, the names of those merged into it, and the last seq.

        By what is written at its end: to read them all would take minutes. So it has no checksum
        yet. Raises one of `_UNREADABLE` where it is damaged there.
        """
        with parquet.ParquetFile(path) as file:
            notes, rows = file.metadata.metadata or {}, file.metadata.num_rows
            low, high = _extent(file, "arrived_us" if table == "signals" else "last_seen_us")
            last = _extent(file, "seq")[1] if table == "signals" else 0
        found = File(f"segments/{path.name}", table, rows, path.stat().st_size, -1, low, high)
        parts = {one for one in notes.get(b"merged", b"").decode().split(",") if one}
        return found, parts, last


def _extent(file: parquet.ParquetFile, column: str) -> tuple[int, int]:
    """Return the least and the greatest value of *column*, a number; 0 where there is none.

    Raises ValueError where there is no such column.
    """
    at = file.schema_arrow.names.index(column)
    groups = (file.metadata.row_group(i).column(at) for i in range(file.metadata.num_row_groups))
    told = [one.statistics for one in groups]
    if all(one is not None and (one.has_min_max or one.null_count) for one in told):
        told = [one for one in told if one.has_min_max]
        return min((one.min for one in told), default=0), max((one.max for one in told), default=0)
    found = pc.min_max(file.read([column])[column]).as_py()
    return found["min"] or 0, found["max"] or 0


def _parts(path: Path) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet file, some at a time."""
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_PART, use_threads=False):
            yield pa.Table.from_batches([batch])
