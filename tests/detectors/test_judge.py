"""The judge's own rules: holding, abandoning, retiring, overriding."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import detectors
from detectors._judge import Judge
from detectors._kit import BrokenDetectorError, Detector, load
from tests.detectors.harness import NOW_US, Memory, hot, judged

ZOMBIE = next(one for one in load() if one.name == "zombie_task")
FIRING = next(case for case in ZOMBIE.cases if case.finds)
SECOND = 1_000_000
DISPATCHED = {
    "side": "dispatcher",
    "service": "oxr",
    "task_name": "sync",
    "phase": "dispatched",
}


def test_a_finding_is_held_before_it_is_confirmed() -> None:
    """For `hold_s` it is suspected; that it was first seen is remembered."""
    relations, keeper = hot(FIRING.signals), Memory()
    judge = Judge([replace(ZOMBIE, hold_s=10.0)], keeper)
    verdicts = []
    for seconds in (0, 9, 10, 11):
        judge.evaluate(relations, NOW_US + seconds * SECOND, heard_us=NOW_US + seconds * SECOND)
        verdicts.append([one.verdict for one in judge.open.values()])
    assert verdicts == [["suspected"], ["suspected"], ["confirmed"], ["confirmed"]]
    assert len(keeper.saved) == 1


def test_a_finding_older_than_the_limit_is_given_up_and_not_found_again() -> None:
    """After `abandon_s` nobody is told of it any more."""
    relations, keeper = hot(FIRING.signals), Memory()
    judge = Judge([ZOMBIE], keeper, abandon_s=100.0)
    for seconds in (0, 200, 300):
        judge.evaluate(relations, NOW_US + seconds * SECOND, heard_us=NOW_US + seconds * SECOND)
    assert [one.verdict for one in keeper.saved.values()] == ["resolved"]
    assert judge.open == {}


def test_a_finding_that_comes_back_soon_is_the_same_one() -> None:
    """What flaps is told once; after a quarter of an hour its return is news."""
    relations, empty, keeper = hot(FIRING.signals), hot([]), Memory()
    judge = Judge([ZOMBIE], keeper)
    for seconds, at in ((0, relations), (10, empty), (20, relations), (30, empty), (2000, empty)):
        judge.evaluate(at, NOW_US + seconds * SECOND, heard_us=NOW_US + seconds * SECOND)
    assert judge.totals["zombie_task", "confirmed"] == 1
    assert [one.verdict for one in keeper.saved.values()] == ["resolved"]
    judge.evaluate(relations, NOW_US + 2010 * SECOND, heard_us=NOW_US + 2010 * SECOND)
    assert judge.totals["zombie_task", "confirmed"] == 2


def test_findings_of_a_detector_that_was_switched_off_end() -> None:
    """They would otherwise stay open for ever."""
    relations, keeper = hot(FIRING.signals), Memory()
    Judge([ZOMBIE], keeper).evaluate(relations, NOW_US, heard_us=NOW_US)
    after = Judge([], keeper)
    after.evaluate(relations, NOW_US, heard_us=NOW_US)
    assert after.open == {}
    assert [one.verdict for one in keeper.saved.values()] == ["resolved"]


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ([{"name": "sync*", "start_grace_s": 600}], []),
        ([{"name": "other", "start_grace_s": 600}], ["t1/1"]),
        ([{"service": "oxr", "queue": "q", "start_grace_s": 600}], ["t1/1"]),
        ([{"service": "o?r", "start_grace_s": 600}, {"name": "*", "start_grace_s": 1}], []),
        ([{"name": "s_nc", "start_grace_s": 600}], ["t1/1"]),
    ],
)
def test_a_threshold_is_overridden_by_service_queue_and_name(
    overrides: list[dict[str, object]], found: list[str]
) -> None:
    """By globs, the first that fits; an underscore is no wildcard."""
    settings = {"overrides": overrides}
    assert [one.subject for one in judged(ZOMBIE, FIRING.signals, settings)] == found


@pytest.mark.parametrize("detector", load(), ids=lambda one: one.name)
def test_every_threshold_can_be_overridden(detector: Detector) -> None:
    """Wherever a threshold stands in the SELECT, the judged row `a` is at hand there."""
    for name in detector.thresholds:
        one = {"service": "x", "queue": "y", "name": "z", name: 1.0}
        judged(detector, [], {"overrides": [one]})


@pytest.mark.parametrize("detector", load(), ids=lambda one: one.name)
def test_times_are_compared_in_whole_microseconds(detector: Detector) -> None:
    """With a fraction, the engine reads every row to compare it."""
    said = [detector.sql, *detector.only_if.values()]
    assert not [one for one in said if re.search(r"_s\} \* 1e6", one)]
    overridden = detector.query(NOW_US, {"overrides": [dict.fromkeys(detector.thresholds, 0.25)]})
    times = re.findall(r"\{(\w+)_us\}", detector.sql)
    assert not set(times) - {"occurrence", *(one.removesuffix("_s") for one in detector.thresholds)}
    assert ("THEN 250000 ELSE" in overridden) == bool(set(times) - {"occurrence"})


def test_uncovered_tasks_are_said_once_per_name() -> None:
    """A hundred tasks of a name that agents never show are one unknown, not a hundred."""
    handed_out = [{**DISPATCHED, "t": -90, "task": f"t{number}"} for number in range(100)]
    agents = [
        {"side": "agent", "service": "agent", "t": t, "phase": "heartbeat", "instance": "a"}
        for t in (-400, 0)
    ]
    found = judged(ZOMBIE, [*agents, *handed_out])
    assert [one.verdict for one in found] == ["unknown"]
    assert found[0].reason is not None
    assert "not covered" in found[0].reason


def test_a_row_that_says_why_it_proves_nothing_is_unknown() -> None:
    """A SELECT can know itself that what it sees may have another reason."""
    doubting = replace(ZOMBIE, sql=f"SELECT z.*, 'a doubt' AS unproven FROM ({ZOMBIE.sql}) z")
    found = judged(doubting, FIRING.signals)
    assert [(one.verdict, one.reason) for one in found] == [("unknown", "a doubt")]
    assert [one.verdict for one in judged(ZOMBIE, FIRING.signals)] == ["confirmed"]


def test_a_detector_is_run_no_more_often_than_it_asks_for() -> None:
    """In between its findings stay as they are; a clock that is put back makes it run at once."""
    seldom = replace(ZOMBIE, every_s=60.0)
    judge = Judge([seldom], Memory())
    with hot(FIRING.signals) as reader:
        assert judge.evaluate(reader, NOW_US, heard_us=NOW_US).took_s.keys() == {"zombie_task"}
        reader.execute("DELETE FROM attempts_rows")
        assert not judge.evaluate(reader, NOW_US + 55_000_000, heard_us=NOW_US).took_s
        assert [one.subject for one in judge.open.values()] == ["t1/1"]
        assert judge.evaluate(reader, NOW_US + 60_000_000, heard_us=NOW_US).took_s
        assert not judge.open
        assert judge.evaluate(reader, NOW_US, heard_us=NOW_US).took_s


def test_a_detector_is_spared_where_there_is_no_sign_of_its_failure() -> None:
    """Its SELECT is run only where some row meets `only_if`; what it had found ends without it."""
    watched = replace(ZOMBIE, only_if={"attempts": "a.attempt > 1", "runs": "a.attempt = 7"})
    judge, failing = Judge([watched], Memory()), Judge([ZOMBIE], Memory())
    with hot(FIRING.signals) as reader:
        assert not judge.evaluate(reader, NOW_US, heard_us=NOW_US).failed
        assert not judge.open
        reader.execute("UPDATE attempts_rows SET attempt = 2")
        judge.evaluate(reader, NOW_US, heard_us=NOW_US)
        assert [one.subject for one in judge.open.values()] == ["t1/2"]
        failing.detectors = [replace(ZOMBIE, only_if={"attempts": "a.nonsense"})]
        assert "nonsense" in failing.evaluate(reader, NOW_US, heard_us=NOW_US).failed["zombie_task"]


def test_a_sign_heeds_the_threshold_of_whoever_has_the_lowest() -> None:
    """Where the relation does not say whose a row is, nobody is spared by another's threshold."""
    sign = "a.task < '{start_grace_least}' OR a.first_us > {start_grace_most_us}"
    watched = replace(ZOMBIE, only_if={"attempts": sign})
    overrides = [{"service": "x", "start_grace_s": 10}, {"name": "y", "start_grace_s": 700.5}]
    assert watched.signs(NOW_US, {}) == {"attempts": "a.task < '60.0' OR a.first_us > 60000000"}
    assert watched.signs(NOW_US, {"start_grace_s": 90, "overrides": overrides}) == {
        "attempts": "a.task < '10.0' OR a.first_us > 700500000"
    }


