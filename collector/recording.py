"""Signals as JSON lines: what was recorded, in one small file that can be sent to somebody.

The first line says what it is (`HEADER`). Each further line is one signal, its columns by their
names (`model.signals.COLUMNS`) and without those that are null; or a time in which the sidecar
that recorded did not listen: `{"gap": way, "from_us": …, "to_us": …}`.
"""

from __future__ import annotations

import gzip
from typing import IO, TYPE_CHECKING, Any, Final, cast

import orjson
import pyarrow as pa

from model.signals import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Gap = tuple[str, int, int]
"""Way, from, to (microseconds since 1970 UTC)."""

HEADER: Final = {"zombiewatch": "signals", "format": 1}

_ROWS: Final = 20_000


class RecordingError(ValueError):
    """A line is no signal of this format; the message says which line, and why."""


def is_recording(path: Path) -> bool:
    """Tell whether the file at *path* is one. Raises OSError."""
    with _opened(path) as file:
        start = file.readline(4096)
    try:
        return bool(orjson.loads(start) == HEADER)
    except orjson.JSONDecodeError:
        return False


def write(path: Path, signals: Iterable[pa.Table], gaps: Iterable[Gap]) -> int:
    """Write *signals* and *gaps* to *path* (`.gz`: packed); return how many signals there were.

    Raises OSError.
    """
    rows = 0
    # the same signals give the same bytes: no time of day in the packed file's head
    with path.open("wb") as raw:
        packed = path.suffix == ".gz"
        file = gzip.GzipFile("", "wb", mtime=0, fileobj=raw) if packed else raw
        with cast("IO[bytes]", file):
            file.write(orjson.dumps(HEADER) + b"\n")
            for way, from_us, to_us in gaps:
                file.write(orjson.dumps({"gap": way, "from_us": from_us, "to_us": to_us}) + b"\n")
            for table in signals:
                rows += table.num_rows
                for batch in table.to_batches(_ROWS):
                    file.writelines(_line(row) for row in batch.to_pylist())
    return rows


def read(path: Path) -> Iterator[tuple[pa.Table, list[Gap]]]:
    """Yield the signals and the gaps at *path*, part by part. Raises RecordingError, OSError."""
    rows: list[dict[str, Any]] = []
    gaps: list[Gap] = []
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            said = _parsed(path, number, line)
            if "gap" in said:
                gaps.append((str(said["gap"]), int(said["from_us"]), int(said["to_us"])))
            elif number > 1:
                rows.append(said)
            if len(rows) == _ROWS:
                yield _table(path, number, rows), gaps
                rows, gaps = [], []
    yield _table(path, number, rows), gaps


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path))
    return path.open("rb")


def _line(row: dict[str, Any]) -> bytes:
    return orjson.dumps({name: value for name, value in row.items() if value is not None}) + b"\n"


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        msg = f"{path}, line {number}: it is no JSON ({error})"
        raise RecordingError(msg) from None
    if not isinstance(said, dict):
        msg = f"{path}, line {number}: it is no JSON object"
        raise RecordingError(msg)
    if number > 1 and "gap" not in said and (strange := said.keys() - set(SCHEMA.names)):
        msg = f"{path}, line {number}: a signal has no column {min(strange)}"
        raise RecordingError(msg)
    return said


def _table(path: Path, number: int, rows: list[dict[str, Any]]) -> pa.Table:
    try:
        return pa.Table.from_pylist(rows, SCHEMA)
    except (pa.ArrowException, TypeError, ValueError) as error:
        msg = f"{path}, up to line {number}: a value is none of its column ({error})"
        raise RecordingError(msg) from None
