"""Routes, inhibitions and receivers for our alerts, alone or merged into what is there.

What is ours is known by its names, which begin with `zombiewatch`, and by the label `source`: a
merge replaces it, and leaves all else as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alerts.degrade.lease import LEVELS, MUTES
from alerts.rules.rule import SOURCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIERS: Final = ("critical", "warning", "info")
"""Severities, each with a receiver of its own; so have changes of switches, and the watchdog."""

RECEIVERS: Final = (*TIERS, "changes", "watchdog")

TEMPLATE: Final = Path(__file__).with_name("zombiewatch.tmpl")
"""How messages read: `{{ template "zombiewatch.title" . }}`, and `zombiewatch.text`."""

_OURS: Final = "zombiewatch"
_NOBODY: Final = f"{_OURS}-nobody"
_HOURS: Final = f"{_OURS}-hours"
_MARK: Final = f'source="{SOURCE}"'
_WATCHDOG: Final = "ZombiewatchWatchdog"
_DEGRADED: Final = "ServiceDegraded"
_CHANGES: Final = "DegradeSwitch.+|DegradePolicyBlind|DegradeFollowFailing"
_REPEAT: Final = {"critical": "1h", "warning": "12h", "info": "1d"}

_OF_TASKS: Final = "zombie_task|silent_task|lost_report|overdue_task|stuck_in_queue"
"""Detectors whose findings are no news where the agent is known to be gone."""


@dataclass(frozen=True, slots=True)
class Hours:
    """When people are there for what can wait: Alertmanager's own form of a time interval."""

    intervals: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Telling:
    """How each of `RECEIVERS` is told: Alertmanager's integrations, such as `webhook_configs`.

    One that is not there tells nobody. With *hours* what is no page is told then only.
    """

    receivers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hours: Hours | None = None
    templates: str | None = None


def config(telling: Telling) -> dict[str, Any]:
    """Return a whole configuration, for an Alertmanager that has nothing else."""
    return merged({"route": {"receiver": _NOBODY}}, telling)


def merged(existing: Mapping[str, Any], telling: Telling) -> dict[str, Any]:
    """Return *existing* with our part in it; what was ours before is replaced.

    Raises:
        ValueError: *existing* has no route: it is no configuration of an Alertmanager.
    """
    if not existing.get("route"):
        raise ValueError("it has no route: is it the configuration of an Alertmanager?")
    made = dict(existing)
    route = dict(existing["route"])
    route["routes"] = [_route(telling), *_others(route.get("routes"), _is_our_route)]
    made["route"] = route
    made["receivers"] = [
        *_others(existing.get("receivers"), _is_named_ours),
        {"name": _NOBODY},
        *({"name": f"{_OURS}-{one}", **telling.receivers.get(one, {})} for one in RECEIVERS),
    ]
    made["inhibit_rules"] = [
        *_others(existing.get("inhibit_rules"), _is_our_inhibition),
        *_inhibitions(),
    ]
    intervals = _others(existing.get("time_intervals"), _is_named_ours)
    if telling.hours:
        intervals.append({"name": _HOURS, "time_intervals": list(telling.hours.intervals)})
    if intervals or "time_intervals" in existing:
        made["time_intervals"] = intervals
    if telling.templates:
        known = [one for one in existing.get("templates", ()) if one != telling.templates]
        made["templates"] = [*known, telling.templates]
    return made


def _route(telling: Telling) -> dict[str, Any]:
    waits = {"active_time_intervals": [_HOURS]} if telling.hours else {}
    tiers = [
        {
            "receiver": f"{_OURS}-{tier}",
            "matchers": [f'severity="{tier}"'],
            "repeat_interval": _REPEAT[tier],
            **({} if tier == "critical" else waits),
        }
        for tier in TIERS
    ]
    return {
        "receiver": _NOBODY,
        "matchers": [_MARK],
        "group_by": ["alertname", "severity", "service"],
        # An alert may come before what mutes it. Not so at a restart of Alertmanager: before 0.30
        # it does not wait at all then for what began long ago (see docs/alerts.md).
        "group_wait": "30s",
        "group_interval": "5m",
        "routes": [
            {"receiver": _NOBODY, "matchers": [f'alertname="{_DEGRADED}"']},
            {
                "receiver": f"{_OURS}-watchdog",
                "matchers": [f'alertname="{_WATCHDOG}"'],
                "group_wait": "0s",
                "group_interval": "1m",
                "repeat_interval": "5m",
            },
            {
                "receiver": f"{_OURS}-changes",
                "matchers": [f'alertname=~"{_CHANGES}"'],
                "repeat_interval": "12h",
            },
            *tiers,
        ],
    }


def _inhibitions() -> list[dict[str, Any]]:
    """Return what mutes what. No alert is a source and a target of the same rule."""

    def rule(sources: Sequence[str], targets: Sequence[str], *equal: str) -> dict[str, Any]:
        return {
            "source_matchers": [_MARK, *sources],
            "target_matchers": [_MARK, *targets],
            "equal": list(equal),
        }

    return [
        *(
            rule(
                [f'alertname="{_DEGRADED}"', f'level=~"{_levels(severity)}"'],
                [f'severity="{severity}"', 'degradable="true"'],
                "service",
            )
            for severity in ("warning", "critical")
        ),
        rule(
            ['severity="critical"', 'detector=~".+"'],
            ['severity="warning"', 'detector=~".+"'],
            "detector",
            "service",
        ),
        rule(['alertname="AgentDown"'], [f'detector=~"{_OF_TASKS}"'], "service"),
        rule(
            ['alertname="SourceDark"'],
            ['severity=~"info|warning"', 'detector=~".+"', 'detector!="source_dark"'],
            "service",
        ),
    ]


def _levels(severity: str) -> str:
    return "|".join(level for level, mutes in zip(LEVELS, MUTES, strict=True) if severity in mutes)


def _others(those: Sequence[Any] | None, ours: Any) -> list[Any]:  # noqa: ANN401 - a predicate
    return [one for one in those or () if not ours(one)]


def _is_named_ours(one: Mapping[str, Any]) -> bool:
    return str(one.get("name", "")).startswith(f"{_OURS}-")


def _is_our_route(one: Mapping[str, Any]) -> bool:
    return _MARK in one.get("matchers", ()) and one.get("receiver") == _NOBODY


def _is_our_inhibition(one: Mapping[str, Any]) -> bool:
    return _MARK in one.get("source_matchers", ()) and _MARK in one.get("target_matchers", ())
