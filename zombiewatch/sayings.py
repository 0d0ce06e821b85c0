"""What people said of findings: acknowledged, dismissed, taken back. Nothing is ever deleted."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import TypedDict

from alerts.audience import ACKNOWLEDGED, DISMISSED
from model.units import Iso, iso, parse_time, us
from zombiewatch._values import duration

if TYPE_CHECKING:
    from pathlib import Path

    from model.findings import Finding

ACTIONS: Final = {"ack": ACKNOWLEDGED, "dismiss": DISMISSED}
"""What a person can do, and what the finding then is."""

TEXT_MAX: Final = 500
BY_MAX: Final = 100

_LATEST_US: Final = 253_402_300_799_999_999
"""The end of the year 9999: no calendar of ours goes further."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS saying (
  id INTEGER PRIMARY KEY AUTOINCREMENT, finding INTEGER NOT NULL, key TEXT NOT NULL,
  action TEXT NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL, at_us INTEGER NOT NULL,
  until_us INTEGER, undone_us INTEGER, undone_by TEXT);
CREATE INDEX IF NOT EXISTS saying_key ON saying (key);
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


class SayingError(ValueError):
    """What was said cannot be taken; the message says why."""


class SayingJson(TypedDict):
    """What somebody said of a finding, until when, and whether it was taken back."""

    action: str
    reason: str
    by: str
    at: Iso
    until: Iso | None
    undone_at: Iso | None
    undone_by: str | None


@dataclass(frozen=True, slots=True)
class Saying:
    """One thing that was said. *finding* is the finding's ID, *key* its subject for ever.

    Without `until_us` it holds for that finding, until it ends; with it for that subject until
    then, however often it is found again.
    """

    id: int
    finding: int
    key: str
    action: str
    reason: str
    by: str
    at_us: int
    until_us: int | None
    undone_us: int | None = None
    undone_by: str | None = None

    def as_json(self) -> SayingJson:
        """Return it as the HTTP API shows it."""
        return {
            "action": self.action,
            "reason": self.reason,
            "by": self.by,
            "at": iso(self.at_us),
            "until": iso(self.until_us),
            "undone_at": iso(self.undone_us),
            "undone_by": self.undone_by,
        }


class Sayings:
    """The file's sayings. Its calls may come from any thread."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA synchronous=FULL")  # a person was told that it is kept
        self._db.executescript(_TABLES)
        self._in_force: dict[str, Saying] = {}
        for one in self._read("WHERE undone_us IS NULL ORDER BY id"):
            self._in_force[one.key] = one

    def of(self, one: Finding, now_us: int) -> Saying | None:
        """Return what is in force of *one* at *now_us*."""
        said = self._in_force.get(one.key)
        if said is None:
            return None
        if said.until_us is None:
            return said if said.finding == one.id else None
        return said if now_us < said.until_us else None

    def say(
        self,
        one: Finding,
        action: str,
        *,
        reason: str,
        by: str,
        until_us: int | None,
        now_us: int,
    ) -> Saying:
        """Keep that *by* says `ack` or `dismiss` of *one*; what was said before is taken back.

        Raises SayingError where there is no reason, or the end lies in the past.
        """
        reason, by = reasoned(reason), signed(by)
        if until_us is not None and until_us <= now_us:
            msg = f"until {iso(until_us)} is in the past"
            raise SayingError(msg)
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._take_back(one.key, by, now_us)
                row = (one.id, one.key, ACTIONS[action], reason, by, now_us, until_us)
                done = self._db.execute(
                    "INSERT INTO saying (finding, key, action, reason, by, at_us, until_us)"
                    " VALUES (?,?,?,?,?,?,?)",
                    row,
                )
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            said = Saying(done.lastrowid or 0, *row)
            self._in_force[one.key] = said
        return said

    def undo(self, one: Finding, *, by: str, now_us: int) -> None:
        """Take back what is in force of *one*.

        Raises SayingError where there is nothing, or nobody says that they do it.
        """
        by = signed(by)
        if self.of(one, now_us) is None:
            msg = f"finding {one.id} is neither acknowledged nor dismissed"
            raise SayingError(msg)
        with self._lock:
            self._take_back(one.key, by, now_us)
            self._in_force.pop(one.key, None)

    def _take_back(self, key: str, by: str, now_us: int) -> None:
        self._db.execute(
            "UPDATE saying SET undone_us = ?, undone_by = ? WHERE key = ? AND undone_us IS NULL",
            (now_us, by, key),
        )

    def history(self, key: str) -> list[Saying]:
        """Return all that was ever said of the subject *key*, oldest first."""
        return self._read("WHERE key = ? ORDER BY id", (key,))

    def first_start_us(self, now_us: int) -> int:
        """Return when this installation first started: *now_us*, where it is the first time."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO fact VALUES ('first_start_us', ?)", (now_us,))
            row = self._db.execute("SELECT value FROM fact WHERE name = 'first_start_us'")
            return int(row.fetchone()[0])

    def _read(self, rest: str, values: tuple[Any, ...] = ()) -> list[Saying]:
        with self._lock:
            rows = self._db.execute(
                "SELECT id, finding, key, action, reason, by, at_us, until_us, undone_us,"
                f" undone_by FROM saying {rest}",
                values,
            ).fetchall()
        return [Saying(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def reasoned(reason: str) -> str:
    """Return *reason* as it is kept. Raises SayingError where there is none, or it is too long."""
    reason = reason.strip()
    if not reason or len(reason) > TEXT_MAX:
        msg = f"a reason is needed, of {TEXT_MAX} characters at most: others will read it"
        raise SayingError(msg)
    return reason


def signed(by: str) -> str:
    """Return who *by* is as that is kept. Raises SayingError where it is nobody."""
    by = by.strip()
    if not by or len(by) > BY_MAX:
        msg = f"say who you are (by), in {BY_MAX} characters at most"
        raise SayingError(msg)
    return by


def until(text: str | None, now_us: int) -> int | None:
    """Return the moment that *text* names: a time (ISO 8601, UTC), or a length from now (`2h`).

    Raises SayingError.
    """
    at: int | None
    if text is None:
        return None
    if text[:4].isdigit() and "-" in text:
        if (at := parse_time(text)) is not None:
            return at
    else:
        try:
            at = now_us + us(duration(text))
        except (ValueError, OverflowError):
            at = None
        if at is not None and at <= _LATEST_US:
            return at
    msg = f"until is {text!r}: write a length like 30m, 2h or 7d, or a time like 2026-01-31T08:00Z"
    raise SayingError(msg)
