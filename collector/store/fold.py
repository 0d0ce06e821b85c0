"""The fold: what is hot, kept up to date in memory as signals arrive.

For each relation there is a table of its hot rows. A batch of signals is grouped by the
relation's declaration; rows of the same keys are taken out and folded with it; the result is
put back. Nothing else is touched: the cost depends on the batch, and to find its keys costs
one look at a column of numbers. In between, rows are Arrow tables: see `plans.py` for why.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from collector.store.plans import Plans
from model.relations import MARKS, MARKS_WHERE, RELATIONS
from model.signals import SCHEMA
from model.units import HOUR_US
from model.views import BUCKETS, VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector.batch import Array
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
    first signal is older when it arrives is looked up in history by *lookup*, which returns the
    stored rows of the keys in a table of them.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        *,
        bin_us: int,
        settle_us: int,
        lookup: Callable[[Relation, pa.Table], pa.Table] | None = None,
    ) -> None:
        self._db = connection
        self._lookup = lookup
        self._plans = Plans(connection)
        self._plans.feed("batch", SCHEMA)
        self._marks = self._plans.change(
            f"INSERT INTO marks SELECT {MARKS} FROM batch WHERE {MARKS_WHERE}"
        )
        self._plans.feed("summed", _RATES)
        self._sum = self._plans.change("INSERT INTO rates SELECT * FROM summed")
        self._folds = [
            _RelationFold(connection, self._plans, relation, bin_us, settle_us)
            for relation in RELATIONS
        ]

    def apply(self, signals: pa.Table) -> None:
        """Fold *signals* (see `model.signals`) into every relation, all or nothing.

        Raises ValueError where they have another shape, duckdb.Error where they cannot be folded.
        """
        if not signals.schema.equals(SCHEMA):
            msg = "these are no signals: their columns are others"
            raise ValueError(msg)
        present = frozenset(pc.unique(signals["phase"]).to_pylist())
        with self._plans.fed("batch", signals), self.whole():
            self._marks()
            for one in self._folds:
                if not one.relation.phases or not present.isdisjoint(one.relation.phases):
                    one.fold(self._lookup)

    def take(self, table: str, source: str) -> None:
        """Put the rows of *source*, written from the hot *table* before, back into it."""
        hashed = {rows_table(one): _hash(one) for one in RELATIONS}
        more = f", {hashed[table]} AS h" if table in hashed else ""
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


class _RelationFold:
    """The fold of one relation.

    A batch is grouped by the declaration; rows of the same keys are taken out and grouped with it
    again; the result is put away. Rows of unknown keys, mostly the most, are moved once only.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        plans: Plans,
        relation: Relation,
        bin_us: int,
        settle_us: int,
    ) -> None:
        self.relation = relation
        self._db = connection
        self._plans = plans
        rows, name = rows_table(relation), relation.name
        stored = (*relation.stored, *relation.flags, "h")
        self._stored = ", ".join(stored)
        self._rows = rows
        shape = connection.sql(f"SELECT {self._stored} FROM {rows} LIMIT 0").to_arrow_table()
        self._shape = shape.schema
        self._columns = list(range(len(stored)))
        # what is new, and whether history is to be asked for its key
        asks = "FALSE AS stranger, FALSE AS old"
        if name == "attempts":
            old = f"first_us < first_seen_us - {settle_us}"
            asks = f"NOT coalesce({relation.opening}, FALSE) OR {old} AS stranger, {old} AS old"
        flags = "".join(f"FALSE AS {flag}, " for flag in relation.flags)
        self._fresh = plans.plan(
            f"SELECT *, {flags}{_hash(relation)} AS h, {asks} FROM ({relation.fresh('batch')})"
        )
        known, now, keys, gone = (f"{name}_{word}" for word in ("known", "now", "keys", "gone"))
        self._known, self._now, self._keys, self._gone = known, now, keys, gone
        plans.feed(known, self._shape)
        plans.feed(now, self._shape)
        plans.feed(keys, pa.schema([("h", pa.uint64())]))
        plans.feed(gone, pa.schema([("was", pa.int64())]))
        merged = "".join(f", bool_or({flag}) AS {flag}" for flag in relation.flags)
        self._merge = plans.plan(relation.merge(known, f"{merged}, min(h) AS h"))
        self._delete = plans.change(f"DELETE FROM {rows} WHERE rowid IN (SELECT was FROM {gone})")
        done = [
            f"{m.name}__done OR ({m.value}) IS NOT NULL AS {m.name}__done"
            for m in relation.measures
        ]
        replaced = f" REPLACE ({', '.join(done)})" if done else ""
        self._insert = plans.change(
            f"INSERT INTO {rows} BY NAME"
            f" SELECT *{replaced}, ({relation.closed}) AS closed FROM {now}"
        )
        self._measure = None
        if relation.measures:
            self._measure = plans.change(
                f"INSERT INTO rates SELECT namespace, measure, service, key,"
                f" at_us // {bin_us} * {bin_us} AS bin_us,"
                f" CAST(floor(log2(greatest(v, 1)) * {BUCKETS}) AS INTEGER) AS bucket,"
                f" count(*), sum(v) FROM ({relation.samples(now)}) WHERE v >= 0 GROUP BY ALL"
            )

    def fold(self, lookup: Callable[[Relation, pa.Table], pa.Table] | None) -> None:
        """Fold the batch that is fed."""
        fresh = self._fresh()
        if not fresh.num_rows:
            return
        with self._plans.fed(self._keys, fresh.select(["h"])):
            back = self._plans.read(
                f"SELECT {self._stored}, rowid AS was FROM {self._rows}"
                f" WHERE h IN (SELECT h FROM {self._keys})"
            )
        known = pc.is_in(fresh["h"], back["h"])
        late, history = self._history(fresh, known, lookup)
        now = fresh.select(self._columns)
        if late is not None:
            now = now.set_column(now.schema.get_field_index("late"), "late", late)
        if back.num_rows or history.num_rows:
            if history.num_rows:
                known = pc.or_(known, pc.is_in(fresh["h"], history["h"]))
            both = pa.concat_tables([now.filter(known), back.select(self._columns), history])
            with self._plans.fed(self._known, both):
                now = pa.concat_tables([now.filter(pc.invert(known)), self._merge()])
        if back.num_rows:
            with self._plans.fed(self._gone, back.select(["was"])):
                self._delete()
        with self._plans.fed(self._now, now):
            if self._measure:
                self._measure()
            self._insert()

    def _history(
        self,
        fresh: pa.Table,
        known: Array,
        lookup: Callable[[Relation, pa.Table], pa.Table] | None,
    ) -> tuple[Array, pa.Table]:
        """Return which rows are late, and what history holds of keys that are not at their start.

        Keys that are older than the settle time and unknown to history too are marked late:
        we have not seen all of them, so nothing may be concluded from what is absent.
        """
        found = self._shape.empty_table()
        asked = pc.and_(fresh["stranger"], pc.invert(known))
        if not pc.any(asked).as_py():
            return None, found
        if lookup:
            held = lookup(self.relation, fresh.filter(asked).select(list(self.relation.keys)))
            if held.num_rows:
                found = self._shaped(held)
        late = pc.and_(pc.and_(asked, fresh["old"]), pc.invert(pc.is_in(fresh["h"], found["h"])))
        return late, found

    def _shaped(self, held: pa.Table) -> pa.Table:
        """Return rows of history in the shape of hot ones; older versions had fewer columns."""
        names = [one.name for one in self._shape]
        told = ", ".join(
            name if name in held.column_names else f"NULL AS {name}" for name in names[:-1]
        )
        with self._db.cursor() as cursor:  # its own: a name that is registered costs all plans
            cursor.register("held", held)
            rows = cursor.sql(f"SELECT {told}, {_hash(self.relation)} AS h FROM held")
            return rows.to_arrow_table().cast(self._shape)


def rows_of(connection: duckdb.DuckDBPyConnection, change: str) -> int:
    """Execute a statement that makes, adds or writes rows; return how many."""
    # to the end: a result that is not fetched to its end bars `register`
    return sum(int(row[0]) for row in connection.execute(change).fetchall())


def _hash(relation: Relation) -> str:
    """Return what tells most keys apart by one comparison of numbers; nothing rests on it alone."""
    return f"hash({relation.key_list})"


def _new(relation: Relation) -> str:
    """Return what a row has beside keys and aggregates."""
    flags = "".join(f", FALSE AS {flag}" for flag in relation.flags)
    return f"{flags}, FALSE AS closed, {_hash(relation)} AS h"


def rows_table(relation: Relation) -> str:
    """Return the name of the table of a relation's hot rows."""
    return f"{relation.name}_rows"
