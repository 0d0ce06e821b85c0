"""The leased record of a degrade switch: who set which level of a service, why, and until when.

A service has two of them at most: what a person set, and what its policy did. Forced off is over
manual, manual over automatic; what has expired counts no more, and the next below it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from typing_extensions import TypedDict

from model.units import Iso, iso

if TYPE_CHECKING:
    from collections.abc import Iterable

Mode = Literal["auto", "manual", "forced_off"]
Level = Literal["L0", "L1", "L2", "L3"]

LEVELS: Final[tuple[Level, ...]] = ("L0", "L1", "L2", "L3")
"""What a level is called; its number is its place."""

MUTES: Final[tuple[frozenset[str], ...]] = (
    frozenset(),
    frozenset({"warning"}),
    *(frozenset({"warning", "critical"}),) * 2,
)
"""Severities that a level mutes, of what is `degradable`, by the level's number."""

_RANK: Final[dict[Mode, int]] = {"auto": 0, "manual": 1, "forced_off": 2}


class LeaseJson(TypedDict):
    """A switch of a service, as somebody or its policy set it; `remaining_s` is its time left."""

    service: str
    level: Level
    mode: Mode
    reason: str
    set_by: str
    set_at: Iso
    expires_at: Iso
    remaining_s: float
    dry_run: bool
    generation: int


@dataclass(frozen=True, slots=True)
class Lease:
    """One switch. Times are microseconds since 1970 UTC; it holds until before `expires_us`.

    `level` is 0 to 3, and 0 where it is forced off. With `dry_run` it is listed and counted, and
    changes nothing. `generation` is the number of the change in the audit that made it.
    """

    service: str
    level: int
    mode: Mode
    reason: str
    set_by: str
    set_at_us: int
    expires_us: int
    dry_run: bool = False
    generation: int = 0

    def holds(self, now_us: int) -> bool:
        """Say whether it has not expired at *now_us*."""
        return now_us < self.expires_us

    def as_json(self, now_us: int) -> LeaseJson:
        """Return the switch as the HTTP API shows it at *now_us*."""
        return {
            "service": self.service,
            "level": LEVELS[self.level],
            "mode": self.mode,
            "reason": self.reason,
            "set_by": self.set_by,
            "set_at": iso(self.set_at_us),
            "expires_at": iso(self.expires_us),
            "remaining_s": max(0.0, (self.expires_us - now_us) / 1e6),
            "dry_run": self.dry_run,
            "generation": self.generation,
        }


def in_force(leases: Iterable[Lease], now_us: int) -> Lease | None:
    """Return which of a service's *leases* counts at *now_us*: none, where its level is 0."""
    counting = [one for one in leases if one.holds(now_us) and not one.dry_run]
    return max(counting, key=lambda one: _RANK[one.mode], default=None)
