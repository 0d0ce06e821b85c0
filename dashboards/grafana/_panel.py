"""What a panel is: a question with a title, an answer in PromQL, and where to read on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
PAGE: Final = "${page:raw}"
"""The sidecar's page, as it was written: an address is not to be escaped."""

Kind = Literal["timeseries", "stat", "bargauge", "state-timeline"]
Steps = tuple[tuple[float, str], ...]
"""From which value on which colour."""

CALM: Final = "transparent"
"""A tile with nothing to tell is not even green."""
ANY_IS_BAD: Final[Steps] = ((1, "red"),)
ANY_IS_ODD: Final[Steps] = ((1, "orange"),)

_REF_IDS: Final = "ABCDEFGHIJ"


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and how its series are called; `exemplars` where the metric has such."""

    expr: str
    legend: str = ""
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """Where to read on: an address below the sidecar's page."""

    title: str
    path: str

    def json(self) -> dict[str, Any]:
        """Return it as Grafana has it."""
        return {"title": self.title, "url": f"{PAGE}{self.path}", "targetBlank": True}


FINDINGS_OF_SERIES: Final = Link(
    "Its findings", "/findings?detector=${__field.labels.detector:percentencode}"
)
RUNBOOK_OF_SERIES: Final = Link("Its runbook", "/runbooks/${__field.labels.detector}")
BY_DETECTOR: Final = (FINDINGS_OF_SERIES, RUNBOOK_OF_SERIES)
"""Links of series with a label `detector`."""


def of_detector(name: str) -> tuple[Link, Link]:
    """Return the links of a panel about one detector."""
    return Link("Findings", f"/findings?detector={name}"), Link("Runbook", f"/runbooks/{name}")


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: questions to Prometheus, and how the answers are shown.

    `unit` is Grafana's name of it, `width` is of 24; `words` say what values mean, with a colour;
    `links` are the panel's own, `series_links` those of each of its series.
    """

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8
    steps: Steps = ()
    stacked: bool = False
    most: float | None = None
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    links: Sequence[Link] = ()
    series_links: Sequence[Link] = ()

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Return it as Grafana has it, as panel *number* at that place."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "links": [one.json() for one in self.links],
            "targets": [
                _target(ref, one) for ref, one in zip(_REF_IDS, self.queries, strict=False)
            ],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": _OPTIONS[self.kind],
        }

    def _defaults(self) -> dict[str, Any]:
        words = {value: {"text": text, "color": hue} for value, (text, hue) in self.words.items()}
        colours: list[dict[str, Any]] = [
            {"value": None, "color": CALM if self.kind == "stat" else "green"}
        ]
        colours += [{"value": value, "color": hue} for value, hue in self.steps]
        made: dict[str, Any] = {
            "unit": self.unit,
            "min": 0,
            "color": {"mode": "palette-classic" if self.kind == "timeseries" else "thresholds"},
            "thresholds": {"mode": "absolute", "steps": colours},
            "mappings": [{"type": "value", "options": words}] if words else [],
            "links": [one.json() for one in self.series_links],
            "custom": self._custom(),
        }
        if self.most is not None:
            made["max"] = self.most
        return made

    def _custom(self) -> dict[str, Any]:
        if self.kind == "state-timeline":
            return {"fillOpacity": 80, "lineWidth": 0}
        if self.kind != "timeseries":
            return {}
        return {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if self.stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if self.steps else "off"},
        }


def _target(ref: str, one: Query) -> dict[str, Any]:
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": one.expr,
        "legendFormat": one.legend or "__auto",
        "range": True,
        "instant": False,
        "exemplar": one.exemplars,
    }


_LAST: Final = {"values": False, "calcs": ["lastNotNull"], "fields": ""}
_OPTIONS: Final[Mapping[Kind, dict[str, Any]]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": _LAST,
        "colorMode": "background",
        "graphMode": "area",
        "justifyMode": "auto",
        "textMode": "auto",
        "orientation": "auto",
    },
    "bargauge": {
        "reduceOptions": _LAST,
        "displayMode": "gradient",
        "orientation": "horizontal",
        "showUnfilled": True,
    },
    "state-timeline": {
        "mergeValues": True,
        "showValue": "auto",
        "rowHeight": 0.8,
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single"},
    },
}
