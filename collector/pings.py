"""Journal records of pings and due times → signals, in the phases that there are.

A ping that begins or ends a run is two signals: what it says of a task (`started`, `finished`), and
that its schedule was honoured (`schedule.fired`). No side speaks here: that a cron job pings shows
neither that agents can be heard nor that a dispatcher can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import pyarrow as pa

from collector.batch import Batch
from model.phases import ERROR_SEVERITY
from model.signals import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collector.pipeline import Record

KINDS: Final = ("ping", "due")
"""Kinds of journal records that are read here."""

_INFO: Final = 9
_SAID: Final = (
    "ts_us", "phase", "kind", "severity", "body", "request_id", "task", "task_name", "reports",
    "outcome", "exit_code", "service", "queue", "paused", "schedule", "due_us", "start_grace_s",
    "run_grace_s",
)  # fmt: skip


def batch(kind: str, group: Sequence[Record], arrived: Any) -> Batch:  # noqa: ANN401 - NumPy
    """Return what the records of *group* say; each body was made by us."""
    read = _pinged if kind == "ping" else _due
    rows: list[dict[str, Any]] = []
    of: list[int] = []
    for number, record in enumerate(group):
        for row in read(orjson.loads(record.body)):
            rows.append(row)
            of.append(number)
    request = np.array(of, np.int64)
    columns = {name: pa.array([row.get(name) for row in rows], COLUMNS[name]) for name in _SAID} | {
        "request": pa.array(request),
        "arrived_us": pa.array(arrived[request]),
        "attr_keys": pa.repeat("", len(rows)),
        "attr_values": pa.repeat("", len(rows)),
    }
    return Batch(len(rows), columns, lambda _key: None)


def _pinged(said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the signals of one ping: `what` is start, end or log."""
    one = {
        "ts_us": said["ts_us"],
        "kind": "ping",
        "severity": _INFO,
        "request_id": said.get("rid"),
        "task_name": said["schedule"],
        "service": said.get("service"),
        "queue": said.get("queue"),
    }
    before = said.get("before")
    if before is not None:  # another of its runs has begun, and nothing more will be heard of it
        yield from _both({**one, "request_id": None}, before, said["schedule"], outcome="unknown")
    if said["what"] == "log":
        yield {**one, "task": said["task"], "body": said.get("message")}
        return
    more = {
        "body": said.get("message"),
        "outcome": said.get("outcome"),
        "exit_code": said.get("exit_code"),
        "due_us": said.get("due_us"),
    }
    if more["outcome"] == "failure":
        more["severity"] = ERROR_SEVERITY
    yield from _both(one, said["task"], said["schedule"], **more)


def _both(
    one: dict[str, Any], task: str, schedule: str, **more: object
) -> Iterator[dict[str, Any]]:
    phase = "finished" if more.get("outcome") else "started"
    yield {
        **one, **more, "phase": phase, "task": task, "reports": False, "due_us": None,
    }  # fmt: skip
    # the text is told once, and here not searched for another request's ID
    fired = {**one, **more, "phase": "schedule.fired", "schedule": schedule, "body": None}
    yield {**fired, "task": task, "severity": _INFO}


def _due(said: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in said:
        yield {**one, "phase": "schedule.expected", "kind": "event", "severity": _INFO}
