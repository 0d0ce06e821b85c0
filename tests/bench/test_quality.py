"""The simulator: its scorer cannot be fooled, and at a small size the detectors do not err."""

from __future__ import annotations

import math
import random
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from bench.quality import report, wire
from bench.quality.cell import Cell
from bench.quality.clockwork import Clockwork
from bench.quality.failures.overdue_task import besides
from bench.quality.kit import Failure, load
from bench.quality.noise import Noise
from bench.quality.path import Exporter
from bench.quality.path import Path as Way
from bench.quality.result import result, wrong
from bench.quality.score import score
from bench.quality.simulate import simulate
from bench.quality.tasks import KINDS, Attempt
from bench.quality.truth import Truth, Truths
from bench.quality.world import Run, Size, World
from detectors import _kit as detectors
from model.findings import Finding

if TYPE_CHECKING:
    from pathlib import Path

NAME = "zombie_task"


def _run(
    truths: list[Truth], findings: list[Finding], *, healthy: bool = False, **more: Any
) -> Run:
    known: dict[str, Any] = {"every_s": {NAME: 5.0}, "hold_s": {NAME: 0.0}, **more}
    return Run(1, Size(10, 1, 1000.0), healthy, truths=truths, findings=findings, **known)


def _truth(true_s: float = 500.0, until_s: float = math.inf, **more: Any) -> Truth:
    return Truth(NAME, NAME, "cell", "t1/1", true_s - 60, true_s, until_s, **more)


def _finding(at_s: float | None, subject: str = "t1/1", verdict: str = "confirmed") -> Finding:
    made = Finding.new(f"{NAME}:cell/{subject}", NAME, "", wire.micros(at_s or 0.0))
    made.namespace, made.subject, made.verdict = "cell", subject, verdict
    made.confirmed_us = None if at_s is None else wire.micros(at_s)
    return made


def _scored(run: Run) -> tuple[int, int, int, int, int]:
    """Return how many were true, found, false, missed and late."""
    one = score(run)[NAME]
    return one.true, one.found, len(one.false), len(one.missed), len(one.slow)


def test_what_is_true_and_found_in_time_is_right() -> None:
    """Ten seconds are two intervals, and may pass."""
    assert _scored(_run([_truth()], [_finding(510)])) == (1, 1, 0, 0, 0)


def test_what_is_found_later_than_two_intervals_is_late() -> None:
    """A second more is late."""
    assert _scored(_run([_truth()], [_finding(511)])) == (1, 1, 0, 0, 1)


def test_a_side_that_says_little_is_waited_for() -> None:
    """Its silence counts from its next word on; another service's words are none of it."""
    for service, late in (("oxr", 0), ("agent", 1)):
        spoke = {("cell", service): [400.0, 520.0, 508.0]}
        run = _run([_truth(word_of="oxr")], [_finding(518)], spoke=spoke)
        run.instances["cell", "oxr"] = {"oxr-1"}
        assert _scored(run) == (1, 1, 0, 0, late)


@pytest.mark.parametrize(
    ("last_s", "again_s", "late"),
    [(460.0, 519.0, 0), (460.0, 530.0, 0), (450.0, 530.0, 1), (480.0, 530.0, 1)],
)
def test_each_one_that_was_heard_shortly_before_is_waited_for(
    last_s: float, again_s: float, late: int
) -> None:
    """Until it is heard again, or for a minute: not for one that was heard since, or long ago."""
    run = _run([_truth(word_of="oxr", word_s=460.0)], [_finding(525)])
    run.instances["cell", "oxr"] = {"oxr-1", "oxr-2"}
    run.spoke = {
        ("cell", "oxr-1"): [499.0, 501.0],
        ("cell", "oxr-2"): [last_s, again_s],
        ("cell", "oxr"): [last_s, 499.0, 501.0, again_s],
    }
    assert _scored(run) == (1, 1, 0, 0, late)


def test_what_was_lost_just_then_cannot_be_told() -> None:
    """Unknown is right where whoever was to speak lost something when it was to."""
    for instance, blind in (("a-1", 1), ("a-2", 0)):
        told = {"cell": [("agent", instance, 445.0, 446.0)]}
        run = _run([_truth(word_of="a-1", word_s=450.0)], [_finding(505)], told=told)
        assert (score(run)[NAME].blind, _scored(run)[1]) == (blind, 1 - blind)


