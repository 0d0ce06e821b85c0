"""What a dashboard is: a title, rows of panels, and what follows from what these ask for.

A module of this folder has its `BOARD`; its docstring's first sentence is the description.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from dashboards import grafana
from dashboards.grafana._around import marks, variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dashboards.grafana._panel import Panel

SCHEMA: Final = 39
"""Of the classic form, which every current Grafana reads; later ones migrate it by themselves."""

WIDTH: Final = 24
TAG: Final = "zombiewatch"


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, from left to right as they fit."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    title: str
    rows: Sequence[Row]
    name: str = ""
    doc: str = ""

    @property
    def uid(self) -> str:
        """Its address in Grafana: it never changes, or links to it break."""
        return f"{TAG}-{self.name}"

    @property
    def summary(self) -> str:
        """The docstring's first sentence."""
        return self.doc.strip().split("\n\n", 1)[0].replace("\n", " ")

    def json(self, page: str) -> dict[str, Any]:
        """Return it as Grafana has it; *page* is where people reach the sidecar."""
        asked = " ".join(
            query.expr for row in self.rows for panel in row.panels for query in panel.queries
        )
        return {
            "uid": self.uid,
            "title": f"{TAG}: {self.title}",
            "description": self.summary,
            "tags": [TAG],
            "schemaVersion": SCHEMA,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "timezone": "browser",
            "time": {"from": "now-3h", "to": "now"},
            "refresh": "30s",
            "links": _links(),
            "annotations": {"list": marks()},
            "templating": {"list": variables(asked, page)},
            "panels": list(_placed(self.rows)),
        }


def _placed(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    for row in rows:
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            "panels": [],
        }
        number, x, y, height = number + 1, 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, height = 0, y + height, 0
            yield panel.json(number, x, y)
            number, x, height = number + 1, x + panel.width, max(height, panel.height)
        y += height


def _links() -> list[dict[str, Any]]:
    shared = {"icon": "external link", "tooltip": "", "tags": [], "url": "", "asDropdown": False}
    kept = {"includeVars": True, "keepTime": True, "targetBlank": False}
    page = {"includeVars": False, "keepTime": False, "targetBlank": True}
    return [
        {**shared, **kept, "type": "dashboards", "title": TAG, "tags": [TAG], "asDropdown": True},
        {**shared, **page, "type": "link", "title": "The sidecar's page", "url": "${page:raw}/"},
    ]


def load() -> tuple[Board, ...]:
    """Return every dashboard of the folder, by name."""
    found = []
    for module in pkgutil.iter_modules(grafana.__path__):
        if not module.name.startswith("_"):
            loaded = importlib.import_module(f"{grafana.__name__}.{module.name}")
            found.append(replace(loaded.BOARD, name=module.name, doc=loaded.__doc__ or ""))
    return tuple(found)
