"""Bruin's incident against the real sidecar: what must be found is, and nothing else."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from rich.console import Console

from detectors._kit import load
from tests.e2e._browser import Looking, chromium
from tests.labs._boards import Boards
from tests.needs import need
from zombiewatch.chain import TOLD
from zombiewatch.session import Session, run_lab

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from zombiewatch.child import Sidecar


def found(bugs: str, **more: Any) -> tuple[int, str]:
    """Run the lab with *bugs*; return the exit status and what was printed."""
    console = Console(file=io.StringIO(), width=160)
    session = Session(lab="bruin", bugs=bugs, console=console, **more)
    status = run_lab(session)
    assert isinstance(console.file, io.StringIO)
    return status, console.file.getvalue()


@pytest.mark.slow
def test_without_bugs_nothing_is_found() -> None:
    """For each bug alone there is a recording (test_recorded.py)."""
    status, printed = found("none")
    assert status == 0, printed


def is_seen(browser: Browser, sidecar: Sidecar, incident: int) -> None:
    """Look as somebody who was woken would: overview, *incident*, zombie, timeline."""
    seen = Looking(browser, sidecar.urls["http"])
    page = seen.go("/")
    expect(page.locator("#state")).to_have_attribute("data-state", "trouble")
    page.locator(f'.incidents a[href="/incidents/{incident}"]').click()
    expect(page.get_by_role("heading", name="What followed from what")).to_be_visible()
    page.locator(".steps li", has_text="zombie task").locator("a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("zombie task")
    told = page.locator("svg.tl").text_content() or ""
    for words in ("its caller gave up here", "committed here", "oxr-agent"):
        assert words in told
    assert page.locator("svg.tl .tl-arrow").count() >= 1
    assert seen.troubles == []
    seen.close()


@pytest.mark.slow
def test_the_findings_are_those_of_the_incident_and_somebody_is_told(tmp_path: Path) -> None:
    """On the page and by Alertmanager: one zombie is a ticket, five wake somebody."""
    for command in ("prometheus", "prometheus-alertmanager"):
        need(command, f"apt-get install {command}")
    looked: list[int] = []

    def look(gone: float, sidecar: Sidecar) -> None:
        boards.look(gone, sidecar)
        of_zombies = [
            one["id"]
            for one in ([] if looked else sidecar.incidents())
            if "zombie_task" in {link["detector"] for link in one["chain"][1:]}
        ]
        if of_zombies:
            looked.append(of_zombies[0])
            with chromium() as browser:
                is_seen(browser, sidecar, of_zombies[0])

    with Boards(tmp_path / "boards") as boards:
        status, printed = found("all", alerts=True, keep=tmp_path, each_second=look)
    assert status == 0, printed
    assert looked
    boards.all_is_shown("bruin")
    told = json.loads((tmp_path / "chain" / TOLD).read_text())
    zombies = {
        one["labels"]["alertname"]: one
        for one in told
        if one["labels"].get("detector") == "zombie_task"
    }
    severities = {name: one["labels"]["severity"] for name, one in zombies.items()}
    assert severities == {"ZombieTask": "warning", "ZombieTaskMany": "critical"}
    labels, texts = zombies["ZombieTask"]["labels"], zombies["ZombieTask"]["annotations"]
    assert (labels["service"], labels["degradable"]) == ("oxr-dispatcher", "true")
    assert texts["summary"] == next(one.summary for one in load() if one.name == "zombie_task")
    assert texts["description"].startswith("zombie_task: confirmed for oxr-dispatcher")
    assert texts["runbook_url"].endswith("/runbooks/zombie_task")
    for name in ("finding_url", "silence_url"):
        assert "oxr-dispatcher" in texts[name]
    assert {"LostReport", "SwallowedError", "SlowReport", "GaveUpButCommitted"} <= {
        one["labels"]["alertname"] for one in told
    }
    assert "LostReport" in printed


@pytest.mark.slow
def test_a_sidecar_killed_in_the_middle_finds_the_same() -> None:
    """SIGKILL and a restart in mid-incident change nothing of what is found."""
    killed: list[float] = []

    def kill(gone: float, sidecar: Sidecar) -> None:
        if gone > 20 and not killed:
            killed.append(gone)
            sidecar.kill()
            sidecar.start()

    status, printed = found("all", each_second=kill)
    assert killed
    assert status == 0, printed