@pytest.mark.parametrize("many", [1, 1000])
def test_signs_are_looked_for_together_or_each_alone(
    monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """Each alone where the last look saw many rows: what is met is the same, and whose fault."""
    monkeypatch.setattr("detectors._judge._MANY", many)
    signs = {"one": "a.attempt = 1", "two": "a.attempt = 2", "bad": "a.nonsense"}
    judge = Judge(
        [replace(ZOMBIE, name=name, only_if={"attempts": sign}) for name, sign in signs.items()],
        Memory(),
    )
    with hot(FIRING.signals) as reader:
        for attempt, found in ((1, {"one"}), (1, {"one"}), (2, {"two"}), (2, {"two"})):
            reader.execute(f"UPDATE attempts_rows SET attempt = {attempt}")
            assert judge.evaluate(reader, NOW_US, heard_us=NOW_US).failed.keys() == {"bad"}
            assert {one.detector for one in judge.open.values()} == found
        judge.detectors = judge.detectors[:2]
        for attempt, found in ((1, {"one"}), (1, {"one"}), (2, {"two"}), (2, {"two"})):
            reader.execute(f"UPDATE attempts_rows SET attempt = {attempt}")
            assert not judge.evaluate(reader, NOW_US, heard_us=NOW_US).failed
            assert {one.detector for one in judge.open.values()} == found


@pytest.mark.parametrize("detector", load(), ids=lambda one: one.name)
def test_what_a_service_overrides_counts_for_the_sign_too(detector: Detector) -> None:
    """A threshold that is 0 for one queue: there both the SELECT and its sign can be asked."""
    overrides = [
        {"service": "a*", "queue": "b", "name": "c?", **dict.fromkeys(detector.thresholds, 0)}
    ]
    with hot([]) as reader:
        for relation, sign in detector.signs(NOW_US, {"overrides": overrides}).items():
            assert reader.execute(f"SELECT 1 FROM {relation} a WHERE {sign}").fetchall() == []
        assert reader.execute(detector.query(NOW_US, {"overrides": overrides})).fetchall() == []


def test_a_detector_that_cannot_be_imported_stops_the_start(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its file and the reason in one line."""
    broken = f"{tmp_path}/broken_one.py"
    with open(broken, "w", encoding="utf-8") as file:
        file.write("from nowhere import nothing\n")
    monkeypatch.setattr(detectors, "__path__", [*detectors.__path__, str(tmp_path)])
    load.cache_clear()
    with pytest.raises(BrokenDetectorError, match=r"detectors/broken_one.py cannot be used"):
        load()
    load.cache_clear()


LOST = next(one for one in load() if one.name == "lost_report")
MISSED = next(one for one in load() if one.name == "missed_run")
DOWN = next(one for one in load() if one.name == "agent_down")
LAG = next(one for one in load() if one.name == "collection_lag")
DARK = next(one for one in load() if one.name == "source_dark")


def _said(t: float, phase: str, **more: object) -> dict[str, object]:
    """Return what the dispatcher `oxr` says; it promises a beat every 10 s."""
    one = {"side": "dispatcher", "service": "oxr", "instance": "oxr-1", "task_name": "sync"}
    return {**one, "t": t, "phase": phase, "beat_s": 10.0 if "task" not in more else None, **more}


def _ended(t: float, task: str) -> list[dict[str, object]]:
    """Return a task that was handed out, and ended at *t*: its record is not there."""
    agent = {"side": "agent", "service": "agent", "instance": "a-1", "task_name": "sync"}
    return [
        _said(-900, "dispatched", task=task),
        {**agent, "t": -899, "phase": "started", "task": task},
        {**agent, "t": t, "phase": "finished", "task": task, "outcome": "success"},
    ]


_COVERED = [*_ended(-890, "t0"), _said(-889, "recorded", task="t0", state="success")]
_OTHER = {"service": "web", "instance": "web-1"}


@pytest.mark.parametrize(
    ("title", "more", "verdict"),
    [
        ("the only dispatcher was dark: its record may be lost", [], "unknown"),
        (
            "another service of its side was dark",
            [_said(at, "heartbeat", **_OTHER) for at in (-400, -200, -100, 0)],
            "confirmed",
        ),
    ],
)
def test_what_was_said_to_a_source_that_was_dark_may_be_lost(
    title: str, more: list[dict[str, object]], verdict: str
) -> None:
    """Heard again, its silence about that time still proves nothing; nor after a restart."""
    dark = [{**one, **_OTHER} if more else one for one in (_said(-400, "heartbeat"),)]
    back = [{**one, **_OTHER} if more else one for one in (_said(-100, "heartbeat"),)]
    heard = [_said(at, "heartbeat") for at in ((-400, -310, -250, -190, -130) if more else ())]
    before = [*_COVERED, *dark, *heard]
    keeper = Memory()
    judge = Judge([LOST, DARK], keeper)
    judge.evaluate(hot(before), NOW_US - 300 * SECOND, heard_us=NOW_US - 300 * SECOND)
    assert [one.detector for one in judge.open.values()] == ["source_dark"], title
    after = hot([*before, *back, *_ended(-250, "t1"), _said(0, "heartbeat"), *more[-1:]])
    for each in (judge, Judge([LOST, DARK], keeper)):
        each.evaluate(after, NOW_US, heard_us=NOW_US)
        each.evaluate(after, NOW_US + SECOND, heard_us=NOW_US + SECOND)
        told = {one.subject: one.verdict for one in each.open.values()}
        assert {"t1/1": verdict} == told, title


@pytest.mark.parametrize(
    ("title", "more", "verdict"),
    [
        ("what was held comes in no order: that it ran may come yet", {}, "unknown"),
        ("it ran, and that came last", {"t": -248, "phase": "schedule.fired"}, None),
        (
            "due again since it is heard, and missed again",
            {"t": 40, "phase": "schedule.expected", "due": 40},
            "confirmed",
        ),
    ],
)
def test_a_run_that_was_due_while_its_dispatcher_was_dark_is_not_missed_for_sure(
    title: str, more: dict[str, object], verdict: str | None
) -> None:
    """Until a later one is missed, too."""
    job = {"side": "dispatcher", "service": "oxr", "instance": "oxr-1", "schedule": "backup"}
    due = {**job, "phase": "schedule.expected", "start_grace_s": 60.0, "t": -250, "due": -250}
    before = [{**job, "t": -500, "phase": "schedule.fired"}, _said(-400, "heartbeat")]
    judge = Judge([MISSED, DARK], Memory())
    judge.evaluate(hot(before), NOW_US - 300 * SECOND, heard_us=NOW_US - 300 * SECOND)
    assert [one.detector for one in judge.open.values()] == ["source_dark"], title
    after = [*before, {**due, "arrived": -100}, *(_said(at, "heartbeat") for at in (-100, 0))]
    if more:
        after.append({**job, "start_grace_s": 60.0, "arrived": max(0, int(str(more["t"]))), **more})
    for seconds in (0, 15, 300):
        now = NOW_US + seconds * SECOND
        judge.evaluate(hot([*after, _said(seconds, "heartbeat")]), now, heard_us=now)
    told = {one.subject: one.verdict for one in judge.open.values() if one.detector == "missed_run"}
    assert told.get("backup") == verdict, title


@pytest.mark.parametrize(
    ("heard", "verdict"), [((), "unknown"), ((-310, -250, -190, -130), "confirmed")]
)
def test_an_end_that_an_agent_lost_while_the_dispatcher_was_dark_may_have_come(
    heard: tuple[float, ...], verdict: str
) -> None:
    """It tells of a loss just then; what the dispatcher recorded of it was not heard either."""
    begun, started, _ = _ended(-250, "t1")
    agent = {**started, "task": None, "phase": "heartbeat"}
    other = [{**agent, "instance": "a-2", "t": at} for at in (-400, -310, -200, -100, 0)]
    beats = [{**started, "t": at, "phase": "heartbeat"} for at in (-290, -280, -270)]
    before = [
        *_COVERED,
        begun,
        started,
        *beats,
        *other[:2],
        *(_said(at, "heartbeat") for at in (-400, *(one for one in heard if one < -300))),
    ]
    judge = Judge([DOWN, DARK], Memory())
    judge.evaluate(hot(before), NOW_US - 300 * SECOND, heard_us=NOW_US - 300 * SECOND)
    lost = {**agent, "t": -200, "phase": "export.failed", "from": -262, "to": -260, "lost": 1}
    after = [
        *before,
        lost,
        {**agent, "t": -200, "beat_s": 10.0},
        *other[2:],
        *(_said(at, "heartbeat") for at in (*heard, -100, 0)),
    ]
    for seconds in (0, 1):
        now = NOW_US + seconds * SECOND
        judge.evaluate(hot(after), now, heard_us=now)
    told = {one.subject: one.verdict for one in judge.open.values() if one.detector == "agent_down"}
    assert told == {"agent/a-1": verdict}


def test_a_clock_that_is_ahead_does_not_hide_that_a_source_was_dark() -> None:
    """By the agent's clock the task ended after the darkness; by ours, in it."""
    before = [*_COVERED, _said(-400, "heartbeat")]
    ended = [*_ended(-250, "t1")]
    ended[-1] = {**ended[-1], "t": 50, "arrived": -250}
    judge = Judge([LOST, DARK], Memory())
    judge.evaluate(hot(before), NOW_US - 300 * SECOND, heard_us=NOW_US - 300 * SECOND)
    after = hot([*before, _said(-100, "heartbeat"), *ended, _said(0, "heartbeat")])
    judge.evaluate(after, NOW_US, heard_us=NOW_US)
    judge.evaluate(after, NOW_US + SECOND, heard_us=NOW_US + SECOND)
    assert {one.subject: one.verdict for one in judge.open.values()} == {"t1/1": "unknown"}


@pytest.mark.parametrize("ahead_s", [-300.0, 0.0, 300.0])
@pytest.mark.parametrize(("made_s", "verdict"), [(-50.0, "confirmed"), (-51.0, "unknown")])
def test_whether_we_were_away_is_told_by_our_clock(
    ahead_s: float, made_s: float, verdict: str
) -> None:
    """We were, until 50 s ago; what was said a second before came when we were back."""
    *begun, ended = _ended(made_s, "t1")
    held = {**ended, "arrived": -50.0}
    rows: list[dict[str, object]] = [*_COVERED, *begun, held, _said(0, "heartbeat")]
    skew = {"agent": ahead_s, "oxr": 0.0}
    rows = [{"arrived": one["t"], **one, "t": float(str(one["t"])) + skew[str(one["service"])]}
            for one in rows]  # fmt: skip
    relations = hot(rows)
    relations.execute(
        f"INSERT INTO gaps VALUES ('push', {NOW_US - 60 * SECOND}, {NOW_US - 50 * SECOND})"
    )
    judge = Judge([LOST], Memory())
    judge.evaluate(relations, NOW_US, heard_us=NOW_US)
    assert {one.subject: one.verdict for one in judge.open.values()} == {"t1/1": verdict}


def test_of_two_dispatchers_the_clock_of_the_one_that_handed_it_out_counts() -> None:
    """It is 300 s behind; we were away until a second before it spoke."""
    agent = {"side": "agent", "service": "agent", "instance": "a-1", "task_name": "sync"}
    slow = {"instance": "oxr-2", "task": "t1", "request_id": "r1"}
    rows = [
        *_COVERED,
        {**_said(-361, "dispatched", **slow), "arrived": -61.0},
        {**_said(-361, "call.committed", purpose="dispatch", **slow), "arrived": -61.0},
        _said(-1, "heartbeat"),
        {**agent, "t": 0.0, "phase": "heartbeat"},
    ]
    relations = hot(rows)
    relations.execute(
        f"INSERT INTO gaps VALUES ('push', {NOW_US - 70 * SECOND}, {NOW_US - 62 * SECOND})"
    )
    judge = Judge([ZOMBIE], Memory())
    judge.evaluate(relations, NOW_US, heard_us=NOW_US)
    assert {one.subject: one.verdict for one in judge.open.values()} == {"t1/1": "confirmed"}


@pytest.mark.parametrize("ahead_s", [-300.0, 0.0, 300.0])
@pytest.mark.parametrize(("due_s", "verdict"), [(-70.0, "confirmed"), (-70.5, "unknown")])
def test_whether_we_were_away_when_a_run_was_due_is_told_by_our_clock(
    ahead_s: float, due_s: float, verdict: str
) -> None:
    """We were, until a moment before the first; the dispatcher's clock says something else."""
    one = {"side": "dispatcher", "service": "oxr", "instance": "oxr-1", "schedule": "backup"}

    def said(at: float, phase: str, **more: object) -> dict[str, object]:
        return {**one, "t": at + ahead_s, "arrived": at, "phase": phase, **more}

    rows = [
        said(-900, "schedule.fired"),
        said(due_s, "schedule.expected", due=due_s + ahead_s, start_grace_s=60.0),
        said(0, "heartbeat"),
    ]
    relations = hot(rows)
    relations.execute(
        f"INSERT INTO gaps VALUES ('push', {NOW_US - 80 * SECOND}, {NOW_US - 70 * SECOND})"
    )
    judge = Judge([MISSED], Memory())
    judge.evaluate(relations, NOW_US, heard_us=NOW_US)
    assert {one.subject: one.verdict for one in judge.open.values()} == {"backup": verdict}


def test_a_source_whose_words_were_held_was_dark_all_the_same() -> None:
    """What it said meanwhile comes later: that it was not heard stays true, and is no false alarm.

    Nor does it end because we were away.
    """
    before = [_said(-400, "heartbeat")]
    held = {**_said(-390, "heartbeat"), "arrived": -5}
    for after, verdict in ((hot([*before, held]), "resolved"), (hot(before), "confirmed")):
        keeper = Memory()
        judge = Judge([DARK], keeper)
        judge.evaluate(hot(before), NOW_US - 300 * SECOND, heard_us=None)
        after.execute(f"INSERT INTO gaps VALUES ('push', {NOW_US - 9 * SECOND}, {NOW_US - SECOND})")
        judge.evaluate(after, NOW_US, heard_us=None)
        assert [one.verdict for one in keeper.saved.values()] == [verdict]


@pytest.mark.parametrize(("last_s", "verdict"), [(-151, "unknown"), (-150, "confirmed")])
def test_who_was_dark_before_we_were_away_stays_so_until_it_is_heard(
    last_s: float, verdict: str
) -> None:
    """We are back, and a task ends: what its dispatcher recorded then is still held somewhere.

    Who was not yet dark when we went has not been silent for long enough since.
    """
    before = [*_COVERED, _said(last_s, "heartbeat")]
    after = [*before, *_ended(-50, "t1"), _said(-20, "heartbeat")]
    judge = Judge([LOST, DARK], Memory())
    for signals, at_s in ((before, -91), (before, -69), (before, -60), (after, 0), (after, 1)):
        relations = hot(signals)
        if at_s > -90:
            relations.execute(
                f"INSERT INTO gaps VALUES ('push', {NOW_US - 90 * SECOND}, {NOW_US - 70 * SECOND})"
            )
        now = NOW_US + at_s * SECOND
        judge.evaluate(relations, now, heard_us=now)
    assert {one.subject: one.verdict for one in judge.open.values()} == {"t1/1": verdict}


@pytest.mark.parametrize(("away_s", "found"), [(0, ["agent by otlp"]), (60, [])])
def test_what_was_held_while_we_were_away_is_no_lag(away_s: int, found: list[str]) -> None:
    """It comes when we are back, and says nothing of the way; two others are late besides."""
    late = [(-590 + 15 * i, -590 + 15 * i) for i in range(36)]
    late += [(-400 + i, -340) for i in range(40)] + [(-575, -550), (-100, -70), (-99, -69)]
    one = {"side": "agent", "service": "agent", "instance": "a-1", "phase": "heartbeat"}
    relations = hot([{**one, "t": at, "arrived": came, "way": "otlp"} for at, came in late])
    back_us = NOW_US - 340 * SECOND
    if away_s:
        relations.execute(
            f"INSERT INTO gaps VALUES ('push', {back_us - away_s * SECOND}, {back_us})"
        )
    judge = Judge([LAG], Memory())
    judge.evaluate(relations, NOW_US, heard_us=NOW_US)
    assert [found.subject for found in judge.open.values()] == found


@pytest.mark.parametrize(
    ("said_s", "stopped", "verdict"),
    [(-38, False, "suspected"), (-62, False, "confirmed"), (-5, False, "confirmed"),
     (-38, True, "confirmed")],
)  # fmt: skip
def test_who_may_have_said_it_is_waited_for(said_s: float, stopped: bool, verdict: str) -> None:  # noqa: FBT001 - a parameter
    """Another one's words prove its side heard, but not that this one has lost nothing."""
    d = {"side": "dispatcher", "service": "oxr", "task_name": "sync"}
    a = {"side": "agent", "service": "agent", "task_name": "sync", "instance": "a-1"}
    end = {**a, "phase": "finished", "outcome": "success"}
    last = {**d, "instance": "oxr-2", "phase": "instance.stopped" if stopped else "heartbeat"}
    relations = hot(
        [
            {**d, "t": -300, "phase": "dispatched", "task": "t0", "instance": "oxr-1"},
            {**end, "t": -290, "task": "t0"},
            {**d, "t": -289, "phase": "recorded", "task": "t0", "state": "success"},
            {**d, "t": -100, "phase": "dispatched", "task": "t1", "instance": "oxr-1"},
            {**a, "t": -99, "phase": "started", "task": "t1"},
            {**end, "t": -31, "task": "t1"},
            {**last, "t": said_s},
            {**d, "t": 0, "phase": "heartbeat", "instance": "oxr-1"},
        ]
    )
    judge = Judge([LOST], Memory())
    judge.evaluate(relations, NOW_US, heard_us=NOW_US)
    assert {one.subject: one.verdict for one in judge.open.values()} == {"t1/1": verdict}


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        pytest.param(
            {"side": "agent", "t": -5, "phase": "heartbeat", "beat_s": 10.0, "instance": "a1"},
            "retracted", id="it had beaten, and that was late",
        ),
        pytest.param(
            {"side": "agent", "t": 20, "phase": "heartbeat", "beat_s": 10.0, "instance": "a1"},
            "resolved", id="it beats again",
        ),
        pytest.param(
            {"side": "dispatcher", "service": "oxr", "t": 20, "phase": "requeued"},
            "resolved", id="it was taken back",
        ),
        pytest.param(
            {"side": "dispatcher", "service": "oxr", "t": 20, "phase": "recorded",
             "state": "timeout"},
            "resolved", id="it was called dead",
        ),
        pytest.param(
            {"side": "dispatcher", "service": "oxr", "t": -5, "phase": "recorded",
             "state": "success"},
            "retracted", id="it had ended, and that was late",
        ),
    ],
)  # fmt: skip
def test_a_silence_that_ends_was_one_unless_something_was_said_before_it_was_told(
    said: dict[str, object], verdict: str
) -> None:
    """Its last sign, which was known, contradicts nothing."""
    silent = next(one for one in load() if one.name == "silent_task")
    task = {"task": "t1", "task_name": "train"}
    agent = {"side": "agent", "service": "agent", "instance": "a1", "task_name": "train"}
    before = [
        {**task, "side": "dispatcher", "service": "oxr", "t": -200, "phase": "dispatched"},
        {**agent, **task, "t": -199, "phase": "started"},
        {**agent, **task, "t": -100, "phase": "heartbeat", "beat_s": 10.0},
        {**agent, "t": 0, "phase": "heartbeat", "instance": "a2"},
    ]
    keeper = Memory()
    judge = Judge([silent], keeper)
    judge.evaluate(hot(before), NOW_US, heard_us=NOW_US)
    assert [one.verdict for one in keeper.saved.values()] == ["confirmed"]
    later = NOW_US + 21 * SECOND
    judge.evaluate(
        hot([*before, {"service": "agent", **task, **said, "arrived": 20.5}]), later, heard_us=later
    )
    assert [one.verdict for one in keeper.saved.values()] == [verdict]


def test_a_dispatcher_that_has_nothing_to_hand_out_any_more_had_stalled() -> None:
    """What it handed out before, which was known, contradicts nothing."""
    stalled = next(one for one in load() if one.name == "dispatcher_stalled")
    before = next(one.signals for one in stalled.cases if one.verdict == "confirmed")
    keeper = Memory()
    judge = Judge([stalled], keeper)
    judge.evaluate(hot(before), NOW_US, heard_us=NOW_US)
    assert [one.verdict for one in keeper.saved.values()] == ["confirmed"]
    later = NOW_US + 60 * SECOND
    over = [
        {**one, "t": 20, "arrived": 20.5, "phase": "recorded", "state": "canceled"}
        for one in before
        if one.get("phase") == "enqueued"
    ]
    judge.evaluate(hot([*before, *over]), later, heard_us=later)
    assert [one.verdict for one in keeper.saved.values()] == ["resolved"]
