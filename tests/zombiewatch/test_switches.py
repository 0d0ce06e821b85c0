"""Switches are leased, audited and kept; policies move them by findings, and by no guess."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.degrade.policy import Held, State
from model.findings import Finding
from zombiewatch._degrade import Degrade
from zombiewatch.degrading import Degrading
from zombiewatch.sayings import SayingError
from zombiewatch.switches import ConflictError, SwitchError, Switches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from alerts.degrade.lease import Lease

S: Final = 1_000_000
NOW: Final = 1_790_000_000 * S
DAY_S: Final = 86_400.0
LATER: Final = NOW + 600 * S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "findings.sqlite"


@pytest.fixture
def switches(path: Path) -> Iterator[Switches]:
    with closing(Switches(path, DAY_S)) as made:
        yield made


def put(switches: Switches, level: int = 2, service: str = "orders", **more: Any) -> Lease:
    said = {"by": "ann", "reason": "the database is down", "until_us": LATER, "now_us": NOW}
    return switches.set(service, level, **{**said, **more})


def raised(switches: Switches, level: int, *, dry_run: bool = False, now_us: int = NOW) -> None:
    switches.move(
        "orders", level, by="policy", reason="many errors", until_us=LATER, now_us=now_us,
        dry_run=dry_run,
    )  # fmt: skip


def level(switches: Switches, now_us: int = NOW, service: str = "orders") -> int | None:
    one = switches.of(service, now_us)
    return one.level if one else None


def actions(switches: Switches) -> list[tuple[str, str]]:
    return [(one["action"], one["level"]) for one in switches.history()]


# What counts


def test_a_switch_counts_for_its_service_until_it_expires(switches: Switches) -> None:
    """Not a moment longer, and for no other service."""
    put(switches)
    assert level(switches) == 2
    assert level(switches, service="payments") is None
    assert level(switches, LATER - 1) == 2
    assert level(switches, LATER) is None


def test_forced_off_is_over_manual_and_that_over_automatic(switches: Switches) -> None:
    """Whichever came last; and where the one above ends, the one below counts again."""
    put(switches, 1)
    raised(switches, 2)
    assert level(switches) == 1
    put(switches, 0)
    assert level(switches) == 0
    raised(switches, 3)
    assert level(switches) == 0
    switches.clear("orders", by="bob", reason="over", now_us=NOW)
    assert level(switches) == 3


def test_what_a_person_set_falls_back_to_the_policy_when_it_expires(switches: Switches) -> None:
    """Never to nothing where the policy holds a level, and never to on where it does not."""
    put(switches, 3, until_us=NOW + 10 * S)
    raised(switches, 1)
    assert level(switches, NOW + 9 * S) == 3
    assert level(switches, NOW + 10 * S) == 1
    assert [one.set_by for one in switches.expire(NOW + 10 * S)] == ["ann"]
    assert actions(switches) == [("set", "L3"), ("raised", "L1"), ("expired", "L3")]
    assert switches.expire(NOW + 11 * S) == []


def test_dry_run_is_listed_and_counts_for_nothing(switches: Switches) -> None:
    """Until the policy is told to act: then it is raised."""
    raised(switches, 2, dry_run=True)
    assert level(switches) is None
    assert [one.dry_run for one in switches.leases(NOW)] == [True]
    raised(switches, 1, dry_run=False)
    assert level(switches) == 1
    assert actions(switches) == [("raised", "L2"), ("raised", "L1")]


def test_a_renewal_is_no_change(switches: Switches) -> None:
    """The same level for longer is not written to the audit, and keeps its generation."""
    raised(switches, 1)
    before = switches.of("orders", NOW)
    switches.move(
        "orders", 1, by="policy", reason="still", until_us=LATER + S, now_us=NOW + S, dry_run=False
    )
    assert before
    assert switches.of("orders", LATER) == replace(before, expires_us=LATER + S)
    assert len(actions(switches)) == 1


# What is refused


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"until_us": NOW}, "a time ahead"),
        ({"until_us": NOW + round(DAY_S) * S + 1}, "86400 s from now at most"),
        ({"by": " "}, "say who you are"),
        ({"reason": ""}, "a reason is needed"),
        ({"reason": "x" * 501}, "500 characters"),
        ({"service": " "}, "name the service"),
    ],
)
def test_a_switch_has_an_end_a_reason_and_somebody_who_set_it(
    switches: Switches, said: dict[str, Any], why: str
) -> None:
    """The refusal says how to mend it, and nothing was changed."""
    with pytest.raises(SayingError, match=why):
        put(switches, **said)
    assert switches.history() == []


def test_what_was_changed_meanwhile_is_not_overwritten(switches: Switches) -> None:
    """Two people, or two programs, who both read generation 1: the second is told."""
    one = put(switches)
    other = put(switches, 1, generation=one.generation)
    assert other.generation > one.generation
    with pytest.raises(ConflictError, match=f"its generation is {other.generation}"):
        put(switches, 3, generation=one.generation)
    assert level(switches) == 1
    put(switches, 3, service="payments", generation=0)


def test_only_what_is_set_can_be_cleared(switches: Switches) -> None:
    """By a person, that is: a policy's level is forced off instead."""
    raised(switches, 1)
    with pytest.raises(SwitchError, match="nobody has set a switch of orders"):
        switches.clear("orders", by="bob", reason="x", now_us=NOW)