@pytest.mark.parametrize(("lost_s", "blind"), [(390.0, 1), (367.0, 0)])
def test_what_may_have_been_said_before_is_among_what_was_lost_then(
    lost_s: float, blind: int
) -> None:
    """A dispatcher may call a run dead before it ends."""
    told = {"cell": [("oxr", "oxr-1", lost_s - 1, lost_s)]}
    truth = _truth(word_of="oxr", word_from_s=380.0, word_s=450.0)
    run = _run([truth], [_finding(505)], told=told)
    assert (score(run)[NAME].blind, _scored(run)[1]) == (blind, 1 - blind)


def test_while_the_sidecar_is_away_it_cannot_tell() -> None:
    """A restart of two seconds, and the interval after it, are no delay."""
    assert _scored(_run([_truth()], [_finding(517)], gaps=[(505.0, 507.0)])) == (1, 1, 0, 0, 0)
    assert _scored(_run([_truth()], [_finding(518)], gaps=[(505.0, 507.0)])) == (1, 1, 0, 0, 1)


def test_the_hold_is_no_delay() -> None:
    """Whoever holds for 20 s has so much longer."""
    run = _run([_truth()], [_finding(530)], hold_s={NAME: 20.0})
    assert _scored(run) == (1, 1, 0, 0, 0)


def test_what_nobody_made_true_is_false() -> None:
    """Another subject explains nothing."""
    assert _scored(_run([_truth()], [_finding(505, "t2/1")])) == (1, 0, 1, 1, 0)


def test_what_is_told_before_it_is_true_is_false_and_missed() -> None:
    """An early alarm is no good one."""
    assert _scored(_run([_truth()], [_finding(490)])) == (1, 0, 1, 1, 0)


def test_what_is_told_long_after_its_end_is_false() -> None:
    """It had its time."""
    run = _run([_truth(until_s=600.0)], [_finding(640)])
    assert _scored(run) == (1, 0, 1, 1, 0)


def test_what_ended_before_it_had_to_be_told_is_not_missed() -> None:
    """Nobody could have told it for sure."""
    assert _scored(_run([_truth(until_s=505.0)], [])) == (0, 0, 0, 0, 0)


def test_unknown_is_not_found() -> None:
    """A finding that was never confirmed is a miss, where it could be told."""
    assert _scored(_run([_truth()], [_finding(None, verdict="unknown")])) == (1, 0, 0, 1, 0)


def test_what_may_be_found_is_explained_and_not_missed() -> None:
    """It counts for precision, and not for recall."""
    may = _truth(must=False)
    assert _scored(_run([may], [])) == (0, 0, 0, 0, 0)
    run = _run([may], [_finding(900)])
    assert (_scored(run), score(run)[NAME].precision) == ((0, 0, 0, 0, 0), 1.0)


@pytest.mark.parametrize(("also", "blind"), [("", 1), ("oxr", 0), ("other", 1)])
def test_what_two_would_have_said_is_blind_where_both_lost_some(also: str, blind: int) -> None:
    """One of them who lost nothing would have told."""
    told = {"cell": [("worker", "w-1", 450.0, 451.0), ("other", "o-1", 455.0, 456.0)]}
    truth = _truth(word_of="w-1", word_s=460.0, also_of=also)
    run = _run([truth], [_finding(505)], told=told)
    assert (score(run)[NAME].blind, _scored(run)[1]) == (blind, 1 - blind)


@pytest.mark.parametrize(("said_s", "late"), [(450.0, 0), (400.0, 1)])
def test_what_came_late_passes_for_lost_until_it_comes(said_s: float, late: int) -> None:
    """Where it was said near the word that is missed, and bore a number."""
    run = _run([_truth(word_of="w-1", word_s=460.0)], [_finding(525)])
    run.missed["cell", "w-1"] = [(said_s, 520.0)]
    assert _scored(run) == (1, 1, 0, 0, late)


