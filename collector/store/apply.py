"""From the backlog into the relations: one thread makes columns, one folds them.

The two work on neighbouring batches at the same time; the order stays that of the journal.
What else has to happen where the relations are written (checkpoints) happens between two
batches, in the thread that folds: nobody else changes them.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from concurrent.futures import Future
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeVar

import duckdb
import numpy as np
import pyarrow as pa

from collector.pipeline import ROW_BITS
from collector.store.stats import Stats
from model.signals import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.pipeline import Pipeline, Record
    from collector.store.backlog import Backlog
    from collector.store.fold import Fold
    from collector.store.recent import Recent

    Work = Callable[[], None]

T = TypeVar("T")

_LOG = logging.getLogger("zombiewatch.store")

_IDLE_S: Final = 1.0
_GATHER_S: Final = 0.02
"""What comes together is applied together, even after a long silence."""


class Apply:
    """Runs from `start` to `stop`; *between* is done between batches, and when idle each second.

    A batch that is not full is begun *every_s* at most: a fold of one record costs as much as one
    of thousands. *relieve* is called when memory is short: it should leave less in it.
    """

    def __init__(
        self,
        backlog: Backlog,
        pipeline: Pipeline,
        fold: Fold,
        recent: Recent,
        *,
        every_s: float,
        between: Work,
        relieve: Work,
    ) -> None:
        self._backlog = backlog
        self._pipeline = pipeline
        self._fold = fold
        self._recent = recent
        self._between = between
        self._relieve = relieve
        self._ready: queue.Queue[tuple[pa.Table, dict[str, int]] | Work | None] = queue.Queue(1)
        self._every_s = every_s
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("columns", self._columns), ("fold", self._folding))
        ]
        self.stats = Stats()

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Apply all that is in the backlog, and end."""
        self._backlog.stop()
        for thread in self._threads:
            thread.join()

    def do(self, work: Callable[[], T]) -> T:
        """Do *work* in the thread that folds, or here when that has ended; return its result."""
        if not self._threads[-1].is_alive():
            return work()
        done: Future[T] = Future()

        def told() -> None:
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                done.set_exception(error)

        self._ready.put(told)
        return done.result()

    # -- columns ----------------------------------------------------------------------------

    def _columns(self) -> None:
        next_at = 0.0
        while True:
            try:
                batch = self._backlog.take(self._rest_s(next_at))
            except sqlite3.Error:  # the journal cannot be read now: it stays where it is
                _LOG.exception("the journal cannot be read; it is tried again")
                time.sleep(_IDLE_S)
                continue
            if batch is None:
                break
            next_at = time.monotonic() + self._every_s
            signals, counts = self._signals(batch)
            self._backlog.learn(batch, signals.num_rows)
            self._ready.put((signals, counts))
            del batch, signals  # not to be kept while the next one is waited for
        self._ready.put(None)

    @staticmethod
    def _rest_s(next_at: float) -> float:
        return max(_GATHER_S, next_at - time.monotonic())

    def _signals(self, records: Sequence[Record]) -> tuple[pa.Table, dict[str, int]]:
        """Return the signals of *records*; one that cannot be read is left out alone, counted."""
        try:
            return self._pipeline.signals(records)
        except Exception:  # noqa: BLE001 - whatever it holds, the next ones are read
            if len(records) == 1:
                _LOG.exception("journal record %d (%s) left out", records[0].id, records[0].kind)
                self.stats.apply_errors += 1
                return SCHEMA.empty_table(), {}
        parts = [self._signals([record]) for record in records]
        counts: dict[str, int] = {}
        for _, some in parts:
            for name, number in some.items():
                counts[name] = counts.get(name, 0) + number
        return pa.concat_tables([signals for signals, _ in parts]), counts

    # -- fold -------------------------------------------------------------------------------

    def _folding(self) -> None:
        while True:
            try:
                item = self._ready.get(timeout=_IDLE_S)
            except queue.Empty:
                item = _nothing
            if item is None:
                return
            if callable(item):
                item()
            else:
                self._applied(*item)
                del item  # not to be kept while the next one is waited for
            try:
                self._between()
            except Exception:  # noqa: BLE001 - the thread must live: without it nothing is applied
                _LOG.exception("housekeeping failed; it is tried again")

    def _applied(self, signals: pa.Table, counts: dict[str, int]) -> None:
        try:
            self._apply(signals)
            self.stats.count(signals, counts)
        except Exception:  # noqa: BLE001 - likewise
            _LOG.exception("a batch could not be applied as a whole")
            self.stats.apply_errors += 1
        finally:
            self._backlog.done()

    def _apply(self, signals: pa.Table) -> None:
        """Fold *signals*; a record that cannot be folded is left out alone, and counted."""
        if not signals.num_rows:
            return
        try:
            self._fold.apply(signals)
        except Exception as error:  # noqa: BLE001 - whatever it holds, the next ones are applied
            short = isinstance(error, duckdb.OutOfMemoryException)
            if short:
                self._relieve()
            records = _by_record(signals)
            if len(records) > 1:
                for one in records:
                    self._apply(one)
            elif not (short and self._once_more(signals)):
                number = signals["seq"][0].as_py() >> ROW_BITS
                _LOG.exception("journal record %d left out", number)
                self.stats.apply_errors += 1
        else:
            self._recent.add(signals)

    def _once_more(self, signals: pa.Table) -> bool:
        try:
            self._fold.apply(signals)
        except duckdb.Error:
            return False
        self._recent.add(signals)
        return True


def _nothing() -> None:
    """Do what there is to do when nothing came."""


def _by_record(signals: pa.Table) -> list[pa.Table]:
    """Return *signals* cut where one journal record ends and the next begins."""
    records = signals["seq"].to_numpy() >> ROW_BITS
    cuts = [0, *(np.nonzero(np.diff(records))[0] + 1).tolist(), len(records)]
    return [signals.slice(low, high - low) for low, high in pairwise(cuts)]
