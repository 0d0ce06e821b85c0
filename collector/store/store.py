"""The store: journal, fold and files put together. Entered by intent: append, read, prune."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any, Final, TypeVar

import duckdb

from collector.ingest import Ingest
from collector.pipeline import ROW_BITS
from collector.sequences import PAST_ROWS, PAST_US, READ, Sequences
from collector.store import allocator, fold, memory
from collector.store.apply import Apply
from collector.store.ask import Answer, Ask
from collector.store.backlog import Backlog
from collector.store.checkpoint import Checkpoints
from collector.store.disk import Disk, size_of
from collector.store.folder import DataFolderError, Folder
from collector.store.groups import Groups
from collector.store.history import History
from collector.store.journal import Entry, Journal, JournalFullError
from collector.store.plans import Plans
from collector.store.recent import Recent
from collector.store.recovery import Kept, Recovery
from model.units import SECOND_US, us

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from collector.pipeline import Pipeline
    from collector.store.limits import Limits
    from collector.store.stats import Stats
    from model.clock import Clock

_LOG = logging.getLogger("zombiewatch.store")

T = TypeVar("T")

_TELL_S: Final = 3.0
"""So often a long replay says how far it is."""


_HEADROOM: Final = 64 << 20
"""The engine may use so much more than what is hot may, or half as much again: for changes and
readers. Without room for a change it would not survive it (see `memory`)."""

_TIGHT: Final = 0.7
"""The part of its memory from which on what is hot is packed, else moved away, before the fold has
to wait for that. Not before there is as much new as of a spill: what is open stays, full or not."""

_QUIET_US: Final = 5 * SECOND_US
"""So long after the last batch, memory that nobody uses is given back."""

_SPILLS: Final = 4
"""So many spills make a segment's rows: so much of the signals is in memory."""


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
        self._engine_bytes = limits.memory_bytes + max(_HEADROOM, limits.memory_bytes // 2)
        self._db = fold.connect(self._engine_bytes)
        fold.create(self._db)
        self._recent = Recent()
        self.history = History(self._db, self._disk, self._recent)
        self._fold = fold.Fold(
            self._db,
            bin_us=us(limits.bin_s),
            settle_us=us(limits.settle_s),
            lookup=self.history.lookup,
            limit_bytes=self._engine_bytes,
        )
        self._checkpoints = Checkpoints(
            self._db,
            fold=self._fold,
            recent=self._recent,
            history=self.history,
            disk=self._disk,
            limits=limits,
            engine_bytes=self._engine_bytes,
            trim=self._trim,
        )
        self._ask = Ask(self._db.cursor, self._disk, self._recent, lambda: self.history.segments)
        self._refused = 0
        self._latest_us = clock()
        self._checkpointed_rows = 0
        # batches until then, and when that was; 0 once memory was given back
        self._quiet = (0, self._latest_us)
        self._checkpointed_us = self._noted_us = self._latest_us
        covered = self._checkpoints.resume(
            Recovery(
                self._disk,
                self._db,
                self._fold,
                limit_bytes=self._engine_bytes,
                settle_us=us(limits.settle_s),
            ).recover(Kept(self._journal.first_id, self._journal.last_id))
        )
        within = self._checkpoints.within
        if within >> ROW_BITS > self._journal.last_id:  # the rest of that record is lost
            covered, within = within >> ROW_BITS, 0
        self._journal.begin_after(covered)
        self._backlog = Backlog(
            self._journal.read,
            after=covered,
            newest=self._journal.last_id,
            held_bytes=limits.backlog_bytes,
        )
        self._ingest = Ingest(self._journal, self._backlog.add)
        # an engine of its own: while somebody reads in one, it is not packed as well as can be
        self._grouping = fold.connect(self._engine_bytes - limits.memory_bytes)
        self._apply = Apply(
            self._backlog,
            pipeline,
            self._fold,
            Groups(Plans(self._grouping), us(limits.settle_s)),
            self._recent,
            every_s=limits.apply_s,
            made=self._sequences().look,
            between=self._housekeeping,
            short=self._short,
            relieve=self._relieve,
            within=within,
        )
        self._replay()

    def _sequences(self) -> Sequences:
        """Return what watches numbered records; it goes on from those that history has."""
        made = Sequences(self.append, lambda: self._ingest.running)
        ended = self._folder.last_alive_us() or self._clock()
        try:
            made.resume(self.history.newest(READ, "sequence", ended - PAST_US, PAST_ROWS))
        except duckdb.Error as error:  # it is no reason not to begin
            _LOG.warning("records lost while the sidecar was away may not be noticed: %s", error)
        return made

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
        """Begin to take records in."""
        self._ingest.start()

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
        return self._backlog.wait_applied(record_id, timeout_s)

    def hurry(self, timeout_s: float) -> bool:
        """Have what came in applied now, and wait for it; False if it takes too long.

        So who judges each few seconds sees what came a moment ago, and nothing is applied more
        often than it pays.
        """
        return self._backlog.hurry(timeout_s)

    def complete_us(self) -> int:
        """Return until when everything that arrived is in the relations: now, if nothing waits."""
        return self._backlog.complete_us(self._clock())

    # -- checkpoints ------------------------------------------------------------------------

    def _housekeeping(self) -> None:
        now = self._clock()
        if now < self._latest_us:  # the clock was put back: nothing waits for it to come round
            self._noted_us = self._checkpointed_us = 0
            self._quiet = (self.stats.batches, now)
        self._latest_us = now
        if now - self._noted_us >= SECOND_US:
            self._noted_us = now
            self._folder.alive(now)
            self.history.patrol.walk(now)
        self._checkpoints.end()
        if self.stats.batches != self._quiet[0]:
            self._quiet = (self.stats.batches, now)
        elif 0 < self._quiet[1] <= now - _QUIET_US:
            self._quiet = (self.stats.batches, 0)
            self._checkpoints.pack()
            allocator.give_back()
        if self._journal.broken and self.applied == self._journal.last_id:
            self._renew_journal()
        self._write_down(now)

    def _write_down(self, now: int) -> None:
        """Begin a checkpoint or a spill, if it is time for one."""
        waiting, rows = self._recent.rows, self.stats.signals
        age_us = now - self._checkpointed_us
        pressed = (
            age_us >= SECOND_US
            and self._checkpoints.trimmable < self.applied
            and self._journal.size_bytes() > self._limits.journal_bytes // 2
        )
        if pressed:
            self._checkpointed_us, self._checkpointed_rows = now, rows
            self._checkpoint(again=True)
            return
        new, whole = rows - self._checkpointed_rows, self._limits.segment_rows
        part = whole // _SPILLS
        behind = self._checkpoints.applied < self.applied  # also after one that failed
        old = (behind or waiting) and age_us >= us(self._limits.checkpoint_s)
        many = new >= whole or (new >= part and self._checkpoints.full(_TIGHT))
        if old or (many and age_us >= SECOND_US):
            if self._checkpoints.begin(self.applied, now, within=self._apply.within):
                self._checkpointed_us, self._checkpointed_rows = now, rows
        elif waiting >= part:
            self._checkpoints.spill(self.applied, now)

    def checkpoint(self) -> bool:
        """Write what is hot and what has settled to disk; False where that failed (and is counted).

        Done by the thread that folds, since it owns the connection; waited for here.
        """
        return self._apply.do(self._checkpoint)

    def _short(self) -> bool:
        return memory.used_bytes(self._db) > self._limits.memory_bytes

    def _relieve(self) -> None:
        """Pack what is hot; where that is not enough, move what can be to disk."""
        self._checkpoints.end(wait=True)
        if self._checkpoints.full(1.0):
            self._checkpoint(again=True)

    def _checkpoint(self, *, again: bool = False) -> bool:
        within = self._apply.within
        return self._checkpoints.make(self.applied, self._clock(), within=within, again=again)

    def _renew_journal(self) -> None:
        """Begin a new journal for a damaged one, once two snapshots have all that could be read."""
        if self._checkpoint(again=True) and self._checkpoint(again=True):
            _LOG.warning("the journal is damaged: it is set aside, and a new one begun")
            self._journal.renew(self._disk.set_aside)

    def _trim(self, upto: int) -> None:
        try:
            self._journal.trim(upto)
        except JournalFullError as error:
            _LOG.warning("%s", error)

    def _replay(self) -> None:
        """Note how long we were away; apply what the journal has beyond the newest snapshot."""
        begun, newest = self._clock(), self._journal.last_id
        alive = self._folder.last_alive_us()
        if alive is None or begun - alive > us(self._limits.push_gap_s):
            self._db.execute("INSERT INTO gaps VALUES ('push', ?, ?)", [alive or 0, begun])
        self._folder.alive(begun)
        self._apply.start()
        while not self._backlog.wait_applied(newest, _TELL_S):
            _LOG.info("replaying: %d records to go", newest - self.applied)
        self.stats.replay_s = (self._clock() - begun) / SECOND_US

    # -- read -----------------------------------------------------------------------------

    def reader(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor on the hot relations, for one thread, to be closed by it."""
        return self._db.cursor()

    def timeline(self, column: str, value: str, limit: int = 5000) -> list[dict[str, Any]]:
        """Return the signals whose *column* is *value*, by time; see `History.timeline`."""
        return self.history.timeline(column, value, limit)

    def ask(self, query: str, *, rows_max: int, timeout_s: float) -> Answer:
        """Return the answer to the SELECT *query*; see `Ask`. Raises QuestionError."""
        return self._ask.ask(query, rows_max=rows_max, timeout_s=timeout_s)

    # -- what it says of itself -------------------------------------------------------------

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Yield what takes room on disk, in bytes: journal, segments, snapshots, index."""
        yield "journal", size_of(self._disk.root / "journal.sqlite")
        for name in ("segments", "snapshots", "index"):
            yield name, self._disk.size(name)

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
        """The ID of the newest record on disk: what is between it and `applied` waits."""
        return self._journal.last_id

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints made, for their figures."""
        return self._checkpoints

    @property
    def stats(self) -> Stats:
        """Counts since this process began."""
        return self._apply.stats

    @property
    def applied(self) -> int:
        """The ID of the last journal record that is in the relations."""
        return self._backlog.applied

    def close(self) -> None:
        """Apply what is waiting, write a checkpoint, and let go of the folder."""
        self._ingest.stop()
        self._apply.stop()
        self._folder.alive(self._clock())
        self.checkpoint()
        self._checkpoints.close()
        self._grouping.close()
        self._db.close()
        self._pipeline.close()
        self._journal.close()
        self._folder.close()
