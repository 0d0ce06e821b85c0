"""Webinstall's incident: a misspelt word becomes one incident, told from its cause to its end."""

from __future__ import annotations

import io
import re
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from labs._kit import LabProcessError, Runner
from labs._logs import lines
from labs.webinstall import LAB, expected
from labs.webinstall.options import INSTANCE, SUPERVISOR_LOG
from labs.webinstall.supervisor import RETRIES
from tests.labs._words import heard
from zombiewatch.client import AskError, ask
from zombiewatch.session import Session, run_lab

if TYPE_CHECKING:
    from pathlib import Path

    from zombiewatch.child import Sidecar

BUGS = sorted(LAB.bugs)
CHAIN = ["auth_failure", "rate_limited", "crash_loop", "agent_down"]


# What is expected


def test_only_a_typo_begins_anything() -> None:
    """Who is never turned away has nothing to die of, whatever else is wrong with it."""
    for size in range(len(BUGS) + 1):
        for chosen in combinations(BUGS, size):
            found = expected(frozenset(chosen))
            assert bool(found.must) == ("header_typo" in chosen)
            assert not found.may


def test_all_of_it_is_expected_with_all_bugs() -> None:
    """The incident has all four links, and nothing besides."""
    assert frozenset(CHAIN) == expected(frozenset(BUGS)).must


def test_without_a_supervisor_it_says_which_package_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clear error, not a lab that waits for what never comes."""
    monkeypatch.setenv("PATH", str(tmp_path))
    commands = LAB.processes("http://127.0.0.1:1", tmp_path / "logs", tmp_path, frozenset(), 1.0)
    with (
        pytest.raises(LabProcessError, match="apt-get install supervisor"),
        Runner(commands, tmp_path),
    ):
        pass


# What the processes say


_SILENT = re.compile(
    r"^release \d starts$|^refreshed \d+ packages$|^connected to the dispatcher$"
    r"|^taking the \S+ that is kept here: |^the dispatcher does not answer: "
    rf"|^{INSTANCE} has (dis)?connected"
)
"""Messages that need no phase."""

_SUPERVISED = re.compile(
    r" INFO spawned: 'webinstall' with pid \d+$"
    r"| (CRIT|INFO|WARN) (Set uid |supervisord started |received SIG|waiting for webinstall |"
    r"stopped: |exited: |success: |gave up: |Supervisor is running as root)"
)


def check_lines(logs: Path) -> set[str]:
    """See that each line is one that somebody has thought of; return the phases that were said."""
    supervised = [
        {"service": "", "message": text}
        for text in (logs / SUPERVISOR_LOG).read_text().splitlines()
    ]
    said = heard(LAB, lines(logs), _SILENT) + heard(LAB, supervised, _SUPERVISED)
    return {rule["phase"] for rule in said}


_CALM = {
    *("instance.started", "instance.stopped", "heartbeat", "enqueued", "dispatched"),
    *("accepted", "started", "finished", "recorded"),
}


# The whole lab, watched


class Watch:
    """Remembers the incidents that the sidecar told of last."""

    def __init__(self) -> None:
        self.incidents: list[dict[str, Any]] = []
        self.findings: list[dict[str, Any]] = []

    def __call__(self, _gone: float, sidecar: Sidecar) -> None:
        """Ask the sidecar."""
        try:
            self.incidents = ask(sidecar.urls["http"], "/api/v1/incidents")["incidents"]
        except AskError:
            return
        self.findings = sidecar.findings()["findings"]


@pytest.mark.slow
@pytest.mark.parametrize("bugs", ["none", "all"])
def test_it_is_one_incident_from_its_cause_to_its_end(tmp_path: Path, bugs: str) -> None:
    """With all bugs: four findings, one chain, its waiting jobs counted; with none: silence."""
    console = Console(file=io.StringIO(), width=160)
    watch = Watch()
    session = Session("webinstall", bugs, keep=tmp_path, console=console, each_second=watch)
    status = run_lab(session)
    assert isinstance(console.file, io.StringIO)
    assert status == 0, console.file.getvalue()
    truth = LAB.truth(tmp_path / "logs", tmp_path / "work")
    said = check_lines(tmp_path / "logs")
    if bugs == "none":
        assert said - {"requeued"} == _CALM
        assert (truth["anonymous_calls"], truth["deaths"], truth["given_up"]) == (0, 0, 0)
        assert truth["lives"] == 2
        assert watch.incidents == []
        return
    assert {*_CALM, "requeued"} == said
    assert (truth["deaths"], truth["given_up"]) == (1 + RETRIES, 1)
    (incident,) = watch.incidents
    assert [link["detector"] for link in incident["chain"]] == CHAIN
    assert incident["head"]["detector"] == CHAIN[0]
    (down,) = [one for one in watch.findings if one["detector"] == "agent_down"]
    assert down["evidence"]["tasks"] > 1, down
