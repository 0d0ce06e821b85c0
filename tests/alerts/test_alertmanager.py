"""Alertmanager's configuration: taken, routed as agreed, merged without taking anything away."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from alerts.alertmanager.config import RECEIVERS, TEMPLATE, Hours, Telling, config, merged
from alerts.rules.links import Links
from alerts.rules.rule import Alert
from alerts.rules.write import OBJECTIVE, groups
from detectors._kit import load
from tests.needs import need

if TYPE_CHECKING:
    from pathlib import Path

HOOK: Final = {"webhook_configs": [{"url": "http://127.0.0.1:9/"}]}
HOURS: Final = Hours(
    [{"weekdays": ["monday:friday"], "times": [{"start_time": "08:00", "end_time": "18:00"}]}]
)
TELLING: Final = Telling(dict.fromkeys(RECEIVERS, HOOK), HOURS, str(TEMPLATE))
EXISTING: Final = yaml.safe_load("""
global: {resolve_timeout: 7m}
route:
  receiver: theirs
  group_by: [cluster]
  routes:
    - {receiver: theirs-db, matchers: ['team="db"'], continue: true}
receivers:
  - name: theirs
  - name: theirs-db
inhibit_rules:
  - source_matchers: [severity="critical"]
    target_matchers: [severity="warning"]
    equal: [cluster]
time_intervals:
  - {name: theirs, time_intervals: [{weekdays: ['sunday']}]}
