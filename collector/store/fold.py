"""The fold: what is hot, kept up to date in memory as signals arrive.

For each relation there is a table of its hot rows. A batch of signals is grouped by the
relation's declaration; rows of the same keys are taken out and folded with it; the result is
put back. Nothing else is touched: the cost depends on the batch, and to find its keys costs
one look at a column of numbers. In between, rows are Arrow tables: see `plans.py` for why.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from collector.engine import new_engine
from collector.store import memory
from collector.store.groups import Groups, hashed
from collector.store.plans import Plans
from collector.store.relation_fold import RelationFold
from model.narrow import narrowed
from model.relations import MARKS, MARKS_WHERE, RELATIONS
from model.signals import SCHEMA
from model.units import HOUR_US
from model.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from collector.store.groups import Grouped
    from model.relation import Relation

_RATES: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("namespace", "measure", "service", "key")),
        ("bin_us", pa.int64()),
        ("bucket", pa.int32()),
        ("n", pa.int64()),
        ("total_us", pa.float64()),
    ]
)


def connect(memory_limit_bytes: int, threads: int = 1) -> duckdb.DuckDBPyConnection:
    """Return an engine in memory, in UTC, that spills nothing to disk."""
    return new_engine(
        threads=threads,
        memory_limit=f"{memory_limit_bytes}B",
        temp_directory="",
        preserve_insertion_order=False,
        # not by size, in the middle of a batch: `Checkpoints` tidies memory when it is time
        checkpoint_threshold="1TB",
    )


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the empty hot tables and the views that readers see."""
    connection.register("batch", SCHEMA.empty_table())
    connection.execute(f"CREATE TABLE marks AS SELECT {MARKS} FROM batch")
    for relation in RELATIONS:
        rows, flags = relation.rows, "".join(f", {flag}" for flag in relation.flags)
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
        connection.execute(f"CREATE VIEW {name} AS {narrowed(query)}")
    connection.unregister("batch")


class Fold:
    """Applies tables of signals to the hot tables of *connection*; used by one thread.

    *bin_us* is the width of a bin of `rates`. *settle_us* tells what is late: a key whose
    first signal is older when it arrives is looked up in history by *lookup*, which returns the
    stored rows of the keys in a table of them. *limit_bytes* is the engine's limit of memory.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        *,
        bin_us: int,
        settle_us: int,
        lookup: Callable[[Relation, pa.Table], pa.Table] | None = None,
        limit_bytes: int = 0,
    ) -> None:
        self._db = connection
        self._lookup = lookup
        self._limit = limit_bytes
        self._plans = Plans(connection)
        self._groups = Groups(self._plans, settle_us)
        self._marks = self._plans.change(
            f"INSERT INTO marks SELECT {MARKS} FROM batch WHERE {MARKS_WHERE}"
        )
        self._plans.feed("summed", _RATES)
        self._sum = self._plans.change("INSERT INTO rates SELECT * FROM summed")
        self._folds = [
            RelationFold(connection, self._plans, relation, bin_us) for relation in RELATIONS
        ]

    def settled(self, relation: str, until_us: int) -> None:
        """Be told that rows of *relation* last seen at *until_us* or before have left memory.

        Where memory is short that is later than *settle_us* ago.
        """
        for one in self._folds:
            if one.relation.name == relation:
                one.settled_us = max(one.settled_us, until_us)

    def apply(self, signals: pa.Table, groups: Grouped | None = None) -> None:
        """Fold *signals* (see `model.signals`) into every relation, all or nothing.

        *groups* is what `Groups` made of the same signals, where that has been done.

        Raises ValueError where they have another shape, duckdb.Error where they cannot be folded.
        """
        groups = self._groups.of(signals) if groups is None else groups
        concerned = [one for one in self._folds if one.relation.name in groups]
        for one in concerned:
            one.work_out(groups[one.relation.name], self._lookup)
        with self._plans.fed("batch", signals), self._lifted(), self.whole():
            self._marks()
            for one in concerned:
                one.put()

    def _lifted(self) -> AbstractContextManager[None]:
        """Let what was worked out be put away, whatever the limit: see `collector.store.memory`."""
        return memory.lifted(self._db, self._limit) if self._limit else nullcontext()

    def take(self, table: str, source: str) -> None:
        """Put the rows of *source*, written from the hot *table* before, back into it."""
        by = {one.rows: hashed(one) for one in RELATIONS}
        more = f", {by[table]} AS h" if table in by else ""
        self._db.execute(f"INSERT INTO {table} BY NAME SELECT *{more} FROM {source}")

    def read(self, source: str) -> pa.Table:
        """Return the signals of *source*, in the shape of `model.signals.SCHEMA`."""
        query = f"SELECT * FROM batch UNION ALL BY NAME SELECT * FROM {source}"  # no batch is fed
        told = self._db.sql(query).to_arrow_table()
        keys = pc.dictionary_encode(told["attr_keys"])
        return told.set_column(told.schema.get_field_index("attr_keys"), "attr_keys", keys).cast(
            SCHEMA
        )

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Make what is done inside all or nothing."""
        self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(duckdb.Error):  # a commit that failed has ended it
                self._db.execute("ROLLBACK")
            raise

    def compact_rates(self, now_us: int, keep_us: int) -> None:
        """Sum equal bins into one row, bins older than 2 h by the hour, and forget the oldest."""
        hour = f"bin_us // {HOUR_US} * {HOUR_US}"
        bin_us = f"CASE WHEN bin_us < {now_us - 2 * HOUR_US} THEN {hour} ELSE bin_us END"
        summed = self._db.sql(
            f"SELECT namespace, measure, service, key, {bin_us} AS bin_us, bucket,"
            " CAST(sum(n) AS BIGINT) AS n, sum(total_us) AS total_us"
            f" FROM rates WHERE bin_us >= {now_us - keep_us} GROUP BY ALL"
        ).to_arrow_table()
        self._db.execute("DELETE FROM rates")  # not made anew: plans that know it would be lost
        with self._plans.fed("summed", summed):
            self._sum()


def rows_of(connection: duckdb.DuckDBPyConnection, change: str) -> int:
    """Execute a statement that makes, adds or writes rows; return how many."""
    # to the end: a result that is not fetched to its end bars `register`
    return sum(int(row[0]) for row in connection.execute(change).fetchall())


def _new(relation: Relation) -> str:
    """Return what a row has beside keys and aggregates."""
    flags = "".join(f", FALSE AS {flag}" for flag in relation.flags)
    return f"{flags}, FALSE AS closed, {hashed(relation)} AS h"
