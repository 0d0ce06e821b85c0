"""An alert for each detector: who is told what while it has confirmed findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alerts.rules.rule import Alert, Case, Group, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerts.rules.links import Links
    from detectors._kit import Detector

_BY: Final = ("job", "service", "queue", "team")

HEALTHY_S: Final = 180
"""A detector that was judged so lately, in seconds, has a say: without one nothing resolves."""

_WINDOW: Final = "5m"
"""So long a finding counts whose sample a failed scrape has missed."""

_LONG_WINDOW: Final = "15m"


def group(detectors: Sequence[Detector], links: Links, *, remembers: bool) -> Group:
    """Return the alerts of all *detectors*.

    Where a detector fails or the sidecar is gone, what fired goes on firing, if who evaluates
    *remembers* what fired (ALERTS); elsewhere for a quarter of an hour.
    """
    alerts = [
        _alert(detector, links, tier, remembers=remembers)
        for detector in detectors
        for tier in tiers(detector)
    ]
    return Group("zombiewatch-findings", alerts)


def name_of(detector: str) -> str:
    """Return the name of the alert of *detector*: `ZombieTask` of `zombie_task`."""
    return "".join(word.capitalize() for word in detector.split("_"))


@dataclass(frozen=True, slots=True)
class Tier:
    """One of a detector's alerts: from how many findings on, and how bad that is.

    Without a *severity* it has that of its findings, each severity for itself.
    """

    name: str
    severity: str | None
    least: int


def tiers(detector: Detector) -> tuple[Tier, ...]:
    """Return its alert, and the one that wakes somebody for so many findings at once."""
    name = name_of(detector.name)
    if detector.wakes == 1:
        return (Tier(name, "critical", 1),)
    many = (Tier(f"{name}Many", "critical", detector.wakes),) if detector.wakes else ()
    return (Tier(name, None, 1), *many)


def labels_of(detector: Detector) -> dict[str, str]:
    """Return the labels that each of its alerts bears."""
    return {"detector": detector.name, "degradable": str(detector.degradable).lower()}


def _alert(detector: Detector, links: Links, tier: Tier, *, remembers: bool) -> Alert:
    name, severity, least = tier.name, tier.severity, tier.least
    by = ", ".join((*_BY, *(() if severity else ("severity",))))
    of = f'detector="{detector.name}"'
    window = _WINDOW if remembers else _LONG_WINDOW
    counted = f"max_over_time(zombiewatch_findings{{{of}}}[{window}])"
    if severity:  # findings of each severity count together
        counted = f"sum by ({', '.join((*_BY, 'instance'))}) ({counted})"
    fired = f'alertname="{name}", alertstate="firing"'
    fired += f', severity="{severity}"' if severity else ""
    expr = f"max by ({by}) ({counted}) >= {least}"
    if remembers:
        expr += (
            f"\nor\nmax by ({by}) (ALERTS{{{fired}}})\n"
            f"  unless on (job) zombiewatch_detector_age_seconds{{{of}}} < {HEALTHY_S}"
        )
    several = f", {least} or more at once" if least > 1 else ""
    texts = {
        "summary": Text(detector.summary),
        "description": Text(
            f"{detector.name}: confirmed{several}[[service:  for <service>]]"
            "[[queue:  (queue <queue>)]].",
            query=f"zombiewatch_finding_cause{{{of}, service=<service>}}",
            of="cause",
            answered=" It seems to follow from: <>.",
        ),
        **links.of(name, detector.name, detector=detector.name),
    }
    cases = _cases(detector, severity, least)
    return Alert(name, expr, severity, texts, cases, labels=labels_of(detector))


def _cases(detector: Detector, severity: str | None, least: int) -> list[Case]:
    """Return: it fires; it has ended; one too few; its detector or its sidecar has failed since."""
    said = "warning" if severity else detector.severity
    told = {"job": "zombiewatch", "service": "api", "queue": "night"}
    series = (
        f'zombiewatch_findings{{job="zombiewatch", instance="z:9797", detector="{detector.name}",'
        f' service="api", queue="night", severity="{said}", team=""}}'
    )
    age = (
        'zombiewatch_detector_age_seconds{job="zombiewatch", instance="z:9797",'
        f' detector="{detector.name}"}}'
    )
    alert = {**told, **({} if severity else {"severity": said})}
    return [
        Case({series: f"{least}x60", age: "5x60"}, "10m", [alert]),
        Case({series: f"{least}x10 0x60", age: "5x70"}, "20m"),
        Case({series: f"{least - 1}x60", age: "5x60"}, "10m"),
        Case({series: f"{least}x10 _x60", age: "5x10 60+60x60"}, "60m", [alert]),
        Case({series: f"{least}x10 _x60", age: "5x10 _x60"}, "60m", [alert]),
    ]
