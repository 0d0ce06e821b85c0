"""The control plane's tables, the statements on them, and how big they must be on this machine.

Tasks are known outside by a reference that is kept in their JSON payload; `external_ref` is a
column computed from it. A look-up by it without an index reads and parses every row.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

OWN_TENANT: Final = "acme"
"""Whose tasks our agents run; all the others' rows are there already finished."""

FIRST_SCAN_S: Final = 0.03
LAST_SCAN_S: Final = 0.3
"""How long a look-up without index takes at the start, and once the lab's time is over.

So it is while the machine is as busy as when we measured; beside others it was found to take
up to three times as long. It must stay below the callers' limit nearly to the end: their
retries are more load, and growing load would explain the growing times.
"""

_SLICE_ROWS: Final = 5_000
_MEASURED: Final = 15
_ROW_BYTES: Final = 560
_MOST_BYTES: Final = 1_200_000_000

_HISTOGRAM: Final = "[" + ",".join(str(bar % 10) for bar in range(200)) + "]"
"""A column profile, such as data pipelines keep by the thousand: what makes the rows wide."""

_SCHEMA: Final = """
CREATE TABLE tasks (
  id INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL, name TEXT NOT NULL, queue TEXT NOT NULL, state TEXT NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0, agent TEXT,
  due_us INTEGER NOT NULL, started_us INTEGER, finished_us INTEGER,
  payload TEXT NOT NULL,
  external_ref TEXT GENERATED ALWAYS AS (json_extract(payload, '$.external_ref')) VIRTUAL
);
CREATE INDEX tasks_waiting ON tasks (due_us) WHERE state = 'queued';
CREATE TABLE invoices (tenant TEXT PRIMARY KEY, tasks INTEGER NOT NULL, rows_moved INTEGER NOT NULL)
"""

_INDEX: Final = "CREATE INDEX tasks_external_ref ON tasks (external_ref)"

_GROW: Final = """
INSERT INTO tasks (tenant, name, queue, state, attempt, due_us, finished_us, payload)
WITH RECURSIVE serial(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM serial WHERE n < :last)
SELECT 'tenant-' || (n % 40), 'sync_table', 'default', 'success', 1, :now, :now,
  printf('{"external_ref":"x-%012d","rows":%d,"histogram":%s}', n, n % 1000, :histogram)
FROM serial"""

_PLAN: Final = """
INSERT INTO tasks (tenant, name, queue, state, due_us, payload)
VALUES (:tenant, :name, :queue, 'queued', :due_us,
  json_object('external_ref', :ref, 'rows', 0, 'seconds', :seconds))"""

_HAND_OUT: Final = """
UPDATE tasks SET state = 'running', attempt = attempt + 1, agent = :agent, started_us = :now
WHERE id = (
  SELECT id FROM tasks INDEXED BY tasks_waiting
  WHERE state = 'queued' AND due_us <= :due_us ORDER BY due_us LIMIT 1)
RETURNING external_ref, attempt, name, queue, json_extract(payload, '$.seconds')"""

LOOK_UP: Final = "SELECT id FROM tasks WHERE external_ref = :ref"

_RECORD: Final = """
UPDATE tasks SET state = :state, finished_us = :now
WHERE id = :id AND attempt = :attempt AND state = 'running'"""

_BILL: Final = """
INSERT INTO invoices (tenant, tasks, rows_moved)
SELECT tenant, count(*), sum(json_extract(payload, '$.rows')) FROM tasks
WHERE id > :after AND id <= :upto GROUP BY tenant
ON CONFLICT (tenant) DO UPDATE SET
  tasks = tasks + excluded.tasks, rows_moved = rows_moved + excluded.rows_moved"""


class Planned(NamedTuple):
    """A task that is to run from a certain time on."""

    ref: str
    name: str
    queue: str
    due_us: int
    seconds: float


class Order(NamedTuple):
    """A task as it is handed to an agent; *seconds* is how much work there is in it."""

    task: str
    attempt: int
    name: str
    queue: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Size:
    """How many rows `tasks` has at first, and when the lab's time is over.

    *scan_s* is how long a look-up by reference takes at first, in seconds.
    """

    first_rows: int
    last_rows: int
    scan_s: float


def now_us() -> int:
    """Return the time as microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def build(raw: sqlite3.Connection, *, index: bool) -> Size:
    """Create the tables, measure a look-up, and fill in what this machine needs.

    The first rows are there when it returns, with an index on the reference if *index*.
    """
    for statement in _SCHEMA.split(";"):
        raw.execute(statement)
    _in_transaction(raw, 0, _SLICE_ROWS)
    row_s = scan_s(raw) / _SLICE_ROWS
    last = min(int(LAST_SCAN_S / row_s), _MOST_BYTES // _ROW_BYTES)
    first = max(int(last * FIRST_SCAN_S / LAST_SCAN_S), _SLICE_ROWS)
    _in_transaction(raw, _SLICE_ROWS, first - _SLICE_ROWS)
    if index:
        raw.execute(_INDEX)
    return Size(first, max(last, first), scan_s(raw))


def scan_s(raw: sqlite3.Connection) -> float:
    """Return how long one look-up by reference takes now, in seconds."""
    taken = []
    for _ in range(_MEASURED):
        start = time.perf_counter()
        raw.execute(LOOK_UP, {"ref": "nobody's"}).fetchall()
        taken.append(time.perf_counter() - start)
    return min(taken)  # what else the machine does can only add to it


def _in_transaction(raw: sqlite3.Connection, first: int, rows: int) -> None:
    raw.execute("BEGIN")
    grow(raw, first, rows)
    raw.execute("COMMIT")


def grow(raw: sqlite3.Connection, first: int, rows: int) -> None:
    """Insert *rows* finished tasks of other tenants, numbered from *first*."""
    if rows > 0:
        bounds = {"first": first, "last": first + rows - 1}
        raw.execute(_GROW, {**bounds, "now": now_us(), "histogram": _HISTOGRAM})


def plan(raw: sqlite3.Connection, tasks: Sequence[Planned]) -> None:
    """Insert *tasks* as queued."""
    raw.executemany(_PLAN, [{"tenant": OWN_TENANT, **task._asdict()} for task in tasks])


def hand_out(raw: sqlite3.Connection, agent: str, due_us: int) -> Order | None:
    """Set the task that waits longest, of those due by *due_us*, running; None if none waits."""
    given = {"agent": agent, "now": now_us(), "due_us": due_us}
    rows = raw.execute(_HAND_OUT, given).fetchall()
    return Order(*rows[0]) if rows else None


def look_up(raw: sqlite3.Connection, ref: str) -> int | None:
    """Return the row ID of the task that is known outside as *ref*."""
    rows = raw.execute(LOOK_UP, {"ref": ref}).fetchall()
    return int(rows[0][0]) if rows else None


def record(raw: sqlite3.Connection, row: int, attempt: int, state: str) -> bool:
    """Write an attempt's final state; return False if it had one, which then stays."""
    given = {"id": row, "attempt": attempt, "state": state, "now": now_us()}
    return raw.execute(_RECORD, given).rowcount > 0


def bill(raw: sqlite3.Connection, after: int, rows: int) -> bool:
    """Add the next *rows* rows after row ID *after* to the invoices; False at the table's end."""
    last = raw.execute("SELECT max(id) FROM tasks").fetchone()[0] or 0
    if after >= last:
        return False
    raw.execute(_BILL, {"after": after, "upto": after + rows})
    return True