@pytest.mark.parametrize(("told_s", "silent"), [(505.0, 0), (506.0, 1), (math.inf, 1)])
def test_a_loss_is_without_a_trace_until_it_is_told(told_s: float, silent: int) -> None:
    """What was confirmed before nobody could know; what is unknown is right in any case."""
    lost, told = {("cell", "t1"): "told"}, {("cell", "t1"): told_s}
    one = score(_run([], [_finding(505)], lost=lost, told_s=told))[NAME]
    assert (len(one.of_told), one.of_silent) == (1 - silent, silent)
    one = score(_run([], [_finding(None, verdict="unknown")], lost=lost, told_s=told))[NAME]
    assert one.unknown_of_told == 1


def _says(way: Way, who: Exporter, at_s: float, losing: str = "") -> None:
    """Let *who* tell of a task's end, and lose that as *losing* says."""
    way.noise = Noise(
        late_share=0.0,
        twice_share=0.0,
        told_loss=float(losing == "told"),
        silent_loss=float(losing == "silent"),
    )
    way.send(who, at_s, wire.log("task.finished", at_s, {"task.id": "t1"}))


def _way() -> tuple[Way, list[Exporter]]:
    """Return a way, and the ends of it at an agent and a dispatcher."""
    way = Way(Noise(), random.Random(1), [])  # noqa: S311 - a simulation
    said = ({"service.name": one, "service.instance.id": one} for one in ("agent", "oxr"))
    return way, [way.exporter((wire.resource(one), "cell", 0.0), 0.0) for one in said]


@pytest.mark.parametrize("order", [1, -1])
def test_what_one_loses_without_a_trace_is_not_told_by_another(order: int) -> None:
    """An agent lost an end so, and its dispatcher told that it lost something."""
    way, ends = _way()
    for who, losing in list(zip(ends, ("silent", "told"), strict=True))[::order]:
        _says(way, who, 0.5, losing)
    assert way.lost == {("cell", "t1"): "silent"}


def test_a_loss_of_two_is_told_when_both_have() -> None:
    """Until then nobody can know."""
    way, (agent, dispatcher) = _way()
    for who in (agent, dispatcher):
        _says(way, who, 0.5, "told")
    _says(way, dispatcher, 1.2)
    assert way.told_s == {("cell", "t1"): math.inf}
    _says(way, agent, 3.2)
    assert 3.2 < way.told_s["cell", "t1"] <= 5


@pytest.mark.parametrize(("told", "good"), [("told", False), ("silent", True)])
def test_who_confirms_what_a_told_loss_explains_errs(told: str, good: bool) -> None:  # noqa: FBT001 - a parameter
    """A loss without a trace is nobody's fault."""
    one = score(_run([], [_finding(505)], lost={("cell", "t1"): told}))[NAME]
    assert (one.good, len(one.false)) == (good, 0)


def test_while_the_sidecar_is_away_silence_cannot_be_told() -> None:
    """Unknown is right then, and confirmed is not wrong."""
    for findings in ([], [_finding(505)]):
        run = _run([_truth()], findings, gaps=[(450.0, 470.0)])
        one = score(run)[NAME]
        assert (_scored(run), one.blind) == ((0, 0, 0, 0, 0), 1)


def test_a_short_absence_excuses_nothing() -> None:
    """A restart of three seconds loses nothing."""
    assert _scored(_run([_truth()], [], gaps=[(450.0, 453.0)])) == (1, 0, 0, 1, 0)


def test_one_false_alarm_among_healthy_tasks_is_one_too_many() -> None:
    """With failures a hundredth may be false; without, nothing."""
    findings = [_finding(505), _finding(505, "t2/1")]
    many = [_truth()] + [
        Truth(NAME, NAME, "cell", f"x{i}", 400, 500, must=False) for i in range(200)
    ]
    more = [_finding(505, f"x{i}") for i in range(200)]
    assert wrong(result(_run(many, findings + more))) == []
    assert wrong(result(_run(many, findings + more, healthy=True))) != []


def test_each_detector_has_a_failure_that_it_is_to_find() -> None:
    """Clocks that are off are in the noise: no failure has to make them so."""
    there = {one.name for one in detectors.load()}
    injected = {one.detector for one in load()}
    assert (there - injected, injected - there) == ({"clock_skew"}, set())


