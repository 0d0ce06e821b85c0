"""The dashboards that are shipped keep the rules by which Grafana's own are looked over."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import promql_parser as promql
import pytest
import yaml

from dashboards.grafana._files import PAGE, files
from dashboards.grafana._panel import Panel, Query
from dashboards.grafana._query import found
from detectors._kit import load
from tests.alerts import _promlint
from tests.dashboards._boards import BOARDS, FOLDER, panels, queries
from zombiewatch.boards import write
from zombiewatch.runbooks import runbooks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INTERVAL: Final = "4m"
"""What Grafana takes for rates where Prometheus scrapes every minute."""

SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
QUERIES: Final = [one for board in BOARDS.values() for one in queries(board, INTERVAL)]
_GROWS: Final = {"rate", "increase"}
_COUNTS: Final = ("_total", "_bucket", "_sum", "_count")

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
each_query = pytest.mark.parametrize(
    "expr", [expr for _, expr in QUERIES], ids=[name for name, _ in QUERIES]
)


def variable(board: dict[str, Any], name: str) -> dict[str, Any]:
    (one,) = (one for one in board["templating"]["list"] if one["name"] == name)
    return dict(one)


def test_each_view_that_was_promised_is_there() -> None:
    """A module each."""
    assert list(BOARDS) == [
        f"zombiewatch-{name}"
        for name in (
            "agents",
            "backlog",
            "lifecycle",
            "overview",
            "reports",
            "sidecar",
            "switches",
        )
    ]


@each_board
def test_a_dashboard_is_of_the_classic_form(board: dict[str, Any]) -> None:
    """Which every current Grafana reads; who wants another one makes it here."""
    assert board["schemaVersion"] >= 39
    assert board["editable"] is False
    assert "id" not in board  # Grafana's own number of it
    assert board["title"].startswith("zombiewatch: ")
    assert board["description"].endswith((".", "?"))
    assert BOARDS[board["uid"]] is board


@each_board
def test_dashboards_are_linked(board: dict[str, Any]) -> None:
    """By their tag, with what was chosen; and to the sidecar's page."""
    by_tag, page = board["links"]
    assert board["tags"] == by_tag["tags"] == ["zombiewatch"]
    assert (by_tag["type"], by_tag["includeVars"], by_tag["keepTime"]) == ("dashboards", True, True)
    assert page["url"] == "${page:raw}/"


@each_board
def test_what_is_looked_at_can_be_chosen(board: dict[str, Any]) -> None:
    """Prometheus, sidecars, and each further thing that a query speaks of."""
    source = variable(board, "datasource")
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    for name in ("job", "instance"):
        one = variable(board, name)
        assert (one["multi"], one["includeAll"], one["allValue"]) == (True, True, ".+")
        assert one["datasource"] == SOURCE
    text = json.dumps(board["panels"])
    spoken = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval", "__field"}
    named = {one["name"] for one in board["templating"]["list"]}
    assert spoken | {"job", "instance"} == named


@each_board
def test_all_meets_what_has_no_such_label(board: dict[str, Any]) -> None:
    """A finding may have no queue; it must not vanish unless a queue is chosen."""
    for one in board["templating"]["list"]:
        if one["name"] in {"service", "queue", "task"}:
            assert (one["multi"], one["includeAll"], one["allValue"]) == (True, True, ".*")


@each_board
def test_each_panel_says_what_it_is(board: dict[str, Any]) -> None:
    """With title, sentence, unit and source; each has its number, and each query its letter."""
    every = board["panels"]
    assert [one["id"] for one in every] == list(range(1, len(every) + 1))
    titles = [one["title"] for one in panels(board)]
    assert len(set(titles)) == len(titles)
    for one in panels(board):
        assert one["datasource"] == SOURCE
        assert one["title"]
        assert one["description"].endswith(".")
        assert one["fieldConfig"]["defaults"]["unit"]
        refs = [target["refId"] for target in one["targets"]]
        assert refs == list("ABCDE"[: len(refs)])
        assert refs
        assert all(target["datasource"] == SOURCE for target in one["targets"])


@each_board
def test_panels_lie_beside_each_other(board: dict[str, Any]) -> None:
    """None over another one, none beyond the edge."""
    places = [one["gridPos"] for one in board["panels"]]
    for one in places:
        assert one["x"] + one["w"] <= 24
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (a, b)


