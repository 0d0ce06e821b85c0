"""The fold of one relation: what is new and what is known of the same keys, grouped again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from collector.store.groups import asks_history, hashed
from model.views import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from collector.batch import Array
    from collector.store.plans import Plans
    from model.relation import Relation


class RelationFold:
    """The fold of one relation.

    To the rows of a batch those of the same keys are taken out, and grouped with them again; the
    result is put away. Rows of unknown keys, mostly the most, are moved once only.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        plans: Plans,
        relation: Relation,
        bin_us: int,
    ) -> None:
        self.relation = relation
        self._db = connection
        self._plans = plans
        rows, name = relation.rows, relation.name
        stored = (*relation.stored, *relation.flags, "h")
        self._stored = ", ".join(stored)
        self._rows = rows
        shape = connection.sql(f"SELECT {self._stored} FROM {rows} LIMIT 0").to_arrow_table()
        self._shape = shape.schema
        self._columns = list(range(len(stored)))
        self._asks = asks_history(relation)
        self.settled_us = 0
        """Up to when rows were last seen that have left memory: history is asked for older keys."""
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
        self._put: tuple[pa.Table, pa.Table] | None = None
        self._measure = None
        if relation.measures:
            self._measure = plans.change(
                f"INSERT INTO rates SELECT namespace, measure, service, key,"
                f" at_us // {bin_us} * {bin_us} AS bin_us,"
                f" CAST(floor(log2(greatest(v, 1)) * {BUCKETS}) AS INTEGER) AS bucket,"
                f" count(*), sum(v) FROM ({relation.samples(now)}) WHERE v >= 0 GROUP BY ALL"
            )

    def work_out(
        self, fresh: pa.Table, lookup: Callable[[Relation, pa.Table], pa.Table] | None
    ) -> None:
        """Fold the rows of a batch (see `Groups`); nothing is changed until `put`."""
        self._put = None
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
        self._put = now, back.select(["was"])

    def put(self) -> None:
        """Put what was worked out into the hot table, in place of what was there."""
        if self._put is None:
            return
        (now, gone), self._put = self._put, None
        if gone.num_rows:
            with self._plans.fed(self._gone, gone):
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
        asked = fresh["stranger"]
        if self._asks:
            older = pc.less_equal(fresh["first_us"], self.settled_us)
            asked = pc.or_(asked, pc.fill_null(older, False))
        asked = pc.and_(asked, pc.invert(known))
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
            rows = cursor.sql(f"SELECT {told}, {hashed(self.relation)} AS h FROM held")
            return rows.to_arrow_table().cast(self._shape)


def settled(relation: Relation, closed_us: int, open_us: int) -> str:
    """Return the condition by which rows of `Relation.rows` are past contradiction.

    What is closed is, when last seen by *closed_us*; what is open, by *open_us*, or like what is
    closed where the relation keeps it no longer. Both are microseconds since 1970.
    """
    if relation.open_for == "settle":
        return f"last_seen_us <= {closed_us}"
    return f"last_seen_us <= CASE WHEN closed THEN {closed_us} ELSE {open_us} END"
