"""What stands around the panels of every dashboard: its variables, and what is marked in time."""

from __future__ import annotations

from typing import Any, Final

from dashboards.grafana._panel import DATASOURCE
from dashboards.grafana._query import of

_ALL: Final = {"selected": True, "text": ["All"], "value": ["$__all"]}

_CHOICES: Final = {
    # a label that is not there is an empty one: "all" must meet it, where it may be missing
    "job": ("label_values(zombiewatch_ready, job)", ".+"),
    "instance": ('label_values(zombiewatch_ready{job=~"$job"}, instance)', ".+"),
    "service": (f"label_values({of('zombiewatch_source_age_seconds')}, service)", ".*"),
    "queue": (f"label_values({of('zombiewatch_tasks_open')}, queue)", ".*"),
    "task": (f"label_values({of('zombiewatch_tasks_open')}, task_name)", ".*"),
}
_ALWAYS: Final = ("job", "instance")


def variables(asked: str, page: str) -> list[dict[str, Any]]:
    """Return the variables of a dashboard whose panels ask *asked*: those that it speaks of."""
    made = [_datasource()]
    for name, (query, every) in _CHOICES.items():
        if name in _ALWAYS or f"${name}" in asked:
            made.append(_choice(name, query, every))
    return [*made, _page(page)]


def marks() -> list[dict[str, Any]]:
    """Return what is marked in time: people's own notes, alerts, switches and their changes."""
    level = of("zombiewatch_degrade_level")
    firing = 'ALERTS{source="zombiewatch", alertstate="firing", severity!="none"}'
    return [
        {
            "name": "Annotations & Alerts",
            "type": "dashboard",
            "builtIn": 1,
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
            "enable": True,
            "hide": True,
            "iconColor": "rgba(0, 211, 255, 1)",
        },
        _marked(
            "Incidents",
            f"max by (alertname, severity, service, queue) ({firing})",
            "red",
            "{{alertname}}",
            "{{service}} {{queue}}",
            "severity",
        ),
        _marked(
            "Switches",
            f"max by (service) ({level}) > 0",
            "purple",
            "Switch in force",
            "{{service}}",
            "service",
        ),
        _marked(
            "Changes of switches",
            f"max by (service) (changes({level}[$__rate_interval])) > 0",
            "blue",
            "Switch changed",
            "{{service}}",
            "service",
        ),
    ]


def _marked(  # noqa: PLR0917 - in the order in which one says them
    name: str, expr: str, colour: str, title: str, text: str, tags: str
) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": expr,
        "step": "30s",
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": tags,
        "useValueForTime": False,
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "current": {},
        "options": [],
        "refresh": 1,
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "skipUrlSync": False,
    }


def _choice(name: str, query: str, every: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"variable-{name}"},
        "regex": "",
        "current": _ALL,
        "options": [],
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "allValue": every,
        "skipUrlSync": False,
    }


def _page(page: str) -> dict[str, Any]:
    said = {"selected": True, "text": page, "value": page}
    return {
        "name": "page",
        "label": "The sidecar's page",
        "type": "textbox",
        "query": page,
        "current": said,
        "options": [said],
        "hide": 0,
        "skipUrlSync": False,
    }
