"""Who is told of a finding: its owners, how urgent it is to them, and what keeps it from telling.

A finding that tells nobody is still judged, listed and counted: `muted` says why it is quiet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Protocol

from model.units import iso

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from model.findings import Finding, Muted

LEARNING: Final = "learning"
QUIET: Final = "quiet"
ACKNOWLEDGED: Final = "acknowledged"
DISMISSED: Final = "dismissed"
REASONS: Final[tuple[Muted, ...]] = (DISMISSED, ACKNOWLEDGED, QUIET, LEARNING)
"""Why a finding may tell nobody; the first that holds is the one that is said."""

_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Which:
    """Findings by pattern (`*`, `?`, `[…]`); what is not said is anything, also nothing at all."""

    detector: str = "*"
    service: str = "*"
    queue: str = "*"
    name: str = "*"

    def fits(self, one: Finding) -> bool:
        """Say whether *one* is among them."""
        pairs = (
            (one.detector, self.detector),
            (one.service, self.service),
            (one.queue, self.queue),
            (one.name, self.name),
        )
        return all(pattern == "*" or fnmatchcase(of or "", pattern) for of, pattern in pairs)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose findings these are."""

    team: str
    which: Which


@dataclass(frozen=True, slots=True)
class Window:
    """A time of day in which nobody is told; minutes since midnight in *zone*.

    It begins on *days* (0 is Monday). One that ends no later than it begins ends the day after.
    """

    which: Which
    begins: int
    ends: int
    days: frozenset[int]
    zone: ZoneInfo
    reason: str

    def holds(self, now_us: int) -> bool:
        """Say whether *now_us* lies within. Wall clock: an hour that comes twice is in it twice."""
        try:
            local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now_us)).astimezone(
                self.zone
            )
        except OverflowError:
            return False
        minute = local.hour * 60 + local.minute
        past_midnight = self.ends <= self.begins
        today = local.weekday() in self.days and self.begins <= minute < (
            _MINUTES if past_midnight else self.ends
        )
        yesterday = past_midnight and (local.weekday() - 1) % 7 in self.days and minute < self.ends
        return today or yesterday


class Said(Protocol):
    """What a person has said of a finding: `until_us` None means for as long as it is open."""

    @property
    def action(self) -> str: ...  # noqa: D102 - one of `REASONS`
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def by(self) -> str: ...  # noqa: D102
    @property
    def until_us(self) -> int | None: ...  # noqa: D102


class Sayings(Protocol):
    """Where what people said is looked up."""

    def of(self, one: Finding, now_us: int) -> Said | None:
        """Return what is in force of *one* at *now_us*."""
        ...


@dataclass(frozen=True, slots=True)
class Audience:
    """Places each finding: its team, its urgency, whether it tells anybody."""

    owners: Sequence[Owner]
    critical: Sequence[str]
    windows: Sequence[Window]
    learning_until_us: int
    sayings: Sayings

    def place(self, one: Finding, now_us: int) -> None:
        """Set `team`, `severity` (of task names marked critical), `muted` and `muted_why`."""
        one.team = next((owner.team for owner in self.owners if owner.which.fits(one)), None)
        marked = one.name and any(fnmatchcase(one.name, pattern) for pattern in self.critical)
        if marked and one.severity == "warning":
            one.severity = "critical"
        one.muted, one.muted_why = self._muted(one, now_us) or (None, None)

    def _muted(self, one: Finding, now_us: int) -> tuple[str, str] | None:
        said = self.sayings.of(one, now_us)
        if said is not None:
            until = f", until {iso(said.until_us)}" if said.until_us is not None else ""
            return said.action, f"{said.reason} ({said.by}{until})"
        for window in self.windows:
            if window.which.fits(one) and window.holds(now_us):
                return QUIET, window.reason
        if now_us < self.learning_until_us:
            return LEARNING, f"new here: nobody is told until {iso(self.learning_until_us)}"
        return None
