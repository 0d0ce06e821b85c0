"""Late keys, slow clocks, a start in mid-stream, an hour away: none of it makes a zombie."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from collector.store.journal import Entry
from detectors._judge import Judge
from detectors._kit import load
from tests.collector.stores import Turned, crash, line, send, store
from tests.detectors.harness import Memory

if TYPE_CHECKING:
    from pathlib import Path

    from collector.store.store import Store

HOUR = 3600.0


def dispatched(clock: Turned, task: str, ago: float = 0.0) -> bytes:
    """Return the dispatcher's line: *task* was handed out *ago* seconds before now."""
    at = clock() - round(ago * 1e6)
    return line("task.dispatched", at, service="oxr", task_id=task, task_name="sync")


def lived(clock: Turned, task: str, ago: float = 0.0, skew: float = 0.0) -> bytes:
    """Return the agent's line: it began *task* *ago* seconds ago, its clock off by *skew*."""
    at = clock() + round((skew - ago) * 1e6)
    said = {"service": "agent", "task_id": task, "task_name": "sync", "service_instance.id": "a1"}
    return line("task.started", at, **said)


def ended(clock: Turned, task: str, ago: float = 0.0) -> bytes:
    """Return the agent's and the dispatcher's last lines on *task*."""
    at = clock() - round(ago * 1e6)
    return line(
        "task.finished", at, service="agent", task_id=task, task_name="sync", task_outcome="success"
    ) + line(
        "task.recorded", at, service="oxr", task_id=task, task_state="success", task_name="sync"
    )


class Watch:
    """A judge over a store, which outlives restarts of the store."""

    def __init__(self) -> None:
        self.keeper = Memory()
        self.judge = Judge(load(), self.keeper)

    def look(self, at: Store, clock: Turned, heard_us: int | None = -1) -> dict[str, str]:
        """Evaluate now; return the verdicts of zombies and lost reports by subject."""
        reader = at.reader()
        self.judge.evaluate(
            reader, at.complete_us(), heard_us=clock() if heard_us == -1 else heard_us
        )
        reader.close()
        assert not self.judge.failing
        kinds = {"zombie_task", "lost_report", "silent_task"}
        return {
            one.subject: one.verdict for one in self.judge.open.values() if one.detector in kinds
        }


def warm(one: Store, clock: Turned) -> None:
    """Let both sides be heard once, so that silence can be evidence."""
    send(one, dispatched(clock, "t0"), lived(clock, "t0"), ended(clock, "t0"))
    clock.on(10)


def test_a_true_zombie_is_found_and_found_once(tmp_path: Path) -> None:
    """The other tests here mean something: with both sides heard, silence is a zombie."""
    clock, watch = Turned(), Watch()
    one = store(tmp_path, clock)
    warm(one, clock)
    send(one, dispatched(clock, "z"))
    for _ in range(4):
        clock.on(25)
        send(one, lived(clock, "other"))
        found = watch.look(one, clock)
    assert found == {"z/1": "confirmed"}
    assert watch.judge.totals == {("zombie_task", "confirmed"): 1}
    one.close()


def test_a_task_that_an_agent_shows_only_later_by_a_slow_clock_is_none(tmp_path: Path) -> None:
    """An agent whose clock is five minutes slow or fast is heard all the same."""
    clock, watch = Turned(), Watch()
    one = store(tmp_path, clock)
    warm(one, clock)
    for skew in (-300.0, 300.0):
        send(one, dispatched(clock, f"t{skew}"), lived(clock, f"t{skew}", skew=skew))
        clock.on(120)
        send(one, lived(clock, "other", skew=skew), ended(clock, f"t{skew}"))
        assert watch.look(one, clock) == {}
    one.close()


def test_what_ran_before_we_came_is_not_judged(tmp_path: Path) -> None:
    """Started in mid-stream, we see hand-outs of the past in a file and agents only from now on."""
    clock, watch = Turned(), Watch()
    one = store(tmp_path, clock)
    send(one, *(dispatched(clock, f"old{n}", ago=300 + n) for n in range(20)))
    for _ in range(6):
        clock.on(25)
        send(
            one,
            dispatched(clock, f"n{clock()}"),
            lived(clock, f"n{clock()}"),
            ended(clock, f"n{clock()}"),
        )
        found = watch.look(one, clock)
    assert set(found.values()) <= {"unknown"}
    assert not watch.judge.totals.get(("zombie_task", "confirmed"))
    one.close()


def test_catching_up_after_an_hour_makes_none(tmp_path: Path) -> None:
    """A file is read through in one go; what agents pushed meanwhile is gone: unknown."""
    clock, watch = Turned(), Watch()
    one = store(tmp_path, clock)
    beat: dict[str, Any] = {"instance": "a1", "service": "agent", "ts_us": 0}
    warm_by_push(one, clock)
    watch.look(one, clock)
    crash(one)
    clock.on(HOUR)
    two = store(tmp_path, clock)
    send(two, *(dispatched(clock, f"away{n}", ago=HOUR - 60 * n) for n in range(1, 59)))
    for _ in range(8):
        clock.on(25)
        push(two, {**beat, "ts_us": clock()})
        found = watch.look(two, clock)
    assert set(found.values()) == {"unknown"}
    assert not watch.judge.totals.get(("zombie_task", "confirmed"))
    two.close()


