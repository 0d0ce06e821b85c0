"""A DuckDB of our own: in memory, in UTC, and silent."""

from __future__ import annotations

import duckdb


def new_engine(**config: str | int | bool) -> duckdb.DuckDBPyConnection:
    """Return an engine with these settings of DuckDB's; on one thread, unless they say so."""
    engine = duckdb.connect(":memory:", config={"threads": 1, **config})
    # globally: cursors have settings of their own
    engine.execute("SET GLOBAL TimeZone = 'UTC'")
    # where there is no script (`python -c`, a spawned process) it draws one after two seconds
    engine.execute("SET enable_progress_bar = false")
    return engine
