"""Checkpoints: what is hot written as a snapshot, what has settled as segments.

A checkpoint begins and ends between two batches, in the thread that folds; in between it is
written from a transaction that sees the relations as they were, while the fold goes on.

Between two of them, signals alone are *spilled*: written as segments that the next checkpoint will
name, so that memory is free for the next ones. A start that finds no checkpoint which names them
drops them, for the journal still has what they hold.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import duckdb
import pyarrow.compute as pc

from collector.store import memory
from collector.store.disk import KEEP, Disk, File, Manifest
from collector.store.relation_fold import settled
from model.relations import RELATIONS
from model.units import DAY_US, HOUR_US, us

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from collector.store.fold import Fold
    from collector.store.history import History
    from collector.store.limits import Limits
    from collector.store.recent import Recent
    from model.relation import Relation

_LOG = logging.getLogger("zombiewatch.store")

_FULL: Final = 0.4
"""The share of the engine's memory that what is hot may take: folding and writing need some too."""

_FEW: Final = 5_000
"""So many rows of a relation stay though memory is short: they take little of it, and what was lost
and when is among them."""

_SMALL: Final = 5
"""A segment of less than this part of a whole one is small; what was spilled in a rush is not."""

_MERGE: Final = 16
"""So many small segments of one table are merged into one."""

_PLAIN: Final = ("marks", "rates", "gaps")

_HOT: Final = (
    *(one.rows for one in RELATIONS),
    *_PLAIN,
)

SETTLING: Final = tuple(one for one in RELATIONS if one.closed != "FALSE")
"""Relations whose rows leave memory; they wait in `settled_…` until a segment holds them."""


@dataclass(slots=True)
class _Job:
    """A checkpoint on its way, or a spill: signals only, and no manifest is written.

    *cursor* sees the relations as they were when it began.
    """

    manifest: Manifest
    cursor: duckdb.DuckDBPyConnection
    signals: pa.Table
    tables: int
    written: Future[None]
    spill: bool = False

    @property
    def tag(self) -> str:
        return f"{self.manifest.applied:020d}-{self.manifest.made_us:020d}"


