"""The rules that are shipped: sound, and each is proven to fire, and to stay quiet."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from alerts.rules.findings import name_of
from alerts.rules.links import Links
from alerts.rules.rule import Alert, Text
from alerts.rules.write import OBJECTIVE, TARGETS, groups, rules
from detectors._kit import load
from tests.alerts import _promlint
from tests.needs import need
from zombiewatch.generate import ROOT
from zombiewatch.runbooks import runbooks

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = ROOT / "alerts/prometheus"
DETECTORS: Final = load()
ALERTS: Final = [
    one
    for group in groups(DETECTORS, Links(), objective=OBJECTIVE)
    for one in group.rules
    if isinstance(one, Alert)
]


def read(target: str) -> list[dict[str, Any]]:
    said = yaml.safe_load((FOLDER / f"{target}.rules.yml").read_text())
    said = said.get("spec", said)
    return [rule for group in said["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("target", ["prometheus-2.42", "latest"])
def test_prometheus_takes_the_rules(target: str) -> None:
    """With every lint, and each lint an error."""
    tool = need("promtool", "apt-get install prometheus")
    argv = [tool, "check", "rules", "--lint=all", "--lint-fatal", f"{FOLDER}/{target}.rules.yml"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(read(target))} rules found" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(FOLDER.glob("tests-*.yml")), ids=lambda path: path.stem)
def test_each_alert_fires_when_it_must_and_not_otherwise(path: Any) -> None:
    """Every case of every alert, its labels and the texts that people read, in promtool."""
    tool = need("promtool", "apt-get install prometheus")
    argv = [tool, "test", "rules", path.name]
    done = subprocess.run(argv, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[:20_000]


def test_an_alert_says_what_it_seems_to_follow_from(tmp_path: Path) -> None:
    """Where the sidecar knows: the first case of one alert again, with a cause."""
    tool = need("promtool", "apt-get install prometheus")
    said = yaml.safe_load((FOLDER / "tests-1m.yml").read_text())
    case = next(one for one in said["tests"] if one["name"] == "LostReport 1")
    known = 'zombiewatch_finding_cause{detector="lost_report", service="api", cause="slow_report"}'
    case["input_series"].append({"series": known, "values": "1x60"})
    texts = case["alert_rule_test"][0]["exp_alerts"][0]["exp_annotations"]
    texts["description"] += " It seems to follow from: slow_report."
    said.update(tests=[case], rule_files=[str(FOLDER / "prometheus-2.42.rules.yml")])
    path = tmp_path / "tests.yml"
    path.write_text(yaml.safe_dump(said))
    argv = [tool, "test", "rules", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_vmalert_takes_the_rules() -> None:
    """Its dry run reads them all."""
    tool = need("vmalert", "apt-get install victoria-metrics")
    argv = [tool, "-dryRun", f"-rule={FOLDER}/vmalert.rules.yml"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_kubernetes_is_given_the_same_rules() -> None:
    """In the form of the Prometheus operator's resource."""
    said = yaml.safe_load((FOLDER / "prometheusrule.rules.yml").read_text())
    assert (said["apiVersion"], said["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert said["metadata"]["name"] == "zombiewatch"
    assert read("prometheusrule") == read("prometheus-2.42")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda one: f"{one.name}-{one.severity}")
def test_each_alert_has_a_firing_and_a_quiet_case(alert: Alert) -> None:
    """Only the watchdog never is quiet."""
    fires = [bool(case.alerts) for case in alert.cases]
    assert True in fires
    assert False in fires or alert.name == "ZombiewatchWatchdog"


def test_each_detector_has_its_alert() -> None:
    """Of its name, with the runbook of its name."""
    named = {one.name for one in ALERTS}
    assert {name_of(one.name) for one in DETECTORS} <= named


def test_each_runbook_that_an_alert_links_to_is_there() -> None:
    """The sidecar serves it under the address in the alert, and the heading is in it."""
    pages = runbooks()
    for one in ALERTS:
        name, _, anchor = one.texts["runbook_url"].text.rpartition("/runbooks/")[2].partition("#")
        assert not anchor or f"## {one.name}\n" in pages[name]
        assert pages[name]


def test_people_are_woken_as_agreed() -> None:
    """One agent down, crash loop, missed run or stalled dispatcher; five zombies and their kin."""
    critical = {one.name for one in ALERTS if one.severity == "critical"}
    assert critical == {
        "AgentDown",
        "CrashLoop",
        "DispatcherStalled",
        "LostReportMany",
        "MissedRun",
        "TasksEndWrong1h",
        "TasksEndWrong6h",
        "VerdictMismatchMany",
        "ZombieTaskMany",
        "ZombiewatchAbsent",
        "ZombiewatchDataLoss",
    }


def test_what_must_never_be_muted_is_not_degradable() -> None:
    """The switch itself, the watchdog, the absent sidecar, data loss, a dark source."""
    firm = {one.name for one in ALERTS if one.labels["degradable"] == "false"}
    assert firm >= {
        "DegradeSwitchStuck",
        "ServiceDegraded",
        "SourceDark",
        "ZombiewatchAbsent",
        "ZombiewatchDataLoss",
        "ZombiewatchWatchdog",
    }
    assert "ZombieTask" not in firm


@pytest.mark.parametrize("target", TARGETS)
def test_there_is_nothing_to_regret(target: str) -> None:
    """By the lint of our own, over all expressions."""
    assert _promlint.faults(read(target)) == []


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({"expr": "absent(up)"}, "absent without"),
        ({"expr": "rate(x_total[1m]) > 0"}, "less than two scrapes"),
        ({"expr": "topk(3, x)"}, "topk"),
        (
            {"expr": "sum by (job) (x) > 0", "annotations": {"a": "{{ $labels.service }}"}},
            "speak of service",
        ),
    ],
)
def test_the_lint_can_fail(rule: dict[str, Any], fault: str) -> None:
    """On each thing that it looks for."""
    (found,) = _promlint.faults([{"alert": "A", **rule}])
    assert fault in found
    sound = {"alert": "A", "expr": "x > 0"}
    assert _promlint.faults([sound, sound]) == ["A: twice"]


