"""What was seen in a recorded run, in the order in which it followed from each other."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from detectors._incidents import incidents
from detectors._kit import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detectors._incidents import Cluster, Incident
    from model.findings import Finding
    from zombiewatch.replay import Outcome
    from zombiewatch.switches import ChangeJson


@dataclass(frozen=True, slots=True)
class Run:
    """A recorded run: what was ever confirmed in it, and what the lab's policies made of that.

    Times are microseconds since 1970 UTC.
    """

    from_us: int
    to_us: int
    found: Sequence[Finding]
    switched: Sequence[ChangeJson]

    @classmethod
    def of(cls, outcome: Outcome) -> Run:
        """Return what *outcome* has confirmed; retracted ones are false alarms, and are no part."""
        found = [one for one in outcome.findings if one.confirmed_us and one.verdict != "retracted"]
        return cls(outcome.recorded.from_us, outcome.recorded.to_us, found, outcome.switched)

    def at(self, when_us: int) -> float:
        """Return the seconds from the first signal to *when_us*."""
        return (when_us - self.from_us) / 1e6

    def begun(self, what: Finding | Cluster) -> str:
        """Return when *what* began; rates are counted in bins that may begin before the run."""
        return f"{max(0.0, self.at(what.since_us)):.1f} s"

    def incidents(self) -> list[Incident]:
        """Return the incidents as they were at their fullest: as though nothing had ended."""
        whole = [replace(one, verdict="confirmed") for one in self.found]
        made = incidents(whole, load())
        return sorted(made, key=lambda one: (-len(one.clusters), one.since_us, one.id))

    def by_detector(self) -> Mapping[str, Sequence[Finding]]:
        """Return the findings of each detector, in the order of the incidents' chains."""
        order = [link.detector for one in self.incidents() for link in one.clusters]
        found: dict[str, list[Finding]] = defaultdict(list)
        for one in sorted(self.found, key=lambda one: (order.index(one.detector), one.since_us)):
            found[one.detector].append(one)
        return found
