"""A full disk, or a full journal: senders are told to come again, and nothing taken is lost."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from tests.e2e._otlp import log, logs
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import eventually, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e._sidecar import Answer, Running
    from tests.e2e.conftest import Disk

MIB: Final = 1 << 20
UNAVAILABLE: Final = 14  # of google.rpc.Code


class Sender:
    """Sends records of 64 KiB, each with a task ID of its own, and knows which were taken."""

    def __init__(self, sidecar: Running) -> None:
        self.taken: list[str] = []
        self._sidecar = sidecar
        self._sent = 0

    def send(self) -> Answer:
        task, self._sent = f"sent-{self._sent}", self._sent + 1
        # What cannot be compressed well fills segments as it fills the journal.
        body = logs([log({"task.id": task}, os.urandom(32 << 10).hex())])
        answer = self._sidecar.otlp("logs", body)
        if answer.status == 200:
            self.taken.append(task)
        return answer

    def until_full(self) -> Answer:
        """Send until it is refused; return that answer."""
        for _ in range(2000):
            answer = self.send()
            if answer.status != 200:
                return answer
        pytest.fail("2000 records of 64 KiB were all taken")


def comes_again(answer: Answer) -> None:
    """Assert that the sender of a request was told to come again, as an SDK understands it."""
    assert (answer.status, answer.headers["content-type"]) == (503, "application/x-protobuf")
    assert answer.headers["retry-after"] in {"1", "2"}
    assert Status.FromString(answer.body).code == UNAVAILABLE


def is_all_there(sidecar: Running, *expected: str) -> None:
    """Assert that the sidecar, once it has stopped, holds just the tasks *expected*, each once."""
    assert sidecar.stop() == 0, sidecar.log
    found = Counter(task for (task,) in stored(sidecar.data, "task"))
    wanted = Counter(expected)
    assert (Counter(), Counter()) == (wanted - found, found - wanted)


def write(path: Path, names: list[str]) -> list[str]:
    """Append a line for each of the tasks *names*; return them."""
    with path.open("a") as file:
        file.writelines(json.dumps({"task.id": name, "pad": "x" * 500}) + "\n" for name in names)
    return names


# The journal


SMALL_JOURNAL: Final = {"store": {"journal_max_bytes": MIB, "checkpoint_every_s": 1}}


def test_a_full_journal_tells_senders_to_come_again(run: Callable[..., Running]) -> None:
    """OTLP is answered 503 with Retry-After and the setting's limit, and the metrics count it."""
    sidecar = run({"store": {"journal_max_bytes": MIB}})
    answer = Sender(sidecar).until_full()
    comes_again(answer)
    assert f"the journal has reached its limit of {MIB} bytes" in (
        Status.FromString(answer.body).message
    )
    beat = sidecar.beat({"task_id": "t"})
    assert (beat.status, beat.headers["retry-after"]) == (503, "1")
    assert sidecar.metric("zombiewatch_refused_full_total") == 2
    assert sidecar.metric("zombiewatch_otlp_requests_total", code="503") == 1
    assert sidecar.get("/healthz").status == 200


@pytest.mark.slow
def test_a_full_journal_empties_itself(run: Callable[..., Running]) -> None:
    """Once all is applied and written down, there is room again, without anybody's help."""
    sidecar = run(SMALL_JOURNAL)
    sender = Sender(sidecar)
    for _ in range(3):
        comes_again(sender.until_full())
        eventually(200, lambda: sender.send().status)
    is_all_there(sidecar, *sender.taken)


