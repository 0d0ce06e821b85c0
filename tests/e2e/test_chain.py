"""The whole chain, with real parts: sidecar, Prometheus, Alertmanager, and somebody who is told."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e._prometheus import alertmanager, firing, prometheus, scraping, soon
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, call, eventually, zombiewatch
from tests.e2e._told import Told, told_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WINDOW: Final = "6s"
"""For so long a missed scrape is bridged here; five minutes in the rules that are shipped."""


@dataclass
class Chain:
    """All that runs, and how it is asked."""

    sidecar: Running
    told: Told
    prometheus: str
    alertmanager: str
    schedulers: dict[str, Scheduler] = field(default_factory=dict)

    def loses(self, service: str, task: str) -> None:
        """Let *service* hand out a *task* that nobody runs, and wait until that is found."""
        made = Scheduler(self.sidecar, "night", service, f"{service}-agent")
        self.schedulers.setdefault(service, made).loses(task)

    def switch(self, *words: str) -> None:
        done = zombiewatch("switch", *words, "--reason", "a test", "--url", self.sidecar.url())
        assert done.returncode == 0, done.stderr

    def inhibited(self) -> dict[str, bool]:
        """Return, by service, whether its zombie is muted, as Alertmanager says."""
        alerts = call("GET", f"{self.alertmanager}/api/v2/alerts").json()
        return {
            one["labels"]["service"]: bool(one["status"]["inhibitedBy"])
            for one in alerts
            if one["labels"]["alertname"] == "ZombieTask"
        }


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    with ExitStack() as stack:
        told = Told()
        stack.callback(told.close)
        receivers = told.receivers("critical", "warning", "changes")
        sidecar = stack.enter_context(Running(tmp_path / "sidecar", QUICK))
        config = told_by(tmp_path, receivers)
        where, _ = stack.enter_context(alertmanager(tmp_path / "alertmanager", config))
        rules = tmp_path / "rules.yml"
        rules.write_text(soon(zombiewatch("rules", "--page", sidecar.url()).stdout, WINDOW))
        config = scraping(sidecar.url(), rules, where)
        url, _ = stack.enter_context(prometheus(tmp_path / "prometheus", config))
        yield Chain(sidecar, told, url, where)


@pytest.mark.slow
def test_a_zombie_is_told_and_a_switch_mutes_its_service_alone(chain: Chain) -> None:
    """Told with its links; muted while the switch holds; told when it is lifted, or has expired."""
    chain.loses("api", "t-1")
    eventually(1, lambda: len(chain.told.of("ZombieTask", "api")))
    (one,) = chain.told.of("ZombieTask", "api")
    assert chain.told.paths("ZombieTask") == {"/warning"}
    assert one["annotations"]["description"] == "zombie_task: confirmed for api (queue night)."
    assert call("GET", one["annotations"]["runbook_url"]).status == 200

    chain.switch("set", "shop", "L1", "--for", "1h")
    chain.switch("set", "mail", "L1", "--for", "50s")
    eventually(True, lambda: "ServiceDegraded" in firing(chain.prometheus))
    chain.loses("shop", "t-2")
    chain.loses("mail", "t-3")
    chain.loses("bank", "t-4")
    muted = {"api": False, "shop": True, "mail": True, "bank": False}
    eventually(muted, chain.inhibited)
    listed = {
        one["service"]: one for one in chain.sidecar.get("/api/v1/switches").json()["switches"]
    }
    (hidden,) = chain.sidecar.findings("open", service="shop", detector="zombie_task")
    assert listed["shop"]["hides"] == [hidden["id"]]
    assert chain.sidecar.metric("zombiewatch_degrade_hidden_findings", service="shop") == 1
    eventually(1, lambda: len(chain.told.of("ZombieTask", "bank")))
    assert chain.told.of("ZombieTask", "shop") == []

    chain.switch("clear", "shop")
    eventually(1, lambda: len(chain.told.of("ZombieTask", "shop")))
    # its lease has ended
    eventually(1, lambda: len(chain.told.of("ZombieTask", "mail")), within_s=90)
    eventually(dict.fromkeys(muted, False), chain.inhibited)
    assert chain.told.paths("ServiceDegraded") == set()

    chain.schedulers["api"].settles("t-1")
    eventually(1, lambda: len(chain.told.of("ZombieTask", "api", "resolved")))
    assert chain.told.of("ZombieTask", "bank", "resolved") == []


@pytest.mark.slow
def test_a_killed_sidecar_mutes_nothing_and_ends_nothing(chain: Chain) -> None:
    """What its switch muted is told, what fired goes on, and that it is gone is told, too."""
    chain.switch("set", "shop", "L1", "--for", "1h")
    eventually(True, lambda: "ServiceDegraded" in firing(chain.prometheus))
    chain.loses("shop", "t-1")
    eventually({"shop": True}, chain.inhibited)
    chain.sidecar.kill()
    eventually(1, lambda: len(chain.told.of("ZombieTask", "shop")))
    eventually({"/critical"}, lambda: chain.told.paths("ZombiewatchAbsent"))
    assert chain.inhibited() == {"shop": False}
    assert "ServiceDegraded" not in firing(chain.prometheus)
    assert chain.told.of("ZombieTask", "shop", "resolved") == []
