"""Alertmanager is told by the sidecar itself: again while it lasts, once that it is over."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e._prometheus import alertmanager
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, call, eventually, zombiewatch
from tests.e2e._told import Told, told_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUSH: Final = {"push_every_s": 0.5, "lasts_s": 12}


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.close()


@pytest.fixture
def where(tmp_path: Path, told: Told) -> Iterator[str]:
    """An Alertmanager that tells of warnings and of what is critical."""
    config = told_by(tmp_path, told.receivers("critical", "warning"))
    with alertmanager(tmp_path / "alertmanager", config) as (url, _):
        yield url


def fires(where: str) -> dict[str, bool]:
    """Return the alerts that Alertmanager has, and whether each is muted."""
    alerts = call("GET", f"{where}/api/v2/alerts").json()
    return {one["labels"]["alertname"]: bool(one["status"]["inhibitedBy"]) for one in alerts}


def switch(sidecar: Running, *words: str) -> None:
    done = zombiewatch("switch", *words, "--reason", "a test", "--url", sidecar.url())
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_what_fires_is_told_with_its_tasks_and_when_it_is_over(
    tmp_path: Path, told: Told, where: str
) -> None:
    """For longer than an alert lasts; five at once wake somebody; a switch mutes without rules."""
    with Running(
        tmp_path / "sidecar", {**QUICK, "alertmanager": {"url": where, **PUSH}}
    ) as sidecar:
        scheduler = Scheduler(sidecar, "night")
        scheduler.loses("lost-1")
        eventually(1, lambda: len(told.of("ZombieTask", "api")))
        (one,) = told.of("ZombieTask", "api")
        assert "lost-1" in one["annotations"]["description"]
        assert one["annotations"]["runbook_url"].endswith("/runbooks/zombie_task")
        assert one["labels"]["queue"] == "night"
        assert "ZombieTaskMany" not in fires(where)
        taken = sidecar.metric("zombiewatch_pushes_total", outcome="taken")
        eventually(  # longer than `lasts_s`
            True,
            lambda: sidecar.metric("zombiewatch_pushes_total", outcome="taken") > taken + 30,
        )
        assert "ZombieTask" in fires(where)
        assert told.of("ZombieTask", "api", "resolved") == []

        scheduler.loses(*(f"lost-{n}" for n in range(2, 6)))
        eventually({"/critical"}, lambda: told.paths("ZombieTaskMany"))

        many = {"ZombieTask": True, "ZombieTaskMany": False}  # what is critical mutes the rest
        eventually(many, lambda: fires(where))
        switch(sidecar, "set", "api", "L2", "--for", "1h")
        muted = {"ServiceDegraded": False, "ZombieTask": True, "ZombieTaskMany": True}
        eventually(muted, lambda: fires(where))
        switch(sidecar, "clear", "api")
        eventually(many, lambda: fires(where))

        scheduler.settles(*(f"lost-{n}" for n in range(1, 6)))
        nothing: dict[str, bool] = {}
        eventually(nothing, lambda: fires(where))
        eventually(1, lambda: len(told.of("ZombieTaskMany", "api", "resolved")))
        assert sidecar.stop() == 0, sidecar.log


@pytest.mark.slow
def test_an_alertmanager_that_is_away_disturbs_nothing_and_is_told_later(
    tmp_path: Path, told: Told
) -> None:
    """The sidecar finds, and says once in its log that it cannot tell."""
    config = told_by(tmp_path, told.receivers("critical", "warning"))
    with ExitStack() as stack:
        with alertmanager(tmp_path / "alertmanager", config) as (where, _):
            pass
        settings = {**QUICK, "alertmanager": {"url": where, **PUSH}}
        sidecar = stack.enter_context(Running(tmp_path / "sidecar", settings))
        Scheduler(sidecar, "night").loses("lost-1")
        eventually(True, lambda: sidecar.metric("zombiewatch_pushes_total", outcome="failed") > 2)
        assert sidecar.log.count("does not take alerts") == 1
        port = int(where.rpartition(":")[2])
        stack.enter_context(alertmanager(tmp_path / "again", config, port=port))
        eventually(1, lambda: len(told.of("ZombieTask", "api")))
        assert sidecar.stop() == 0, sidecar.log


@pytest.mark.slow
def test_an_alert_is_tried_out(told: Told, where: str) -> None:
    """`zombiewatch alerts test` says whom it has reached, and that nobody would be told."""
    done = zombiewatch("alerts", "test", "--url", where, "--severity", "critical", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["receivers"] == {"zombiewatch-critical": ["webhook"]}
    assert (said["sent"], said["failed"]) == ({"webhook": 1}, {})
    assert told.paths("ZombiewatchTest") == {"/critical"}

    nobody = zombiewatch("alerts", "test", "--url", where, "--severity", "info")
    assert nobody.returncode == 1
    assert "goes to zombiewatch-info, by nothing: it tells nobody" in nobody.stdout
    assert "Nobody was told" in nobody.stdout

    told.close()
    failed = zombiewatch("alerts", "test", "--url", where, "--wait", "25")
    assert failed.returncode == 1
    assert "FAILED by webhook" in failed.stdout

    away = zombiewatch("alerts", "test", "--url", "http://127.0.0.1:9")
    assert (away.returncode, away.stdout) == (1, "")
    assert "does not answer" in away.stderr
