"""Checkpoints: what is hot written as a snapshot, what has settled as segments, and back."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import duckdb

from collector.store.disk import KEEP, Disk, File, Manifest
from model.relations import RELATIONS
from model.units import DAY_US, HOUR_US, us

if TYPE_CHECKING:
    from collections.abc import Container

    from collector.store.fold import Fold
    from collector.store.limits import Limits
    from collector.store.recent import Recent
    from model.relations import Relation

_LOG = logging.getLogger("zombiewatch.store")

_MERGE: Final = 8
"""So many small segments of one table are merged into one."""

_PLAIN: Final = ("marks", "rates", "gaps")

_HOT: Final = (
    *(f"{one.name}_{part}" for one in RELATIONS for part in ("open", "closed")),
    *_PLAIN,
)


class Checkpoints:
    """Writes and loads the files of *disk*; used by the thread that folds.

    `segments` is what readers may read; they hold `reading` meanwhile.
    """

    def __init__(
        self,
        db: duckdb.DuckDBPyConnection,
        folded: Fold,
        recent: Recent,
        disk: Disk,
        limits: Limits,
    ) -> None:
        self._db = db
        self._recent = recent
        self._fold = folded
        self._disk = disk
        self._limits = limits
        self._manifests: list[Manifest] = []
        self.segments: tuple[File, ...] = ()
        self.reading = threading.Lock()
        self.settle_us = us(limits.settle_s)
        self.made = 0
        self.errors = 0
        self._scrubbed = 0

    @property
    def applied(self) -> int:
        """The last journal ID that the newest checkpoint covers; 0 without one."""
        return self._manifests[0].applied if self._manifests else 0

    @property
    def trimmable(self) -> int:
        """The last journal ID that the older of two good snapshots covers; 0 without two."""
        return self._manifests[-1].applied if len(self._manifests) == KEEP else 0

    def make(self, applied: int, now_us: int, *, again: bool = False) -> bool:
        """Write a checkpoint that covers the journal up to *applied*; *again*, even if one does.

        Two that cover all let the journal be emptied, when there is room for nothing else. False
        where it could not be written (a full disk, say): all stays in memory and journal, to be
        tried again.
        """
        if self._manifests and self.applied == applied and not again:
            return True
        self._db.execute("BEGIN")
        try:
            manifest = self._write(applied, now_us)
            self._disk.commit(manifest)
        except (OSError, duckdb.Error) as error:
            _LOG.warning(
                "a checkpoint could not be written; the journal keeps everything meanwhile: %s",
                error,
            )
            self._db.execute("ROLLBACK")
            self.errors += 1
            self._sweep()
            return False
        self._db.execute("COMMIT")
        with suppress(duckdb.Error):  # gives back the room of deleted rows; a busy engine says no
            self._db.execute("CHECKPOINT")
        self.made += 1
        self._manifests = [manifest, *self._manifests][:KEEP]
        with self.reading:
            self.segments = tuple(manifest.segments)
            self._recent.clear()
            self._sweep()
        return True

    def _sweep(self) -> None:
        self._disk.sweep(self._manifests)

    def _write(self, applied: int, now_us: int) -> Manifest:
        db, tag = self._db, f"{applied:020d}-{now_us:020d}"
        manifest = Manifest(applied, now_us, segments=self._retained(now_us))
        db.register("recent", self._recent.table())
        self._segment(manifest, "signals", "recent", "arrived_us", tag)
        db.unregister("recent")
        self.settle_us = us(self._limits.settle_s)
        for relation in RELATIONS:
            if relation.closed != "FALSE":
                self._settle(relation, now_us)
                self._segment(manifest, relation.name, "settled", "last_seen_us", tag)
        db.execute(f"DELETE FROM marks WHERE arrived_us < {now_us - min(self.settle_us, HOUR_US)}")
        db.execute(f"DELETE FROM gaps WHERE to_us < {now_us - us(self._limits.abandon_s)}")
        self._fold.compact_rates(now_us, DAY_US)
        self._merge(manifest, tag)
        for table in _HOT:
            rows = f"FROM {table}" if table in _PLAIN else f"SELECT * EXCLUDE (h) FROM {table}"
            file = self._disk.write(db, table, f"snapshots/{tag}-{table}.parquet", rows)
            if file:
                manifest.hot.append(file)
        return manifest

    def _segment(self, manifest: Manifest, table: str, rows: str, at: str, tag: str) -> None:
        file = self._disk.write(self._db, table, f"segments/{table}-{tag}.parquet", f"FROM {rows}")
        if file:
            [(low, high)] = self._db.execute(f"SELECT min({at}), max({at}) FROM {rows}").fetchall()
            manifest.segments.append(
                File(file.name, table, file.rows, file.size, file.crc, low or 0, high or 0)
            )

    def _settle(self, relation: Relation, now_us: int) -> None:
        """Move rows past contradiction into the table `settled`: the settle time or the cap."""
        db, limits = self._db, self._limits
        opened, closed = f"{relation.name}_open", f"{relation.name}_closed"
        cut = now_us - us(limits.settle_s)
        newest_over = db.execute(
            f"SELECT last_seen_us FROM {closed} ORDER BY last_seen_us DESC"
            f" LIMIT 1 OFFSET {limits.hot_rows}"
        ).fetchall()
        if newest_over and newest_over[0][0] > cut:
            cut = newest_over[0][0]
            self.settle_us = min(self.settle_us, now_us - cut)
        stale = cut if relation.open_for == "settle" else now_us - us(limits.abandon_s)
        db.execute(
            "CREATE OR REPLACE TEMP TABLE settled AS"
            f" SELECT * EXCLUDE (h) FROM {closed} WHERE last_seen_us <= {cut}"
            f" UNION ALL SELECT * EXCLUDE (h) FROM {opened} WHERE last_seen_us <= {stale}"
        )
        db.execute(f"DELETE FROM {closed} WHERE last_seen_us <= {cut}")
        db.execute(f"DELETE FROM {opened} WHERE last_seen_us <= {stale}")

    def _merge(self, manifest: Manifest, tag: str) -> None:
        """Join small segments of a table into one, so that history stays few files."""
        few = self._limits.segment_rows // 4
        for table in ("signals", *(one.name for one in RELATIONS)):
            small = [one for one in manifest.segments if one.table == table and one.rows < few]
            if len(small) < _MERGE:
                continue
            name = f"segments/{table}-merged-{tag}.parquet"
            file = self._disk.write(self._db, table, name, f"FROM {self._disk.sql(small)}")
            if file:
                low, high = min(one.from_us for one in small), max(one.to_us for one in small)
                merged = File(name, table, file.rows, file.size, file.crc, low, high)
                rest = [one for one in manifest.segments if one not in small]
                manifest.segments = [*rest, merged]

    def _retained(self, now_us: int) -> list[File]:
        """Return the segments that neither age nor size has outdated: the oldest go first."""
        kept, size = [], 0
        for one in sorted(self.segments, key=lambda one: one.to_us, reverse=True):
            size += one.size
            if one.to_us >= now_us - us(self._limits.keep_s) and size <= self._limits.keep_bytes:
                kept.append(one)
        return kept[::-1]

    # -- recovery ---------------------------------------------------------------------------

    def recover(self, journal_from: int) -> int:
        """Load the newest snapshot that is whole; return the journal ID it covers, or 0.

        *journal_from* is the first ID that the journal has. Where it still has all that is past an
        older snapshot, a newer one with any damage is dropped: replaying makes it anew. Where it
        has not, what is whole is taken, and what is damaged is lost.
        """
        found = list(self._disk.manifests())
        for at, manifest in enumerate(found):
            older = found[at + 1] if at + 1 < len(found) else Manifest(0, 0)
            known = {file.name for file in older.segments}
            damaged = self._damaged(manifest, known)
            for file in damaged:
                self._disk.set_aside(self._disk.root / file.name)
            new = [file.name for file in damaged if file.name not in known]
            if new and journal_from <= older.applied + 1:
                _LOG.warning("damaged, and made anew: %s", ", ".join(new))
                continue
            manifest.hot = [one for one in manifest.hot if one not in damaged]
            manifest.segments = [one for one in manifest.segments if one not in damaged]
            self._load(manifest)
            self._manifests = [manifest, *found[at + 1 :]][:KEEP]
            break
        if not self._manifests:
            self._disk.set_aside_strays()
        self._sweep()
        return self.applied

    def _damaged(self, manifest: Manifest, known: Container[str]) -> list[File]:
        """Return the files of *manifest* that are not as written.

        All are read whole but those that are *known* for longer: they are many, and looked at only.
        """
        return [
            file
            for file in (*manifest.hot, *manifest.segments)
            if not self._disk.good(file, whole=file.name not in known)
        ]

    def _load(self, manifest: Manifest) -> None:
        """Take the hot tables and segments of *manifest*."""
        self.segments = tuple(manifest.segments)
        for file in manifest.hot:
            try:
                self._fold.take(file.table, self._disk.sql([file]))
            except duckdb.Error as error:  # whole, and yet not to be read: start-up never refuses
                _LOG.warning("%s could not be loaded: %s", file.name, error)
                self._disk.set_aside(self._disk.root / file.name)

    def scrub(self) -> None:
        """Read one segment whole, another each time: damage is found before it is asked for."""
        segments = self.segments
        if segments:
            self._scrubbed = (self._scrubbed + 1) % len(segments)
            if not self._disk.good(segments[self._scrubbed], whole=True):
                self.drop_damaged()

    def drop_damaged(self) -> bool:
        """Read all segments; set aside those that are not as written. True where there were any.

        For when history could not be read.
        """
        with self.reading:
            damaged = [one for one in self.segments if not self._disk.good(one, whole=True)]
            for one in damaged:
                self._disk.set_aside(self._disk.root / one.name)
            self.segments = tuple(one for one in self.segments if one not in damaged)
        return bool(damaged)
