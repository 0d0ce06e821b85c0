"""An incident in a terminal: one chain from the first cause, and numbers that add up."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from model.units import iso
from zombiewatch.incident import render_incident
from zombiewatch.outcome import Told

T0 = 1_790_000_000_000_000


def link(
    detector: str, at_s: float, *findings: int, subject: str = "web-1", causes: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "detector": detector, "service": "web", "count": len(findings), "severity": "warning",
        "since": iso(T0 + round(at_s * 1e6)), "summary": f"What {detector} says.",
        "fix": f"Mend {detector}.", "subjects": [subject] * min(10, len(findings)),
        "findings": [*findings], "causes": [*causes], "depth": 0,
    }  # fmt: skip


def incident(*chain: dict[str, Any], suspects: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    for depth, one in enumerate(chain):
        one["depth"] = depth
    return {
        "id": chain[0]["findings"][0], "severity": "critical", "since": chain[0]["since"],
        "namespace": "test", "head": chain[0], "chain": [*chain],
        "count": sum(one["count"] for one in chain), "suspects": [*suspects],
    }  # fmt: skip


def drawn(one: dict[str, Any], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render_incident(one))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_chain_is_drawn_from_its_first_cause_and_that_is_what_is_to_be_mended() -> None:
    """Each link below and beside its cause, with how much later it began."""
    chain = (link("auth_failure", 0, 1), link("rate_limited", 4, 2), link("agent_down", 14, 3, 4))
    shown = drawn(incident(*chain)).splitlines()
    at = [next(row for row in shown if one["detector"] in row) for one in chain]
    indents = [len(row) - len(row.lstrip(" └►")) for row in at]
    assert indents == sorted(set(indents))
    assert [row.split("web")[1].strip() for row in at] == ["", "4.0 s later", "14 s later"]
    assert [row for row in shown if "Do: " in row] == [
        row for row in shown if "Mend auth_failure." in row
    ]
    assert "incident 1  critical  since" in shown[0]
    assert "4 findings" in shown[0]


def test_of_several_causes_each_is_named() -> None:
    """An arrow shows one of them only."""
    both = ("gave_up_but_committed", "lost_report")
    shown = drawn(incident(link(both[0], 0, 1), link("zombie_task", 2, 2, causes=both)))
    assert "zombie_task  web  2.0 s later  (from gave_up_but_committed, lost_report)" in shown


def test_of_many_subjects_a_few_are_named() -> None:
    """How many there are more is said."""
    shown = drawn(incident(link("lost_report", 0, *range(1, 1_501))))
    assert "web-1, web-1, web-1 and 1,497 more" in shown


def test_a_score_is_the_sum_of_what_is_shown() -> None:
    """The numbers that made it, with their weights."""
    parts = {"figures": 1.0, "errors": 0.5, "depth": 0.75}
    suspect = {"name": "prices", "score": 0.775, "parts": parts, "why": "p95 0.1 s → 2 s"}
    shown = drawn(incident(link("backlog_spike", 0, 1), suspects=(suspect,)), 120)
    terms = re.findall(r"(\d+)% x ([\d.]+)", shown)
    assert len(terms) == 3
    assert sum(int(weight) / 100 * float(part) for weight, part in terms) == pytest.approx(0.775)
    assert "prices  p95 0.1 s → 2 s" in shown


@pytest.mark.parametrize("width", [40, 80, 160])
def test_what_was_logged_cannot_act_on_the_terminal(width: int) -> None:
    """Nor is any line longer than the terminal."""
    shown = drawn(incident(link("agent_down", 0, 1, subject="x\x1b[2J\u202e" + "y" * 300)), width)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert max(map(len, shown.splitlines())) <= width


def test_an_incident_is_remembered_at_its_fullest() -> None:
    """One of which causes have ended is less than it was; a part of another one is none."""
    whole = incident(link("auth_failure", 0, 1), link("rate_limited", 4, 2))
    asked: list[int] = []

    class Seen:
        now: list[dict[str, Any]]

        def incidents(self) -> list[dict[str, Any]]:
            return self.now

        def incident(self, number: int) -> dict[str, Any] | None:
            asked.append(number)
            return next((one for one in self.now if one["id"] == number), None)

    told, sidecar = Told(), Seen()
    first, last = incident(whole["chain"][0]), incident(whole["chain"][1])
    for sidecar.now in ([first], [whole], [whole], [last], []):
        told.look(sidecar)
    assert told.fullest() == [whole]
    assert asked == [1, 1, 2], "only what has grown is asked for"
