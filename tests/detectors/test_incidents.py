"""Findings become incidents: one head, causes before effects, nothing joined that is strange."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from detectors._incidents import incidents
from detectors._kit import Detector, load
from model.findings import Finding

_KNOWN = load()[0]


def _detector(name: str, *follows: str) -> Detector:
    return replace(_KNOWN, name=name, follows=follows)


DETECTORS = [
    _detector("rate_limited"),
    _detector("crash_loop", "rate_limited"),
    _detector("agent_down", "crash_loop"),
    _detector("silent_task", "agent_down"),
    _detector("zombie_task", "agent_down"),
]


def _finding(number: int, detector: str, since_s: int, **said: Any) -> Finding:
    own = {name: said.pop(name) for name in ("service", "task", "queue") if name in said}
    verdict = said.pop("verdict", "confirmed")
    severity = said.pop("severity", "warning")
    return Finding(
        number,
        f"{detector}:{number}",
        detector,
        f"{detector}.",
        0,
        verdict=verdict,
        severity=severity,
        namespace=said.pop("namespace", "prod"),
        subject=f"s{number}",
        since_us=since_s * 1_000_000,
        evidence=said,
        **own,
    )


def test_a_chain_is_one_incident_in_causal_order() -> None:
    """Rate limit → crash loop → agent down → its tasks, whatever the order they were found in."""
    found = [
        _finding(1, "silent_task", 90, service="jobs", task="t1", agent="agent-1"),
        _finding(2, "silent_task", 91, service="jobs", task="t2", agent="agent-1"),
        _finding(3, "agent_down", 80, service="agent", instance="agent-1", host="h1"),
        _finding(4, "crash_loop", 70, service="agent", host="h1"),
        _finding(5, "rate_limited", 40, service="agent", severity="critical"),
    ]
    [one] = incidents(found, DETECTORS)
    chain = [(each.detector, len(each.findings)) for each in one.clusters]
    assert chain == [("rate_limited", 1), ("crash_loop", 1), ("agent_down", 1), ("silent_task", 2)]
    said = one.as_json()
    assert (said["id"], said["severity"], said["count"]) == (5, "critical", 5)
    assert said["head"]["detector"] == "rate_limited"
    # what was found of the service first is a cause of both that follow
    links = [(each["depth"], each["causes"]) for each in said["chain"]]
    assert links == [
        (0, []),
        (1, ["rate_limited"]),
        (2, ["crash_loop"]),
        (3, ["agent_down"]),
    ]


def test_hundreds_of_tasks_of_one_agent_are_one_incident() -> None:
    """Five hundred zombies under one agent are one thing to look at."""
    agent = _finding(1, "agent_down", 10, service="agent", instance="a1")
    tasks = [
        _finding(10 + n, "silent_task", 20, service="jobs", task=f"t{n}", agent="a1")
        for n in range(500)
    ]
    [one] = incidents([agent, *tasks], DETECTORS)
    assert one.head.detector == "agent_down"
    assert [len(each.findings) for each in one.clusters] == [1, 500]


def test_what_has_nothing_in_common_stays_apart() -> None:
    """Another agent, another namespace, or a cause that began long after its effect."""
    task = _finding(1, "silent_task", 100, service="jobs", task="t1", agent="a1")
    for other in (
        _finding(2, "agent_down", 90, service="agent", instance="a2"),
        _finding(2, "agent_down", 90, service="agent", instance="a1", namespace="test"),
        _finding(2, "agent_down", 401, service="agent", instance="a1"),
    ):
        assert len(incidents([task, other], DETECTORS)) == 2
    near = _finding(2, "agent_down", 400, service="agent", instance="a1")
    assert len(incidents([task, near], DETECTORS)) == 1


def test_only_what_is_confirmed_makes_an_incident() -> None:
    """What is suspected or unknown is nobody's incident yet."""
    for verdict in ("suspected", "unknown", "resolved", "retracted"):
        assert incidents([_finding(1, "crash_loop", 1, verdict=verdict)], DETECTORS) == []


def test_a_circle_of_causes_has_the_oldest_for_its_head() -> None:
    """Two that may each follow from the other are one incident all the same."""
    circle = [_detector("a", "b"), _detector("b", "a")]
    found = [_finding(1, "a", 20, service="s"), _finding(2, "b", 10, service="s")]
    [one] = incidents(found, circle)
    assert [each.detector for each in one.clusters] == ["b", "a"]
    assert [each.depth for each in one.clusters] == [0, 1], "it is cut at the oldest"


def test_the_worst_and_oldest_comes_first() -> None:
    """As a person would want to read them."""
    found = [
        _finding(1, "crash_loop", 10, service="x"),
        _finding(2, "crash_loop", 50, service="y", severity="critical"),
        _finding(3, "crash_loop", 5, service="z"),
    ]
    assert [one.head.service for one in incidents(found, DETECTORS)] == ["y", "z", "x"]


def test_every_cause_that_a_detector_names_is_a_detector() -> None:
    """A misspelt name would never join anything."""
    names = {one.name for one in load()}
    for one in load():
        assert set(one.follows) <= names, one.name
        assert one.name not in one.follows
