"""Where degrade switches outlive the process, with an audit in which tampering shows.

Each change is a row of the audit, whose hash covers the row before it: what was altered, taken out
or put in between shows. The number of the row is the generation of what it made.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import uuid4

import orjson
from typing_extensions import TypedDict

from alerts.degrade.lease import LEVELS, Lease, Level, Mode, in_force
from alerts.degrade.policy import Held, State
from model.units import Iso, iso, us
from zombiewatch.sayings import SayingError, reasoned, signed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Slot = Literal["person", "policy"]
Action = Literal["set", "cleared", "expired", "raised", "lowered", "followed"]

SERVICE_MAX: Final = 200
HISTORY_MAX: Final = 1000

_FIRST: Final = "0" * 64
"""What the first row of the audit follows."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS switch (
  service TEXT NOT NULL, slot TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (service, slot));
CREATE TABLE IF NOT EXISTS policy_state (service TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS audit (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, service TEXT NOT NULL,
  body TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_service ON audit (service, number);
CREATE TABLE IF NOT EXISTS identity (value TEXT NOT NULL);
"""


class SwitchError(SayingError):
    """What was asked of a switch cannot be done; the message says why."""


class ConflictError(SwitchError):
    """Somebody else has changed the switch meanwhile."""


class ChangeJson(TypedDict):
    """A change of a switch: what was done, by whom, why, and what is set since."""

    number: int
    at: Iso
    service: str
    action: Action
    level: Level
    mode: Mode
    reason: str
    by: str
    expires_at: Iso
    dry_run: bool
    hash: str


class Switches:
    """The file's switches. Its calls may come from any thread; what is in force is in memory.

    *lease_max_s* is the longest time, in seconds, for which a person may set one.
    """

    def __init__(self, path: Path, lease_max_s: float) -> None:
        self._lease_max_us = us(lease_max_s)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA synchronous=FULL")  # a person was told that it is kept
        self._db.executescript(_TABLES)
        self.identity = self._known_as()
        """Which sidecar this is, for as long as the file is there."""
        self._leases: dict[str, dict[Slot, Lease]] = {}
        for service, slot, body in self._db.execute("SELECT service, slot, body FROM switch"):
            self._leases.setdefault(service, {})[slot] = Lease(**orjson.loads(body))
        self.changes = dict(
            self._db.execute("SELECT service, count(*) FROM audit GROUP BY service").fetchall()
        )
        """How often the switches of each service were changed, by whomever."""

    # -- what is set ------------------------------------------------------------------------

    def of(self, service: str, now_us: int) -> Lease | None:
        """Return what is in force for *service* at *now_us*; its level may be 0 (forced off)."""
        return in_force(self._leases.get(service, {}).values(), now_us)

    def leases(self, now_us: int) -> list[Lease]:
        """Return all that hold at *now_us*, those in dry run and overruled ones, too."""
        held = [one for slots in list(self._leases.values()) for one in list(slots.values())]
        return sorted(
            (one for one in held if one.holds(now_us)), key=lambda one: (one.service, one.mode)
        )

    def services(self) -> list[str]:
        """Return the services that ever had a switch."""
        return sorted(self.changes)

    # -- what a person does -----------------------------------------------------------------

    def set(
        self,
        service: str,
        level: int,
        *,
        by: str,
        reason: str,
        until_us: int,
        now_us: int,
        generation: int | None = None,
    ) -> Lease:
        """Keep that *by* sets *service* to *level* (0: forced off) until *until_us*.

        With *generation* only if no change of the service's switches came after that one.

        Raises:
            SayingError: nobody says it, or for no reason.
            SwitchError: for too long.
            ConflictError: there was another change.
        """
        service, by, reason = _named(service), signed(by), reasoned(reason)
        if not now_us < until_us <= now_us + self._lease_max_us:
            most = self._lease_max_us / 1e6
            raise SwitchError(
                f"a switch ends: at a time ahead, {most:g} s from now at most"
                " (degrade.lease_max_s); set it again if it is needed longer"
            )
        mode: Mode = "manual" if level else "forced_off"
        lease = Lease(service, level, mode, reason, by, now_us, until_us)
        return self._change(lease, "person", "set", by, reason, now_us, generation)

    def clear(
        self, service: str, *, by: str, reason: str, now_us: int, generation: int | None = None
    ) -> Lease:
        """Take back what a person set; the policy's word counts from now on. Returns what it was.

        Raises SayingError, SwitchError, ConflictError; also where nothing is set.
        """
        by, reason = signed(by), reasoned(reason)
        was = self._leases.get(service, {}).get("person")
        if was is None or not was.holds(now_us):
            raise SwitchError(f"nobody has set a switch of {service}")
        return self._change(was, "person", "cleared", by, reason, now_us, generation)

    # -- what time and policies do ----------------------------------------------------------

    def expire(self, now_us: int) -> list[Lease]:
        """Write down what has expired at *now_us*, and return it; it counted no more already."""
        gone = [
            (slot, one)
            for slots in list(self._leases.values())
            for slot, one in list(slots.items())
            if not one.holds(now_us)
        ]
        for slot, one in gone:
            self._change(one, slot, "expired", "time", "its lease has ended", now_us)
        return [one for _, one in gone]

    def state(self, service: str) -> State:
        """Return the memory of the policy of *service*."""
        with self._lock:
            row = self._db.execute(
                "SELECT body FROM policy_state WHERE service = ?", (service,)
            ).fetchone()
        if row is None:
            return State()
        said = orjson.loads(row[0])
        return State(**{**said, "rungs": tuple(Held(**one) for one in said["rungs"])})

    def remember(self, service: str, state: State) -> None:
        """Keep the memory of the policy of *service*."""
        with self._lock:
            self._db.execute(
                "INSERT INTO policy_state VALUES (?, ?)"
                " ON CONFLICT (service) DO UPDATE SET body = excluded.body",
                (service, orjson.dumps(asdict(state)).decode()),
            )

    def move(
        self, service: str, level: int, *, by: str, reason: str, until_us: int, now_us: int,
        dry_run: bool,
    ) -> None:  # fmt: skip
        """Keep that the policy *by* holds *service* at *level*; the same level is a renewal."""
        was = self._leases.get(service, {}).get("policy")
        before = was.level if was and was.holds(now_us) and was.dry_run == dry_run else 0
        if level == before:
            if was and level:
                self._renew(replace(was, expires_us=until_us))
            return
        action: Action = "raised" if level > before else "lowered"
        ends_us = until_us if level else now_us
        lease = Lease(service, level, "auto", reason, by, now_us, ends_us, dry_run)
        self._change(lease, "policy", action, by, reason, now_us)

    # -- what another sidecar does ----------------------------------------------------------

    def adopt(self, said: Iterable[Lease], source: str, now_us: int) -> None:
        """Make our switches those that another sidecar, *source*, *said* to have.

        Their generations are its own.
        """
        given: dict[tuple[str, Slot], Lease] = {}
        for one in said:
            given[one.service, "policy" if one.mode == "auto" else "person"] = one
        held = {
            (service, slot): one
            for service, slots in list(self._leases.items())
            for slot, one in slots.items()
        }
        for (service, slot), one in given.items():
            was = held.pop((service, slot), None)
            if was is None or was.generation != one.generation:
                self._change(
                    one, slot, "followed", one.set_by, one.reason, now_us,
                    numbered=one.generation,
                )  # fmt: skip
            elif was != one:
                self._renew(one, slot)
        for (_, slot), one in held.items():
            self._change(one, slot, "cleared", source, "it is set no more there", now_us)

    # -- what was done ----------------------------------------------------------------------

    def history(self, service: str | None = None, limit: int = 100) -> list[ChangeJson]:
        """Return the last changes, the newest last: of *service*, or of all."""
        where, values = ("WHERE service = ?", (service,)) if service is not None else ("", ())
        with self._lock:
            rows = self._db.execute(
                "SELECT number, at_us, service, body, hash FROM audit"
                f" {where} ORDER BY number DESC LIMIT ?",
                (*values, limit),
            ).fetchall()
        return [_shown(*row) for row in reversed(rows)]

    def broken_at(self) -> int | None:
        """Return the number of the first row of the audit that does not follow the one before."""
        before, expected = _FIRST, 1
        with self._lock:
            rows = self._db.execute(
                "SELECT number, at_us, service, body, hash FROM audit ORDER BY number"
            ).fetchall()
            row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'")
            (last,) = row.fetchone() or (0,)
        for number, at_us, service, body, said in rows:
            if number != expected or said != _hash(before, number, at_us, service, body):
                return int(expected)
            before, expected = said, expected + 1
        return int(expected) if expected <= last else None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- within -----------------------------------------------------------------------------

    def _change(
        self,
        lease: Lease,
        slot: Slot,
        action: Action,
        by: str,
        reason: str,
        now_us: int,
        generation: int | None = None,
        numbered: int | None = None,
    ) -> Lease:
        """Write *action* down, and set *lease*, or take it out; return it with its generation.

        That is *numbered* where another sidecar has made it.
        """
        stays = action in {"set", "raised", "lowered", "followed"} and not (
            lease.mode == "auto" and lease.level == 0
        )
        said = {
            "action": action, "level": lease.level, "mode": lease.mode, "reason": reason,
            "by": by, "expires_us": lease.expires_us, "dry_run": lease.dry_run,
        }  # fmt: skip
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._unchanged(lease.service, generation)
                number = self._append(lease.service, said, now_us)
                made = replace(lease, generation=numbered or number)
                if stays:
                    self._keep(slot, made)
                else:
                    self._db.execute(
                        "DELETE FROM switch WHERE service = ? AND slot = ?", (lease.service, slot)
                    )
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._show(slot, made, stays=stays)
            self.changes[lease.service] = self.changes.get(lease.service, 0) + 1
        return made

    def _renew(self, lease: Lease, slot: Slot = "policy") -> None:
        with self._lock:
            self._keep(slot, lease)
            self._show(slot, lease, stays=True)

    def _known_as(self) -> str:
        with self._lock:
            self._db.execute(
                "INSERT INTO identity SELECT ? WHERE NOT EXISTS (SELECT 1 FROM identity)",
                (uuid4().hex,),
            )
            (value,) = self._db.execute("SELECT value FROM identity").fetchone()
        return str(value)

    def _show(self, slot: Slot, lease: Lease, *, stays: bool) -> None:
        """Put a new mapping in the old one's place: who reads takes no lock."""
        slots = {
            key: one for key, one in self._leases.get(lease.service, {}).items() if key != slot
        }
        self._leases[lease.service] = {**slots, slot: lease} if stays else slots

    def _keep(self, slot: Slot, lease: Lease) -> None:
        self._db.execute(
            "INSERT INTO switch VALUES (?, ?, ?)"
            " ON CONFLICT (service, slot) DO UPDATE SET body = excluded.body",
            (lease.service, slot, orjson.dumps(asdict(lease)).decode()),
        )

    def _unchanged(self, service: str, generation: int | None) -> None:
        row = self._db.execute("SELECT max(number) FROM audit WHERE service = ?", (service,))
        last = row.fetchone()[0] or 0
        if generation is not None and generation != last:
            raise ConflictError(f"{service} was changed meanwhile: its generation is {last}")

    def _append(self, service: str, said: dict[str, Any], at_us: int) -> int:
        row = self._db.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
        number, before = row.fetchone() or (0, _FIRST)
        body = orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()
        self._db.execute(
            "INSERT INTO audit VALUES (?, ?, ?, ?, ?)",
            (number + 1, at_us, service, body, _hash(before, number + 1, at_us, service, body)),
        )
        return int(number) + 1


def _hash(before: str, number: int, at_us: int, service: str, body: str) -> str:
    row = orjson.dumps([before, number, at_us, service, body])
    return hashlib.sha256(row).hexdigest()


def _shown(number: int, at_us: int, service: str, body: str, said: str) -> ChangeJson:
    of = orjson.loads(body)
    return {
        "number": number,
        "at": iso(at_us),
        "service": service,
        "action": of["action"],
        "level": LEVELS[of["level"]],
        "mode": of["mode"],
        "reason": of["reason"],
        "by": of["by"],
        "expires_at": iso(of["expires_us"]),
        "dry_run": of["dry_run"],
        "hash": said,
    }


def _named(service: str) -> str:
    if not service.strip() or len(service) > SERVICE_MAX:
        raise SwitchError(f"name the service, in {SERVICE_MAX} characters at most")
    return service
