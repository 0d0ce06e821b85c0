"""Degrade switches of a real sidecar: by hand, by findings, by what a real Prometheus says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e._prometheus import prometheus
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, call, eventually, named, zombiewatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOON: Final = {"dwell_s": 1, "hold_off_s": 2, "step_s": 0.2, "lease_s": 5, "dry_run": False}


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One without policies, for what people do."""
    with Running(tmp_path_factory.mktemp("switch"), {"degrade": {"look_every_s": 0.2}}) as running:
        yield running
        assert running.stop() == 0, running.log


def switch(sidecar: Running, *words: str) -> tuple[int, str, str]:
    done = zombiewatch("switch", *words, "--url", sidecar.url())
    return done.returncode, done.stdout, done.stderr


def levels(sidecar: Running) -> dict[str, float]:
    """Return what `/metrics` says of each service that ever had a switch."""
    text = call("GET", f"{sidecar.url()}/metrics").body.decode()
    rows = [line for line in text.splitlines() if line.startswith("zombiewatch_degrade_level{")]
    return {row.split('"')[1]: float(row.rsplit(" ", 1)[1]) for row in rows}


def history(sidecar: Running, service: str) -> list[tuple[str, str, bool]]:
    answer = sidecar.get("/api/v1/switches/history", {"service": service}).json()
    assert answer["broken_at"] is None
    return [(one["action"], one["level"], one["dry_run"]) for one in answer["changes"]]


# By hand


def test_a_switch_is_set_seen_and_cleared(sidecar: Running) -> None:
    """On the command line, in the metrics, and in the audit."""
    service = named("orders")
    code, said, _ = switch(
        sidecar, "set", service, "l2", "--for", "30m", "--reason", "no stock", "--by", "ann"
    )
    assert code == 0
    assert said.startswith(f"{service} is at L2 (manual) until ")
    assert levels(sidecar)[service] == 2
    assert 1790 < sidecar.metric("zombiewatch_degrade_remaining_seconds", service=service) <= 1800
    shown = json.loads(switch(sidecar, "list", "--json")[1])
    (one,) = [each for each in shown["switches"] if each["service"] == service]
    assert (one["set_by"], one["reason"], one["in_force"]) == ("ann", "no stock", True)
    assert one["hides"] == []
    assert service[:20] in switch(sidecar, "list")[1].replace("\n", "")

    code, said, _ = switch(sidecar, "clear", service, "--reason", "stocked")
    assert (code, said) == (0, f"{service} has no switch in force.\n")
    assert levels(sidecar)[service] == 0
    assert history(sidecar, service) == [("set", "L2", False), ("cleared", "L2", False)]
    assert "stocked" in switch(sidecar, "history", "--service", service)[1]


def test_a_switch_ends_by_itself(sidecar: Running) -> None:
    """Its metric falls to 0 with its lease, and the audit says that time has ended it."""
    service = named("orders")
    assert switch(sidecar, "set", service, "L1", "--for", "1s", "--reason", "a test")[0] == 0
    eventually(0.0, lambda: levels(sidecar)[service])
    expected = [("set", "L1", False), ("expired", "L1", False)]
    eventually(expected, lambda: history(sidecar, service))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["set", "x", "L2", "--for", "2d", "--reason", "x"], "86400 s from now at most"),
        (["set", "x", "L2", "--for", "soon", "--reason", "x"], "until is 'soon': write a length"),
        (["set", "x", "L4", "--for", "1h", "--reason", "x"], "level: Input should be 'L0', 'L1'"),
        (["set", "x", "L2", "--for", "1h", "--reason", " "], "a reason is needed"),
        (["set", "x", "L2", "--for", "1h", "--reason", "x", "--generation", "7"], "meanwhile"),
        (["clear", "x", "--reason", "x"], "nobody has set a switch of x"),
    ],
)
def test_what_cannot_be_set_is_refused(sidecar: Running, words: list[str], why: str) -> None:
    """With the way to mend it, and without a change."""
    code, said, errors = switch(sidecar, *words)
    assert (code, said) == (1, "")
    assert errors.startswith("zombiewatch: ")
    assert why in errors
    assert history(sidecar, "x") == []