templates: [/etc/theirs.tmpl]
""")


def amtool(*words: str) -> str:
    tool = need("amtool", "apt-get install prometheus-alertmanager")
    done = subprocess.run([tool, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def written(folder: Path, made: dict[str, Any]) -> str:
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(made))
    amtool("check-config", str(path))
    return str(path)


@pytest.mark.parametrize("telling", [Telling(), TELLING])
def test_alertmanager_takes_it(tmp_path: Path, telling: Telling) -> None:
    """Whether nobody is told, or everybody."""
    written(tmp_path, config(telling))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("severity=critical service=a", "critical"),
        ("severity=warning service=a", "warning"),
        ("severity=info service=a", "info"),
        ("alertname=ServiceDegraded severity=none", "nobody"),
        ("alertname=ZombiewatchWatchdog severity=none", "watchdog"),
        ("alertname=ZombiewatchAbsent severity=critical", "critical"),
        ("alertname=DegradeSwitchStuck severity=warning", "changes"),
        ("alertname=DegradePolicyBlind severity=warning", "changes"),
        ("alertname=DegradeFollowFailing severity=warning", "changes"),
    ],
)
def test_each_tier_has_its_receiver(tmp_path: Path, labels: str, receiver: str) -> None:
    """Incidents and changes apart; what only mutes is told to nobody."""
    path = written(tmp_path, config(TELLING))
    expected = f"--verify.receivers=zombiewatch-{receiver}"
    given = ["source=zombiewatch", *labels.split()]
    amtool("config", "routes", "test", f"--config.file={path}", expected, *given)


def test_a_merge_leaves_all_that_was_there(tmp_path: Path) -> None:
    """And its alerts go where they went."""
    made = merged(EXISTING, TELLING)
    path = written(tmp_path, made)
    assert made["global"] == EXISTING["global"]
    assert made["route"]["receiver"] == "theirs"
    for name in ("receivers", "inhibit_rules", "time_intervals", "templates"):
        assert [one for one in made[name] if one in EXISTING[name]] == EXISTING[name]
    test = ("config", "routes", "test", f"--config.file={path}")
    amtool(*test, "--verify.receivers=theirs-db", "team=db", "severity=critical")
    amtool(*test, "--verify.receivers=theirs", "severity=critical")
    amtool(*test, "--verify.receivers=zombiewatch-critical", "source=zombiewatch", "team=db",
           "severity=critical")  # fmt: skip


def test_a_second_merge_replaces_the_first() -> None:
    """Ours is there once, in its newest form; what was set before is gone."""
    once = merged(EXISTING, TELLING)
    assert merged(once, TELLING) == once
    fewer = merged(once, Telling())
    assert [one for one in fewer["receivers"] if "webhook_configs" in one] == []
    assert [one["name"] for one in fewer["time_intervals"]] == ["theirs"]
    assert len(fewer["inhibit_rules"]) == len(once["inhibit_rules"])


def test_what_is_no_configuration_is_refused() -> None:
    """Rather than made to one."""
    with pytest.raises(ValueError, match="no route"):
        merged({"groups": []}, TELLING)


def matches(matchers: list[str], labels: dict[str, str]) -> bool:
    """Say whether *labels* fit; by Python's regex, which for these is RE2's."""
    for one in matchers:
        name, sign, pattern = re.fullmatch(r'(\w+)(=~|!=|=)"(.*)"', one).groups()  # type: ignore[union-attr]
        given = labels.get(name, "")
        fits = bool(re.fullmatch(pattern, given)) if sign == "=~" else (given == pattern)
        if fits == (sign == "!="):
            return False
    return True


def test_no_alert_mutes_itself() -> None:
    """None of ours is a source and a target of the same rule; else neither would be told."""
    alerts = [
        one
        for group in groups(load(), Links(), objective=OBJECTIVE)
        for one in group.rules
        if isinstance(one, Alert)
    ]
    rules = config(TELLING)["inhibit_rules"]
    muted = set()
    for alert in alerts:
        for severity in ("info", "warning", "critical"):
            labels = {"severity": severity, "service": "a", **alert.own_labels(), "level": "L2"}
            labels["alertname"] = alert.name
            for rule in rules:
                target = matches(rule["target_matchers"], labels)
                assert not (target and matches(rule["source_matchers"], labels))
                muted |= {alert.name} if target else set()
    assert "ZombieTask" in muted
    for firm in ("ZombiewatchAbsent", "ZombiewatchDataLoss", "ZombiewatchWatchdog"):
        assert firm not in muted


@pytest.mark.parametrize(("status", "begins"), [("firing", "WARNING: "), ("resolved", "Over: ")])
def test_messages_list_their_members_and_look_resolved(
    tmp_path: Path, status: str, begins: str
) -> None:
    """As Alertmanager makes them of our template."""
    alert = {
        "status": status,
        "labels": {"alertname": "ZombieTask", "severity": "warning", "service": "api"},
        "annotations": {
            "summary": "A zombie.", "description": "zombie_task: confirmed for api.",
            "runbook_url": "http://watch/runbooks/zombie_task", "silence_url": "http://am/new",
            "finding_url": "http://watch/found",
        },
        "startsAt": "2026-01-31T08:00:00Z",
        "endsAt": "2026-01-31T08:05:00Z" if status == "resolved" else "0001-01-01T00:00:00Z",
    }  # fmt: skip
    data = {
        "status": status, "receiver": "x", "alerts": [alert, alert],
        "groupLabels": {"alertname": "ZombieTask"}, "commonLabels": alert["labels"],
        "commonAnnotations": alert["annotations"],
    }  # fmt: skip
    path = tmp_path / "data.json"
    path.write_text(json.dumps(data))

    def rendered(name: str) -> str:
        return amtool(
            "template", "render", f"--template.glob={TEMPLATE}", f"--template.data={path}",
            f'--template.text={{{{ template "{name}" . }}}}',
        ).strip()  # fmt: skip

    assert rendered("zombiewatch.title") == f"{begins}ZombieTask of api (2)"
    text = rendered("zombiewatch.text")
    assert text.count("zombie_task: confirmed for api.") == 2
    over = status == "resolved"
    assert ("It lasted from 2026-01-31 08:00:00 to 08:05:00 UTC." in text) is over
    for link in ("What to do: http://watch/runbooks/zombie_task", "Silence it: http://am/new"):
        assert (link in text) is not over
