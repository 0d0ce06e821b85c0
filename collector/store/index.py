"""The index: where in history a key is, at a cost that does not depend on how much there is.

It is a few runs (`run.py`) that together have an entry for each row of the segments of a relation.
A thread keeps it up to date: what no run is of gets one, and small runs are merged into larger
ones. All of it can be made again from the segments, so that nothing else waits for it or names
its files: a run that is missing, damaged, or of another version is replaced in the background. A
segment that no run is of is told of as such, and has to be searched.
"""

from __future__ import annotations

import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from collector.store import run
from collector.store.groups import hashed
from collector.store.run import PLACES, Of, Run, RunError
from collector.store.segment import Segment, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import duckdb

    from collector.store.disk import Disk, File
    from model.relation import Relation

_LOG = logging.getLogger("zombiewatch.store")

_ROWS: Final = 1 << 19
"""So many entries are in memory at once while a run is made."""

_MANY: Final = 16
"""Runs there may be before some are merged, though segments still wait for one."""

_GROUPS: Final = 8
"""Row groups whose keys are read at once."""


class Index:
    """Where the keys of *relation* are in the segments of *disk*; `find` is for any thread.

    *segments* tells which there are. *prove* is told of a segment that has no checksum yet, or
    that cannot be read: it finds out the one and drops what is damaged. Keys are hashed by *db*.
    """

    def __init__(
        self,
        relation: Relation,
        db: duckdb.DuckDBPyConnection,
        disk: Disk,
        *,
        segments: Callable[[], Sequence[File]],
        prove: Callable[[File], None],
    ) -> None:
        self.relation = relation
        self._db = db
        self._disk = disk
        self._folder = disk.root / "index"
        self._segments = segments
        self._prove = prove
        self._maker = self._known_hash()
        self._changing = threading.Lock()
        self._stopping = threading.Event()
        self._worker = ThreadPoolExecutor(1, "index")
        self._skipped: set[tuple[str, int]] = set()
        self._number = 0
        self.runs: tuple[Run, ...] = ()
        """The runs there are; replaced as a whole, never changed."""

    # -- find -------------------------------------------------------------------------------

    def find(self, keys: pa.Table) -> tuple[dict[str, set[int]], set[str]]:
        """Return in which row groups *keys* may be, by segment, and the segments we know of.

        The latter hold none of the keys but in these groups; of others nothing is known.
        """
        hashes = np.unique(self._hashes(keys))
        live = {(one.name, one.crc) for one in self._segments()}
        while True:
            places: dict[str, set[int]] = {}
            runs = self.runs
            try:
                for each in runs:
                    for one, group in each.find(hashes):
                        if (one.name, one.crc) in live:
                            places.setdefault(one.name, set()).add(group)
            except RunError as error:
                self._damaged(each, error)
                self.refresh()
                continue
            return places, {name for name, _ in live & self._known(runs)}

    def _hashes(self, keys: pa.Table) -> run.Numbers:
        """Return the hash of each of *keys*, whatever width its numbers have."""
        for at, column in enumerate(keys.schema):
            if pa.types.is_integer(column.type):
                keys = keys.set_column(at, column.name, keys[column.name].cast(pa.int64()))
        with self._db.cursor() as cursor:
            cursor.register("asked", keys)
            found = cursor.sql(f"SELECT {hashed(self.relation)} AS h FROM asked")
            hashes: run.Numbers = found.to_arrow_table()["h"].to_numpy()
        return hashes

    def _known_hash(self) -> str:
        """Return what tells this engine's way of hashing from another's: the hash of one key."""
        with self._db.cursor() as cursor:
            row = cursor.execute("SELECT hash('zombiewatch', 'a task', 1::BIGINT)").fetchall()[0]
        return f"{self.relation.key_list}: {row[0]}"

    @staticmethod
    def _known(runs: Sequence[Run]) -> set[tuple[str, int]]:
        return {(one.name, one.crc) for each in runs for one in each.of}

    # -- keep up to date --------------------------------------------------------------------

    def load(self) -> None:
        """Take the runs that are on disk; drop those that cannot be used."""
        for path in self._folder.glob("*.partial"):
            path.unlink(missing_ok=True)
        found = []
        for path in sorted(self._folder.glob(f"{self.relation.name}-*.run")):
            with suppress(ValueError):
                self._number = max(self._number, int(path.stem.rpartition("-")[2]))
            try:
                found.append(Run(path, self._maker))
            except RunError as error:
                _LOG.warning("the index is made anew in part: %s", error)
                path.unlink(missing_ok=True)
        self.runs = tuple(found)

    def refresh(self) -> None:
        """Have the index brought up to date in the background: segments came, or went."""
        if not self._stopping.is_set():
            with suppress(RuntimeError):  # closed meanwhile
                self._worker.submit(self._refreshed)

    def wait(self) -> None:
        """Wait until what was to be done has been."""
        self._worker.submit(int).result()

    def close(self) -> None:
        """End, in the middle of what is being written if need be."""
        self._stopping.set()
        self._worker.shutdown()

    def _refreshed(self) -> None:
        try:
            while not self._stopping.is_set() and self._step():
                pass
        except InterruptedError:
            return
        except OSError as error:
            _LOG.warning("the index cannot be written; it is tried again: %s", error)
        except Exception:  # noqa: BLE001 - without it all goes on, only slower
            _LOG.exception("the index could not be brought up to date; it is tried again")

    def _step(self) -> bool:
        """Do one thing that is to be done; False where there is none."""
        live = {(one.name, one.crc): one for one in self._segments()}
        known = self._skipped.copy()
        for one in reversed(self.runs):
            own = self._known([one]) & live.keys()
            if own <= known:  # nothing there is of it, or it was merged when we were killed
                self._replace((one,), None)
            known |= own
        new = [one for key, one in live.items() if key not in known]
        few = self._few(live) if not new or len(self.runs) >= _MANY else []
        if new and not few:
            self._add(new)
            return True
        if few:
            self._merge(few, live)
        return bool(few)

    @staticmethod
    def _rows(one: Run, live: dict[tuple[str, int], File]) -> int:
        """Return how many rows that are still there *one* has entries of."""
        return sum(
            live[each.name, each.crc].rows for each in one.of if (each.name, each.crc) in live
        )

    def _damaged(self, gone: Run, error: RunError) -> None:
        _LOG.warning("the index is made anew in part: %s", error)
        self._disk.damaged += 1
        self._replace((gone,), None)

    def _replace(self, gone: Sequence[Run], made: Run | None) -> None:
        with self._changing:
            kept = (one for one in self.runs if one not in gone)
            self.runs = (*kept, *([made] if made else []))
        for one in gone:
            one.path.unlink(missing_ok=True)

    def _path(self) -> Path:
        self._number += 1
        return self._folder / f"{self.relation.name}-{self._number:012d}.run"

    # -- a new run --------------------------------------------------------------------------

    def _add(self, new: Sequence[File]) -> None:
        """Make a run of some of the segments *new*, as many as may be at once."""
        of: list[Of] = []
        parts: list[run.Numbers] = []
        for file in new:
            if self._stopping.is_set() or (parts and sum(map(len, parts)) + file.rows > _ROWS):
                break
            try:
                if file.crc < 0:
                    self._skipped.add((file.name, file.crc))
                    self._prove(file)
                    continue
                first = sum(one.groups for one in of)
                made = list(self._entries(file, first))
                if not made:
                    raise UnreadableError(file, ValueError("it has no rows"))  # noqa: TRY301
            except UnreadableError as error:
                self._skipped.add((file.name, file.crc))  # it is searched then
                _LOG.warning("%s", error)
                self._prove(file)
                continue
            of.append(Of(file.name, file.crc, len(made)))
            parts += made
        if parts and not self._stopping.is_set():
            entries = np.concatenate(parts)
            entries.sort()
            self._replace((), run.write(self._path(), self._maker, of, [entries]))

    def _entries(self, file: File, first: int) -> Iterator[run.Numbers]:
        """Yield the entries of each row group of *file*; the place of its first one is *first*."""
        with Segment(self._disk.root, file) as segment:
            for at in range(0, segment.groups, _GROUPS):
                groups = range(at, min(at + _GROUPS, segment.groups))
                hashes = self._hashes(segment.read(groups, list(self.relation.keys)))
                cuts = np.cumsum([segment.rows(one) for one in groups])[:-1]
                for group, some in zip(groups, np.split(hashes, cuts), strict=True):
                    yield (some & ~PLACES) | np.uint64(first + group)

    # -- merge ------------------------------------------------------------------------------

    def _few(self, live: dict[tuple[str, int], File]) -> list[Run]:
        """Return the runs to merge: each that has no more than those together that are smaller.

        So there are few, and an entry is written anew only when its run grows to twice its size.
        One that is of removed segments for more than half is written anew without them.
        """
        sized = sorted(((self._rows(one, live), one) for one in self.runs), key=lambda one: one[0])
        together, many = 0, 0
        for at, (rows, _) in enumerate(sized):
            if at and rows <= together:
                many = at + 1
            together += rows
        return [one for _, one in sized[:many]] or [
            one
            for one in self.runs
            if 2 * sum(each.groups for each in one.of if (each.name, each.crc) in live)
            < sum(each.groups for each in one.of)
        ][:1]

    def _merge(self, few: Sequence[Run], live: dict[tuple[str, int], File]) -> None:
        """Make one run of *few*, without what is of segments that are gone."""
        of: list[Of] = []
        placed = []
        for one in few:
            kept = [(each.name, each.crc) in live for each in one.of]
            starts = np.cumsum([sum(each.groups for each in of), *(
                each.groups if keep else 0 for each, keep in zip(one.of, kept, strict=True)
            )])  # fmt: skip
            placed.append(np.concatenate([
                start + np.arange(each.groups) if keep else np.full(each.groups, -1)
                for each, start, keep in zip(one.of, starts, kept, strict=False)
            ]))  # fmt: skip
            of += [each for each, keep in zip(one.of, kept, strict=True) if keep]
        try:
            made = run.write(self._path(), self._maker, of, self._merged(few, placed))
        except RunError as error:
            for one in few:
                if one.path.name in str(error):
                    self._damaged(one, error)
            return
        self._replace(few, made)

    def _merged(self, few: Sequence[Run], placed: Sequence[Any]) -> Iterator[run.Numbers]:
        """Yield the entries of *few* in order, at their new places; hashes are evenly spread."""
        parts = max(1, math.ceil(sum(one.entries for one in few) / _ROWS))
        bounds = [(part << 64) // parts for part in range(parts)]
        bounds.append((1 << 64) - 1)  # no place is as great as that
        for low, high in pairwise(bounds):
            if self._stopping.is_set():
                raise InterruptedError
            some = []
            for one, places in zip(few, placed, strict=True):
                entries = one.between(low, high)
                at = places[(entries & PLACES).astype(np.int64)]
                if (at < 0).any():
                    entries, at = entries[at >= 0], at[at >= 0]
                some.append((entries & ~PLACES) | at.astype(np.uint64))
            merged = np.concatenate(some)
            merged.sort(kind="stable")  # of parts that are in order: ten times as fast
            yield merged