def test_the_page_is_of_the_run_alone() -> None:
    """What was wrong is on it."""
    run = result(_run([_truth()], [_finding(505, "t2/1")]))
    page = report.page({"began": "then", "seed": 7, "version": "0", "runs": [run]})
    assert "| zombie_task | 1 | 0 | 0 | 1 | 1 | 0.0000 | 0.0000 |" in page
    assert "zombie_task, false: cell t2/1 at 505 s" in page


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        ((0.0, 200.0, 0.0), {"cp-1": True}),  # one that is off beside right ones
        ((0.0, 200.0, -200.0), {"w-0": False, "cp-0": True, "cp-1": True}),  # off to all it met
        ((0.7, -0.7, 0.7), {"w-0": False, "cp-1": False}),  # too far apart, each right by itself
    ],
)
def test_of_clocks_apart_that_one_is_off_which_others_gainsay(
    tmp_path: Path, ahead: tuple[float, ...], told: dict[str, bool]
) -> None:
    """Whether a finding must come or may; of who agrees with somebody, none may."""
    world = World(Size(60, 2, 1100.0), 5, tmp_path, healthy=True)
    cell = world.cells[0]
    agent, (second, first) = cell.agents[0], cell.dispatchers
    for one, ahead_s in zip((agent, first, second), ahead, strict=True):
        one.ahead_s = cell.host_clocks.ahead_s[one.host] = ahead_s
    hidden = [cell.host_clocks.hidden(one) for one in (agent, first, second)]
    for other in (first, second) * 3:
        cell.host_clocks.look(cell, agent, other, 50.0)
    assert hidden == [abs(one) > 1.0 for one in ahead]  # until three calls have shown it
    assert not any(cell.host_clocks.hidden(one) for one in (agent, first, second))
    found = [one for one in world.truths.told if one.detector == "clock_skew"]
    assert {one.subject.removeprefix("host-"): one.must for one in found} == told
    world.sidecar.stop(50.0)


def _begun(*lost: str) -> tuple[Cell, Attempt, Truths]:
    """Return a run of a cell, at 30 s, what is true so far, and of *lost* nothing was heard."""
    rng, truths = random.Random("fixed"), Truths()  # noqa: S311 - no secret
    noise = Noise(0, 0, 0, 0, 0, near_s=0, reused_share=0, told_loss=0, silent_loss=0)
    cell = Cell("cell", Clockwork(), Way(noise, rng, ()), truths, rng)
    attempt = Attempt(1, "t1", next(one for one in KINDS if one.name == "export"), 100.0)
    cell.running[1] = attempt, cell.agents[0]
    for at_s, event in ((10.0, "task.started"), (20.0, "task.heartbeat")):
        cell.clock.run(at_s)
        if event not in lost:
            cell.sign(attempt, cell.agents[0], event)
    cell.clock.run(30.0)
    return cell, attempt, truths


@pytest.mark.parametrize(
    ("lost", "true_s"),
    [((), 141.0), (("task.started",), 151.0), (("task.started", "task.heartbeat"), 160.0)],
)
def test_a_run_has_lasted_since_what_was_heard_of_it_first(
    lost: tuple[str, ...], true_s: float
) -> None:
    """Where its start was lost, since its next sign; at the latest, since now."""
    cell, attempt, _ = _begun(*lost)
    assert besides(cell, attempt, Failure()).true_s == true_s


def test_events_happen_in_order() -> None:
    """Of two at one time, the first that was asked for; what is due later does not."""
    clock, seen = Clockwork(), list[str]()
    for at, what in ((2.0, "b"), (1.0, "a"), (2.0, "c"), (9.0, "never")):
        clock.at(at, partial(seen.append, what))
    clock.run(5.0)
    assert (seen, clock.now) == (["a", "b", "c"], 5.0)


def test_one_seed_is_one_simulation(tmp_path: Path) -> None:
    """What is said, when it is heard, and what is true are the same each time."""
    told = []
    for number in range(2):
        world = World(Size(60, 2, 1100.0), 5, tmp_path / str(number), healthy=False)
        world.clock.run(900.0)
        told.append((list(world.path.arrivals(900.0)), world.truths.told))
        world.sidecar.stop(900.0)
    assert told[0] == told[1]
    assert len(told[0][0]) > 500
    assert told[0][1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["failing", "healthy"])
def test_at_a_small_size_no_detector_errs(name: str) -> None:
    """Under noise, with a sidecar that is restarted three times."""
    assert wrong(simulate(2_000, 1, name)) == []
