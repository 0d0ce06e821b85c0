"""The fold: what is hot, kept up to date in memory as signals arrive.

For each relation there is a table of open rows and one of closed ones. A batch of signals
is grouped by the relation's declaration; rows of the same keys, open or closed, are taken
back and folded with it; the result is put where it belongs. The cost depends on the batch
and on what is open, not on how much has been seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import duckdb

from model.relations import MARKS, MARKS_WHERE, RELATIONS, Relation
from model.signals import COLUMNS
from model.units import HOUR_US

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

BUCKETS: Final = 8
"""Histogram buckets for each doubling of a duration: bounds 9% apart."""

RATES: Final = "namespace, measure, service, key, bin_us, bucket, n, total_us"

_SQL_TYPES: Final = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "int32": "INTEGER",
    "int16": "SMALLINT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
}

Lookup = "Callable[[duckdb.DuckDBPyConnection, Relation, str], str | None]"


def connect(memory_limit_bytes: int, threads: int = 2) -> duckdb.DuckDBPyConnection:
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
    columns = ", ".join(f"{name} {_SQL_TYPES[str(kind)]}" for name, kind in COLUMNS.items())
    connection.execute(f"CREATE TABLE signals ({columns})")
    connection.execute(f"CREATE TABLE marks AS SELECT {MARKS} FROM signals")
    for relation in RELATIONS:
        flags = "".join(f", FALSE AS {flag}" for flag in relation.flags)
        empty = f"SELECT *{flags} FROM ({relation.fresh('signals')}) LIMIT 0"
        for part in ("open", "closed"):
            connection.execute(f"CREATE TABLE {relation.name}_{part} AS {empty}")
        flags = "".join(f", {flag}" for flag in relation.flags)
        both = (
            f"(SELECT * FROM {relation.name}_open UNION ALL SELECT * FROM {relation.name}_closed)"
        )
        connection.execute(f"CREATE VIEW {relation.name} AS {relation.shown(both, flags)}")
        still = relation.shown(f"{relation.name}_open", flags)
        connection.execute(f"CREATE VIEW open_{relation.name} AS {still}")
    connection.execute(
        "CREATE TABLE rates (namespace VARCHAR, measure VARCHAR, service VARCHAR, key VARCHAR,"
        " bin_us BIGINT, bucket INTEGER, n BIGINT, total_us DOUBLE)"
    )
    connection.execute("CREATE TABLE gaps (way VARCHAR, from_us BIGINT, to_us BIGINT)")
    connection.execute(_LEARNED)


_LEARNED: Final = f"""
CREATE VIEW learned AS
WITH spread AS (
  SELECT namespace, measure, service, key, bucket, sum(n) AS n FROM rates GROUP BY ALL
), summed AS (
  SELECT *, sum(n) OVER w AS below,
    sum(n) OVER (PARTITION BY namespace, measure, service, key) AS total
  FROM spread WINDOW w AS (PARTITION BY namespace, measure, service, key ORDER BY bucket)
)
SELECT namespace, measure, service, key, max(total) AS n,
  power(2.0, (min(CASE WHEN below >= 0.50 * total THEN bucket END) + 1) / {BUCKETS}.0) AS p50_us,
  power(2.0, (min(CASE WHEN below >= 0.95 * total THEN bucket END) + 1) / {BUCKETS}.0) AS p95_us,
  power(2.0, (min(CASE WHEN below >= 0.99 * total THEN bucket END) + 1) / {BUCKETS}.0) AS p99_us
