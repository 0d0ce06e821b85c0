"""What was found while a lab ran, against what had to be, and what was told meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from rich.text import Text

if TYPE_CHECKING:
    from labs._kit import Expected
    from zombiewatch.chain import Chain

_FOUND: Final = frozenset({"confirmed", "resolved"})
_ALL_WELL: Final = "L0"
_LATEST: Final = 4
"""So many things that alerts told are shown while a lab runs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found, by detector, against what had to be.

    `levels` are the degrade levels that each service was moved to, in order.
    """

    expected: Expected
    found: dict[str, int]
    retracted: dict[str, int]
    levels: dict[str, list[str]]

    @property
    def missing(self) -> frozenset[str]:
        """Detectors that had to find something, and did not; services that had to be degraded."""
        moved = {service for service, levels in self.levels.items() if levels[-1] == _ALL_WELL}
        return (self.expected.must - self.found.keys()) | (self.expected.degraded - moved)

    @property
    def surprising(self) -> frozenset[str]:
        """Detectors that found what nobody expected, or were wrong; services degraded likewise."""
        allowed = self.expected.must | self.expected.may
        degraded = self.levels.keys() - self.expected.degraded
        return frozenset((self.found.keys() - allowed) | self.retracted.keys() | degraded)

    @property
    def good(self) -> bool:
        """Whether exactly what was expected was found."""
        return not self.missing and not self.surprising

    @classmethod
    def of(
        cls,
        expected: Expected,
        findings: list[dict[str, Any]],
        switched: list[dict[str, Any]] | None = None,
    ) -> Outcome:
        """Count *findings*, and the changes of switches, both as the API shows them."""
        found: dict[str, int] = {}
        retracted: dict[str, int] = {}
        for one in findings:
            if one["verdict"] in _FOUND and one["confirmed_at"]:
                found[one["detector"]] = found.get(one["detector"], 0) + 1
            elif one["verdict"] == "retracted":
                retracted[one["detector"]] = retracted.get(one["detector"], 0) + 1
        return cls(expected, found, retracted, levels_of(switched or []))


def levels_of(switched: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the levels that each service was moved to by *switched*, in order."""
    levels: dict[str, list[str]] = {}
    for one in switched:
        levels.setdefault(one["service"], []).append(one["level"])
    return levels


class Incidents(Protocol):
    """Who knows the open incidents: a sidecar."""

    def incidents(self) -> list[dict[str, Any]]:
        """Return all."""

    def incident(self, number: int) -> dict[str, Any] | None:
        """Return one, with suspects."""


@dataclass(slots=True)
class Told:
    """What was seen while a lab ran: findings by number, and each incident at its fullest."""

    findings: set[int] = field(default_factory=set)
    incidents: dict[int, dict[str, Any]] = field(default_factory=dict)
    chain: Chain | None = None
    alerts: list[str] = field(default_factory=list)

    def look(self, sidecar: Incidents) -> None:
        """Keep what has grown: what is over is shown no more, and suspects cost a look each."""
        for one in sidecar.incidents():
            known = self.incidents.get(one["id"])
            if known is None or _size(one) > _size(known):
                whole = sidecar.incident(one["id"])
                self.incidents[one["id"]] = whole or one

    def hear(self, gone: float) -> list[str]:
        """Keep what alerts have told since the last time, *gone* seconds on; return it."""
        new = [f"{gone:4.0f} s  {one}" for one in self.chain.news()] if self.chain else []
        self.alerts += new
        return new

    def latest(self) -> list[Text]:
        """Return the last things that alerts told, to be shown below what was found."""
        if not self.alerts:
            return []
        lines = [Text(one, style="yellow", no_wrap=True) for one in self.alerts[-_LATEST:]]
        return [Text("\nTold by Alertmanager:", style="bold"), *lines]

    def fullest(self) -> list[dict[str, Any]]:
        """Return the incidents, those of the longest chains first, and no part of another one."""
        shown: list[dict[str, Any]] = []
        said: set[int] = set()
        for one in sorted(self.incidents.values(), key=_size, reverse=True):
            numbers = {number for link in one["chain"] for number in link["findings"]}
            if not numbers <= said:
                shown.append(one)
                said |= numbers
        return shown


def _size(incident: dict[str, Any]) -> tuple[int, int]:
    return len(incident["chain"]), incident["count"]
