"""What was recorded, as signals in the order in which they arrived.

A data folder, a journal, Parquet segments of signals, a recording (`recording.py`), or JSON lines.
The signals are put into files of their own in a folder that is given, and sorted from there: there
may be more than fit memory.
"""

from __future__ import annotations

import gzip
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from collector import recording
from collector.engine import new_engine
from collector.pipeline import ROW_BITS, Record
from collector.store.disk import manifests_of, quoted
from collector.store.journal import Journal
from model.signals import COLUMNS, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from collector.pipeline import Pipeline

_BLOCK_BYTES: Final = 4 << 20
_RECORDS: Final = 500
_SORT_BYTES: Final = 512 << 20
_SORTED_ROWS: Final = 50_000


class RecordedError(ValueError):
    """What was given is no recorded input; the message says what is wrong with it."""


@dataclass(slots=True)
class Recorded:
    """Recorded signals, lying in *files*: how many, when the first and the last arrived.

    *folder* has room for what sorting needs.

    *gaps* are times in which the sidecar that recorded did not listen (way, from, to). Times are
    microseconds since 1970 UTC.
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    signals: int = 0
    from_us: int = 0
    to_us: int = 0
    gaps: list[tuple[str, int, int]] = field(default_factory=list)

    def steps(self, every_us: int, at_most_us: int) -> Iterator[tuple[int, pa.Table]]:
        """Yield moments, and the signals that arrived since the one before, in order.

        They are *every_us* apart; *at_most_us*, where nothing arrives.
        """
        now, held = self.from_us, SCHEMA.empty_table()
        for batch in self._sorted():
            held = pa.concat_tables([held, pa.table(batch).cast(SCHEMA)])
            times = held["arrived_us"].to_numpy()
            while times.size and times[-1] > now:
                here = int(np.searchsorted(times, now, side="right"))
                yield now, held.slice(0, here)
                held, times = held.slice(here), times[here:]
                now += min(at_most_us, max(every_us, int(times[0]) - now))
        yield self.to_us, held

    def save(self, path: Path) -> int:
        """Write all of it to *path* as a recording; return how many signals. Raises OSError."""
        tables = (pa.table(batch).cast(SCHEMA) for batch in self._sorted())
        return recording.write(path, tables, self.gaps)

    def _sorted(self) -> Iterator[pa.RecordBatch]:
        names = ", ".join(f"'{quoted(path)}'" for path in self.files)
        with new_engine(memory_limit=f"{_SORT_BYTES}B") as sorting:
            sorting.execute(f"SET temp_directory = '{quoted(self.folder / 'sort')}'")
            # by name: segments of an older version may lack a column
            sorting.register("shape", SCHEMA.empty_table())
            reader: pa.RecordBatchReader = sorting.execute(
                f"SELECT {', '.join(COLUMNS)} FROM (SELECT * FROM shape UNION ALL BY NAME"
                f" SELECT * FROM read_parquet([{names}], union_by_name = true))"
                " ORDER BY arrived_us, seq"
            ).to_arrow_reader(_SORTED_ROWS)
            yield from reader


def read(
    paths: Sequence[Path],
    pipeline: Pipeline,
    folder: Path,
    say: Callable[[str], None] = lambda _said: None,
) -> Recorded:
    """Return what is recorded at *paths*; *folder*, an empty one, holds it meanwhile.

    JSON lines arrived when they happened: only they do not say when they came. Raises
    RecordedError, OSError.
    """
    found = Recorded(folder)
    parts = _Parts(folder, pipeline)
    for path in paths:
        say(f"reading {path}")
        if path.is_dir():
            _folder(path, parts, found)
        elif not path.exists():
            msg = f"{path}: there is no such file or folder"
            raise RecordedError(msg)
        elif path.suffix == ".parquet":
            found.files.append(_segment(path))
        elif _is_sqlite(path):
            _journal(path, parts, 0, 0)
        elif recording.is_recording(path):
            _recording(path, parts, found)
        else:
            _lines(path, parts)
    found.files += parts.files
    for file in found.files:
        _measure(file, found)
    if not found.signals:
        msg = f"nothing is recorded in {', '.join(map(str, paths))}"
        raise RecordedError(msg)
    return found


class _Parts:
    """Files of signals that were decoded from something else."""

    def __init__(self, folder: Path, pipeline: Pipeline) -> None:
        self.files: list[Path] = []
        self._folder, self._pipeline = folder, pipeline
        self.records = 0

    def add(self, records: Sequence[Record], *, past: int = 0, lines: bool = False) -> None:
        """Decode *records*; leave out signals up to the `seq` *past*."""
        signals, _ = self._pipeline.signals(records)
        if past:
            signals = signals.filter(pc.greater(signals["seq"], past))
        if lines:
            signals = _when_it_happened(signals, records[0].arrived_us)
        self.put(signals)

    def put(self, signals: pa.Table) -> None:
        """Take signals as they are."""
        if signals.num_rows:
            path = self._folder / f"{len(self.files):06d}.parquet"
            parquet.write_table(signals, path, compression="lz4")
            self.files.append(path)


def _when_it_happened(signals: pa.Table, read_us: int) -> pa.Table:
    """Let signals arrive when they happened; one without a time comes with the one before it."""
    at = pc.coalesce(signals["end_us"], signals["ts_us"])
    told = pc.if_else(pc.equal(at, read_us), pa.scalar(None, pa.int64()), at)
    told = pc.fill_null_backward(pc.fill_null_forward(told.combine_chunks()))
    untold = pc.equal(signals["ts_us"], read_us)
    place = signals.column_names.index
    for name, column in (
        ("ts_us", pc.if_else(untold, told, signals["ts_us"])),
        ("arrived_us", pc.coalesce(told, at)),
    ):
        signals = signals.set_column(place(name), SCHEMA.field(name), column)
    return signals


def _folder(root: Path, parts: _Parts, found: Recorded) -> None:
    """Take a data folder's segments, and what its journal has beyond them."""
    journal = root / "journal.sqlite"
    manifest = next((one for _, one in manifests_of(root) if one is not None), None)
    if manifest is None and not journal.exists():
        inside = sorted(path for path in root.iterdir() if path.is_file())
        if not inside:
            msg = f"{root}: an empty folder, and no data folder of a sidecar"
            raise RecordedError(msg)
        for path in inside:
            _lines(path, parts)
        return
    for file in manifest.segments if manifest else ():
        if file.table == "signals":
            found.files.append(_segment(root / file.name))
    for file in manifest.hot if manifest else ():
        if file.table == "gaps":
            rows = parquet.read_table(root / file.name).to_pylist()
            found.gaps += [(row["way"], row["from_us"], row["to_us"]) for row in rows]
    if journal.exists():
        _journal(journal, parts, manifest.applied if manifest else 0,
                 manifest.within if manifest else 0)  # fmt: skip