FROM summed GROUP BY namespace, measure, service, key"""


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
        self._db.execute("BEGIN")
        try:
            self._db.register("batch_arrow", signals)
            self._db.execute("CREATE OR REPLACE TEMP TABLE batch AS SELECT * FROM batch_arrow")
            self._db.unregister("batch_arrow")
            self._db.execute("INSERT INTO signals SELECT * FROM batch")
            self._db.execute(f"INSERT INTO marks SELECT {MARKS} FROM batch WHERE {MARKS_WHERE}")
            for relation in RELATIONS:
                self._fold(relation)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _fold(self, relation: Relation) -> None:
        db, name, keys = self._db, relation.name, relation.key_list
        none = "".join(f", FALSE AS {flag}" for flag in relation.flags)
        db.execute(
            f"CREATE OR REPLACE TEMP TABLE delta AS SELECT *{none} FROM ({relation.fresh('batch')})"
        )
        if not _count(db, "delta"):
            return
        same = f"SEMI JOIN delta USING ({keys})"
        parts = ["SELECT * FROM delta", f"SELECT o.* FROM {name}_open o {same}"]
        back = f"SELECT c.* FROM {name}_closed c {same}"
        db.execute(f"CREATE OR REPLACE TEMP TABLE back AS {back}")
        returned = _count(db, "back")
        parts.append("SELECT * FROM back")
        history = self._history(relation)
        if history:
            parts.append(f"SELECT * FROM {history}")
        flags = ", ".join(f"bool_or({flag}) AS {flag}" for flag in relation.flags)
        union = "(" + " UNION ALL BY NAME ".join(parts) + ")"
        merged = relation.merge(union).replace(" FROM (", f", {flags} FROM (", 1)
        db.execute(f"CREATE OR REPLACE TEMP TABLE merged AS {merged}")
        self._measure(relation)
        done = ", ".join(
            f"{m.name}__done OR ({m.value}) IS NOT NULL AS {m.name}__done"
            for m in relation.measures
        )
        row = f"* REPLACE ({done})" if done else "*"
        rest = f"SELECT o.* FROM {name}_open o ANTI JOIN delta USING ({keys})"
        db.execute(
            f"CREATE OR REPLACE TABLE {name}_open AS {rest} UNION ALL BY NAME"
            f" SELECT {row} FROM merged WHERE NOT ({relation.closed})"
        )
        if returned:
            on = " AND ".join(f"{name}_closed.{key} = back.{key}" for key in relation.keys)
            db.execute(f"DELETE FROM {name}_closed USING back WHERE {on}")
        db.execute(
            f"INSERT INTO {name}_closed BY NAME SELECT {row} FROM merged WHERE {relation.closed}"
        )

    def _history(self, relation: Relation) -> str | None:
        """Return a table of what history holds of the keys that are new and not at their start.

        Keys that are older than the settle time and unknown to history too are marked late:
        we have not seen all of them, so nothing may be concluded from what is absent.
        """
        db, keys = self._db, relation.key_list
        first = "first_us" if any(c.name == "first_us" for c in relation.columns) else None
        if relation.name != "attempts" or first is None:
            return None
        old = f"{first} < first_seen_us - {self._settle_us}"
        db.execute(
            f"CREATE OR REPLACE TEMP TABLE strangers AS SELECT d.* FROM delta d"
            f" ANTI JOIN {relation.name}_open o USING ({keys}) ANTI JOIN back b USING ({keys})"
            f" WHERE NOT coalesce({relation.opening}, FALSE) OR {old}"
        )
        if not _count(db, "strangers"):
            return None
        found = self._lookup(db, relation, "strangers") if self._lookup else None
        known = f"ANTI JOIN {found} f USING ({keys})" if found else ""
        on = " AND ".join(f"delta.{key} = s.{key}" for key in relation.keys)
        db.execute(
            f"UPDATE delta SET late = TRUE FROM (SELECT s.* FROM strangers s {known} WHERE {old}) s"
            f" WHERE {on}"
        )
        return found

    def _measure(self, relation: Relation) -> None:
        if not relation.measures:
            return
        flags = "".join(f", {flag}" for flag in relation.flags)
        self._db.execute("CREATE OR REPLACE TEMP TABLE shown AS " + relation.shown("merged", flags))
        for measure in relation.measures:
            self._db.execute(
                f"INSERT INTO rates SELECT namespace, '{measure.name}',"
                f" coalesce({measure.service}, ''),"
                f" coalesce({measure.key}, ''), {measure.at} // {self._bin_us} * {self._bin_us},"
                f" CAST(floor(log2(greatest(v, 1)) * {BUCKETS}) AS INTEGER), count(*), sum(v)"
                f" FROM (SELECT *, {measure.value} AS v FROM shown)"
                f" WHERE v >= 0 AND NOT {measure.name}__done"
                " GROUP BY ALL"
            )

    def compact_rates(self, now_us: int, keep_us: int) -> None:
        """Sum equal bins into one row, bins older than 2 h by the hour, and forget the oldest."""
        hour = f"bin_us // {HOUR_US} * {HOUR_US}"
        bin_us = f"CASE WHEN bin_us < {now_us - 2 * HOUR_US} THEN {hour} ELSE bin_us END"
        self._db.execute(
            "CREATE OR REPLACE TABLE rates AS SELECT namespace, measure, service, key,"
            f" {bin_us} AS bin_us, bucket, CAST(sum(n) AS BIGINT) AS n, sum(total_us) AS total_us"
            f" FROM rates WHERE bin_us >= {now_us - keep_us} GROUP BY ALL"
        )


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(row[0]) if row else 0


def from_scratch(connection: duckdb.DuckDBPyConnection, relation: Relation, signals: str) -> str:
    """Return the SELECT that the fold must equal: the declaration over all *signals* at once."""
    del connection
    return relation.shown(f"({relation.fresh(signals)})")


def settled(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], now_us: int, settle_us: int
) -> int:
    """Return how many closed rows of the relations *names* are older than the settle time."""
    counts = [
        connection.execute(
            f"SELECT count(*) FROM {name}_closed WHERE last_seen_us < {now_us - settle_us}"
        ).fetchone()
        for name in names
    ]
    return sum(int(row[0]) for row in counts if row)