def test_addresses_are_those_that_were_given() -> None:
    """`zombiewatch rules` with where people reach the page, Alertmanager and a dashboard."""
    links = Links("https://watch.example", "https://am.example", "https://grafana.example/d/x")
    said = rules(DETECTORS, links, "latest", objective=0.99)
    assert "127.0.0.1" not in said
    for one in (
        "watch.example/runbooks/zombie_task",
        "am.example/#/silences",
        "grafana.example/d/x?",
    ):
        assert one in said


def test_a_text_is_filled_in_as_prometheus_does() -> None:
    """The tests of promtool compare; this is what of it can be seen without."""
    text = Text("of <service>[[queue:  (<queue>)]]", query="x{s=<service>}", of="c", answered=" <>")
    assert text.template() == (
        "of {{ $labels.service }}{{ if $labels.queue }} ({{ $labels.queue }}){{ end }}"
        '{{ with printf "x{s=%q}" $labels.service | query }} {{ . | first | label "c" }}{{ end }}'
    )
    assert text.filled({"service": "a", "queue": "b"}) == "of a (b)"
    assert text.filled({"service": "a"}) == "of a"
    assert Text("?s=<service>", url=True).filled({"service": "a b&c"}) == "?s=a+b%26c"


@pytest.mark.parametrize(
    "name", ['"\n- evil: 1', "{{ .Evil }}: &a *a", "\u202e\u0007#", "'; --", "- [", "x" * 10_000]
)
@pytest.mark.parametrize("target", ["prometheus-2.42", "prometheusrule"])
def test_hostile_addresses_do_no_harm_in_yaml(name: str, target: Any) -> None:
    """They stay texts: no rule is more or less, and none is called otherwise."""

    def names(said: Any) -> list[tuple[str, str]]:
        groups = said.get("spec", said)["groups"]
        return [
            (group["name"], rule.get("alert") or rule["record"])
            for group in groups
            for rule in group["rules"]
        ]

    plain = yaml.safe_load(rules(DETECTORS, Links(), target, objective=OBJECTIVE))
    hostile = rules(DETECTORS, Links(name, name, name), target, objective=OBJECTIVE)
    assert names(yaml.safe_load(hostile)) == names(plain)