# What is kept


def test_a_restart_changes_nothing(path: Path) -> None:
    """Switches, the policies' memory and the counts are as they were."""
    state = State(2, NOW, NOW - S, LATER, (Held(True, NOW, None), Held(False, None, NOW)))
    with closing(Switches(path, DAY_S)) as before:
        put(before)
        raised(before, 1)
        before.remember("orders", state)
        held = before.leases(NOW)
    with closing(Switches(path, DAY_S)) as after:
        assert after.leases(NOW) == held
        assert after.state("orders") == state
        assert after.state("payments") == State()
        assert after.changes == {"orders": 2}
        assert after.broken_at() is None


@pytest.mark.parametrize(
    ("harm", "at"),
    [
        ("UPDATE audit SET body = replace(body, 'ann', 'eve') WHERE number = 2", 2),
        ("UPDATE audit SET at_us = at_us + 1 WHERE number = 3", 3),
        ("UPDATE audit SET service = 'payments' WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number = 2", 2),
        ("DELETE FROM audit WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number = 4", 4),
        ("INSERT INTO audit SELECT 5, at_us, service, body, hash FROM audit WHERE number = 4", 5),
    ],
)
def test_an_audit_that_was_tampered_with_shows(path: Path, harm: str, at: int) -> None:
    """A row altered, taken out (also the last) or added: the first that does not fit is named."""
    with closing(Switches(path, DAY_S)) as before:
        for number in range(4):
            put(before, 1 + number % 3)
        assert before.broken_at() is None
    with closing(sqlite3.connect(path)) as file:
        file.execute(harm)
        file.commit()
    with closing(Switches(path, DAY_S)) as after:
        assert after.broken_at() == at


# What policies do


class Watched:
    """What a sidecar knows, as a test sets it."""

    def __init__(self) -> None:
        self.now = NOW
        self.findings: list[Finding] = []
        self.judged = frozenset({"retry_storm", "backlog_spike"})

    def known(self) -> tuple[list[Finding], frozenset[str]]:
        return self.findings, self.judged

    def clock(self) -> int:
        return self.now


def storm(service: str = "orders", **more: str) -> Finding:
    one = Finding(1, f"retry_storm:x/{service}", "retry_storm", "A storm.", NOW)
    for name, value in {"service": service, "verdict": "confirmed", **more}.items():
        setattr(one, name, value)
    return one