@pytest.mark.slow
def test_followed_files_wait_for_a_full_journal(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """No line is passed over: what was written while there was no room comes when there is."""
    path = tmp_path / "app.log"
    sidecar = run({**SMALL_JOURNAL, "follow": [{"path": str(path)}]})
    sender = Sender(sidecar)
    comes_again(sender.until_full())
    lines = write(path, [f"line-{number}" for number in range(10_000)])
    sidecar.hears(lines[-1], within_s=60)
    is_all_there(sidecar, *sender.taken, *lines)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_with_a_full_journal_loses_nothing(
    run: Callable[..., Running], tmp_path: Path, end: str
) -> None:
    """Neither what was taken nor the lines that wait are lost, and there is room afterwards."""
    path = tmp_path / "app.log"
    sidecar = run({**SMALL_JOURNAL, "follow": [{"path": str(path)}]})
    sender = Sender(sidecar)
    comes_again(sender.until_full())
    lines = write(path, [f"line-{number}" for number in range(1000)])
    getattr(sidecar, end)()
    sidecar.start()
    sidecar.hears(lines[-1], within_s=60)
    eventually(200, lambda: sender.send().status)
    is_all_there(sidecar, *sender.taken, *lines)


# The disk


def on(disk: Disk, more: dict[str, Any] | None = None, *, keep_free: int = 0) -> dict[str, Any]:
    """Return the settings of a sidecar whose data are on *disk*."""
    store = {"min_free_disk_bytes": keep_free, "checkpoint_every_s": 1}
    return {"data_dir": str(disk.path / "data"), "store": store, **(more or {})}


@pytest.mark.slow
@pytest.mark.parametrize("keep_free", [0, 16 * MIB], ids=["to the last byte", "16 MiB are kept"])
def test_a_full_disk_loses_nothing_that_was_taken(
    disk: Disk, run: Callable[..., Running], tmp_path: Path, keep_free: int
) -> None:
    """Senders are told to come again and files wait; with room again, all goes on by itself."""
    path = tmp_path / "app.log"
    sidecar = run(on(disk, {"follow": [{"path": str(path)}]}, keep_free=keep_free))
    sender = Sender(sidecar)
    early = write(path, [f"early-{number}" for number in range(100)])
    for _ in range(10):
        assert sender.send().status == 200
    sidecar.hears(early[-1])
    disk.fill()
    comes_again(sender.until_full())
    late = write(path, [f"late-{number}" for number in range(1000)])
    beats: list[str] = []
    while (beat := sidecar.beat({"task_id": f"beat-{len(beats)}"})).status == 200:
        beats.append(f"beat-{len(beats)}")  # the journal was just trimmed: a little fits again
    assert (beat.status, beat.headers["retry-after"]) == (503, "1")
    assert sidecar.get("/healthz").status == 200
    assert sidecar.metric("zombiewatch_refused_full_total") > 0
    if keep_free:
        assert sidecar.task(late[-1]) == []
    disk.free()
    eventually(200, lambda: sender.send().status)
    sidecar.hears(late[-1])
    is_all_there(sidecar, *sender.taken, *early, *late, *beats)


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_is_made_later(
    disk: Disk, run: Callable[..., Running]
) -> None:
    """It is counted; what it was to hold stays in memory and journal until there is room."""
    sidecar = run(on(disk))
    sender = Sender(sidecar)
    for _ in range(10):
        assert sender.send().status == 200
    disk.fill()
    name = "zombiewatch_checkpoint_errors_total"
    eventually(True, lambda: sidecar.metric(name) > 0)
    made = sidecar.metric("zombiewatch_checkpoints_total")
    assert len(sidecar.task(sender.taken[-1])) == 1
    disk.free()
    eventually(True, lambda: sidecar.metric("zombiewatch_checkpoints_total") > made)
    is_all_there(sidecar, *sender.taken)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_end_on_a_full_disk_loses_nothing(
    disk: Disk, run: Callable[..., Running], tmp_path: Path, end: str
) -> None:
    """What could not be written down is in the journal: the next start has it."""
    path = tmp_path / "app.log"
    sidecar = run(on(disk, {"follow": [{"path": str(path)}]}))
    sender = Sender(sidecar)
    disk.fill()
    comes_again(sender.until_full())
    lines = write(path, [f"line-{number}" for number in range(1000)])
    begun = time.monotonic()
    getattr(sidecar, end)()
    assert time.monotonic() - begun < 10
    disk.free()
    sidecar.start()
    sidecar.hears(lines[-1])
    is_all_there(sidecar, *sender.taken, *lines)


@pytest.mark.slow
def test_what_is_found_while_the_disk_is_full_is_kept(
    disk: Disk, run: Callable[..., Running]
) -> None:
    """A finding that could not be saved is saved when there is room, and outlives a restart."""
    sidecar = run(on(disk, {**QUICK, "evaluate_every_s": 3}))
    scheduler = Scheduler(sidecar)
    scheduler.works("covered")
    scheduler.says("task.dispatched", "lost")
    due = time.monotonic() + 1
    eventually(True, lambda: time.monotonic() > due)
    scheduler.reports("task.heartbeat")
    disk.fill()

    eventually(1.0, lambda: sidecar.metric("zombiewatch_findings", detector="zombie_task"))
    disk.free()
    assert sidecar.stop() == 0, sidecar.log
    sidecar.start()
    found = sidecar.findings("open", detector="zombie_task", verdict="confirmed")
    assert [one["task"] for one in found] == ["lost"]
