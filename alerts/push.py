"""Alerts as Alertmanager's API takes them, for those without Prometheus.

The labels are those of the rules, so that routes and inhibitions are the same. Texts may hold what
no rule can know: which tasks, and what it seems to follow from.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from alerts.rules.findings import labels_of, tiers
from alerts.rules.rule import SOURCE
from model.units import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from alerts.degrade.lease import Lease
    from alerts.rules.findings import Tier
    from alerts.rules.links import Links
    from detectors._kit import Detector
    from model.findings import Finding

_NAMED: Final = 10
"""So many subjects are named."""

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Pushed:
    """One alert: its labels, its texts, and since when. Times are microseconds since 1970 UTC."""

    labels: Labels
    texts: Mapping[str, str]
    since_us: int
    until_us: int | None = None
    """When it ends by itself, if it does."""

    def as_json(self, ends_us: int) -> dict[str, Any]:
        """Return it for `POST /api/v2/alerts`; it is over at *ends_us* unless told again."""
        if self.until_us is not None:
            ends_us = min(ends_us, self.until_us)
        return {
            "labels": dict(self.labels),
            "annotations": dict(self.texts),
            "startsAt": iso(self.since_us),
            "endsAt": iso(ends_us),
        }


def of_findings(
    findings: Iterable[Finding],
    detectors: Mapping[str, Detector],
    causes: Mapping[tuple[str, str], str],
    links: Links,
) -> Iterator[Pushed]:
    """Yield an alert for each detector, service, queue, severity and team with confirmed findings.

    What tells nobody is left out. *causes* says by detector and service what that follows from.
    """
    grouped: dict[tuple[str, str, str, str], list[Finding]] = defaultdict(list)
    for one in findings:
        if one.verdict == "confirmed" and not one.muted and one.detector in detectors:
            of = (one.detector, one.service or "", one.queue or "", one.team or "")
            grouped[of].append(one)
    for (name, service, queue, team), members in sorted(grouped.items()):
        detector = detectors[name]
        for tier, severity, those in _told(detector, members):
            labels = _labels(
                **labels_of(detector),
                alertname=tier.name,
                service=service,
                queue=queue,
                team=team,
                severity=severity,
            )
            yield Pushed(
                labels,
                _texts(detector, dict(labels), those, causes.get((name, service)), links),
                min(one.confirmed_us or one.since_us for one in those),
            )


def _told(detector: Detector, members: list[Finding]) -> Iterator[tuple[Tier, str, list[Finding]]]:
    """Yield the alerts that *members* make, each with its severity and whom it is of."""
    for tier in tiers(detector):
        by: dict[str, list[Finding]] = defaultdict(list)
        for one in members:
            by[tier.severity or one.severity].append(one)
        for severity, those in sorted(by.items()):
            if len(those) >= tier.least:
                yield tier, severity, those


def of_switches(leases: Iterable[Lease]) -> Iterator[Pushed]:
    """Yield the alert that mutes, for each of the *leases* in force: until it expires at most."""
    for one in leases:
        if one.level:
            labels = _labels(
                alertname="ServiceDegraded", service=one.service, level=f"L{one.level}",
                severity="none", degradable="false",
            )  # fmt: skip
            texts = {
                "summary": "A service is known to be in trouble: its alerts are muted for a time.",
                "description": f"{one.service}: {one.reason} ({one.set_by}).",
            }
            yield Pushed(labels, texts, one.set_at_us, one.expires_us)


def _labels(**said: str) -> Labels:
    given = {**said, "source": SOURCE}
    return tuple(sorted((name, value) for name, value in given.items() if value))


def _texts(
    detector: Detector,
    labels: Mapping[str, str],
    members: list[Finding],
    cause: str | None,
    links: Links,
) -> dict[str, str]:
    named = ", ".join(one.subject for one in members[:_NAMED])
    more = f" and {len(members) - _NAMED} more" if len(members) > _NAMED else ""
    follows = f" It seems to follow from: {cause}." if cause else ""
    linked = links.of(labels["alertname"], detector.name, detector=detector.name)
    return {
        "summary": detector.summary,
        "description": f"{named}{more}. {members[0].fix}{follows}",
        **{name: text.filled(labels) for name, text in linked.items()},
    }
