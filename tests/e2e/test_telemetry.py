"""What the sidecar says of itself, told to a second sidecar, to itself, and to nobody."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e._otlp import log, logs
from tests.e2e._sidecar import Running, eventually, stored
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPANS = {"group commit", "apply batch", "evaluation", "checkpoint"}


@pytest.fixture
def observer(tmp_path: Path) -> Iterator[Running]:
    """A second sidecar, to be told."""
    with Running(tmp_path / "observer") as sidecar:
        yield sidecar


def test_its_own_work_is_told_as_spans_and_metrics(
    run: Callable[..., Running], observer: Running
) -> None:
    """One span for each group, batch, evaluation and checkpoint; metrics at each interval."""
    telemetry = {"endpoint": observer.url("otlp"), "interval_s": 0.2}
    sidecar = run({"telemetry": telemetry, "store": {"checkpoint_every_s": 1}})
    assert sidecar.otlp("logs", logs([log({"task.id": "t"})] * 10)).status == 200
    requests = "zombiewatch_otlp_requests_total"
    answered = "200"
    eventually(True, lambda: observer.metric(requests, signal="metrics", code=answered) > 0)
    eventually(True, lambda: sidecar.metric("zombiewatch_checkpoints_total") > 0)
    assert sidecar.stop() == 0, sidecar.log
    assert observer.stop() == 0, observer.log
    told = stored(observer.data, "name, service")
    assert {(name, "zombiewatch") for name in SPANS} == set(told)


def test_told_to_itself_it_does_not_run_away(run: Callable[..., Running]) -> None:
    """Each export is one more group and one more batch: a few spans an interval, no more."""
    port = free_port()
    settings = {
        "otlp": {"port": port},
        "evaluate_every_s": 60,
        "telemetry": {"endpoint": f"http://127.0.0.1:{port}", "interval_s": 0.2},
    }
    sidecar = run(settings)
    begun = time.monotonic()
    eventually(True, lambda: sidecar.signals(kind="span") > 10)
    eventually(True, lambda: time.monotonic() - begun > 4)
    intervals = (time.monotonic() - begun) / 0.2
    # a group and a batch of each export, and what metrics' exports cause likewise
    assert sidecar.signals(kind="span") < 6 * intervals + 20
    assert sidecar.stop() == 0, sidecar.log


def test_a_collector_that_is_away_costs_nothing(run: Callable[..., Running]) -> None:
    """Neither senders nor the end wait for it."""
    telemetry = {"endpoint": f"http://127.0.0.1:{free_port()}", "interval_s": 0.2}
    sidecar = run({"telemetry": telemetry})
    for number in range(20):
        assert sidecar.otlp("logs", logs([log({"task.id": f"t-{number}"})])).status == 200
    begun = time.monotonic()
    assert sidecar.stop() == 0, sidecar.log
    assert time.monotonic() - begun < 12


def test_where_it_is_off_the_sdk_is_not_even_loaded() -> None:
    """It would cost every sidecar memory, and time to start."""
    code = (
        "import sys, zombiewatch.running;"
        "print([one for one in sys.modules if one.startswith('opentelemetry.sdk')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
