"""The engine's memory: how much it uses, what says that there is too little, and packing it.

An engine that runs out of memory in the middle of a change does not survive it (DuckDB 2.0: a
commit that failed leaves columns of different lengths, a DELETE rows that nobody can delete). So
it is kept well below its limit: what is hot may take a part of it, the rest is for changes.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNS: Final = ("out of memory", "could not allocate", "failed to allocate")


def used_bytes(db: duckdb.DuckDBPyConnection) -> int:
    """Return how many bytes the engine of *db* uses."""
    rows = db.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchall()
    return int(rows[0][0] or 0)


def is_short(error: BaseException | None) -> bool:
    """Tell whether *error*, or one that it came of, says that there was too little memory.

    The engine says so by many classes: of a commit, that it is a matter of the transaction.
    """
    while error is not None:
        if isinstance(error, MemoryError | duckdb.OutOfMemoryException):
            return True
        if isinstance(error, duckdb.FatalException):  # it only tells what the engine died of
            return False
        if isinstance(error, duckdb.Error) and any(one in str(error).lower() for one in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_broken(error: BaseException | None) -> bool:
    """Tell whether *error* is of the engine's own state, whatever it was that it was given."""
    kinds = (duckdb.FatalException, duckdb.TransactionException, duckdb.InternalException)
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def lifted(db: duckdb.DuckDBPyConnection, limit_bytes: int) -> Iterator[None]:
    """Let the engine use what it needs, for what makes room or cannot be left half done.

    After that it has its limit of *limit_bytes* again.
    """
    db.execute("SET memory_limit = '1TB'")
    try:
        yield
    finally:
        with suppress(duckdb.Error):  # it uses more than that: it is set the next time
            db.execute(f"SET memory_limit = '{limit_bytes}B'")


def pack(db: duckdb.DuckDBPyConnection, limit_bytes: int) -> None:
    """Pack all tables, and give back the room of deleted rows.

    Raises duckdb.Error where that cannot be done now; want of memory is no reason.
    """
    with lifted(db, limit_bytes):
        db.execute("CHECKPOINT")
