"""A segment of history that is read in part: some row groups, some columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from collector.store.disk import File


class UnreadableError(Exception):
    """A segment cannot be read; *file* tells which."""

    def __init__(self, file: File, why: Exception) -> None:
        super().__init__(f"{file.name} cannot be read: {why}")
        self.file = file


class Segment:
    """The segment *file* below *root*, opened. What reads it raises UnreadableError."""

    def __init__(self, root: Path, file: File) -> None:
        self._file = file
        try:
            self._parquet = parquet.ParquetFile(root / file.name)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UnreadableError(file, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parquet.close()

    @property
    def groups(self) -> int:
        """How many row groups it has."""
        return int(self._parquet.num_row_groups)

    def rows(self, group: int) -> int:
        """Return how many rows the row group *group* has."""
        return int(self._parquet.metadata.row_group(group).num_rows)

    def read(self, groups: Iterable[int], columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of *groups*: *columns* of them, or all."""
        try:
            return self._parquet.read_row_groups(list(groups), columns, use_threads=False)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise UnreadableError(self._file, error) from error

    def having(self, keys: pa.Table, groups: Iterable[int]) -> Iterator[pa.Table]:
        """Yield rows of *groups* that may have one of *keys*: each of a key's columns is theirs.

        Keys are read first, and the many other columns only where there are any.
        """
        for group in groups:
            held = self.read([group], keys.column_names)
            found = None
            for name in keys.column_names:
                one = pc.is_in(held[name], keys[name].cast(held[name].type))
                found = one if found is None else pc.and_(found, one)
            at = pc.indices_nonzero(found)
            if len(at):
                yield self.read([group]).take(at)
