"""Where findings outlive the process: one small SQLite file."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import orjson

from model.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from model.findings import Verdict

_COLUMNS: Final = tuple(field.name for field in fields(Finding))

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS finding (
  id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, detector TEXT NOT NULL,
  verdict TEXT NOT NULL, severity TEXT NOT NULL, service TEXT, suspected_us INTEGER NOT NULL,
  confirmed_us INTEGER, ended_us INTEGER, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS finding_open ON finding (ended_us, id);
CREATE INDEX IF NOT EXISTS finding_key ON finding (key);
CREATE INDEX IF NOT EXISTS finding_verdict ON finding (verdict);
CREATE INDEX IF NOT EXISTS finding_task ON finding (json_extract(body, '$.task'));
CREATE INDEX IF NOT EXISTS finding_request ON finding (json_extract(body, '$.request_id'));
"""


class FindingsFile:
    """All findings, open and ended. Its calls may come from any thread."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_TABLES)

    def open_findings(self) -> list[Finding]:
        """Return the findings that have not ended."""
        return self._read("WHERE ended_us IS NULL ORDER BY id")

    def ended(self, detector: str, since_us: int) -> list[Finding]:
        """Return the findings of *detector* that were true, and ended at *since_us* or later."""
        where = "WHERE detector = ? AND verdict = 'resolved' AND ended_us >= ? ORDER BY id"
        return self._read(where, (detector, since_us))

    def save(self, changed: Iterable[Finding]) -> None:
        """Store *changed*, giving new ones their ID. Dropped suspicions are forgotten."""
        changed = list(changed)
        new = [one for one in changed if not one.id]
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for one in changed:
                    self._save(one)
                self._db.execute("COMMIT")
            except BaseException:
                for one in new:
                    one.id = 0  # the row that it had been given is gone again
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _save(self, one: Finding) -> None:
        if one.verdict == "dropped":
            self._db.execute("DELETE FROM finding WHERE id = ?", (one.id,))
            return
        said = {name: getattr(one, name) for name in _COLUMNS if name != "id"}
        body = orjson.dumps(said, default=str).decode()
        row = (one.key, one.detector, one.verdict, one.severity, one.service, one.suspected_us,
               one.confirmed_us, one.ended_us, body)  # fmt: skip
        if one.id:
            self._db.execute(
                "UPDATE finding SET key=?, detector=?, verdict=?, severity=?, service=?,"
                " suspected_us=?, confirmed_us=?, ended_us=?, body=? WHERE id=?",
                (*row, one.id),
            )
            return
        done = self._db.execute(
            "INSERT INTO finding (key, detector, verdict, severity, service, suspected_us,"
            " confirmed_us, ended_us, body) VALUES (?,?,?,?,?,?,?,?,?)",
            row,
        )
        one.id = done.lastrowid or 0

    def select(
        self,
        *,
        state: str = "open",
        detector: str | None = None,
        service: str | None = None,
        severity: str | None = None,
        verdict: str | None = None,
        limit: int = 500,
    ) -> list[Finding]:
        """Return findings, newest last: *state* is `open`, `closed` or `all`."""
        terms = {"open": ["ended_us IS NULL"], "closed": ["ended_us IS NOT NULL"]}.get(state, [])
        values: list[Any] = []
        given = {"detector": detector, "service": service, "severity": severity, "verdict": verdict}
        for name, value in given.items():
            if value is not None:
                terms.append(f"{name} = ?")
                values.append(value)
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        return self._read(f"{where} ORDER BY id DESC LIMIT {int(limit)}", values)[::-1]

    def get(self, number: int) -> Finding | None:
        """Return the finding with that ID."""
        return next(iter(self._read("WHERE id = ?", [number])), None)

    def about(self, column: str, value: str) -> list[Finding]:
        """Return findings whose `task` or `request_id` (*column*) is *value*, open and ended."""
        return self._read(
            f"WHERE json_extract(body, '$.{column}') = ? ORDER BY id LIMIT 200", [value]
        )

    def totals(self) -> dict[Verdict, int]:
        """Return how many findings there are by verdict."""
        with self._lock:
            rows = self._db.execute(
                "SELECT verdict, count(*) FROM finding GROUP BY verdict"
            ).fetchall()
        return dict(rows)

    def _read(self, rest: str, values: Iterable[Any] = ()) -> list[Finding]:
        with self._lock:
            rows = self._db.execute(
                f"SELECT id, body FROM finding {rest}", tuple(values)
            ).fetchall()
        return [Finding(id=number, **orjson.loads(body)) for number, body in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()