def push(into: Store, beat: dict[str, Any]) -> None:
    """Send one heartbeat as the HTTP endpoint would."""
    number = into.append(Entry("heartbeat", into._clock(), orjson.dumps(beat))).result(10)
    assert into.wait_applied(number, 20)


def warm_by_push(one: Store, clock: Turned) -> None:
    """Let the dispatcher be heard by file, and the agent by push only."""
    send(one, dispatched(clock, "t0"))
    push(
        one,
        {
            "task_id": "t0",
            "task_name": "sync",
            "service": "agent",
            "instance": "a1",
            "ts_us": clock(),
        },
    )
    clock.on(10)


def test_a_file_that_has_not_been_read_to_its_end_makes_none(tmp_path: Path) -> None:
    """While a followed file is behind, what it may still say is waited for."""
    clock, watch = Turned(), Watch()
    one = store(tmp_path, clock)
    warm(one, clock)
    send(one, dispatched(clock, "t1"))
    behind = clock()
    clock.on(90)
    send(one, lived(clock, "other"))
    assert watch.look(one, clock, heard_us=behind) == {"t1/1": "suspected"}
    assert watch.look(one, clock, heard_us=None) == {"t1/1": "suspected"}
    send(one, lived(clock, "t1", ago=89))
    assert watch.look(one, clock) == {}
    one.close()


def test_a_key_that_comes_after_settling_makes_none(tmp_path: Path) -> None:
    """Duplicates of long-settled tasks, repeated line by line, are folded with their history."""
    clock, watch = Turned(), Watch()
    one = store(tmp_path, clock, settle_s=30.0)
    warm(one, clock)
    first = [dispatched(clock, f"t{n}") for n in range(50)]
    send(
        one,
        *first,
        *(lived(clock, f"t{n}") for n in range(50)),
        *(ended(clock, f"t{n}") for n in range(50)),
    )
    clock.on(120)
    assert one.checkpoint()
    send(one, *first)
    for _ in range(4):
        clock.on(25)
        send(one, lived(clock, "other"), ended(clock, "other"))
        assert watch.look(one, clock) == {}
    one.close()


def test_a_sign_that_was_under_way_retracts(tmp_path: Path) -> None:
    """If the sign had been given before we confirmed, we were wrong, and say so."""
    clock, watch = Turned(), Watch()
    one = store(tmp_path, clock)
    warm(one, clock)
    send(one, dispatched(clock, "t1"))
    clock.on(90)
    send(one, lived(clock, "other"), ended(clock, "other"))
    assert watch.look(one, clock) == {"t1/1": "confirmed"}
    clock.on(20)
    send(one, lived(clock, "t1", ago=100))
    assert watch.look(one, clock) == {}
    assert watch.judge.totals["zombie_task", "retracted"] == 1
    one.close()


def test_an_agent_that_begins_at_last_resolves(tmp_path: Path) -> None:
    """If the sign was given after we confirmed, the finding was true, and has ended."""
    clock, watch = Turned(), Watch()
    one = store(tmp_path, clock)
    warm(one, clock)
    send(one, dispatched(clock, "t1"))
    clock.on(90)
    send(one, lived(clock, "other"), ended(clock, "other"))
    watch.look(one, clock)
    clock.on(20)
    send(one, lived(clock, "t1"))
    assert watch.look(one, clock) == {}
    assert watch.judge.totals["zombie_task", "resolved"] == 1
    one.close()


def test_findings_survive_a_restart_and_are_found_once(tmp_path: Path) -> None:
    """A confirmed finding stays confirmed through our own darkness, under the same key."""
    clock, watch = Turned(), Watch()
    one = store(tmp_path, clock)
    warm(one, clock)
    send(one, dispatched(clock, "z"))
    clock.on(90)
    send(one, lived(clock, "other"), ended(clock, "other"))
    watch.look(one, clock)
    crash(one)
    clock.on(HOUR)
    two = store(tmp_path, clock)
    again = Watch()
    again.keeper = watch.keeper
    again.judge = Judge(load(), watch.keeper)
    assert again.look(two, clock) == {"z/1": "confirmed"}
    assert len([one for one in watch.keeper.saved.values() if one.detector == "zombie_task"]) == 1
    two.close()


def test_a_detector_that_fails_ends_nothing(tmp_path: Path) -> None:
    """Its findings stay, an error is counted, the other detectors carry on."""
    clock, watch = Turned(), Watch()
    one = store(tmp_path, clock)
    warm(one, clock)
    send(one, dispatched(clock, "z"))
    clock.on(90)
    send(one, lived(clock, "other"), ended(clock, "other"))
    watch.look(one, clock)
    broken = [
        replace(each, sql="SELECT nothing") if each.name == "zombie_task" else each
        for each in load()
    ]
    watch.judge.detectors = broken
    reader = one.reader()
    report = watch.judge.evaluate(reader, clock(), heard_us=clock())
    reader.close()
    assert set(report.failed) == {"zombie_task"}
    assert watch.judge.errors == {"zombie_task": 1}
    assert [f.verdict for f in watch.judge.open.values() if f.detector == "zombie_task"] == [
        "confirmed"
    ]
    assert "lost_report" in report.took_s
    one.close()