def policy(**more: object) -> Degrade:
    said = {
        "service": "orders",
        "rungs": [{"level": "L1", "findings": ["retry_storm", "backlog_spike"]}],
        "dwell_s": 10,
        "hold_off_s": 60,
        "step_s": 5,
        "lease_s": 30,
        "dry_run": False,
    }
    return Degrade.model_validate({"policies": [{**said, **more}]})


def looked(degrading: Degrading, watched: Watched, seconds: int, every: int = 5) -> None:
    for _ in range(0, seconds, every):
        degrading.look()
        watched.now += every * S


def test_findings_raise_a_level_and_their_end_lowers_it(switches: Switches) -> None:
    """Those that are confirmed, of the policy's service, and not dismissed."""
    watched = Watched()
    degrading = Degrading(policy(), switches, watched.known, watched.clock)
    watched.findings = [storm("payments"), storm(verdict="unknown"), storm(muted="dismissed")]
    looked(degrading, watched, 60)
    assert level(switches, watched.now) is None
    watched.findings = [storm(muted="acknowledged")]
    looked(degrading, watched, 120)
    assert level(switches, watched.now) == 1  # renewed for longer than its lease of 30 s
    watched.findings = []
    looked(degrading, watched, 5)
    assert level(switches, watched.now) is None
    assert actions(switches) == [("raised", "L1"), ("lowered", "L0")]
    assert [one["reason"] for one in switches.history()] == ["L1 at 1", "L1 at 0"]


def test_findings_of_other_services_count_where_that_is_said(switches: Switches) -> None:
    """The orders are degraded for what happens to their payments."""
    rung = {"level": "L1", "findings": ["retry_storm"], "of": ["payments"], "enter": 2}
    watched = Watched()
    degrading = Degrading(policy(rungs=[rung]), switches, watched.known, watched.clock)
    watched.findings = [storm(), storm(), storm("payments")]
    looked(degrading, watched, 30)
    assert level(switches, watched.now) is None
    watched.findings = [storm("payments"), storm("payments")]
    looked(degrading, watched, 30)
    assert level(switches, watched.now) == 1


def test_a_detector_that_fails_is_not_read_as_all_well(switches: Switches) -> None:
    """Its level is held until the probing deadline, and none is raised by the others' word."""
    watched = Watched()
    degrading = Degrading(policy(probe_s=60), switches, watched.known, watched.clock)
    watched.judged = frozenset({"retry_storm"})
    watched.findings = [storm()]
    looked(degrading, watched, 60)
    assert level(switches, watched.now) is None
    watched.judged |= {"backlog_spike"}
    looked(degrading, watched, 10)
    assert level(switches, watched.now) == 1
    watched.findings, watched.judged = [], frozenset()
    looked(degrading, watched, 55)
    assert level(switches, watched.now) == 1
    looked(degrading, watched, 15)
    assert level(switches, watched.now) is None


def test_a_policy_goes_on_after_a_restart_and_ends_with_its_lease(
    path: Path, switches: Switches
) -> None:
    """One that is back at once holds the level; one that was away for longer finds it gone."""
    watched = Watched()
    watched.findings = [storm()]
    looked(Degrading(policy(), switches, watched.known, watched.clock), watched, 10)
    with closing(Switches(path, DAY_S)) as again:
        degrading = Degrading(policy(), again, watched.known, watched.clock)
        looked(degrading, watched, 5)
        assert actions(again) == [("raised", "L1")]
        assert level(again, watched.now) == 1
        watched.now += 40 * S
        assert level(again, watched.now) is None
        looked(degrading, watched, 5)
        assert actions(again) == [("raised", "L1"), ("expired", "L1")]
        looked(degrading, watched, 60)
        assert actions(again)[2:] == [("raised", "L1")]


def test_a_person_who_forces_it_off_is_not_overruled(switches: Switches) -> None:
    """However long the findings last; when that ends, the policy's level counts again."""
    watched = Watched()
    degrading = Degrading(policy(), switches, watched.known, watched.clock)
    watched.findings = [storm()]
    put(switches, 0, until_us=NOW + 100 * S)
    for _ in range(19):
        looked(degrading, watched, 5)
        assert level(switches, watched.now) == 0
    looked(degrading, watched, 5)
    assert level(switches, watched.now) == 1


