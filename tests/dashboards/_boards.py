"""The dashboards that are shipped, and their queries as Grafana would ask them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from zombiewatch.generate import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = ROOT / "dashboards/grafana"
PATHS: Final = sorted(FOLDER.glob("json/*.json"))
BOARDS: Final[dict[str, dict[str, Any]]] = {
    path.stem: json.loads(path.read_text()) for path in PATHS
}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels that ask something: all but the headings."""
    return [one for one in board["panels"] if one["type"] != "row"]


def filled(board: dict[str, Any], expr: str, interval: str) -> str:
    """Return *expr* with all chosen of each variable; *interval* is what rates look over."""
    expr = expr.replace("$__rate_interval", interval)
    for one in board["templating"]["list"]:
        if "allValue" in one:
            expr = expr.replace(f"${one['name']}", one["allValue"])
    return expr


def queries(board: dict[str, Any], interval: str) -> Iterator[tuple[str, str]]:
    """Yield each query of the panels and annotations, filled in, with where it is from."""
    for panel in panels(board):
        for target in panel["targets"]:
            name = f"{board['uid']}: {panel['title']}: {target['refId']}"
            yield name, filled(board, target["expr"], interval)
    for one in board["annotations"]["list"]:
        if "expr" in one:
            yield f"{board['uid']}: mark {one['name']}", filled(board, one["expr"], interval)