def test_a_form_of_another_site_cannot_set_one(sidecar: Running) -> None:
    """Only JSON is read: a browser sends that to another site only if that site allows it."""
    said = b'{"service":"x","level":"L3","until":"1h","by":"eve","reason":"x"}'
    url = f"{sidecar.url()}/api/v1/switches/set"
    assert call("POST", url, said, {"Content-Type": "text/plain"}).status == 415
    assert history(sidecar, "x") == []


def test_a_kill_forgets_no_switch(tmp_path: Path) -> None:
    """What somebody was told is set is set after a power cut, with its time running on."""
    with Running(tmp_path) as sidecar:
        assert switch(sidecar, "set", "orders", "L3", "--for", "1h", "--reason", "fire")[0] == 0
        before = sidecar.get("/api/v1/switches").json()["switches"]
        sidecar.kill()
        sidecar.again()
        after = sidecar.get("/api/v1/switches").json()["switches"]
        assert levels(sidecar) == {"orders": 3}
        assert [one["expires_at"] for one in after] == [one["expires_at"] for one in before]
        assert after[0]["remaining_s"] < before[0]["remaining_s"]
        assert sidecar.stop() == 0


# By findings


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_zombie_raises_a_level_and_its_end_lowers_it(tmp_path: Path, *, dry_run: bool) -> None:
    """L1, L2, and back: one at a time. In dry run it is told, and nothing is in force."""
    rungs = [{"level": "L2", "findings": ["zombie_task"], "of": ["api", "agent"]}]
    policy = {**SOON, "service": "shop", "rungs": rungs, "dry_run": dry_run}
    degrade = {"look_every_s": 0.2, "policies": [policy]}
    with Running(tmp_path, {**QUICK, "degrade": degrade}) as sidecar:
        scheduler = Scheduler(sidecar)
        scheduler.loses("lost")
        up = [("raised", "L1", dry_run), ("raised", "L2", dry_run)]
        eventually(up, lambda: history(sidecar, "shop"))
        assert levels(sidecar) == {"shop": 0 if dry_run else 2}
        would = sidecar.metric("zombiewatch_degrade_dry_run_level", service="shop")
        assert would == (2 if dry_run else 0)
        (zombie,) = sidecar.findings("open", detector="zombie_task")
        done = zombiewatch(
            "findings", "dismiss", str(zombie["id"]), "--reason", "found", "--url", sidecar.url()
        )
        assert done.returncode == 0
        down = [*up, ("lowered", "L1", dry_run), ("lowered", "L0", dry_run)]
        eventually(down, lambda: history(sidecar, "shop"))
        assert levels(sidecar) == {"shop": 0}
        assert sidecar.stop() == 0, sidecar.log


# By a Prometheus


@pytest.fixture(scope="module")
def shared_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One that many tests ask."""
    with prometheus(tmp_path_factory.mktemp("prometheus")) as (url, _):
        yield url


def asking(query: str, url: str, **more: object) -> dict[str, Any]:
    rung = {"level": "L1", "query": query, "enter": 0.95, "leave": 0.8, **more}
    policy = {**SOON, "service": "shop", "rungs": [rung], "probe_s": 2}
    return {"degrade": {"look_every_s": 0.2, "prometheus": url, "policies": [policy]}}


TWO: Final = (
    'label_replace(vector(0.97), "service", "shop", "", "")'
    ' or label_replace(vector(0.1), "service", "other", "", "")'
)


@pytest.mark.parametrize(
    ("query", "more", "raised"),
    [
        ("vector(0.97)", {}, True),
        ("scalar(vector(0.97))", {}, True),
        (TWO, {}, True),
        ("vector(0.97)", {"samples": "vector(100)", "samples_min": 50}, True),
        ("vector(0.97)", {"samples": "vector(9)", "samples_min": 50}, False),
        ("vector(0.5)", {}, False),
        ("vector(0) / vector(0)", {}, False),
    ],
)
def test_a_query_raises_a_level(
    shared_prometheus: str, tmp_path: Path, query: str, more: dict[str, object], *, raised: bool
) -> None:
    """The reading is the query's number: of the service, where it says of which."""
    with Running(tmp_path, asking(query, shared_prometheus, **more)) as sidecar:
        if raised:
            eventually([("raised", "L1", False)], lambda: history(sidecar, "shop"))
        else:
            before = sidecar.metric("zombiewatch_degrade_looks_total")
            eventually(
                True, lambda: sidecar.metric("zombiewatch_degrade_looks_total") >= before + 5
            )
            assert history(sidecar, "shop") == []
        assert sidecar.get("/api/v1/switches").json()["policies"][0]["error"] is None


