"""Statements that are planned once, and fed with Arrow tables from then on.

To plan the statements of a fold costs more than to run them over a small batch. DuckDB keeps the
plan of a prepared statement as long as the catalog stays as it is and no table is scanned; a
stream it reads anew each time. So what goes from one statement to the next is an Arrow table in
Python's hands, handed in as a stream under a name that was known when the statement was planned.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb
    import pyarrow as pa

# It advises `sql`, which binds each statement twice: dearer than the copy, for 60 columns.
warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)

_ROWS: Final = 1 << 20
"""Rows in a batch of a result: as many as a batch of signals can make."""


class _Feed:
    """What DuckDB takes for a stream; the table behind it is exchanged."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class Plans:
    """Prepared statements and feeds of one connection, for one thread."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._db = connection
        self._feeds: dict[str, _Feed] = {}
        self._count = 0

    def feed(self, name: str, schema: pa.Schema) -> None:
        """Make *name* a table for statements planned from now on, of that *schema*, empty."""
        feed = self._feeds[name] = _Feed(schema.empty_table())
        self._db.register(name, feed)

    def plan(self, statement: str) -> Callable[[], pa.Table]:
        """Plan a SELECT; what is returned runs it and returns its rows."""
        return partial(self.read, self._planned(statement))

    def change(self, statement: str) -> Callable[[], None]:
        """Plan a *statement* that changes tables; what is returned runs it."""
        return partial(self._change, self._planned(statement))

    def _planned(self, statement: str) -> str:
        name = f"plan_{self._count}"
        self._count += 1
        self._db.execute(f"PREPARE {name} AS {statement}")
        return f"EXECUTE {name}"

    def read(self, query: str) -> Any:  # noqa: ANN401 - an Arrow table
        """Return the rows of *query*, which may read feeds."""
        found: Any = self._db.execute(query)
        return found.to_arrow_reader(_ROWS).read_all()

    def _change(self, statement: str) -> None:
        # to the end: a result that is not fetched to its end bars the next statement
        self._db.execute(statement).fetchall()

    @contextmanager
    def fed(self, name: str, table: pa.Table) -> Iterator[None]:
        """Let *name* be *table*, whose schema must be that of the feed, inside of this."""
        feed = self._feeds[name]
        empty, feed.table = feed.table, table
        try:
            yield
        finally:
            feed.table = empty
