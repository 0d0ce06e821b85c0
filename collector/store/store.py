"""The store: journal, fold and files put together. Entered by intent: append, read, prune."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow.compute as pc

from collector.ingest import Ingest
from collector.store import fold
from collector.store.checkpoint import Checkpoints
from collector.store.disk import Disk
from collector.store.folder import DataFolderError, Folder
from collector.store.journal import Entry, Journal, JournalFullError
from collector.store.recent import Recent
from model.signals import COLUMNS
from model.units import SECOND_US, us

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from collector.pipeline import Pipeline, Record
    from collector.store.limits import Limits
    from model.clock import Clock
    from model.relations import Relation

_LOG = logging.getLogger("zombiewatch.store")

_BATCH_ROWS: Final = 50_000
_TELL_US: Final = 3 * SECOND_US
"""So often a long replay says how far it is."""

_SOURCES: Final = 10_000
"""So many pairs of service and way are remembered; names that never end must not pile up."""

_ROW_BYTES: Final = 400
"""What a row takes in a body, at the least likely: decides how many bodies make a batch."""


@dataclass(slots=True)
class Stats:
    """What the store says of itself, for metrics. Counts since this process began."""

    signals: int = 0
    batches: int = 0
    applied: int = 0
    last_arrived_us: int = 0
    apply_errors: int = 0
    replay_s: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    by_way: dict[tuple[str, str], int] = field(default_factory=dict)
    heard: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    """By service and way: when last heard (our clock, us), and the lag of that batch (seconds)."""


class Store:
    """One data folder, held by one process.

    Raises DataFolderError where the folder is another sidecar's, or a newer version's.
    """

    def __init__(self, root: Path, pipeline: Pipeline, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._pipeline = pipeline
        self._folder = Folder(root)
        self._disk = Disk(root)
        try:
            self._journal = self._open_journal(root / "journal.sqlite")
        except ValueError as error:
            self._folder.close()
            raise DataFolderError(str(error)) from None
        self._db = fold.connect(limits.memory_bytes)
        fold.create(self._db)
        self._fold = fold.Fold(
            self._db,
            bin_us=us(limits.bin_s),
            settle_us=us(limits.settle_s),
            lookup=self._lookup,
        )
        self._recent = Recent()
        self._checkpoints = Checkpoints(self._db, self._fold, self._recent, self._disk, limits)
        self.stats = Stats()
        self._waiting: list[Record] = []
        self._applying: list[Record] = []
        self._wanted: list[Future[bool]] = []
        self._wake = threading.Condition()
        self._refused = 0
        self._stopping = False
        self._checkpointed_us = self._noted_us = clock()
        self._recover()
        self._ingest = Ingest(self._journal, self._arrived)
        self._thread = threading.Thread(target=self._run, name="fold", daemon=True)

    def _open_journal(self, path: Path) -> Journal:
        """Open the journal; one that is no database any more is set aside, counted, begun anew."""
        try:
            return Journal(path, max_bytes=self._limits.journal_bytes)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self._disk.set_aside(path)
            return Journal(path, max_bytes=self._limits.journal_bytes)

    def set_aside(self, path: Path) -> None:
        """Move a damaged file of the data folder out of the way, and count it."""
        self._disk.set_aside(path)

    # -- append ---------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take records in and to apply them."""
        self._ingest.start()
        self._thread.start()

    def append(self, entry: Entry) -> Future[int]:
        """Return a future that is done when *entry* is on disk (see `Ingest.submit`).

        Raises JournalFullError where the disk has less room than it must keep free.
        """
        if shutil.disk_usage(self._disk.root).free < self._limits.min_free_bytes:
            self._refused += 1
            msg = "the disk has less room than store.min_free_disk_bytes"
            raise JournalFullError(msg)
        return self._ingest.submit(entry)

    def positions(self) -> list[tuple[str, str, int, str]]:
        """Return how far each followed file was taken in: file, mark, offset, path."""
        return self._journal.positions()

    def wait_applied(self, record_id: int, timeout_s: float) -> bool:
        """Wait until the record *record_id* is in the relations; False if time ran out."""
        with self._wake:
            return self._wake.wait_for(lambda: self.stats.applied >= record_id, timeout_s)

    def complete_us(self) -> int:
        """Return until when everything that arrived is in the relations: now, if nothing waits."""
        now = self._clock()
        with self._wake:
            waiting = self._applying or self._waiting
            return min(now, waiting[0].arrived_us) if waiting else now

    def _arrived(self, records: list[Record]) -> None:
        with self._wake:
            self._waiting.extend(records)
            self._wake.notify_all()

    # -- apply ----------------------------------------------------------------------------

    def _run(self) -> None:
        pause = 0.1
        while True:
            records = self._gather(pause)
            if records is None:
                return
            if records:
                begun = self._clock()
                self._apply(records)
                self._applying = []
                pause = min(1.0, max(0.1, 2 * (self._clock() - begun) / SECOND_US))
            try:
                while self._wanted:
                    self._wanted.pop(0).set_result(self._checkpoint())
                self._housekeeping()
            except Exception:  # noqa: BLE001 - the thread must live: without it nothing is applied
                _LOG.exception("housekeeping failed; it is tried again")

    def _gather(self, pause_s: float) -> list[Record] | None:
        """Return what to apply next, in journal order; None when all is applied and we stop.

        A fold of one record costs as much as one of thousands, so a trickle is gathered for
        *pause_s*; a flood is taken at once.
        """
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._wanted or self._stopping, 1.0)
            if not self._waiting:
                return None if self._stopping and not self._wanted else []
            if len(self._waiting) < _BATCH_ROWS // _ROW_BYTES and not self._stopping:
                self._wake.wait_for(lambda: self._stopping, pause_s)
            rows, take = 0, 0
            while take < len(self._waiting) and rows < _BATCH_ROWS:
                rows += 1 + len(self._waiting[take].body) // _ROW_BYTES
                take += 1
            records, self._waiting = self._waiting[:take], self._waiting[take:]
            self._applying = records
            return records

    def _apply(self, records: list[Record]) -> None:
        """Apply *records*; one that cannot be applied is left out alone, and counted."""
        try:
            signals, counts = self._pipeline.signals(records)
            if signals.num_rows:
                self._fold.apply(signals)
                self._recent.add(signals)
        except Exception as error:  # noqa: BLE001 - whatever it holds, the next ones are applied
            if isinstance(error, duckdb.OutOfMemoryException):
                self._checkpoint()  # what is on disk need not be in memory
            if len(records) == 1:
                _LOG.exception("journal record %d (%s) left out", records[0].id, records[0].kind)
                self.stats.apply_errors += 1
                self._advance(records)
                return
            for record in records:
                self._apply([record])
            return
        self.stats.signals += signals.num_rows
        self.stats.batches += 1
        for name, number in counts.items():
            self.stats.counts[name] = self.stats.counts.get(name, 0) + number
        self._count_ways(signals)
        self._advance(records)

    def _count_ways(self, signals: pa.Table) -> None:
        ways = signals.select(["way", "kind"]).group_by(["way", "kind"])
        for row in ways.aggregate([([], "count_all")]).to_pylist():
            key = (row["way"], row["kind"])
            self.stats.by_way[key] = self.stats.by_way.get(key, 0) + row["count_all"]
        spoken = pc.coalesce(signals["end_us"], signals["ts_us"])
        lag = pc.subtract(signals["arrived_us"], spoken)
        sources = signals.select(["service", "way", "arrived_us"]).append_column("lag", lag)
        grouped = sources.group_by(["service", "way"])
        for row in grouped.aggregate([("arrived_us", "max"), ("lag", "max")]).to_pylist():
            key = (row["service"] or "", row["way"])
            if key in self.stats.heard or len(self.stats.heard) < _SOURCES:
                self.stats.heard[key] = (row["arrived_us_max"], row["lag_max"] / SECOND_US)

    def _advance(self, records: list[Record]) -> None:
        with self._wake:
            self.stats.applied = records[-1].id
            self.stats.last_arrived_us = max(self.stats.last_arrived_us, records[-1].arrived_us)
            self._wake.notify_all()

    def _housekeeping(self) -> None:
        now = self._clock()
        if now - self._noted_us >= SECOND_US:
            self._noted_us = now
            self._folder.alive(now)
        waiting = self._recent.rows
        due = waiting > 0 and now - self._checkpointed_us >= us(self._limits.checkpoint_s)
        pressed = (
            now - self._checkpointed_us >= SECOND_US
            and self._checkpoints.trimmable < self.stats.applied
            and self._journal.size_bytes() > self._limits.journal_bytes // 2
        )
        if due or pressed or waiting >= self._limits.segment_rows:
            self._checkpointed_us = now
            self._checkpoint(again=pressed)

    def checkpoint(self) -> bool:
        """Write what is hot and what has settled to disk; False where that failed (and is counted).

        Done by the thread that folds, since it owns the connection; waited for here.
        """
        if not self._thread.is_alive():
            return self._checkpoint()
        wanted: Future[bool] = Future()
        with self._wake:
            self._wanted.append(wanted)
            self._wake.notify_all()
        return wanted.result()

    def _checkpoint(self, *, again: bool = False) -> bool:
        if not self._checkpoints.make(self.stats.applied, self._clock(), again=again):
            return False
        try:
            self._journal.trim(self._checkpoints.trimmable)
        except JournalFullError as error:
            _LOG.warning("%s", error)
        return True

    def _recover(self) -> None:
        """Load the newest good snapshot, note how long we were away, replay the journal."""
        begun = self._clock()
        after = self.stats.applied = self._checkpoints.recover()
        self._journal.begin_after(after)
        alive = self._folder.last_alive_us()
        if alive is None or begun - alive > us(self._limits.push_gap_s):
            self._db.execute("INSERT INTO gaps VALUES ('push', ?, ?)", [alive or 0, begun])
        self._folder.alive(begun)
        told = begun
        while True:
            records, last = self._journal.read(after)
            if last == after:
                break
            if records:
                self._apply(records)
            self.stats.applied = after = last
            if self._clock() - told > _TELL_US:
                told = self._clock()
                _LOG.info("replaying: %d records to go", self._journal.last_id - last)
            self._housekeeping()
        self.stats.applied = max(self.stats.applied, self._journal.last_id)
        self.stats.replay_s = (self._clock() - begun) / SECOND_US

    # -- read -----------------------------------------------------------------------------

    def reader(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor on the hot relations, for one thread, to be closed by it."""
        return self._db.cursor()

    def timeline(self, column: str, value: str, limit: int = 5000) -> list[dict[str, Any]]:
        """Return the signals whose *column* (task, request_id or trace_id) is *value*, by time.

        Hot ones and those in segments, as dictionaries with the columns of `model.signals`.
        Raises ValueError for another column.
        """
        if column not in {"task", "request_id", "trace_id"}:
            msg = f"{column} is not a key of timelines"
            raise ValueError(msg)
        names = ", ".join(COLUMNS)
        with self._checkpoints.reading:
            history = [one for one in self._checkpoints.segments if one.table == "signals"]
            sources = ["recent", *([self._disk.sql(history)] if history else [])]
            # by name: segments of an older version may lack a column
            every = " UNION ALL BY NAME ".join(f"SELECT * FROM {source}" for source in sources)
            cursor = self._db.cursor()
            cursor.register("recent", self._recent.table())
            try:
                rows = cursor.execute(
                    f"SELECT {names} FROM ({every}) WHERE {column} = $value"
                    f" ORDER BY ts_us, seq LIMIT {int(limit)}",
                    {"value": value},
                ).fetchall()
            finally:
                cursor.close()
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    def _lookup(
        self, connection: duckdb.DuckDBPyConnection, relation: Relation, keys: str
    ) -> str | None:
        files = [one for one in self._checkpoints.segments if one.table == relation.name]
        if not files:
            return None
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE found AS SELECT h.* FROM {self._disk.sql(files)} h"
            f" SEMI JOIN {keys} USING ({relation.key_list})"
        )
        return "found"

    # -- what it says of itself -------------------------------------------------------------

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Yield what takes room on disk, in bytes: journal, segments, snapshots."""
        root = self._disk.root
        yield "journal", (root / "journal.sqlite").stat().st_size
        for name in ("segments", "snapshots"):
            yield name, sum(path.stat().st_size for path in (root / name).iterdir())

    @property
    def damaged(self) -> int:
        """Files set aside and journal records skipped because their checksum did not hold."""
        return self._disk.damaged + self._journal.damaged

    @property
    def refused_full(self) -> int:
        """How often records were refused because disk or journal was full."""
        return self._ingest.full + self._refused

    @property
    def journal_last_id(self) -> int:
        """The ID of the newest record on disk: what is between it and `stats.applied` waits."""
        return self._journal.last_id

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints made, for their figures."""
        return self._checkpoints

    def close(self) -> None:
        """Apply what is waiting, write a checkpoint, and let go of the folder."""
        if self._thread.is_alive():
            self._ingest.stop()
            with self._wake:
                self._stopping = True
                self._wake.notify_all()
            self._thread.join()
        self._folder.alive(self._clock())
        self.checkpoint()
        self._db.close()
        self._pipeline.close()
        self._journal.close()
        self._folder.close()
