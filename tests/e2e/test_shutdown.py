"""Ends and new beginnings: what was taken is written down, and found again."""

from __future__ import annotations

import signal
import socket
import threading
import time
import urllib.parse
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e._otlp import log, logs
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import eventually, stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e._sidecar import Running

END_S: Final = 10.0
READY_S: Final = 5.0


def end(sidecar: Running, number: signal.Signals) -> tuple[int, float]:
    """Send a signal; return the exit status, and the seconds that it took to come."""
    begun = time.monotonic()
    sidecar.process.send_signal(number)
    return sidecar.process.wait(END_S * 2), time.monotonic() - begun


def send(sidecar: Running, *tasks: str) -> int:
    return sidecar.otlp("logs", logs([log({"task.id": task}) for task in tasks])).status


def tasks_of(sidecar: Running) -> Counter[str]:
    return Counter(task for (task,) in stored(sidecar.data, "task") if task)


# Clean ends


def test_its_starter_is_killed(run: Callable[..., Running]) -> None:
    """Whoever started it holds its standard input: when that is let go, it ends, and cleanly."""
    sidecar = run()
    assert send(sidecar, "last") == 200
    assert sidecar.process.stdin is not None
    sidecar.process.stdin.close()
    assert sidecar.process.wait(END_S) == 0, sidecar.log
    assert Counter(["last"]) == tasks_of(sidecar)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_end_writes_down_all_that_was_taken(
    run: Callable[..., Running], number: signal.Signals
) -> None:
    """Told to stop right after its last answer, it is gone in seconds, with status 0."""
    sidecar = run()
    tasks = [f"t-{i}" for i in range(5000)]
    assert {200} == {send(sidecar, *tasks[i : i + 100]) for i in range(0, 5000, 100)}
    assert sidecar.beat({"task_id": "last"}).status == 200
    status, took_s = end(sidecar, number)
    assert status == 0, sidecar.log
    assert took_s < END_S
    assert Counter([*tasks, "last"]) == tasks_of(sidecar)
    assert not (sidecar.data / "address.json").exists()


