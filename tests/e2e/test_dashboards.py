"""The dashboards against a real Prometheus and a sidecar that has seen all there is to see."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from alerts.rules.links import Links
from alerts.rules.write import rules
from dashboards.grafana._files import files
from detectors._kit import load
from tests.alerts import _promlint
from tests.dashboards._asking import INTERVAL, answers, asked
from tests.dashboards._boards import BOARDS, filled, queries
from tests.e2e._prometheus import prometheus, scraping, soon
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, named, zombiewatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

WITHIN_S: Final = 90.0
NOBODY: Final = "http://127.0.0.1:9"
"""The discard port: who tells something there counts what he could not tell."""

SETTINGS: Final = {
    **QUICK,
    "forward": {"endpoint": NOBODY},
    "alertmanager": {"url": NOBODY, "silences": True, "push_every_s": 1},
    "celery": {"broker": "redis://127.0.0.1:9/0"},
    "degrade": {
        "prometheus": NOBODY,
        "look_every_s": 0.2,
        "policies": [
            {"service": "api", "rungs": [{"level": "L1", "findings": ["zombie_task"]}]},
            {"service": "pay", "rungs": [{"level": "L1", "query": "up", "enter": 0.9}]},
        ],
    },
}
_TYPE: Final = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
_SUFFIXES: Final = {"histogram": ("_bucket", "_count", "_sum")}


def busy(sidecar: Running) -> Iterator[None]:
    """Let something of everything happen, again and again; ends never."""
    scheduler = Scheduler(sidecar, queue="night")
    scheduler.works(named("covered"))
    number = 0
    while True:
        number += 1
        task, call_ = named("task"), named("request")
        said: Mapping[str, Any] = {"traceparent": f"00-{number:032x}-{number:016x}-01"}
        limits = {"task__timeout_s": 30.0, "task__heartbeat_timeout_s": 9.0}
        scheduler.says("task.enqueued", task, **said)
        scheduler.says("task.dispatched", task, queue__visibility_timeout_s=60.0, **limits, **said)
        scheduler.reports("task.accepted", task, **said)
        scheduler.reports("task.started", task, **said)
        scheduler.reports("task.heartbeat", task, **said)
        _call(scheduler, {"request.id": call_, "call.purpose": "report"})
        scheduler.reports("task.heartbeat", task, **said)
        scheduler.reports("task.finished", task, task__outcome="success", **said)
        scheduler.says("task.recorded", task, task__state="success", **said)
        scheduler.says("task.dispatched", named("lost"))
        scheduler.reports("task.heartbeat")
        scheduler.says(
            "queue.sampled",
            queue__name="night",
            queue__depth=1000.0 - number,
            queue__oldest_age_s=60.0,
            queue__consumers=3.0,
            queue__in_flight=2.0,
            queue__paused=False,
            queue__enqueued_total=10.0 * number,
            queue__completed_total=11.0 * number,
        )
        if number % 20 == 1:
            level = "L1" if number % 40 == 1 else "L2"
            words = ("switch", "set", "api", level, "--for", "10m", "--reason", "it is tried")
            done = zombiewatch(*words, "--url", sidecar.url())
            assert done.returncode == 0, done.stderr
        yield


def _call(scheduler: Scheduler, said: Mapping[str, Any]) -> None:
    limits: Mapping[str, Any] = {"call.timeout_s": 5.0, "call.retry_window_s": 20.0}
    scheduler.reports("call.sent", **said, **limits)
    scheduler.says("call.received", **said)
    scheduler.says("call.committed", **said)
    scheduler.reports("call.ok", **said)


@pytest.mark.slow
def test_each_panel_shows_something(tmp_path: Path) -> None:
    """Every query of every panel, every mark and every choice, with no exception."""
    wanted = dict(one for board in BOARDS.values() for one in queries(board, INTERVAL))
    with Running(tmp_path / "sidecar", SETTINGS) as sidecar:
        path = tmp_path / "rules.yml"
        path.write_text(soon(rules(load(), Links(), "latest", objective=0.999)))
        config = scraping(sidecar.url(), path)
        keeps = "--enable-feature=exemplar-storage"
        with prometheus(tmp_path / "prometheus", config, keeps) as (url, _):
            going_on = busy(sidecar)
            until = time.monotonic() + WITHIN_S
            empty = sorted(wanted)
            while empty and time.monotonic() < until:
                next_at = time.monotonic() + 2
                while time.monotonic() < next_at:
                    next(going_on)
                empty = [name for name in empty if not answers(url, wanted[name])]
            assert {name: wanted[name] for name in empty} == {}

            exposed = set(_exposed(sidecar))
            named_ = set().union(*(_promlint.metrics(expr) for expr in wanted.values()))
            assert named_ - exposed == {"ALERTS"}
            for board in BOARDS.values():
                for metric, label in _choices(board):
                    chosen = asked(url, f"label/{label}/values", **{"match[]": metric})
                    assert chosen, (board["uid"], metric, label)
            found = asked(
                url, "query_exemplars", query="zombiewatch_task_run_seconds_bucket",
                start=time.time() - 60, end=time.time(),
            )  # fmt: skip
            assert found
            assert len(found[0]["exemplars"][0]["labels"]["trace_id"]) == 32


def _exposed(sidecar: Running) -> Iterator[str]:
    for name, kind in _TYPE.findall(sidecar.get("/metrics").body.decode()):
        yield from (f"{name}{suffix}" for suffix in _SUFFIXES.get(kind, ("",)))


def _choices(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield of which metric, and of which of its labels, a variable has the values."""
    for one in board["templating"]["list"]:
        if one["type"] == "query":
            told = re.fullmatch(r"label_values\((.+), (\w+)\)", one["query"]["query"])
            assert told, one
            yield filled(board, told[1], INTERVAL), told[2]


def test_the_command_writes_them(tmp_path: Path) -> None:
    """And says which files; a folder that cannot be made is one clear line."""
    done = zombiewatch("dashboards", "--into", str(tmp_path / "new"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [str(tmp_path / "new" / name) for name, _ in files()]
    (tmp_path / "file").write_text("")
    done = zombiewatch("dashboards", "--into", str(tmp_path / "file"))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