@pytest.mark.parametrize(
    ("query", "why"),
    [("up ==", "refuses"), ("absent_thing", "0 series"), (TWO.replace("shop", "x"), "2 series")],
)
def test_a_query_without_an_answer_raises_nothing_and_is_told(
    shared_prometheus: str, tmp_path: Path, query: str, why: str
) -> None:
    """In the list, and as a metric that can be alerted on."""
    with Running(tmp_path, asking(query, shared_prometheus)) as sidecar:
        eventually(1.0, lambda: sidecar.metric("zombiewatch_degrade_policy_blind", service="shop"))
        assert why in sidecar.get("/api/v1/switches").json()["policies"][0]["error"]
        assert "it cannot look" in switch(sidecar, "list")[1]
        assert history(sidecar, "shop") == []


def test_a_prometheus_that_dies_holds_a_level_until_the_deadline(tmp_path: Path) -> None:
    """Not known is not all well; but nobody waits for its word for ever."""
    with (
        prometheus(tmp_path / "prometheus") as (url, process),
        Running(tmp_path / "sidecar", asking("vector(1)", url)) as sidecar,
    ):
        up = ("raised", "L1", False)
        eventually([up], lambda: history(sidecar, "shop"))
        assert sidecar.metric("zombiewatch_degrade_policy_blind", service="shop") == 0
        process.kill()
        eventually(1.0, lambda: sidecar.metric("zombiewatch_degrade_policy_blind", service="shop"))
        assert levels(sidecar) == {"shop": 1}
        eventually([up, ("lowered", "L0", False)], lambda: history(sidecar, "shop"))
        assert sidecar.stop() == 0, sidecar.log


# Two sidecars


def test_one_of_two_sidecars_sets_the_switches_and_the_other_has_them(tmp_path: Path) -> None:
    """Through restarts and absence of either; who asks the other one to set is told where to."""
    soon, token = {"look_every_s": 0.2}, "a-token-of-this-test"
    with Running(tmp_path / "one", {"http": {"token": token}, "degrade": soon}) as one:
        follows = {**soon, "follow": one.url(), "follow_token": token}
        with Running(tmp_path / "two", {"degrade": follows}) as two:

            def said(service: str, level: str, length: str) -> None:
                body = {
                    "service": service, "level": level, "until": length, "by": "ann",
                    "reason": "a test",
                }  # fmt: skip
                given = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
                to = f"{one.url()}/api/v1/switches/set"
                answer = call("POST", to, json.dumps(body).encode(), given)
                assert answer.status == 200, answer

            said("orders", "L1", "1h")
            said("orders", "L2", "1h")  # so that its generation is the second one
            said("mail", "L3", "6s")
            eventually({"orders": 2.0, "mail": 3.0}, lambda: levels(two))
            (known,) = [
                each
                for each in two.get("/api/v1/switches").json()["switches"]
                if each["service"] == "orders"
            ]
            assert (known["generation"], known["set_by"]) == (2, "ann")

            code, _, error = switch(two, "set", "orders", "L0", "--for", "1h", "--reason", "no")
            assert code == 1
            assert f"set at {one.url()}" in error
            assert levels(two)["orders"] == 2

            one.kill()
            eventually(1.0, lambda: two.metric("zombiewatch_degrade_follow_failing"))
            eventually(
                {"orders": 2.0, "mail": 0.0}, lambda: levels(two)
            )  # what has ended, has ended
            two.kill()
            two.again()
            assert levels(two) == {"orders": 2, "mail": 0}

            one.again()
            said("orders", "L1", "1h")
            eventually({"orders": 1.0, "mail": 0.0}, lambda: levels(two))
            assert two.metric("zombiewatch_degrade_follow_failing") == 0
            assert two.log.count("cannot be followed") == 2  # once for each time that it ran
            assert {each for each, *_ in history(two, "orders")} == {"followed"}
            assert two.stop() == 0, two.log
        assert one.stop() == 0, one.log
