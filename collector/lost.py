"""Journal records of what was lost → signals: a gap in what a process numbered, or its filling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import pyarrow as pa

from collector.batch import Batch
from model.signals import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.pipeline import Record

KIND: Final = "lost"
"""Kind of journal record that is read here; `collector.sequences` writes it."""

WAY: Final = "sequence"
"""The way in of what is said here: by us, of a source."""

WHO: Final = ("namespace", "service", "instance", "boot", "side")
"""Columns that say whose records are lost."""

_SAID: Final = (*WHO, "error", "ts_us", "end_us", "from_us", "to_us", "lost")
_INFO: Final = 9


def batch(group: Sequence[Record], arrived: Any) -> Batch:  # noqa: ANN401 - NumPy
    """Return what records of `KIND` say, each body was made by us."""
    read = [orjson.loads(record.body) for record in group]
    rows = [row for one in read for row in one]
    request = np.repeat(np.arange(len(group)), [len(one) for one in read])
    columns = {name: pa.array([row[name] for row in rows], COLUMNS[name]) for name in _SAID} | {
        "request": pa.array(request),
        "arrived_us": pa.array(arrived[request]),
        "kind": pa.repeat("event", len(rows)),
        "phase": pa.repeat("export.failed", len(rows)),
        "name": pa.repeat("sequence", len(rows)),
        "severity": pa.repeat(pa.scalar(_INFO, pa.int16()), len(rows)),
        "attr_keys": pa.repeat("", len(rows)),
        "attr_values": pa.repeat("", len(rows)),
    }
    return Batch(len(rows), columns, lambda _key: None)
