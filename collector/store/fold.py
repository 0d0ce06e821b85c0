"""The fold: what is hot, kept up to date in memory as signals arrive.

For each relation there is a table of its hot rows. A batch of signals is grouped by the
relation's declaration; rows of the same keys are taken out and folded with it; the result is
put back. Nothing else is touched: the cost depends on the batch, and to find its keys costs
one look at a column of numbers.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import duckdb

from model.relations import MARKS, MARKS_WHERE, RELATIONS
from model.signals import SCHEMA
from model.units import HOUR_US
from model.views import BUCKETS, VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from model.relation import Relation

RATES: Final = "namespace, measure, service, key, bin_us, bucket, n, total_us"


def connect(memory_limit_bytes: int, threads: int = 1) -> duckdb.DuckDBPyConnection:
    """Return an engine in memory, in UTC, that spills nothing to disk."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": threads,
            "memory_limit": f"{memory_limit_bytes}B",
            "temp_directory": "",
            "preserve_insertion_order": False,
            # not by size, in the middle of a batch: `Checkpoints` tidies memory when it is time
            "checkpoint_threshold": "1TB",
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the empty hot tables and the views that readers see."""
    connection.register("batch", SCHEMA.empty_table())
    connection.execute(f"CREATE TABLE marks AS SELECT {MARKS} FROM batch")
    for relation in RELATIONS:
        rows, flags = rows_table(relation), "".join(f", {flag}" for flag in relation.flags)
        empty = f"SELECT *{_new(relation)} FROM ({relation.fresh('batch')}) LIMIT 0"
        connection.execute(f"CREATE TABLE {rows} AS {empty}")
        shown = relation.shown(rows, f"{flags}, closed")
        connection.execute(f"CREATE VIEW {relation.name} AS {shown}")
        connection.execute(f"CREATE VIEW open_{relation.name} AS {shown} WHERE NOT closed")
    connection.execute(
        "CREATE TABLE rates (namespace VARCHAR, measure VARCHAR, service VARCHAR, key VARCHAR,"
        " bin_us BIGINT, bucket INTEGER, n BIGINT, total_us DOUBLE)"
    )
    connection.execute("CREATE TABLE gaps (way VARCHAR, from_us BIGINT, to_us BIGINT)")
    for name, query in VIEWS.items():
        connection.execute(f"CREATE VIEW {name} AS {query}")
    connection.unregister("batch")


class Fold:
    """Applies tables of signals to the hot tables of *connection*; used by one thread.

    *bin_us* is the width of a bin of `rates`. *settle_us* tells what is late: a key whose
    first signal is older when it arrives is looked up in history by *lookup*, which returns
    the name of a table with the stored rows of the keys in a given table, or None.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        *,
        bin_us: int,
        settle_us: int,
        lookup: Callable[[duckdb.DuckDBPyConnection, Relation, str], str | None] | None = None,
    ) -> None:
        self._db = connection
        self._bin_us = bin_us
        self._settle_us = settle_us
        self._lookup = lookup

    def apply(self, signals: pa.Table) -> None:
        """Fold *signals* (see `model.signals`) into every relation, all or nothing."""
        self._db.register("batch", signals)
        try:
            with self.whole():
                self._db.execute(f"INSERT INTO marks SELECT {MARKS} FROM batch WHERE {MARKS_WHERE}")
                for relation in RELATIONS:
                    self._fold(relation)
        finally:
            self._db.unregister("batch")

    def _fold(self, relation: Relation) -> None:
        """Group the batch, take back what is known of the same keys, group again, put it away."""
        rows = rows_table(relation)
        if not self._make("delta", f"SELECT *{_new(relation)} FROM ({relation.fresh('batch')})"):
            return
        known = self._make(
            "back", f"SELECT *, rowid AS was FROM {rows} WHERE h IN (SELECT h FROM delta)"
        )
        history = self._history(relation)
        merged = self._merged(relation) if known or history else "delta"
        self._measure(relation, merged)
        if known:
            self._db.execute(f"DELETE FROM {rows} WHERE rowid IN (SELECT was FROM back)")
        now = [f"({relation.closed}) AS closed"]
        now += [
            f"{m.name}__done OR ({m.value}) IS NOT NULL AS {m.name}__done"
            for m in relation.measures
        ]
        self._db.execute(
            f"INSERT INTO {rows} BY NAME SELECT * REPLACE ({', '.join(now)}) FROM {merged}"
        )

    def _make(self, name: str, query: str) -> int:
        """Make the temporary table *name* of *query*; return how many rows it has."""
        return rows_of(self._db, f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")

    def _merged(self, relation: Relation) -> str:
        """Make the table of the rows that are new and those that what was known is folded into."""
        flags = "".join(f", bool_or({flag}) AS {flag}" for flag in relation.flags)
        known = (
            "(SELECT * FROM delta WHERE h IN (SELECT h FROM back)"
            " UNION ALL BY NAME SELECT * EXCLUDE (was) FROM back)"
        )
        self._make(
            "merged",
            "SELECT * FROM delta WHERE h NOT IN (SELECT h FROM back) UNION ALL BY NAME "
            + relation.merge(known, f"{flags}, FALSE AS closed, min(h) AS h"),
        )
        return "merged"

    def _history(self, relation: Relation) -> int:
        """Take back what history holds of the keys that are new and not at their start.

        Keys that are older than the settle time and unknown to history too are marked late:
        we have not seen all of them, so nothing may be concluded from what is absent.
        Returns how many rows history had.
        """
        db, keys = self._db, relation.key_list
        if relation.name != "attempts":
            return 0
        old = f"first_us < first_seen_us - {self._settle_us}"
        strangers = self._make(
            "strangers",
            f"SELECT * FROM delta ANTI JOIN back USING ({keys})"
            f" WHERE NOT coalesce({relation.opening}, FALSE) OR {old}",
        )
        if not strangers:
            return 0
        found = self._lookup(db, relation, "strangers") if self._lookup else None
        known = f"ANTI JOIN {found} f USING ({keys})" if found else ""
        db.execute(
            "UPDATE delta SET late = TRUE"
            f" FROM (SELECT h FROM strangers s {known} WHERE {old}) AS s WHERE delta.h = s.h"
        )
        if not found:
            return 0
        return rows_of(
            db, f"INSERT INTO back BY NAME SELECT *, {_hash(relation)} AS h FROM {found}"
        )

    def _measure(self, relation: Relation, rows: str) -> None:
        """Count the lengths of time that *rows* show for the first time."""
        if not relation.measures:
            return
        self._db.execute(
            f"INSERT INTO rates SELECT namespace, measure, service, key,"
            f" at_us // {self._bin_us} * {self._bin_us} AS bin_us,"
            f" CAST(floor(log2(greatest(v, 1)) * {BUCKETS}) AS INTEGER) AS bucket, count(*), sum(v)"
            f" FROM ({relation.samples(rows)}) WHERE v >= 0 GROUP BY ALL"
        )

    def take(self, table: str, source: str) -> None:
        """Put the rows of *source*, written from the hot *table* before, back into it."""
        hashed = {rows_table(one): _hash(one) for one in RELATIONS}
        more = f", {hashed[table]} AS h" if table in hashed else ""
        self._db.execute(f"INSERT INTO {table} BY NAME SELECT *{more} FROM {source}")

    def read(self, source: str) -> pa.Table:
        """Return the signals of *source*, in the shape of `model.signals.SCHEMA`."""
        self._db.register("batch", SCHEMA.empty_table())
        try:
            return self._db.sql(
                f"SELECT * FROM batch UNION ALL BY NAME SELECT * FROM {source}"
            ).to_arrow_table()
        finally:
            self._db.unregister("batch")

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Make what is done inside all or nothing."""
        self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def compact_rates(self, now_us: int, keep_us: int) -> None:
        """Sum equal bins into one row, bins older than 2 h by the hour, and forget the oldest."""
        hour = f"bin_us // {HOUR_US} * {HOUR_US}"
        bin_us = f"CASE WHEN bin_us < {now_us - 2 * HOUR_US} THEN {hour} ELSE bin_us END"
        self._db.execute(
            "CREATE OR REPLACE TABLE rates AS SELECT namespace, measure, service, key,"
            f" {bin_us} AS bin_us, bucket, CAST(sum(n) AS BIGINT) AS n, sum(total_us) AS total_us"
            f" FROM rates WHERE bin_us >= {now_us - keep_us} GROUP BY ALL"
        )


def rows_of(connection: duckdb.DuckDBPyConnection, change: str) -> int:
    """Execute a statement that makes, adds or writes rows; return how many."""
    # to the end: a result that is not fetched to its end bars `register`
    return sum(int(row[0]) for row in connection.execute(change).fetchall())


def _hash(relation: Relation) -> str:
    """Return what tells most keys apart by one comparison of numbers; nothing rests on it alone."""
    return f"hash({relation.key_list})"


def _new(relation: Relation) -> str:
    """Return what a row has beside keys and aggregates, as it is when its key is new."""
    flags = "".join(f", FALSE AS {flag}" for flag in relation.flags)
    return f"{flags}, FALSE AS closed, {_hash(relation)} AS h"


def rows_table(relation: Relation) -> str:
    """Return the name of the table of a relation's hot rows."""
    return f"{relation.name}_rows"