class Checkpoints:
    """Writes the files of *disk*; used by the thread that folds, but for `_write`.

    *engine_bytes* is what the engine may use. *trim* drops journal records up to an ID, which two
    good snapshots cover.
    """

    def __init__(
        self,
        db: duckdb.DuckDBPyConnection,
        *,
        fold: Fold,
        recent: Recent,
        history: History,
        disk: Disk,
        limits: Limits,
        engine_bytes: int,
        trim: Callable[[int], None],
    ) -> None:
        self._db = db
        self._engine_bytes = engine_bytes
        self._recent = recent
        self._fold = fold
        self._history = history
        self._disk = disk
        self._limits = limits
        self._trim = trim
        self._manifests: list[Manifest] = []
        self._job: _Job | None = None
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self.settle_us = us(limits.settle_s)
        self._named_us = 0
        self.made = 0
        self.errors = 0
        for relation in SETTLING:
            rows = f"SELECT * EXCLUDE (h, closed) FROM {relation.rows} LIMIT 0"
            db.execute(f"CREATE TABLE settled_{relation.name} AS {rows}")

    def resume(self, manifests: list[Manifest]) -> int:
        """Go on from *manifests*, newest first; return the journal ID that is covered, or 0."""
        self._manifests = manifests
        self._named_us = max((one.made_us for one in manifests), default=0)
        self._history.replace(manifests[0].segments if manifests else (), 0)
        for one in self._history.segments:
            self._fold.settled(one.table, one.to_us)
        self._sweep()
        return self.applied

    def _sweep(self) -> None:
        self._disk.sweep(self._manifests, self._history.segments)

    @property
    def applied(self) -> int:
        """The last journal ID that the newest checkpoint covers; 0 without one."""
        return self._manifests[0].applied if self._manifests else 0

    @property
    def within(self) -> int:
        """The `seq` up to which the newest checkpoint holds signals past `applied` (or 0)."""
        return self._manifests[0].within if self._manifests else 0

    @property
    def trimmable(self) -> int:
        """The last journal ID that the older of two good snapshots covers; 0 without two."""
        return self._manifests[-1].applied if len(self._manifests) == KEEP else 0

    # -- begin, write, end ------------------------------------------------------------------

    def begin(self, applied: int, now_us: int, *, within: int = 0) -> bool:
        """Begin one that covers the journal up to *applied*, unless one is on its way.

        Of what is past *applied*, it holds the signals up to the `seq` *within*.
        """
        if self._job:
            return False
        self._begin(applied, now_us, within)
        return True

    def _begin(self, applied: int, now_us: int, within: int) -> None:
        self.full(_FULL)  # rather than move away what takes little room when it is packed
        with memory.lifted(self._db, self._engine_bytes):
            self._job = self._begun(applied, now_us, within)
        if self._job:
            self._job.written = self._writer.submit(self._write, self._job)

    def spill(self, applied: int, now_us: int) -> bool:
        """Begin to write the signals that wait, and nothing else, unless something is on its way.

        They are those that came after the last checkpoint or spill, up to the journal's *applied*.
        """
        if self._job:
            return False
        manifest = Manifest(applied, self._name(now_us), segments=list(self._history.segments))
        signals, tables = self._recent.table(), self._recent.tables
        job = _Job(manifest, self._db.cursor(), signals, tables, Future(), spill=True)
        job.written = self._writer.submit(self._write_signals, job)
        self._job = job
        return True

    def end(self, *, wait: bool = False) -> bool | None:
        """End the one that was begun, if it has been written: True, or False where that failed.

        None where there is none, or where it is still being written; with *wait* that is awaited.
        """
        job = self._job
        if job is None or not (wait or job.written.done()):
            return None
        error = job.written.exception()
        self._job = None
        with suppress(duckdb.Error):
            job.cursor.execute("ROLLBACK")
        job.cursor.close()
        if error:
            return self._failed(error)
        if job.spill:
            self._history.replace(job.manifest.segments, job.tables)
            return True
        for relation in SETTLING:
            self._db.execute(f"DELETE FROM settled_{relation.name}")
        self.full(_FULL)
        self.made += 1
        self._manifests = [job.manifest, *self._manifests][:KEEP]
        with self._history.lock:
            self._history.replace(job.manifest.segments, job.tables)
            self._sweep()
        trimmed = self._writer.submit(self._trim, self.trimmable)
        if wait:
            trimmed.result()
        return True

    def full(self, part: float) -> bool:
        """Say whether what is hot takes more than *part* of its memory, even when it is packed.

        It is packed only where it takes so much, for that takes time of the fold; and not while it
        is being written.
        """
        writing = self._job is not None and not self._job.spill
        if self._used() > part and not writing:
            self.pack()
        return self._used() > part

    def pack(self) -> None:
        """Give back the room of deleted rows, and pack the others."""
        with suppress(duckdb.Error):  # a busy engine says no
            memory.pack(self._db, self._engine_bytes)

    def make(self, applied: int, now_us: int, *, within: int = 0, again: bool = False) -> bool:
        """Begin one (see `begin`) and end it; *again*, even if there is one that covers so much.

        Two that cover all let the journal be emptied, when there is room for nothing else. False
        where it could not be written (a full disk, say): all stays in memory and journal, to be
        tried again.
        """
        self.end(wait=True)
        covered = (self.applied, self.within) == (applied, within)
        if self._manifests and covered and not again:
            return True
        try:
            self._begin(applied, now_us, within)
            with memory.lifted(self._db, self._engine_bytes):  # it is what makes room
                return self.end(wait=True) is True
        except duckdb.Error as error:  # an engine that is beyond use
            return self._failed(error)

    def close(self) -> None:
        """Wait for what is being written, and end what is done for history."""
        self.end(wait=True)
        self._writer.shutdown()
        self._history.close()

    def _failed(self, error: BaseException) -> bool:
        _LOG.warning(
            "a checkpoint could not be written; the journal keeps everything meanwhile: %s",
            str(error).partition("\n")[0],
        )
        self.errors += 1
        self._sweep()
        return False

    def _name(self, now_us: int) -> int:
        """Return a time to name files by: never twice the same, whatever the clock says."""
        self._named_us = max(now_us, self._named_us + 1)
        return self._named_us

    # -- what is in it ----------------------------------------------------------------------

    def _begun(self, applied: int, now_us: int, within: int) -> _Job | None:
        """Take out what has settled, and hold on to the relations as they are now."""
        db = self._db
        db.execute("BEGIN")
        try:
            self.settle_us, share = us(self._limits.settle_s), self._share()
            for relation in SETTLING:
                self._settle(relation, now_us, share)
            old = now_us - min(self.settle_us, HOUR_US)
            old = max(old, self._over("marks", "arrived_us", share))
            db.execute(f"DELETE FROM marks WHERE arrived_us <= {old}")
            db.execute(f"DELETE FROM gaps WHERE to_us < {now_us - us(self._limits.abandon_s)}")
            self._fold.compact_rates(now_us, DAY_US)
            db.execute("COMMIT")
        except duckdb.Error as error:
            with suppress(duckdb.Error):  # a commit that failed has ended it
                db.execute("ROLLBACK")
            self._failed(error)
            return None
        cursor = db.cursor()
        cursor.execute("BEGIN")
        cursor.execute("SELECT count(*) FROM gaps").fetchall()  # from now on it sees this moment
        made_us, kept = self._name(now_us), self._retained(now_us)
        manifest = Manifest(applied, made_us, segments=kept, within=within)
        return _Job(manifest, cursor, self._recent.table(), self._recent.tables, Future())

    def _write(self, job: _Job) -> None:
        """Write all files of *job* and make them true. Raises OSError, duckdb.Error."""
        self._write_signals(job)
        for relation in SETTLING:
            self._segment(job, relation.name, f"settled_{relation.name}")
        self._merge(job)
        for table in _HOT:
            rows = f"FROM {table}" if table in _PLAIN else f"SELECT * EXCLUDE (h) FROM {table}"
            name = f"snapshots/{job.tag}-{table}.parquet"
            # it is read once at most, and soon another takes its place
            file = self._disk.write(job.cursor, table, name, rows, compression="snappy")
            if file:
                job.manifest.hot.append(file)
        self._disk.commit(job.manifest)

    def _write_signals(self, job: _Job) -> None:
        name = f"segments/signals-{job.tag}.parquet"
        file = self._disk.write_signals(name, job.signals)
        if file:
            span = pc.min_max(job.signals["arrived_us"]).as_py()
            job.manifest.segments.append(replace(file, from_us=span["min"], to_us=span["max"]))

    def _segment(self, job: _Job, table: str, rows: str) -> None:
        name = f"segments/{table}-{job.tag}.parquet"
        file = self._disk.write(job.cursor, table, name, f"FROM {rows}")
        if file:
            span = job.cursor.execute(
                f"SELECT min(last_seen_us), max(last_seen_us) FROM {rows}"
            ).fetchall()
            low, high = span[0]
            job.manifest.segments.append(replace(file, from_us=low or 0, to_us=high or 0))

    def _share(self) -> float:
        """Return the share of what is hot that may stay, so that memory does not run short."""
        return min(1.0, _FULL / max(self._used(), 0.01))

    def _used(self) -> float:
        """Return the part in use of the memory that what is hot may take (and may be over 1)."""
        return memory.used_bytes(self._db) / self._limits.memory_bytes

    def _over(self, table: str, at: str, share: float) -> int:
        """Return the time up to which rows of *table* are one too many; 0 where none are."""
        rows = self._db.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
        keep = min(self._limits.hot_rows, max(int(rows * share), _FEW))
        if keep >= rows:
            return 0
        # not row by row: what is as old as the first that must go goes too
        query = f"SELECT {at} FROM {table} ORDER BY {at} DESC LIMIT 1 OFFSET {keep}"
        return int(self._db.execute(query).fetchall()[0][0])

    def _settle(self, relation: Relation, now_us: int, share: float) -> None:
        """Move rows past contradiction into their `settled_…`: by age, number or lack of memory."""
        db, limits = self._db, self._limits
        rows = relation.rows
        cut = max(
            now_us - us(limits.settle_s), self._over(f"{rows} WHERE closed", "last_seen_us", share)
        )
        self.settle_us = min(self.settle_us, now_us - cut)
        self._fold.settled(relation.name, cut)
        old = settled(relation, cut, now_us - us(limits.abandon_s))
        db.execute(
            f"INSERT INTO settled_{relation.name} BY NAME"
            f" SELECT * EXCLUDE (h, closed) FROM {rows} WHERE {old}"
        )
        db.execute(f"DELETE FROM {rows} WHERE {old}")

    def _merge(self, job: _Job) -> None:
        """Join small segments of a table into one, so that history stays few files."""
        manifest, few = job.manifest, self._limits.segment_rows // _SMALL
        for table in ("signals", *(one.name for one in SETTLING)):
            small = [one for one in manifest.segments if one.table == table and one.rows < few]
            if len(small) < _MERGE:
                continue
            try:
                merged = self._merged(job, table, small)
            except duckdb.Error:
                self._history.drop_damaged(small)  # the next checkpoint goes on without it
                raise
            manifest.segments = [one for one in manifest.segments if one not in small]
            manifest.segments.append(merged)

    def _merged(self, job: _Job, table: str, small: Sequence[File]) -> File:
        name = f"segments/{table}-merged-{job.tag}.parquet"
        parts = ",".join(one.name.removeprefix("segments/") for one in small)
        file = self._disk.write(
            job.cursor, table, name, f"FROM {self._disk.sql(small)}", {"merged": parts}
        )
        low, high = min(one.from_us for one in small), max(one.to_us for one in small)
        rows = sum(one.rows for one in small)
        if file is None or file.rows != rows:
            msg = f"{table}: {rows} rows became {file.rows if file else 0} in merging"
            raise duckdb.Error(msg)
        return File(name, table, file.rows, file.size, file.crc, low, high)

    def _retained(self, now_us: int) -> list[File]:
        """Return the segments that neither age nor size has outdated: the oldest go first."""
        kept, size = [], 0
        for one in sorted(self._history.segments, key=lambda one: one.to_us, reverse=True):
            size += one.size
            if one.to_us >= now_us - us(self._limits.keep_s) and size <= self._limits.keep_bytes:
                kept.append(one)
        return kept[::-1]
