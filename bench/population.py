"""Attempts by the hundred thousand, as signals, for the evaluation to look at.

Made in columns, so that making them takes less than folding them. Each attempt has its whole
story: a closed one ten minutes to an hour ago, an open one begun within ten minutes and
heard of a moment ago. A few of the open ones are in each kind of trouble.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.signals import COLUMNS, SCHEMA
from model.units import MINUTE_US, SECOND_US

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FAULTS: Final = 50
"""So many open attempts are in each kind of trouble, where there are that many."""

_SLICE: Final = 20_000
"""Attempts whose signals are folded at once: more than in the store, to be done sooner."""

_NAMES, _AGENTS = 20, 50

_DISPATCHER: Final = {"side": "dispatcher", "service": "control-plane", "host": "host-0"}
_AGENT: Final = {"side": "agent", "service": "worker"}

_ASKS: Final = {"purpose": "report", "kind": "span", "takes_s": 0.06}
_ANSWERS: Final = {"purpose": "report", "kind": "span", "takes_s": 0.04}

_CLOSED: Final = (
    ("enqueued", _DISPATCHER, 0, {}),
    ("dispatched", _DISPATCHER, 1, {}),
    ("accepted", _AGENT, 2, {}),
    ("started", _AGENT, 3, {}),
    ("finished", _AGENT, 60, {"outcome": "success", "exit_code": 0}),
    ("call.ok", _AGENT, 60, _ASKS),
    ("call.committed", _DISPATCHER, 60, _ANSWERS),
    ("recorded", _DISPATCHER, 63, {"state": "success"}),
)
"""Phase, who says it, seconds since the attempt's begin, and what else it says."""

_OPEN: Final = (
    ("enqueued", _DISPATCHER, 0, {}),
    ("dispatched", _DISPATCHER, 1, {}),
    ("accepted", _AGENT, 2, {}),
    ("started", _AGENT, 3, {"timeout_s": 86_400.0}),
    ("heartbeat", _AGENT, None, {"beat_s": 10.0}),
)
"""Likewise; None is a moment ago."""

_TROUBLE: Final = {
    "zombie": _OPEN[:2],
    "silent": (*_OPEN[:4], ("heartbeat", _AGENT, 13, {"beat_s": 10.0})),
    "lost": (*_OPEN[:4], ("finished", _AGENT, 60, {"outcome": "success"})),
    "swallowed": (
        *_OPEN[:4],
        ("finished", _AGENT, 60, {"outcome": "success"}),
        ("call.gave_up", _AGENT, 60, {**_ASKS, "takes_s": 2.0}),
        ("call.committed", _DISPATCHER, 60, {**_ANSWERS, "takes_s": 3.0}),
    ),
}
"""Stories that go wrong, by what is wrong with them."""

SIGNALS: Final = {"open": len(_OPEN), "closed": len(_CLOSED)}
"""Signals of an attempt."""


def closed(first: int, number: int, now_us: int) -> Iterator[pa.Table]:
    """Yield the signals of *number* attempts that are over, numbered from *first*, in batches."""
    ids = np.arange(first, first + number)
    began = now_us - 10 * MINUTE_US - ids * 9_973 % (45 * MINUTE_US)
    yield from _batches(ids, began, _CLOSED, now_us)


def opened(first: int, number: int, now_us: int) -> Iterator[pa.Table]:
    """Yield the signals of *number* attempts that run, numbered from *first*, in batches."""
    ids = np.arange(first, first + number)
    began = now_us - 8 * MINUTE_US + ids * 9_973 % (3 * MINUTE_US)
    for story in _TROUBLE.values():
        bad, ids = ids[:FAULTS], ids[FAULTS:]
        bad_began, began = began[:FAULTS], began[FAULTS:]
        yield from _batches(bad, bad_began, story, now_us)
    yield from _batches(ids, began, _OPEN, now_us)


def _batches(
    ids: NDArray[np.int64],
    began: NDArray[np.int64],
    story: Any,
    now_us: int,  # noqa: ANN401
) -> Iterator[pa.Table]:
    for at in range(0, len(ids), _SLICE):
        part = slice(at, at + _SLICE)
        yield pa.concat_tables(
            _event(ids[part], began[part], phase, {**who, **said}, after_s, now_us)
            for phase, who, after_s, said in story
        )


def _event(
    ids: NDArray[np.int64],
    began: NDArray[np.int64],
    phase: str,
    said: dict[str, Any],
    after_s: int | None,
    now_us: int,
) -> pa.Table:
    """Return one signal of each of *ids*."""
    rows = len(ids)
    ts = began + (after_s or 0) * SECOND_US if after_s is not None else np.full(rows, now_us)
    task = _text("task-", ids)
    columns: dict[str, Any] = {
        "kind": "log", "way": "otlp", "namespace": "bench", "severity": 9, "attempt": 1,
        "queue": "default", "phase": phase, "attr_keys": "", "attr_values": "", **said,
    }  # fmt: skip
    columns |= {
        "seq": ids,
        "ts_us": ts,
        "arrived_us": ts + 20_000,
        "task": task,
        "task_name": _text("sync_", ids % _NAMES),
        "request_id": _text("req-", ids),
    }
    if said["side"] == "agent":
        columns["instance"] = columns["host"] = _text("worker-", ids % _AGENTS)
    takes_s = columns.pop("takes_s", None)
    if takes_s is not None:
        columns["end_us"] = ts + round(takes_s * SECOND_US) + ids % 20_000
        columns["arrived_us"] = columns["end_us"] + 20_000
        columns["trace_id"] = _text("trace-", ids)
        columns["span_id"] = "caller" if said["side"] == "agent" else "callee"
        columns["parent_id"] = "caller" if said["side"] == "dispatcher" else None
    arrays = [_column(columns.get(name), kind, rows) for name, kind in COLUMNS.items()]
    return pa.table(arrays, schema=SCHEMA)


def _text(prefix: str, numbers: NDArray[np.int64]) -> Any:  # noqa: ANN401 - an Arrow array
    return pc.binary_join_element_wise(prefix, pc.cast(pa.array(numbers), pa.string()), "")


def _column(value: Any, kind: Any, rows: int) -> Any:  # noqa: ANN401 - Arrow arrays and types
    if isinstance(value, np.ndarray):
        return pc.cast(pa.array(value), kind)
    return value if isinstance(value, pa.Array) else pa.repeat(pa.scalar(value, kind), rows)
