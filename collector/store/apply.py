"""From the backlog into the relations: one thread makes columns, one groups them, one folds them.

They work on neighbouring batches at the same time; the order stays that of the journal. What else
has to happen where the relations are written (checkpoints) happens between two
folds, in the thread that folds: nobody else changes them.

A batch is folded whole, or in parts, in the order of `seq`: all up to `within` is in, and nothing
past it. So a checkpoint between two parts claims just what it holds. What is acknowledged is never
left out for want of memory: it waits, in smaller and smaller parts, until there is enough.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.pipeline import ROW_BITS
from collector.store import memory
from collector.store.backlog import ROWS
from collector.store.stats import Stats
from model.signals import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.pipeline import Pipeline, Record
    from collector.store.backlog import Backlog
    from collector.store.fold import Fold
    from collector.store.groups import Grouped, Groups
    from collector.store.recent import Recent

    Work = Callable[[], None]

T = TypeVar("T")

_LOG = logging.getLogger("zombiewatch.store")

_IDLE_S: Final = 1.0
_GATHER_S: Final = 0.02
"""What comes together is applied together, even after a long silence."""

_MOST_ROWS: Final = 2 * ROWS
_MOST_BYTES: Final = 128 << 20
"""What is folded at once is no more; a body is not cut, so that a batch is seldom just `ROWS`."""

_PAUSE_S, _LONGEST_S = 0.1, 30.0
"""Rest before what memory is too short for is tried again: the first, and the longest."""


class _Batch(NamedTuple):
    """A batch: its signals, counts worth a metric, and what it says of each relation."""

    signals: pa.Table
    counts: dict[str, int]
    groups: Grouped | None


class Apply:
    """Runs from `start` to `stop`; *between* is done between batches, and when idle each second.

    *made* is shown each batch of signals, in order, before it is folded.

    A batch that is not full is begun *every_s* at most: a fold of one record costs as much as one
    of thousands. *short* tells whether what is in memory leaves too little room for a change;
    *relieve* is called then, or when there was not enough: it should leave less in it.
    """

    def __init__(
        self,
        backlog: Backlog,
        pipeline: Pipeline,
        fold: Fold,
        groups: Groups,
        recent: Recent,
        *,
        every_s: float,
        made: Callable[[pa.Table], None],
        between: Work,
        short: Callable[[], bool],
        relieve: Work,
        within: int = 0,
    ) -> None:
        self._backlog = backlog
        self._pipeline = pipeline
        self._fold = fold
        self._groups = groups
        self._recent = recent
        self._made = made
        self._between = between
        self._short = short
        self._relieve = relieve
        self._stopping = threading.Event()
        self._given_up = threading.Event()
        self._ungrouped: queue.Queue[tuple[pa.Table, dict[str, int]] | None] = queue.Queue(1)
        self._ready: queue.Queue[_Batch | Work | None] = queue.Queue(1)
        self._every_s = every_s
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (
                ("columns", self._columns),
                ("groups", self._grouping),
                ("fold", self._folding),
            )
        ]
        self.stats = Stats()
        self._within = within

    @property
    def within(self) -> int:
        """The `seq` up to which signals past `Backlog.applied` are in; 0 where none are.

        For the thread that folds.
        """
        return self._within if self._within >> ROW_BITS > self._backlog.applied else 0

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Apply all that is in the backlog, and end.

        What memory is too short for is left to the journal, and to the next start.
        """
        self._stopping.set()
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
        while not self._given_up.is_set():
            try:
                batch = self._backlog.take(self._rest_s(next_at))
            except (sqlite3.Error, MemoryError):  # it stays where it is
                _LOG.exception("the journal cannot be read; it is tried again")
                time.sleep(_IDLE_S)  # a thread of its own: nobody else waits
                continue
            if batch is None:
                break
            next_at = time.monotonic() + self._every_s
            made = self._signals(batch)
            if made is None:
                break
            self._show(made[0])
            self._backlog.learn(batch, made[0].num_rows)
            self._ungrouped.put(made)
            del batch, made  # not to be kept while the next one is waited for
        self._ungrouped.put(None)

    def _show(self, signals: pa.Table) -> None:
        try:
            self._made(signals)
        except Exception:  # noqa: BLE001 - the thread must live: without it nothing is applied
            _LOG.exception("a batch could not be looked at; it is applied")

    @staticmethod
    def _rest_s(next_at: float) -> float:
        return max(_GATHER_S, next_at - time.monotonic())

    def _signals(self, records: Sequence[Record]) -> tuple[pa.Table, dict[str, int]] | None:
        """Return the signals of *records*; one that cannot be read is left out alone, counted.

        None where we were stopped while memory was too short for it.
        """
        parts: list[pa.Table] = []
        counts: dict[str, int] = {}
        todo, pause_s = [records], _PAUSE_S
        while todo:
            some = todo.pop()
            try:
                signals, said = self._pipeline.signals(some)
            except Exception as error:  # noqa: BLE001 - whatever it holds, the next ones are read
                if len(some) > 1:
                    todo += [some[len(some) // 2 :], some[: len(some) // 2]]
                elif memory.is_short(error):
                    todo.append(some)
                    if not self._rest(pause_s, error):
                        return None
                    pause_s = min(2 * pause_s, _LONGEST_S)
                else:
                    self._left_out(some[0].id, some[0].kind)
                continue
            pause_s = _PAUSE_S
            parts.append(signals)
            for name, number in said.items():
                counts[name] = counts.get(name, 0) + number
        return pa.concat_tables(parts) if parts else SCHEMA.empty_table(), counts

    # -- groups -----------------------------------------------------------------------------

    def _grouping(self) -> None:
        while made := self._ungrouped.get():
            self._ready.put(_Batch(*made, self._grouped(made[0])))
            del made  # not to be kept while the next one is waited for
        self._ready.put(None)

    def _grouped(self, signals: pa.Table) -> Grouped | None:
        """Return the groups of *signals*; None where there are too many to be folded at once.

        What cannot be grouped is found out by who folds it, in smaller parts.
        """
        if _too_many(signals):
            return None
        try:
            return self._groups.of(signals)
        except Exception:  # noqa: BLE001 - likewise
            return None

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
            elif not self._given_up.is_set():
                self._applied(item)
            del item  # not to be kept while the next one is waited for
            self._housekeep()

    def _housekeep(self) -> None:
        try:
            self._between()
        except Exception:  # noqa: BLE001 - the thread must live: without it nothing is applied
            _LOG.exception("housekeeping failed; it is tried again")

    def _applied(self, made: _Batch) -> None:
        if not self._apply(made.signals, made.groups):
            self._given_up.set()
            return
        self._backlog.done()
        try:
            self.stats.count(made.signals, made.counts)
        except Exception:  # noqa: BLE001 - likewise
            _LOG.exception("a batch could not be counted")

    def _apply(self, signals: pa.Table, groups: Grouped | None) -> bool:
        """Fold *signals*; a record that cannot be folded is left out alone, and counted.

        False where we were stopped while memory was too short for it.
        """
        todo, pause_s = [signals], _PAUSE_S
        while todo:
            part = todo.pop()
            try:
                smaller = self._folded(part, groups if part is signals else None)
            except Exception as error:  # noqa: BLE001 - whatever it holds, the next ones are applied
                short = memory.is_short(error)
                if short or memory.is_broken(error):
                    todo.append(part)
                    if not self._rest(pause_s, error):
                        return False
                    pause_s = min(2 * pause_s, _LONGEST_S)
                    self._make_room()
                    if short and part.num_rows > 1 and not self._short():
                        todo[-1:] = _halves(part)
                    continue
                smaller = _by_record(part)
                if not smaller:
                    self._left_out(part["seq"][0].as_py() >> ROW_BITS, part["kind"][0].as_py())
                    continue
            pause_s = _PAUSE_S
            todo += smaller
        return True

    def _folded(self, part: pa.Table, groups: Grouped | None) -> list[pa.Table]:
        """Fold *part*; or return smaller ones to be folded instead, the first one last."""
        if self.within:  # some of it may be in already
            part, groups = part.filter(pc.greater(part["seq"], self.within)), None
        if not part.num_rows:
            return []
        if _too_many(part):
            return _halves(part)
        if self._short():
            self._make_room()
            if self._short():
                raise MemoryError("what is hot takes all that it may")
        self._fold.apply(part, groups)
        self._recent.add(part)
        self._within = pc.max(part["seq"]).as_py()
        return []

    # -- what goes wrong --------------------------------------------------------------------

    def _left_out(self, record: int, kind: str) -> None:
        _LOG.exception("journal record %d (%s) left out", record, kind)
        self.stats.apply_errors += 1

    def _rest(self, pause_s: float, error: Exception) -> bool:
        """Wait a moment, since memory is short; False where we are to stop."""
        if memory.is_short(error):
            self.stats.memory_waits += 1
            say = _LOG.warning if pause_s == _PAUSE_S else _LOG.debug
            say("memory is short: what came in is in the journal, and waits (%s)", _first(error))
        else:
            _LOG.error(
                "the engine cannot go on: restart the sidecar; the journal has all that came in"
                " (%s)",
                _first(error),
            )
        return not self._stopping.wait(pause_s)

    def _make_room(self) -> None:
        try:
            self._relieve()
        except Exception:  # noqa: BLE001 - likewise
            _LOG.exception("no room could be made; it is tried again")
        self._housekeep()


def _too_many(signals: pa.Table) -> bool:
    rows: int = signals.num_rows
    return rows > 1 and (rows > _MOST_ROWS or bool(signals.nbytes > _MOST_BYTES))


def _nothing() -> None:
    """Do what there is to do when nothing came."""


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _sorted(signals: pa.Table) -> tuple[pa.Table, Any]:
    """Return *signals* in the order of `seq`, and those as an array."""
    numbers = signals["seq"].to_numpy()
    if (np.diff(numbers) < 0).any():
        signals = signals.take(pa.array(np.argsort(numbers, kind="stable")))
        numbers = np.sort(numbers)
    return signals, numbers


def _halves(signals: pa.Table) -> list[pa.Table]:
    """Return *signals* as two, the later half first."""
    signals, _ = _sorted(signals)
    middle = signals.num_rows // 2
    return [signals.slice(middle), signals.slice(0, middle)]


def _by_record(signals: pa.Table) -> list[pa.Table]:
    """Return *signals* as two, the later one first, cut between journal records; none if of one."""
    signals, numbers = _sorted(signals)
    cuts = np.nonzero(np.diff(numbers >> ROW_BITS))[0] + 1
    if not len(cuts):
        return []
    middle = int(cuts[len(cuts) // 2])
    return [signals.slice(middle), signals.slice(0, middle)]
