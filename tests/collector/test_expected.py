"""What is said of due times, through a real store, over restarts, absences and clocks that jump."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from collector.expected import Expected, known, open_runs
from collector.schedule import Schedule
from collector.store.journal import Entry, JournalFullError
from detectors._judge import Judge
from detectors._kit import load
from tests.collector.stores import START_US, Turned, ask, crash, send, store
from tests.detectors.harness import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from collector.store.store import Store

SECOND, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000
# so that START_US is 20 s after a full minute: due times are easier to read
PAST = START_US % MINUTE
EVERY_MINUTE = Schedule("sync", cron="* * * * *", start_grace_s=30.0)
HOURLY = Schedule("backup", every_s=3600.0, start_grace_s=300.0)


class World:
    """A sidecar's store and its due times, on a clock that the test turns."""

    def __init__(self, folder: Path, *schedules: Schedule) -> None:
        self._folder = folder
        self.clock = Turned()
        self.store: Store = store(folder, self.clock)
        self.expected = self._expected(schedules)
        self._judge = Judge([one for one in load() if one.name == "missed_run"], Memory())

    def _expected(self, schedules: tuple[Schedule, ...]) -> Expected:
        made = Expected(schedules, self.store.append, lambda: self._read(known), self.clock)
        made.remember(self._read(open_runs))
        made.tick()
        self.settled()
        return made

    def _read(self, look: Any) -> Any:
        reader = self.store.reader()
        try:
            return look(reader, "test")
        finally:
            reader.close()

    def again(self, *schedules: Schedule, away_s: float = 0.0) -> None:
        """Be killed, stay away for so long, and start with *schedules*."""
        crash(self.store)
        self.clock.on(away_s)
        self.store = store(self._folder, self.clock)
        self.expected = self._expected(schedules)

    def on(self, seconds: float, step_s: float = 1.0) -> None:
        """Let so much time pass, looking every *step_s*."""
        left = seconds
        while left > 0:
            self.clock.on(min(step_s, left))
            left -= step_s
            self.store._folder.alive(self.clock.at_us)
            self.expected.tick()
            self.settled()

    def settled(self) -> None:
        assert self.store.wait_applied(self.store.journal_last_id, 20)

    def pings(self, name: str, **said: Any) -> None:
        """Take a ping of now, as the receiver makes it."""
        now = self.clock.at_us
        told = {"schedule": name, "what": "end", "ts_us": now, "outcome": "success", **said}
        told.setdefault("task", self.expected.ends(name, now))
        told["due_us"] = self.expected.honours(name, now)
        self.store.append(Entry("ping", now, orjson.dumps(told))).result(10)
        self.settled()

    def dues(self, name: str) -> list[float]:
        """Return the due times that were said, in seconds since the beginning."""
        found = ask(
            self.store,
            f"SELECT due_us FROM dues WHERE schedule = '{name}' AND expected_us IS NOT NULL"
            " ORDER BY due_us",
        )
        return [(due - START_US) / SECOND for (due,) in found]

    def found(self) -> list[tuple[str, str]]:
        """Return what missed_run says now: subjects and verdicts."""
        reader = self.store.reader()
        try:
            # far apart, as far as the judge's own pauses go
            self._judge._looked_us.clear()
            report = self._judge.evaluate(reader, self.clock.at_us, heard_us=self.clock.at_us)
        finally:
            reader.close()
        assert not report.failed
        return sorted((one.subject, one.verdict) for one in self._judge.open.values())

    def close(self) -> None:
        self.store.close()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Any]:
    """Return what makes a world of schedules."""
    worlds: list[World] = []

    def make(*schedules: Schedule) -> World:
        worlds.append(World(tmp_path / "data", *schedules))
        return worlds[-1]

    yield make
    for one in worlds:
        one.close()


