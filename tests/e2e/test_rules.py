"""The rules against a real sidecar, scraped by a real Prometheus that evaluates them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from alerts.rules.links import Links
from alerts.rules.rule import Record
from alerts.rules.write import TARGETS, groups
from detectors._kit import load
from tests.alerts import _promlint
from tests.e2e._prometheus import firing, prometheus, scraping, soon
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, call, eventually, zombiewatch
from zombiewatch.generate import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_TYPE: Final = re.compile(r"^# TYPE (\S+) ", re.MULTILINE)


def written(*words: str) -> str:
    done = zombiewatch("rules", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_the_command_writes_what_is_shipped(target: str) -> None:
    """Without options of one's own."""
    shipped = ROOT / f"alerts/prometheus/{target}.rules.yml"
    assert written("--target", target) == shipped.read_text()


def test_what_cannot_be_written_for_is_refused() -> None:
    """With what can."""
    done = zombiewatch("rules", "--target", "nagios")
    assert (done.returncode, done.stdout) == (2, "")
    assert "prometheus-2.42, latest, vmalert, prometheusrule" in done.stderr


def test_every_metric_that_a_rule_names_is_there(shared: Running) -> None:
    """In a scrape of a sidecar, or recorded by a rule before."""
    exposed = set(_TYPE.findall(shared.get("/metrics").body.decode()))
    rules = [one for group in groups(load(), Links(), objective=0.999) for one in group.rules]
    recorded = {one.name for one in rules if isinstance(one, Record)}
    named = set().union(*(_promlint.metrics(one.expr) for one in rules))
    assert named - exposed - recorded == {"ALERTS"}


def test_the_sidecar_serves_the_runbooks(shared: Running) -> None:
    """Under the address that alerts link to."""
    answer = shared.get("/runbooks/zombie_task")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/markdown; charset=utf-8")
    assert (
        answer.body.decode().strip() == (ROOT / "docs/runbooks/zombie_task.md").read_text().strip()
    )
    missing = shared.get("/runbooks/none")
    assert missing.status == 404
    assert "zombie_task" in missing.body.decode()


@pytest.mark.slow
def test_a_zombie_becomes_an_alert_and_a_dead_sidecar_does_not_end_it(tmp_path: Path) -> None:
    """With its links and its labels; and that nobody looks any more is told."""
    with Running(tmp_path / "sidecar", QUICK) as sidecar:
        where = sidecar.url()
        rules = tmp_path / "rules.yml"
        rules.write_text(soon(written("--page", where)))
        config = scraping(where, rules)
        with prometheus(tmp_path / "prometheus", config) as (url, _):
            eventually({"ZombiewatchWatchdog"}, lambda: set(firing(url)))
            Scheduler(sidecar, queue="night").loses("lost")
            eventually({"ZombieTask", "ZombiewatchWatchdog"}, lambda: set(firing(url)))
            one = firing(url)["ZombieTask"]
            assert one["labels"].items() >= {
                "service": "api", "queue": "night", "severity": "warning", "degradable": "true",
                "detector": "zombie_task", "job": "zombiewatch",
            }.items()  # fmt: skip
            texts = one["annotations"]
            assert texts["description"] == "zombie_task: confirmed for api (queue night)."
            assert b"no agent" in call("GET", texts["runbook_url"]).body
            found = call("GET", texts["finding_url"])
            assert (found.status, b"lost/1" in found.body) == (200, True)

            sidecar.kill()
            expected = {"ZombieTask", "ZombiewatchAbsent", "ZombiewatchWatchdog"}
            eventually(expected, lambda: set(firing(url)))
