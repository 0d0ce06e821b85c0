"""Files that survive: Parquet segments, snapshots, and the manifest that makes them true.

A checkpoint writes its Parquet files, syncs them, and becomes valid by the rename of its
manifest, which names every file with size and CRC32C and the journal ID that it covers.
Two manifests are kept; what neither names is rubbish of an interrupted checkpoint.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import google_crc32c
import orjson
import pyarrow as pa
from pyarrow import parquet

from collector.store.fold import rows_of
from model.signals import COLUMNS, UNLIKE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import duckdb

KEEP: Final = 2
"""Good snapshots kept: the journal is trimmed only behind the older."""

BLOCK: Final = 1 << 18
"""Bytes that are read at once."""

_GROUP_ROWS: Final = 16_384
"""Rows in a Parquet row group: a whole group is in memory while it is written."""

_NUMBERED: Final = dict.fromkeys(("seq", "ts_us", "end_us"), "DELTA_BINARY_PACKED")
_REPEATED: Final = [one for one in COLUMNS if one not in {*_NUMBERED, *UNLIKE}]
"""Columns of signals of which a Parquet file has a dictionary: to try it for others is in vain."""


@dataclass(frozen=True, slots=True)
class File:
    """One Parquet file of a relation, of `signals`, or of a hot table."""

    name: str  # path below the data folder
    table: str
    rows: int
    size: int
    crc: int  # -1 where nothing says what it was when it was written
    from_us: int = 0  # arrival times of its rows, where it is a segment
    to_us: int = 0


@dataclass(slots=True)
class Manifest:
    """What a checkpoint is made of.

    `applied` is the last journal ID that it covers as a whole. Where it was made while a batch was
    half applied, it holds those signals past `applied` whose `seq` is not past `within`.
    """

    applied: int
    made_us: int
    hot: list[File] = field(default_factory=list)
    segments: list[File] = field(default_factory=list)
    within: int = 0


class Disk:
    """The data folder's files beside the journal."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.damaged = 0
        for name in ("segments", "snapshots", "index", "damaged"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def write(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        name: str,
        query: str,
        notes: Mapping[str, str] | None = None,
        *,
        compression: str = "zstd",
    ) -> File | None:
        """Write the rows of *query* as the Parquet file *name*, synced; None where there are none.

        *notes* are written into the file, for whoever finds it without its manifest.
        Raises OSError or duckdb.Error where it cannot be written; no half file stays.
        """
        return self._put(
            table,
            name,
            lambda path: rows_of(
                connection,
                f"COPY ({query}) TO '{quoted(path)}' (FORMAT parquet,"
                f" COMPRESSION {compression}, ROW_GROUP_SIZE {_GROUP_ROWS}{_noted(notes)})",
            ),
        )

    def write_signals(self, name: str, signals: pa.Table) -> File | None:
        """Write *signals* likewise. They are Arrow's: its own writer takes half the time for them.

        Raises OSError where they cannot be written; no half file stays.
        """

        def fill(path: Path) -> int:
            parquet.write_table(
                signals, path, row_group_size=_GROUP_ROWS, compression="zstd",
                use_dictionary=_REPEATED, column_encoding=_NUMBERED,
                store_schema=False,  # types are Parquet's, whoever has written the file
            )  # fmt: skip
            return int(signals.num_rows)

        return self._put("signals", name, fill)

    def _put(self, table: str, name: str, fill: Callable[[Path], int]) -> File | None:
        """Let *fill* write the file *name*, and say how many rows; sync it and give it its name."""
        path = self.root / name
        partial = path.with_suffix(".partial")
        try:
            rows = fill(partial)
            if not rows:
                partial.unlink(missing_ok=True)
                return None
            with partial.open("rb+") as file:
                crc, size = _crc(file)
                os.fsync(file.fileno())
            partial.rename(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return File(name, table, rows, size, crc)

    def commit(self, manifest: Manifest) -> None:
        """Make *manifest* true: written, synced, renamed; then what is outdated is removed."""
        for folder in ("segments", "snapshots"):
            _sync_folder(self.root / folder)
        path = self._path(manifest)
        body = orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(b"%08x\n" % google_crc32c.value(body) + body)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        _sync_folder(path.parent)

    def manifests(self) -> Iterator[Manifest]:
        """Yield the manifests whose own checksum holds, newest first; others are set aside."""
        for path, found in manifests_of(self.root):
            if found is None:
                self.set_aside(path)
            else:
                yield found

    def good(self, file: File, *, whole: bool) -> bool:
        """Tell whether *file* is there and of its size; *whole* also checks its CRC32C.

        One without a checksum is read as Parquet instead.
        """
        path = self.root / file.name
        try:
            if path.stat().st_size != file.size:
                return False
            if whole and file.crc < 0:
                return self.proven(file) is not None
            if whole:
                with path.open("rb") as opened:
                    return _crc(opened)[0] == file.crc
        except OSError:
            return False
        return True

    def set_aside(self, path: Path) -> None:
        """Move a damaged file out of the way, alone, and count it."""
        self.damaged += 1
        for suffix in ("", "-wal", "-shm"):  # a database's log must not be taken for the next one's
            one = path.with_name(path.name + suffix)
            if one.exists():
                one.rename(self.root / "damaged" / one.name)

    def proven(self, file: File) -> File | None:
        """Read *file* whole; return it with its checksum, or None where it cannot be read."""
        path = self.root / file.name
        try:
            with parquet.ParquetFile(path) as opened:
                for _ in opened.iter_batches(_GROUP_ROWS, use_threads=False):
                    pass
            with path.open("rb") as whole:
                crc, size = _crc(whole)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, ValueError):
            return None
        return replace(file, crc=crc, size=size)

    def sweep(self, kept: Iterable[Manifest], also: Iterable[File]) -> None:
        """Remove what no manifest of *kept* names, and is none of the files of *also*."""
        kept = list(kept)
        names = {file.name for one in kept for file in (*one.hot, *one.segments)}
        names |= {file.name for file in also}
        names |= {self._path(one).relative_to(self.root).as_posix() for one in kept}
        with suppress(OSError):  # rubbish that cannot be removed now is there the next time
            for folder in ("segments", "snapshots"):
                for path in (self.root / folder).iterdir():
                    if path.relative_to(self.root).as_posix() not in names:
                        path.unlink(missing_ok=True)

    def size(self, folder: str) -> int:
        """Return how many bytes the files in *folder* take."""
        return sum(size_of(path) for path in (self.root / folder).iterdir())

    def sql(self, files: Iterable[File]) -> str:
        """Return the FROM clause that reads *files* as one."""
        names = ", ".join(f"'{quoted(self.root / file.name)}'" for file in files)
        return f"read_parquet([{names}], union_by_name = true)"

    def _path(self, manifest: Manifest) -> Path:
        name = f"{manifest.applied:020d}-{manifest.made_us:020d}.json"
        return self.root / "snapshots" / name


def manifests_of(root: Path) -> Iterator[tuple[Path, Manifest | None]]:
    """Yield the manifests of the data folder *root*, newest first; None for a damaged one."""
    for path in sorted(root.glob("snapshots/*.json"), reverse=True):
        yield path, _read_manifest(path)


def size_of(path: Path) -> int:
    """Return how many bytes a file takes: none, where it was removed meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _noted(notes: Mapping[str, str] | None) -> str:
    said = ", ".join(f"{name}: '{text}'" for name, text in (notes or {}).items())
    return f", KV_METADATA {{{said}}}" if said else ""


def quoted(path: Path) -> str:
    """Return *path* as it stands between the quotes of an SQL text."""
    return str(path).replace("'", "''")


def _crc(file: Any) -> tuple[int, int]:  # noqa: ANN401 - any binary file
    crc, size = 0, 0
    file.seek(0)
    while block := file.read(BLOCK):
        crc = google_crc32c.extend(crc, block)
        size += len(block)
    return crc, size


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_manifest(path: Path) -> Manifest | None:
    try:
        crc, _, body = path.read_bytes().partition(b"\n")
        if int(crc, 16) != google_crc32c.value(body):
            return None
        said = orjson.loads(body)
        hot = [File(**one) for one in said["hot"]]
        segments = [File(**one) for one in said["segments"]]
        return Manifest(said["applied"], said["made_us"], hot, segments, said.get("within", 0))
    except (OSError, ValueError, KeyError, TypeError):
        return None