def test_a_prometheus_that_is_away_is_asked_once_a_look(switches: Switches) -> None:
    """Or each query would wait for it, and levels would end that findings hold."""
    watched, asked = Watched(), []
    watched.findings = [storm()]
    with socket.create_server(("127.0.0.1", 0)) as away:

        def hang_up() -> None:
            while True:
                with suppress(OSError):
                    one, _ = away.accept()
                    asked.append(one)
                    one.close()
                if away.fileno() < 0:
                    return

        Thread(target=hang_up, daemon=True).start()
        rungs = [{"level": "L1", "query": "up"}, {"level": "L2", "query": "up", "samples": "up"}]
        policies = [
            {"service": "a", "rungs": rungs},
            {"service": "b", "rungs": rungs},
            {"service": "orders", "rungs": [{"level": "L1", "findings": ["retry_storm"]}]},
        ]
        config = Degrade.model_validate(
            {
                "prometheus": f"http://127.0.0.1:{away.getsockname()[1]}",
                "policies": [{**one, "dry_run": False} for one in policies],
            }
        )
        degrading = Degrading(config, switches, watched.known, watched.clock)
        degrading.look()
        assert len(asked) == 1
        degrading.look()
        assert len(asked) == 2
        assert degrading.errors.keys() == {"a", "b"}
        assert level(switches, watched.now) == 1
        away.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"rungs": [{"level": "L1"}]}, "say findings or query"),
        ({"rungs": [{"level": "L1", "query": "up", "findings": ["x"]}]}, "say findings or query"),
        ({"rungs": [{"level": "L1", "query": "up"}]}, "which Prometheus"),
        ({"rungs": [{"level": "L1", "findings": ["x"], "leave": 2}]}, "not be above enter"),
        ({"rungs": []}, "at least 1"),
        ({"lease_s": 10}, "at least 3 times degrade.look_every_s"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(said: dict[str, Any], why: str) -> None:
    """When the configuration is read, not at three in the morning."""
    with pytest.raises(ValueError, match=why):
        policy(**said)


# Two sidecars


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 2))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_who_follows_has_what_is_set_there_and_nothing_else(
    tmp_path: Path, done: list[tuple[str, int, int]]
) -> None:
    """Whatever is done there: level, mode, end and generation are the same after each look."""
    number = len(list(tmp_path.iterdir()))
    with (
        closing(Switches(tmp_path / f"{number}-one", DAY_S)) as one,
        closing(Switches(tmp_path / f"{number}-two", DAY_S)) as two,
    ):
        for at, (service, level, kind) in enumerate(done):
            now_us = NOW + at * S
            if kind == 0:
                put(one, level, service, now_us=now_us)
            elif kind == 1:
                one.move(
                    service, level, by="policy", reason="many errors", until_us=now_us + 60 * S,
                    now_us=now_us, dry_run=False,
                )  # fmt: skip
            else:
                with suppress(SwitchError):
                    one.clear(service, by="ann", reason="over", now_us=now_us)
            two.adopt(one.leases(now_us), "there", now_us)
            assert two.leases(now_us) == one.leases(now_us)
            for name in "abc":
                assert two.of(name, now_us) == one.of(name, now_us)
        assert two.broken_at() is None
        told = len(two.history())
        two.adopt(one.leases(NOW + len(done) * S), "there", NOW + len(done) * S)
        assert len(two.history()) == told, "what is the same is no change"


def test_a_sidecar_is_the_same_one_after_a_restart(path: Path) -> None:
    """And no other one is."""
    with closing(Switches(path, DAY_S)) as made:
        known = made.identity
    with closing(Switches(path, DAY_S)) as again:
        assert again.identity == known
    with closing(Switches(path.with_name("other.sqlite"), DAY_S)) as other:
        assert other.identity != known
