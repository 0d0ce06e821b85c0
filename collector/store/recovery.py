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
    from collections.abc import Container, Iterator
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
        """
        found = list(self._disk.manifests())
        for at, manifest in enumerate(found):
            older = found[at + 1] if at + 1 < len(found) else Manifest(0, 0)
            known = {file.name for file in older.segments}
            damaged = self._damaged(manifest, known)
            for file in damaged:
                self._disk.set_aside(self._disk.root / file.name)
            new = [file.name for file in damaged if file.name not in known]
            if new and journal.has(older.applied, manifest.applied):
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

    def _damaged(self, manifest: Manifest, known: Container[str]) -> list[File]:
        """Return the files of *manifest* that are not as written.

        All are read whole but those that are *known* for longer: they are many, and looked at only.
        """
        return [
            file
            for file in (*manifest.hot, *manifest.segments)
            if not self._disk.good(file, whole=file.name not in known)
        ]

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
        """Return what a segment holds, read whole, the names of those merged into it, the last seq.

        Raises one of `_UNREADABLE` where it is damaged.
        """
        rows, last, low, high = 0, 0, [], []
        for part in _parts(path):
            at = pc.min_max(part["arrived_us" if table == "signals" else "last_seen_us"]).as_py()
            rows += part.num_rows
            if table == "signals":
                last = max(last, pc.max(part["seq"]).as_py() or 0)
            low.append(at["min"] or 0)
            high.append(at["max"] or 0)
        notes = parquet.read_schema(path).metadata or {}
        crc, size = self._disk.measured(path)
        name = f"segments/{path.name}"
        file = File(name, table, rows, size, crc, min(low, default=0), max(high, default=0))
        parts = {one for one in notes.get(b"merged", b"").decode().split(",") if one}
        return file, parts, last


def _parts(path: Path) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet file, some at a time."""
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_PART, use_threads=False):
            yield pa.Table.from_batches([batch])
