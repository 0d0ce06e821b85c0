"""A batch of records on its way to becoming signals: columns of one length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.signals import COLUMNS, SCHEMA
from model.units import DAY_US, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

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

    def get(self, name: str) -> Array:
        """Return a column, nulls where it is not known."""
        found = self.columns.get(name)
        return pa.nulls(self.rows, COLUMNS[name]) if found is None else found

    def count(self, what: str, number: int) -> None:
        """Note that something worth a metric happened *number* times."""
        if number:
            self.counts[what] = self.counts.get(what, 0) + int(number)

    def table(self) -> pa.Table:
        """Return the batch in the shape of `model.signals.SCHEMA`."""
        return pa.table([self.get(name) for name in COLUMNS], schema=SCHEMA)


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
        pattern = (
            r"^\s*[+-]?\d{1,9}(\.0*)?\s*$"
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


def plausible_times(batch: Batch) -> None:
    """Replace event times that cannot be: none at all, before 2000, or a day ahead of us.

    Such a record is kept at its arrival time, and what it said is kept as an attribute:
    a clock that was never set must not decide any order.
    """
    arrived = batch.get("arrived_us").to_numpy(zero_copy_only=False)
    given = batch.get("ts_us")
    stated = pc.fill_null(given, 0).to_numpy(zero_copy_only=False)
    wrong = (stated < EARLIEST_US) | (stated > arrived + DAY_US)
    if not wrong.any():
        return
    batch.count("implausible_times", int((wrong & (stated != 0)).sum()))
    batch.columns["ts_us"] = pa.array(np.where(wrong, arrived, stated))
    end = batch.columns.get("end_us")
    if end is not None:
        length = pc.fill_null(pc.subtract(end, given), 0).to_numpy(zero_copy_only=False)
        length = np.clip(length, 0, DAY_US)
        ends = end.to_numpy(zero_copy_only=False)
        moved = np.where(wrong, arrived + length, np.nan_to_num(ends)).astype(np.int64)
        batch.columns["end_us"] = pa.array(
            moved, mask=pc.is_null(end).to_numpy(zero_copy_only=False)
        )