def within(expr: Any, around: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield each selector of *expr*, with all that is around it."""
    if isinstance(expr, promql.VectorSelector):
        yield expr, around
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        inner = getattr(expr, name, None)
        if inner is not None:
            yield from within(inner, (*around, expr))
    for inner in getattr(expr, "args", ()):
        yield from within(inner, (*around, expr))


@each_query
def test_a_query_can_be_read(expr: str) -> None:
    """Counters grow and are summed; what is no counter does not grow; nothing else is to regret."""
    for selector, around in within(promql.parse(expr)):
        called = {one.func.name for one in around if isinstance(one, promql.Call)}
        counter = selector.name.endswith(_COUNTS)
        assert bool(called & _GROWS) == counter, selector.name
        summed = any(isinstance(one, promql.AggregateExpr) for one in around)
        assert summed or not counter, selector.name
    assert _promlint.faults([{"record": "x", "expr": expr}]) == []


@each_query
def test_a_query_asks_those_that_were_chosen(expr: str) -> None:
    """But for alerts: their labels are not ours."""
    for selector, _ in within(promql.parse(expr)):
        names = {one.name for one in selector.matchers.matchers}
        assert names >= {"job", "instance"} or selector.name == "ALERTS"


def test_rates_look_over_what_grafana_says() -> None:
    """And not over a window of their own, unless that is an hour or a trend."""
    windows = {
        window
        for path in FOLDER.glob("json/*.json")
        for window in re.findall(r"\[([^\]\"]+)\]", " ".join(exprs(path)))
    }
    assert windows == {"$__rate_interval", "1h", "10m"}


def exprs(path: Path) -> list[str]:
    board = json.loads(path.read_text())
    return [target["expr"] for panel in panels(board) for target in panel["targets"]]


@each_board
def test_alerts_and_switches_are_marked(board: dict[str, Any]) -> None:
    """On each dashboard."""
    own, incidents, switches, changes = board["annotations"]["list"]
    assert own["builtIn"] == 1
    assert 'source="zombiewatch"' in incidents["expr"]
    assert 'alertstate="firing"' in incidents["expr"]
    for one in (switches, changes):
        assert "zombiewatch_degrade_level" in one["expr"]


def test_the_slowest_runs_lead_to_their_traces() -> None:
    """Wherever runs and waits are shown: these have exemplars, and nothing else has."""
    for board in BOARDS.values():
        for panel in panels(board):
            for target in panel["targets"]:
                has = bool(re.search(r"zombiewatch_task_(run|wait)_seconds_bucket", target["expr"]))
                assert target["exemplar"] == has, panel["title"]


def test_each_detector_has_its_panel() -> None:
    """With its sentence, its findings and its runbook; a new one appears by itself."""
    by_title = {one["title"]: one for one in panels(BOARDS["zombiewatch-overview"])}
    for one in load():
        panel = by_title[one.name]
        assert panel["description"] == one.summary
        assert {link["url"] for link in panel["links"]} == {
            f"${{page:raw}}/findings?detector={one.name}",
            f"${{page:raw}}/runbooks/{one.name}",
        }


def test_each_runbook_that_is_linked_to_is_there() -> None:
    """The sidecar serves it."""
    linked = re.findall(r"/runbooks/(\w+)\"", json.dumps(list(BOARDS.values())))
    assert linked
    assert set(linked) <= runbooks().keys()


def test_who_asks_for_an_unknown_detector_is_told() -> None:
    """A detector that was renamed is not left on a dashboard that stays empty."""
    with pytest.raises(ValueError, match="asks for zombies: there is none"):
        found("zombie_task", "zombies")


def test_each_query_of_a_panel_has_its_letter() -> None:
    """By which Grafana tells their answers apart."""
    panel = Panel("P", "It is.", "s", [Query("a"), Query("b", "{{x}}")]).json(7, 0, 0)
    assert [one["refId"] for one in panel["targets"]] == ["A", "B"]
    assert [one["legendFormat"] for one in panel["targets"]] == ["__auto", "{{x}}"]


def test_grafana_is_told_where_they_are(tmp_path: Path) -> None:
    """The command writes what the shipped files have, with the folder and page that were given."""
    written = {str(path.relative_to(tmp_path)): path for path in write(tmp_path, "https://w.test")}
    assert written.keys() == {name for name, _ in files()}
    said = yaml.safe_load(written["provisioning/dashboards/zombiewatch.yaml"].read_text())
    (provider,) = said["providers"]
    assert (said["apiVersion"], provider["type"], provider["allowUiUpdates"]) == (1, "file", False)
    assert provider["options"] == {"path": str(tmp_path / "json")}
    assert yaml.safe_load(written["provisioning/datasources/prometheus.yaml"].read_text())
    for name, path in written.items():
        if name.startswith("json/"):
            assert json.loads(path.read_text())["uid"] == path.stem
            assert "127.0.0.1" not in path.read_text()
            assert (FOLDER / name).read_text().replace(PAGE, "https://w.test") == path.read_text()