def _segment(path: Path) -> Path:
    try:
        names = parquet.read_schema(path).names
    except (OSError, pa.ArrowException) as error:
        msg = f"{path}: it cannot be read as Parquet ({error})"
        raise RecordedError(msg) from None
    lacking = {"seq", "arrived_us", "ts_us", "phase"} - set(names)
    if lacking:
        msg = f"{path}: it holds no signals (it has no column {min(lacking)})"
        raise RecordedError(msg)
    return path


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\x00"


def _journal(path: Path, parts: _Parts, after: int, past: int) -> None:
    try:
        journal = Journal(path)
    except (ValueError, OSError, sqlite3.Error) as error:
        msg = f"{path}: it cannot be read as a journal ({error})"
        raise RecordedError(msg) from None
    try:
        while True:
            records, last = journal.read(after, limit=_RECORDS)
            if records:
                beyond = past if records[0].id <= past >> ROW_BITS else 0
                parts.add(records, past=beyond)
            if last == after:
                return
            after = last
    finally:
        journal.close()


def _recording(path: Path, parts: _Parts, found: Recorded) -> None:
    try:
        for signals, gaps in recording.read(path):
            parts.put(signals)
            found.gaps += gaps
    except recording.RecordingError as error:
        raise RecordedError(str(error)) from None


def _lines(path: Path, parts: _Parts) -> None:
    with path.open("rb") as file, gzip.open(file) if path.suffix == ".gz" else file as lines:
        while block := lines.read(_BLOCK_BYTES):
            block += lines.readline()
            parts.records += 1
            meta = {"source": str(path)}
            parts.add([Record(parts.records, "lines", _LATEST_US, meta, block)], lines=True)


_LATEST_US: Final = 4_102_444_800_000_000
"""2100: no time that a line may say is implausible beside it."""


def _measure(path: Path, found: Recorded) -> None:
    times = parquet.read_table(path, columns=["arrived_us"])["arrived_us"]
    if len(times):
        low, high = int(pc.min(times).as_py()), int(pc.max(times).as_py())
        found.from_us = min(found.from_us or low, low)
        found.to_us = max(found.to_us, high)
        found.signals += len(times)
