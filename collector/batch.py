"""A batch of records on its way to becoming signals: columns of one length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.signals import COLUMNS, SCHEMA, SEPARATOR
from model.units import DAY_US, iso, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

EARLIEST_US: Final = 946_684_800_000_000
"""Event times before 2000 are a clock that was never set."""

Array = Any  # pyarrow's arrays are untyped without its stubs


@dataclass(slots=True)
class Batch:
    """Columns (see `model.signals`) that are known so far, and a way to any attribute by name.

    `attribute(key)` returns a string array of the batch's length, or None where no record
    of the batch bears that key.
    """

    rows: int
    columns: dict[str, Array]
    attribute: Callable[[str], Array | None]
    counts: dict[str, int] = field(default_factory=dict)
    _nulls: dict[Array, Array] = field(default_factory=dict)

    def get(self, name: str) -> Array:
        """Return a column, nulls where it is not known."""
        found = self.columns.get(name)
        return self._none(COLUMNS[name]) if found is None else found

    def _none(self, kind: Array) -> Array:
        """Return nulls of the type *kind*: one array for all columns, for most are not known."""
        found = self._nulls.get(kind)
        if found is None or len(found) != self.rows:
            found = self._nulls[kind] = pa.nulls(self.rows, kind)
        return found

    def count(self, what: str, number: int) -> None:
        """Note that something worth a metric happened *number* times."""
        if number:
            self.counts[what] = self.counts.get(what, 0) + int(number)

    def table(self) -> pa.Table:
        """Return the batch in the shape of `model.signals.SCHEMA`."""
        columns = {name: self.get(name) for name in COLUMNS}
        if columns["attr_keys"].type == pa.string():
            columns["attr_keys"] = pc.dictionary_encode(columns["attr_keys"])
        return pa.table(list(columns.values()), schema=SCHEMA)


def together(first: Batch, second: Batch) -> Batch:
    """Return the rows of both, in the order of their requests; counts are added up."""
    for name, number in second.counts.items():
        first.count(name, number)
    if not second.rows:
        return first
    names = first.columns.keys() | second.columns.keys()
    columns = {
        name: pa.chunked_array([_column(first, name), _column(second, name)]).combine_chunks()
        for name in names
    }
    order = pa.array(np.argsort(columns["request"].to_numpy(), kind="stable"))

    def attribute(key: str) -> Array | None:
        both = [one.attribute(key) if one.rows else None for one in (first, second)]
        if both[0] is None and both[1] is None:
            return None
        parts = [
            pa.nulls(one.rows, pa.string()) if text is None else text
            for one, text in zip((first, second), both, strict=True)
        ]
        return pa.chunked_array(parts, pa.string()).combine_chunks().take(order)

    return Batch(
        first.rows + second.rows,
        {name: column.take(order) for name, column in columns.items()},
        attribute,
        first.counts,
    )


def _column(batch: Batch, name: str) -> Array:
    found = batch.columns["request"] if name == "request" else batch.get(name)
    return found.dictionary_decode() if pa.types.is_dictionary(found.type) else found


def constant(value: object, rows: int, name: str) -> Array:
    """Return *value* repeated, in the type of the column *name*."""
    return pa.repeat(pa.scalar(value, COLUMNS[name]), rows)


def typed(text: Array, name: str) -> tuple[Array, int]:
    """Return *text* in the type of the column *name*, and how many values did not fit it.

    What does not fit becomes null: the record stays.
    """
    kind = COLUMNS[name]
    if kind == pa.string():
        return text, 0
    present = pc.drop_null(text)
    if name.endswith("_us"):
        values = pa.array([parse_time(value.as_py()) for value in present], pa.int64())
    elif kind == pa.bool_():
        low = pc.utf8_lower(present)
        yes = pc.is_in(low, pa.array(["true", "1", "yes"]))
        known = pc.or_(yes, pc.is_in(low, pa.array(["false", "0", "no"])))
        values = pc.if_else(known, yes, pa.scalar(None, pa.bool_()))
    else:
        digits = 15 if kind == pa.int64() else 9
        pattern = (
            rf"^\s*[+-]?\d{{1,{digits}}}(\.0*)?\s*$"
            if pa.types.is_integer(kind)
            else (r"^\s*[+-]?(\d{1,17}\.?\d{0,17}|\.\d{1,17})([eE][+-]?\d{1,2})?\s*$")
        )
        fits = pc.match_substring_regex(present, pattern)
        clean = pc.utf8_trim_whitespace(pc.if_else(fits, present, pa.scalar(None, pa.string())))
        clean = pc.replace_substring(clean, "+", "")
        values = pc.cast(pc.cast(clean, pa.float64()), kind)
    bad = values.null_count
    if len(present) == len(text):
        return values, bad
    where = np.cumsum(pc.is_valid(text).to_numpy(zero_copy_only=False)) - 1
    spots = pa.array(where, mask=pc.is_null(text).to_numpy(zero_copy_only=False))
    return values.take(spots), bad


_STATED: Final = "zombiewatch.stated_time"


def _remember(batch: Batch, rows: NDArray[np.int64], stated: NDArray[np.int64]) -> None:
    """Keep what *rows* said of their time among their attributes, for whoever mends the clock."""
    if not len(rows):
        return
    told: list[str | None] = [None] * batch.rows
    for row in rows.tolist():
        told[row] = iso(int(stated[row]))
    for name, more in (
        ("attr_keys", pa.array([None if one is None else _STATED for one in told], pa.string())),
        ("attr_values", pa.array(told, pa.string())),
    ):
        known = batch.get(name)
        if pa.types.is_dictionary(known.type):
            known = known.dictionary_decode()
        both = pc.coalesce(pc.binary_join_element_wise(known, more, SEPARATOR), more)
        batch.columns[name] = pc.if_else(more.is_null(), known, both)


def plausible_times(batch: Batch) -> None:
    """Replace event times that cannot be: none at all, before 2000, or a day ahead of us.

    Such a record is kept at its arrival time, and what it said is kept as an attribute: a clock
    that was never set must not decide any order. A span of which only one end can be has that
    one for both; one of which neither can be is moved whole.
    """
    arrived = batch.get("arrived_us").to_numpy(zero_copy_only=False)
    start, begun = _times(batch, "ts_us")
    sound = (start >= EARLIEST_US) & (start <= arrived + DAY_US)
    odd = begun & ~sound
    instead = arrived
    if "end_us" in batch.columns:
        end, ended = _times(batch, "end_us")
        fits = ended & (end >= EARLIEST_US) & (end <= arrived + DAY_US) & (~sound | (end >= start))
        odd |= ended & ~fits & (end != 0)
        instead = np.where(fits, end, arrived)
        length = end - start
        whole = ~sound & ~fits & begun & ended & (length >= 0) & (length <= DAY_US)
        end = np.where(whole, arrived + length, end)
        batch.columns["end_us"] = pa.array(end, mask=~(fits | whole))
    if sound.all() and not odd.any():
        return
    batch.columns["ts_us"] = pa.array(np.where(sound, start, instead))
    batch.count("implausible_times", int(odd.sum()))
    if batch.columns["way"][0].as_py() != "file":  # a line shows among its keys what it said
        _remember(batch, np.nonzero(odd & begun & ~sound)[0], start)


def _times(batch: Batch, name: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return a column of times, 0 where there is none, and where there is one."""
    column = batch.get(name)
    there = column.is_valid().to_numpy(zero_copy_only=False)
    return pc.fill_null(column, 0).to_numpy(zero_copy_only=False), there
