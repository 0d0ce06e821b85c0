"""What a batch alone says of each relation: grouped by its declaration. Nothing known is asked.

So it can be made of one batch while the one before it is still being folded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from model.relations import RELATIONS
from model.signals import SCHEMA

if TYPE_CHECKING:
    from collector.store.plans import Plans
    from model.relation import Relation

Grouped: TypeAlias = dict[str, pa.Table]
"""Relation → its rows as of one batch; relations of which the batch says nothing are left out."""


class Groups:
    """Groups tables of signals by *plans*, which it makes know `batch`; used by one thread.

    Beside the stored columns, a row has `h` (see `hashed`), and tells whether history is to be
    asked for its key: `stranger`, or its first signal is `old`, older than *settle_us*.
    """

    def __init__(self, plans: Plans, settle_us: int) -> None:
        self._plans = plans
        plans.feed("batch", SCHEMA)
        self._each = [(one, plans.plan(_fresh(one, "batch", settle_us))) for one in RELATIONS]

    def of(self, signals: pa.Table) -> Grouped:
        """Return the rows of *signals*, which are of `model.signals.SCHEMA`.

        Raises ValueError where they have another shape, duckdb.Error where they cannot be grouped.
        """
        if not signals.schema.equals(SCHEMA):
            msg = "these are no signals: their columns are others"
            raise ValueError(msg)
        present = frozenset(pc.unique(signals["phase"]).to_pylist())
        found: Grouped = {}
        with self._plans.fed("batch", signals):
            for relation, rows in self._each:
                if not relation.phases or not present.isdisjoint(relation.phases):
                    some = rows()
                    if some.num_rows:
                        found[relation.name] = some
        return found


def hashed(relation: Relation) -> str:
    """Return what tells most keys apart by one comparison of numbers; nothing rests on it alone."""
    return f"hash({relation.key_list})"


def asks_history(relation: Relation) -> bool:
    """Say whether rows that are not at their beginning are looked up in history."""
    return relation.name == "attempts"


def _fresh(relation: Relation, source: str, settle_us: int) -> str:
    asks = "FALSE AS stranger, FALSE AS old"
    if asks_history(relation):
        old = f"first_us < first_seen_us - {settle_us}"
        asks = f"NOT coalesce({relation.opening}, FALSE) OR {old} AS stranger, {old} AS old"
    flags = "".join(f"FALSE AS {flag}, " for flag in relation.flags)
    told = f"SELECT *, {flags}{hashed(relation)} AS h, {asks}"
    return f"{told} FROM ({relation.fresh(source)})"