def test_connections_that_are_held_open_do_not_delay_the_end(run: Callable[..., Running]) -> None:
    """SDKs and browsers keep theirs; some never say anything."""
    sidecar = run()
    held = []
    try:
        for name in ("http", "otlp"):
            to = urllib.parse.urlsplit(sidecar.url(name))
            held += [socket.create_connection((to.hostname, to.port)) for _ in range(3)]
            held[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
            held[-2].sendall(b"POST /v1/logs HTTP/1.1\r\nHost: here\r\nContent-Le")
        assert held[-1].recv(1)
        status, took_s = end(sidecar, signal.SIGTERM)
    finally:
        for one in held:
            one.close()
    assert status == 0, sidecar.log
    assert took_s < END_S


def test_senders_during_the_end_lose_nothing_that_was_taken(run: Callable[..., Running]) -> None:
    """Whoever was answered 200 before the door closed is in the store."""
    sidecar = run()
    taken: list[str] = []
    failed = threading.Event()

    def sending() -> None:
        for number in range(100_000):
            try:
                if send(sidecar, f"t-{number}") != 200:
                    break
            except OSError:
                break
            taken.append(f"t-{number}")
        failed.set()

    sender = threading.Thread(target=sending)
    sender.start()
    eventually(True, lambda: len(taken) > 100)
    assert end(sidecar, signal.SIGTERM)[0] == 0, sidecar.log
    assert failed.wait(END_S)
    sender.join()
    assert Counter() == Counter(taken) - tasks_of(sidecar)


def test_an_end_before_anything_came_is_clean(run: Callable[..., Running]) -> None:
    """Nothing is written for nothing."""
    sidecar = run()
    assert end(sidecar, signal.SIGTERM)[0] == 0
    assert stored(sidecar.data, "task") == []


# New beginnings


@pytest.mark.slow
def test_a_second_start_is_quick_and_knows_what_the_first_found(
    run: Callable[..., Running],
) -> None:
    """Findings, open and ended, are the same after a restart, and so are timelines."""
    sidecar = run(QUICK)
    scheduler = Scheduler(sidecar)
    scheduler.loses("lost", "settled")
    scheduler.settles("settled")
    eventually(2, lambda: len([one for one in sidecar.findings() if one["confirmed_at"]]))
    findings, story = known(sidecar), sidecar.task("settled")
    assert end(sidecar, signal.SIGTERM)[0] == 0, sidecar.log
    begun = time.monotonic()
    sidecar.start()
    assert time.monotonic() - begun < READY_S
    assert sidecar.get("/readyz").status == 200
    assert findings == known(sidecar)
    assert story == sidecar.task("settled")
    # and they are still what they were when the detectors have run again
    scheduler.loses("lost, too")
    assert findings == [one for one in known(sidecar) if one["task"] != "lost, too"]


def known(sidecar: Running) -> list[dict[str, Any]]:
    """Return the findings without what grows with time: how long they have lasted."""
    findings = sidecar.findings()
    for one in findings:
        del one["evidence"], one["fix"]
    return sorted(findings, key=lambda one: int(one["id"]))


def test_findings_that_end_while_we_are_away_end(run: Callable[..., Running]) -> None:
    """What is told of a task after a restart ends what was found before it."""
    sidecar = run(QUICK)
    scheduler = Scheduler(sidecar)
    scheduler.loses("lost")
    sidecar.stop()
    sidecar.start()
    scheduler.settles("lost")
    eventually(
        [("lost", True)],
        lambda: [(one["task"], one["ended_at"] is not None) for one in sidecar.findings()],
    )


@pytest.mark.slow
def test_many_restarts_change_nothing(run: Callable[..., Running]) -> None:
    """Five ends and beginnings, some of them hard, and each record is there once."""
    sidecar = run()
    tasks = []
    for number in range(6):
        tasks += [f"t-{number}-{i}" for i in range(50)]
        assert send(sidecar, *tasks[-50:]) == 200
        if number % 2:
            sidecar.kill()
        else:
            assert sidecar.stop() == 0, sidecar.log
        sidecar.start()
    assert sidecar.stop() == 0
    assert Counter(tasks) == tasks_of(sidecar)


# Hard ends


def test_what_was_taken_survives_a_kill(run: Callable[..., Running]) -> None:
    """A kill right after the answer loses nothing: the answer was a promise."""
    sidecar = run()
    assert send(sidecar, "logged") == 200
    assert sidecar.beat({"task_id": "beating"}).status == 200
    sidecar.kill()
    sidecar.start()
    for task in ("logged", "beating"):
        assert len(sidecar.task(task)) == 1


def test_findings_survive_a_kill(run: Callable[..., Running]) -> None:
    """What was shown once as confirmed is not forgotten."""
    sidecar = run(QUICK)
    Scheduler(sidecar).loses("lost")
    before = known(sidecar)
    sidecar.kill()
    sidecar.start()
    assert before == known(sidecar)


@pytest.mark.slow
def test_kills_in_the_middle_of_sending_lose_nothing_that_was_taken(
    run: Callable[..., Running],
) -> None:
    """Whatever was answered 200 is there, once; what was not may be there, once."""
    sidecar = run({"store": {"checkpoint_every_s": 1}})
    taken: list[str] = []
    unsure: list[str] = []
    for life in range(6):
        killed = threading.Event()

        def sending(life: int = life, killed: threading.Event = killed) -> None:
            for number in range(100_000):
                try:
                    status = send(sidecar, f"t-{life}-{number}")
                except OSError:
                    status = 0
                (taken if status == 200 else unsure).append(f"t-{life}-{number}")
                if killed.is_set():
                    break

        sender = threading.Thread(target=sending)
        sender.start()
        before = len(taken)
        eventually(True, lambda before=before: len(taken) > before + 300)  # type: ignore[misc]
        sidecar.kill()
        killed.set()
        sender.join()
        sidecar.start()
    assert sidecar.stop() == 0, sidecar.log
    found = tasks_of(sidecar)
    assert Counter() == Counter(taken) - found
    assert Counter() == found - Counter([*taken, *unsure])


def test_a_kill_leaves_no_address_that_is_believed(run: Callable[..., Running]) -> None:
    """The next start writes its own, whatever the killed one left behind."""
    sidecar = run()
    sidecar.kill()
    assert (sidecar.data / "address.json").exists()
    sidecar.start()
    assert sidecar.get("/readyz").status == 200


@pytest.mark.slow
def test_a_journal_that_is_gone_takes_nothing_else_with_it(run: Callable[..., Running]) -> None:
    """Somebody deleted it: what was written down before is there, and what comes now stays."""
    sidecar = run()
    assert send(sidecar, "before-1", "before-2") == 200
    assert send(sidecar, "before-3") == 200
    assert sidecar.stop() == 0, sidecar.log
    for path in sidecar.data.glob("journal.sqlite*"):
        path.unlink()
    for number in range(3):
        sidecar.start()
        assert send(sidecar, f"after-{number}") == 200
        assert sidecar.stop() == 0, sidecar.log
    expected = ["before-1", "before-2", "before-3", "after-0", "after-1", "after-2"]
    assert Counter(expected) == tasks_of(sidecar)
