"""The whole chain, with real parts: sidecar, Prometheus, Alertmanager, and somebody who is told."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.e2e._prometheus import alertmanager, firing, prometheus, scraping, soon
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, call, eventually, zombiewatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WINDOW: Final = "6s"
"""For so long a missed scrape is bridged here; five minutes in the rules that are shipped."""


class Told:
    """A webhook: keeps what Alertmanager posts, by the path that it posts to."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.messages.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def of(self, name: str, service: str, status: str = "firing") -> list[dict[str, Any]]:
        """Return the alerts *name* of *service* that somebody was told of, in that *status*."""
        return [
            alert
            for _, message in self.messages
            for alert in message["alerts"]
            if alert["status"] == status
            and alert["labels"]["alertname"] == name
            and alert["labels"].get("service") == service
        ]

    def paths(self, name: str) -> set[str]:
        """Return where alerts of that *name* were told."""
        return {
            path
            for path, message in self.messages
            if any(alert["labels"]["alertname"] == name for alert in message["alerts"])
        }


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
        receivers = {
            tier: {"webhook_configs": [{"url": f"{told.url}/{tier}"}]}
            for tier in ("critical", "warning", "changes")
        }
        settings = {**QUICK, "alertmanager": {"receivers": receivers}}
        sidecar = stack.enter_context(Running(tmp_path / "sidecar", settings))
        path = tmp_path / "zombiewatch.yaml"
        path.write_text(yaml.safe_dump({"alertmanager": {"receivers": receivers}}))
        made = zombiewatch("alertmanager", "-c", str(path))
        assert made.returncode == 0, made.stderr
        said = made.stdout.replace("group_wait: 30s", "group_wait: 2s")
        said = said.replace("group_interval: 5m", "group_interval: 1s")
        where, _ = stack.enter_context(
            alertmanager(tmp_path / "alertmanager", yaml.safe_load(said))
        )
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
    chain.switch("set", "mail", "L1", "--for", "25s")
    eventually(True, lambda: "ServiceDegraded" in firing(chain.prometheus))
    chain.loses("shop", "t-2")
    chain.loses("mail", "t-3")
    chain.loses("bank", "t-4")
    muted = {"api": False, "shop": True, "mail": True, "bank": False}
    eventually(muted, chain.inhibited)
    eventually(1, lambda: len(chain.told.of("ZombieTask", "bank")))
    assert chain.told.of("ZombieTask", "shop") == []

    chain.switch("clear", "shop")
    eventually(1, lambda: len(chain.told.of("ZombieTask", "shop")))
    eventually(1, lambda: len(chain.told.of("ZombieTask", "mail")))  # its lease has ended
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