def next_minutes(number: int, after_us: int = START_US) -> list[float]:
    """Return the next full minutes, in seconds since the beginning."""
    first = (after_us // MINUTE + 1) * MINUTE
    return [(first + n * MINUTE - START_US) / SECOND for n in range(number)]


def test_nothing_is_expected_before_the_first_sign(made: Any) -> None:
    """A job that was declared and is not set up yet raises no alarm."""
    world = made(EVERY_MINUTE, HOURLY)
    world.on(3 * 3600, 30)
    assert (world.dues("sync"), world.dues("backup"), world.found()) == ([], [], [])


def test_a_due_time_is_said_when_it_comes(made: Any) -> None:
    """Neither before it nor twice; after its grace without a sign it is missed."""
    world = made(EVERY_MINUTE)
    world.pings("sync")
    first = next_minutes(1)[0]
    world.on(first - 1)
    assert world.dues("sync") == []
    world.on(1)
    assert world.dues("sync") == [first] == next_minutes(1)
    world.on(30)
    assert world.found() == []
    world.on(1)
    assert world.found() == [("sync", "confirmed")]


def test_a_sign_clears_it(made: Any) -> None:
    """Late, but it came: the finding ends, and the due time is known to be honoured."""
    world = made(EVERY_MINUTE)
    world.pings("sync")
    world.on(next_minutes(1)[0] + 40)
    assert world.found() == [("sync", "confirmed")]
    world.pings("sync")
    assert world.found() == []
    assert ask(world.store, "SELECT count(*) FROM open_dues") == [(0,)]


def test_a_job_that_is_on_time_leaves_nothing_open(made: Any) -> None:
    """Its due times close with its pings, a little early or a little late."""
    world = made(EVERY_MINUTE)
    world.pings("sync")
    for due, late_s in zip(next_minutes(5), (5, -20, 10, 25, -5), strict=True):
        world.on(due + late_s - (world.clock.at_us - START_US) / SECOND)
        world.pings("sync")
    world.on(6)
    assert ask(world.store, "SELECT count(*) FROM dues") == [(5,)]
    assert ask(world.store, "SELECT count(*) FROM open_dues") == [(0,)]
    assert world.found() == []


def test_a_period_is_counted_from_the_last_sign(made: Any) -> None:
    """Whenever that was; and each further period that passes is counted too."""
    world = made(HOURLY)
    world.on(1000, 50)
    world.pings("backup")
    world.on(3000, 50)
    world.pings("backup")
    world.on(3600 + 300, 10)
    assert (world.dues("backup"), world.found()) == ([7600.0], [])
    world.on(10, 10)
    assert world.found() == [("backup", "confirmed")]
    world.on(3600, 10)
    assert world.dues("backup") == [7600.0, 11200.0]
    world.pings("backup", outcome="failure")
    assert world.found() == []


def test_a_job_that_is_dead_for_long_is_not_told_without_end(made: Any) -> None:
    """After 20 due times without a sign no more are said: they would tell nothing new."""
    world = made(EVERY_MINUTE)
    world.pings("sync")
    world.on(3600, 20)
    assert len(world.dues("sync")) == 20
    world.again(EVERY_MINUTE)
    world.on(600, 20)
    assert len(world.dues("sync")) == 20
    assert world.found() == [("sync", "confirmed")]


def test_a_kill_neither_repeats_nor_leaves_out_a_due_time(made: Any) -> None:
    """What was said is on disk, and is gone on from."""
    world = made(EVERY_MINUTE)
    world.pings("sync")
    world.on(70)
    world.again(EVERY_MINUTE, away_s=2)
    world.on(60)
    assert world.dues("sync") == next_minutes(2)


def test_what_was_due_while_we_were_away_is_unknown(made: Any) -> None:
    """Only the last of it is said; it is not missed, since it may have been there."""
    world = made(HOURLY)
    world.pings("backup")
    world.on(60)
    world.again(HOURLY, away_s=10 * 3600)
    assert world.dues("backup") == [36000.0]
    world.on(250, 10)
    assert world.found() == [("backup", "unknown")]
    world.pings("backup")
    assert world.found() == []


def test_what_is_due_after_we_are_back_is_proven(made: Any) -> None:
    """An absence long ago is no excuse for what comes later."""
    world = made(HOURLY)
    world.pings("backup")
    world.on(60)
    world.again(HOURLY, away_s=10 * 3600)
    world.on(250, 10)
    assert world.found() == [("backup", "unknown")]
    world.on(3600, 10)
    assert world.found() == [("backup", "confirmed")]


def test_a_restart_within_the_grace_makes_it_unknown(made: Any) -> None:
    """It was due, and its sign may have come while nobody listened."""
    world = made(HOURLY)
    world.pings("backup")
    world.on(3600 + 10, 10)
    world.again(HOURLY, away_s=20)
    world.on(300, 10)
    assert world.found() == [("backup", "unknown")]


def test_a_clock_that_jumps_ahead_makes_no_miss(made: Any) -> None:
    """To us it is as if we had been away: due times in between prove nothing."""
    world = made(EVERY_MINUTE)
    world.pings("sync")
    world.on(10)
    world.clock.on(6 * 3600)
    world.expected.tick()
    world.settled()
    assert {verdict for _, verdict in world.found()} <= {"unknown"}


def test_a_clock_that_is_put_back_does_not_silence_us(made: Any) -> None:
    """Due times that were said for a future that is gone are said again when they come."""
    world = made(EVERY_MINUTE)
    world.on(6 * 3600, 600)
    world.clock.on(-6 * 3600)
    world.expected.tick()
    world.pings("sync")
    world.on(next_minutes(1)[0] + 31)
    assert world.found() == [("sync", "confirmed")]


def test_a_pause_silences_it_and_its_past(made: Any) -> None:
    """What was due before it or during it is not held against it; what comes after is."""
    paused = Schedule("backup", every_s=3600.0, start_grace_s=300.0, paused=True)
    world = made(HOURLY)
    world.pings("backup")
    world.on(4000, 10)
    assert world.found() == [("backup", "confirmed")]
    world.again(paused, away_s=1)
    assert world.found() == []
    world.on(40_000, 500)
    world.again(HOURLY, away_s=1)
    assert world.found() == []
    world.on(3600 + 290, 10)
    assert world.found() == []
    world.on(20, 10)
    assert world.found() == [("backup", "confirmed")]


def test_a_schedule_that_is_no_longer_declared_is_called_off(made: Any) -> None:
    """Whoever removes it from the configuration is not alarmed for a week."""
    world = made(HOURLY)
    world.pings("backup")
    world.on(4000, 10)
    assert world.found() == [("backup", "confirmed")]
    world.again()
    assert world.found() == []


def test_another_declaration_does_not_inherit_what_the_old_one_missed(made: Any) -> None:
    """A job that was moved from each minute to each day is not late by the old plan."""
    world = made(EVERY_MINUTE)
    world.pings("sync")
    world.on(200)
    assert world.found() == [("sync", "confirmed")]
    world.again(Schedule("sync", cron="0 3 * * *", start_grace_s=30.0))
    assert world.found() == []


def test_the_same_declaration_keeps_what_it_missed(made: Any) -> None:
    """A restart is no way to be rid of an alarm."""
    world = made(HOURLY)
    world.pings("backup")
    world.on(4000, 10)
    assert world.found() == [("backup", "confirmed")]
    world.again(HOURLY)
    assert world.found() == [("backup", "confirmed")]


def test_what_a_dispatcher_fires_needs_no_ping(made: Any) -> None:
    """A scheduler's own words count as a sign of a declared schedule."""
    world = made(EVERY_MINUTE)
    for _ in range(3):
        at = world.clock.at_us
        fired = {"event.name": "schedule.fired", "ts": at / 1e6, "schedule.name": "sync"}
        send(world.store, orjson.dumps({**fired, "service.name": "oxr"}) + b"\n")
        world.on(60)
    assert len(world.dues("sync")) >= 2
    assert world.found() == []


def test_what_cannot_be_written_now_is_tried_again(made: Any) -> None:
    """A full disk delays a due time, and no more."""
    world = made(EVERY_MINUTE)
    world.pings("sync")
    append = world.store.append

    def full(_entry: Entry) -> Future[int]:
        msg = "full"
        raise JournalFullError(msg)

    world.expected.append = full
    world.on(50)
    assert world.dues("sync") == []
    world.expected.append = append
    world.on(1)
    assert world.dues("sync") == next_minutes(1)


class TestRunsWithoutAnId:
    def test_an_end_is_that_of_the_run_that_began(self, made: Any) -> None:
        """And a second end has a run of its own."""
        expected = made().expected
        task, before = expected.begins("backup", START_US)
        assert (task, before) == ("backup/2026-09-21T14:13:20.000000Z", None)
        assert expected.running("backup") == task
        assert expected.ends("backup", START_US + 5) == task
        assert expected.ends("backup", START_US + 9) == "backup/2026-09-21T14:13:20.000009Z"

    def test_one_that_begins_replaces_the_one_before(self, made: Any) -> None:
        """They cannot be told apart: the end that comes is that of the later one."""
        expected = made().expected
        first, _ = expected.begins("backup", START_US)
        second, before = expected.begins("backup", START_US + 7)
        assert before == first
        assert expected.ends("backup", START_US + 9) == second

    def test_a_restart_remembers_which_one_is_open(self, made: Any) -> None:
        """A sidecar that was restarted in between still gives a run its end."""
        world = made()
        task, _ = world.expected.begins("backup", world.clock.at_us)
        world.pings("backup", what="start", outcome=None, task=task)
        world.again(away_s=2)
        assert world.expected.ends("backup", world.clock.at_us) == task


def test_a_ping_shows_neither_side_alive(made: Any) -> None:
    """Though its service be an agent's: else a cron job would prove that agents can be heard."""
    world = made(Schedule("sync", cron="* * * * *", service="agent"))
    world.pings("sync", service="agent")
    world.on(60)
    assert ask(world.store, "SELECT DISTINCT way, side FROM sources ORDER BY way") == [
        ("ping", ""),
        ("schedule", ""),
    ]
    assert ask(world.store, "SELECT count(*) FROM instances WHERE side IS NOT NULL") == [(0,)]
