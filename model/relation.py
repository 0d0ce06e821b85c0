"""What a relation is: a declared SELECT … GROUP BY over signals, from which all else is derived.

An aggregate is min, max or *last* (the value at the greatest (event time, value)). All
three can be taken again over their own results, in any order, with any repetition, and
give the same row: so a fold over what is open and what is new equals the SELECT over all
signals from scratch, and two partial rows of one key can lie in history side by side.

*last* is kept in one column as a string: the time in fixed width, then the value, so that
`max` is the value at the greatest time in every engine, and ties go to the greater value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

END: Final = "coalesce(end_us, ts_us)"
"""When a signal was over, by its sender's clock."""

_EPOCH_SHIFT: Final = 10_000_000_000_000_000
"""Added to a time before it is written in a *last*: every time has 17 digits then."""

_DIGITS: Final = 17


@dataclass(frozen=True, slots=True)
class Column:
    """One aggregate of a relation: *value* of the signals for which *when* holds."""

    name: str
    how: Literal["min", "max", "last"]
    value: str
    when: str = ""
    type: str = "BIGINT"
    doc: str = ""

    @property
    def stored(self) -> str:
        """Name of the column in the stored table (packed, for a *last*)."""
        return f"{self.name}__at" if self.how == "last" else self.name

    def fresh(self) -> str:
        """Return the aggregate over signals, as SQL."""
        value, when = self.value, self.when
        if self.how == "last":
            value = f"at_text || CAST({self.value} AS VARCHAR)"
        inner = f"CASE WHEN {when} THEN {value} END" if when else value
        return f"{'max' if self.how == 'last' else self.how}({inner}) AS {self.stored}"

    def merge(self) -> str:
        """Return the same aggregate over rows that are aggregates already."""
        return f"{'max' if self.how == 'last' else self.how}({self.stored}) AS {self.stored}"

    def plain(self) -> str:
        """Return the column's value, from the stored one."""
        if self.how != "last":
            return self.name
        text = f"substr({self.stored}, {_DIGITS + 1})"
        return text if self.type == "VARCHAR" else f"TRY_CAST({text} AS {self.type})"

    def said(self) -> str:
        """Return when the value of a *last* was said, by its sender's clock."""
        return f"TRY_CAST(substr({self.stored}, 1, {_DIGITS}) AS BIGINT) - {_EPOCH_SHIFT}"

    def shown(self) -> str:
        """Return the column as readers of the relation see it."""
        return self.name if self.how != "last" else f"{self.plain()} AS {self.name}"


@dataclass(frozen=True, slots=True)
class Measure:
    """A length of time that a row of a relation shows once, and that `rates` then counts.

    *value* (microseconds) and *at*, the event time at which it is counted, are expressions over
    the times of a row; *service* and *key* are columns. A sample is taken when it is first known.
    """

    name: str
    value: str
    at: str
    service: str
    key: str
    doc: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation's declaration.

    It is made of signals of the *phases* (of any, where there are none) for which *where* holds.
    *closed* tells rows that only a late or contradicting signal can still change;
    *opening* tells rows whose beginning we have seen. Rows that never close stay hot as long
    as they are *open_for*: until a person would give them up, or for the settle time only.
    Every relation has `last_seen_us`, by which rows settle.
    """

    name: str
    doc: str
    keys: dict[str, str]
    columns: tuple[Column, ...]
    closed: str
    where: str = "TRUE"
    phases: tuple[str, ...] = ()
    opening: str = "TRUE"
    open_for: Literal["abandon", "settle"] = "abandon"
    measures: tuple[Measure, ...] = ()
    derived: tuple[tuple[str, str], ...] = ()

    @property
    def rows(self) -> str:
        """Name of the table that a store keeps its hot rows in, as they are stored."""
        return f"{self.name}_rows"

    @property
    def key_list(self) -> str:
        """The key columns, comma-separated."""
        return ", ".join(self.keys)

    def fresh(self, source: str) -> str:
        """Return the declared SELECT over *source* (a table of signals)."""
        keys = ", ".join(f"{value} AS {name}" for name, value in self.keys.items())
        columns = ",\n  ".join(column.fresh() for column in self.columns)
        by = ", ".join(str(i + 1) for i in range(len(self.keys)))
        # once a row, not once for each *last*
        timed = f"SELECT *, CAST({END} + {_EPOCH_SHIFT} AS VARCHAR) AS at_text FROM {source}"
        listed = ", ".join(f"'{phase}'" for phase in self.phases)
        where = f"phase IN ({listed}) AND {self.where}" if listed else self.where
        return f"SELECT {keys},\n  {columns}\nFROM ({timed}) AS s WHERE {where} GROUP BY {by}"

    def merge(self, source: str, extra: str = "") -> str:
        """Return the fold over *source* (rows of this relation, partial or whole)."""
        columns = ", ".join(column.merge() for column in self.columns)
        return f"SELECT {self.key_list}, {columns}{extra} FROM {source} GROUP BY {self.key_list}"

    def samples(self, source: str) -> str:
        """Return what *source* (stored rows) shows of the measures for the first time.

        A row each: namespace, measure, service, key, at_us, v (microseconds).
        """
        plain = {column.name: column.plain() for column in self.columns}
        return " UNION ALL ".join(
            f"SELECT namespace, '{one.name}' AS measure,"
            f" coalesce({plain[one.service]}, '') AS service,"
            f" coalesce({plain[one.key]}, '') AS key,"
            f" {one.at} AS at_us, {one.value} AS v FROM {source} WHERE NOT {one.name}__done"
            for one in self.measures
        )

    @property
    def flags(self) -> tuple[str, ...]:
        """Columns that the store keeps beside the aggregates: facts about the row itself."""
        return ("late", *(f"{measure.name}__done" for measure in self.measures))

    def shown(self, source: str, extra: str = "") -> str:
        """Return the SELECT that readers see, over stored rows; *extra* columns as they are."""
        columns = ", ".join(column.shown() for column in self.columns)
        derived = "".join(f", {value} AS {name}" for name, value in self.derived)
        return f"SELECT {self.key_list}, {columns}{extra}{derived} FROM {source}"

    @property
    def stored(self) -> tuple[str, ...]:
        """Every stored column, keys first."""
        return (*self.keys, *(column.stored for column in self.columns))
