"""Attempts by the hundred thousand, as signals, for the evaluation to look at.

Made in columns, so that making them takes less than folding them. Each attempt has its whole
story: a closed one began 55 to 10 minutes ago, an open one 8 to 5 minutes ago, and it was heard of
a moment ago. A few of the open ones are in each kind of trouble.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.signals import COLUMNS, SCHEMA
from model.units import MINUTE_US, SECOND_US

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

FAULTS: Final = 50
"""So many open attempts are in each kind of trouble, where there are that many."""

_SLICE: Final = 40_000
"""Attempts whose signals are folded at once: more than in the store, to be done sooner."""

_NAMES, _AGENTS = 20, 50

_DISPATCHER: Final = {"side": "dispatcher", "service": "control-plane", "host": "host-0"}
_AGENT: Final = {"side": "agent", "service": "worker"}

_ASKS: Final = {"purpose": "report", "kind": "span", "takes_s": 0.06}
_ANSWERS: Final = {"purpose": "report", "kind": "span", "takes_s": 0.04}


class _Step(NamedTuple):
    """One signal of a story."""

    phase: str
    who: Mapping[str, Any]
    after_s: int | None  # since the attempt's begin; None is a moment ago
    more: Mapping[str, Any] = {}


_CLOSED: Final = (
    _Step("enqueued", _DISPATCHER, 0),
    _Step("dispatched", _DISPATCHER, 1),
    _Step("accepted", _AGENT, 2),
    _Step("started", _AGENT, 3),
    _Step("finished", _AGENT, 60, {"outcome": "success", "exit_code": 0}),
    _Step("call.ok", _AGENT, 60, _ASKS),
    _Step("call.committed", _DISPATCHER, 60, _ANSWERS),
    _Step("recorded", _DISPATCHER, 63, {"state": "success"}),
)
_OPEN: Final = (
    _Step("enqueued", _DISPATCHER, 0),
    _Step("dispatched", _DISPATCHER, 1),
    _Step("accepted", _AGENT, 2),
    _Step("started", _AGENT, 3, {"timeout_s": 86_400.0}),
    _Step("heartbeat", _AGENT, None, {"beat_s": 10.0}),
)
_TROUBLE: Final = {
    "zombie": _OPEN[:2],
    "silent": (*_OPEN[:4], _Step("heartbeat", _AGENT, 13, {"beat_s": 10.0})),
    "lost": (*_OPEN[:4], _Step("finished", _AGENT, 60, {"outcome": "success"})),
    "swallowed": (
        *_OPEN[:4],
        _Step("finished", _AGENT, 60, {"outcome": "success"}),
        _Step("call.gave_up", _AGENT, 60, {**_ASKS, "takes_s": 2.0}),
        _Step("call.committed", _DISPATCHER, 60, {**_ANSWERS, "takes_s": 3.0}),
    ),
}
"""Stories that go wrong, by what is wrong with them."""


def closed(first: int, number: int, now_us: int) -> Iterator[pa.Table]:
    """Yield the signals of *number* attempts that are over, numbered from *first*, in batches."""
    ids = np.arange(first, first + number)
    yield from _batches(ids, _spread(number, now_us, 55, 10), _CLOSED, now_us)


def opened(first: int, number: int, now_us: int) -> Iterator[pa.Table]:
    """Yield the signals of *number* attempts that run, numbered from *first*, in batches."""
    ids, began = np.arange(first, first + number), _spread(number, now_us, 8, 5)
    for story in _TROUBLE.values():
        yield from _batches(ids[:FAULTS], began[:FAULTS], story, now_us)
        ids, began = ids[FAULTS:], began[FAULTS:]
    yield from _batches(ids, began, _OPEN, now_us)


def _spread(number: int, now_us: int, from_min: int, to_min: int) -> NDArray[np.int64]:
    """Return *number* times, from so many minutes ago to so many."""
    times = np.linspace(now_us - from_min * MINUTE_US, now_us - to_min * MINUTE_US, number)
    return times.astype(np.int64)


def _batches(
    ids: NDArray[np.int64], began: NDArray[np.int64], story: Sequence[_Step], now_us: int
) -> Iterator[pa.Table]:
    for at in range(0, len(ids), _SLICE):
        part = slice(at, at + _SLICE)
        yield pa.concat_tables(_signals(ids[part], began[part], step, now_us) for step in story)


def _signals(
    ids: NDArray[np.int64], began: NDArray[np.int64], step: _Step, now_us: int
) -> pa.Table:
    """Return the signal that *step* is, for each of *ids*."""
    rows = len(ids)
    said = {**step.who, **step.more}
    ts = np.full(rows, now_us) if step.after_s is None else began + step.after_s * SECOND_US
    columns: dict[str, Any] = {
        "kind": "log", "way": "otlp", "namespace": "bench", "severity": 9, "attempt": 1,
        "queue": "default", "phase": step.phase, "attr_keys": "", "attr_values": "", **said,
    }  # fmt: skip
    columns |= {
        "seq": ids,
        "ts_us": ts,
        "arrived_us": ts + 20_000,
        "task": _text("task-", ids),
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
