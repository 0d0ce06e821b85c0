"""`POST /api/v1/heartbeat`: the sign of life that any shell can send."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e._sidecar import call, eventually, named

if TYPE_CHECKING:
    from tests.e2e._sidecar import Running


def the_beat(sidecar: Running, task: str) -> dict[str, Any]:
    """Return the one entry of a task's timeline, once it is there."""
    sidecar.hears(task)
    return sidecar.task(task)[0]


def test_a_heartbeat_is_in_its_tasks_timeline(shared: Running) -> None:
    """All that a heartbeat may say is kept, and the answer names the record that it became."""
    task, request = named("task"), named("req")
    answer = shared.beat(
        {
            "task_id": task,
            "attempt": 2,
            "task_name": "sync",
            "queue": "default",
            "service": "agent",
            "instance": "agent-1",
            "host": "h1",
            "boot": "b1",
            "request_id": request,
            "interval_s": 15,
            "message": "half way",
            "ts": "2026-11-20T10:00:00.5Z",
        }
    )
    assert answer.status == 200
    assert list(answer.json()) == ["accepted"]
    entry = the_beat(shared, task)
    expected = {
        "kind": "beat",
        "way": "heartbeat",
        "phase": "heartbeat",
        "side": "agent",
        "task": task,
        "attempt": 2,
        "request_id": request,
        "body": "half way",
        "at": "2026-11-20T10:00:00.500000Z",
        "lane": "agent/agent-1",
    }
    assert expected == {name: entry[name] for name in expected}
    assert [task] == [one["task"] for one in shared.request(request)]


def test_a_heartbeat_needs_no_more_than_a_task(shared: Running) -> None:
    """Without a time it is of now."""
    task, before = named("task"), time.time_ns() // 1000
    assert shared.beat({"task_id": task}).status == 200
    assert before <= the_beat(shared, task)["at_us"] <= time.time_ns() // 1000


def test_the_first_and_the_last_one_may_say_so(shared: Running) -> None:
    """The last with how the run ended, and its exit code, if it has one."""
    task = named("task")
    ended = {"event": "finished", "outcome": "failure", "exit_code": 3, "message": "no disk"}
    for more in ({"event": "started"}, {}, ended):
        assert shared.beat({"task_id": task, **more}).status == 200
    phases = ["started", "heartbeat", "finished"]
    eventually(phases, lambda: [one["phase"] for one in shared.task(task)])
    last = shared.task(task)[2]
    assert (last["outcome"], last["body"]) == ("failure", "no disk")


def test_a_heartbeat_without_a_task_is_the_instances_own(shared: Running) -> None:
    """An agent that runs nothing can say that it lives: it becomes a source."""
    service = named("agent")
    assert shared.beat({"instance": "a-1", "service": service}).status == 200

    def heard() -> list[tuple[str, str]]:
        sources = shared.get("/api/v1/sources").json()["sources"]
        return [(one["side"], one["way"]) for one in sources if one["service"] == service]

    eventually([("agent", "heartbeat")], heard)


@pytest.mark.parametrize(
    "ts", [1_795_000_000, 1_795_000_000.0, 1_795_000_000_000, "1795000000", "2026-11-18T11:06:40Z"]
)
def test_a_heartbeats_time_may_be_iso_or_epoch(shared: Running, ts: float | str) -> None:
    """Seconds, milliseconds and ISO 8601 mean the same moment."""
    task = named("task")
    assert shared.beat({"task_id": task, "ts": ts}).status == 200
    assert the_beat(shared, task)["at_us"] == 1_795_000_000_000_000


@pytest.mark.parametrize(
    "task",
    ["a/b/c", "a?b#c", "50%25", "a b", "ü-世界", "..", "a\\b", '"', "'; DROP TABLE signals; --"],
)
def test_a_task_may_be_called_anything(shared: Running, task: str) -> None:
    """Characters that mean something in a path or a query mean nothing in an ID."""
    task = f"{named('task')}{task}"
    shared.beat({"task_id": task})
    assert task == the_beat(shared, task)["task"]


REFUSED: list[Any] = [
    pytest.param(b"alive", "body", id="no JSON"),
    pytest.param(b'{"task_id": "t"', "body", id="half of a JSON"),
    pytest.param(b"", "body", id="nothing"),
    pytest.param(b'["t"]', "body", id="a list"),
    pytest.param(b"null", "body", id="null"),
    pytest.param(b'{"task_id": "\xff"}', "body", id="not UTF-8"),
    pytest.param(b'{"task_id": "\\ud800"}', "body", id="half of a character"),
    pytest.param({"task_id": "t", "taks_name": "x"}, "taks_name", id="an unknown field"),
    pytest.param({"message": "alive"}, "task_id or instance", id="nobody's"),
    pytest.param({"task_id": ""}, "task_id", id="a task without a name"),
    pytest.param({"task_id": "t" * 513}, "task_id", id="a task with too long a name"),
    pytest.param({"task_id": 7}, "task_id", id="a task that is a number"),
    pytest.param({"task_id": "t", "attempt": -1}, "attempt", id="an attempt before the first"),
    pytest.param({"task_id": "t", "attempt": 1.5}, "attempt", id="half an attempt"),
    pytest.param({"task_id": "t", "interval_s": 0}, "interval_s", id="no interval"),
    pytest.param({"task_id": "t", "interval_s": -5}, "interval_s", id="a negative interval"),
    pytest.param({"task_id": "t", "interval_s": 1e9}, "interval_s", id="an interval of 32 years"),
    pytest.param({"task_id": "t", "interval_s": float("nan")}, "interval_s", id="no number"),
    pytest.param({"task_id": "t", "interval_s": float("inf")}, "interval_s", id="infinity"),
    pytest.param({"task_id": "t", "interval_s": "soon"}, "interval_s", id="an interval in words"),
    pytest.param({"task_id": "t", "ts": "yesterday"}, "ts", id="a time in words"),
    pytest.param({"task_id": "t", "ts": "2026-13-41T00:00:00Z"}, "ts", id="a day that is none"),
    pytest.param({"task_id": "t", "ts": float("nan")}, "ts", id="a time that is no number"),
    pytest.param({"task_id": "t", "ts": 1e30}, "ts", id="a time beyond all times"),
    pytest.param({"task_id": "t", "ts": {"at": 1}}, "ts", id="a time that is a mapping"),
    pytest.param({"task_id": "t", "message": "x" * 10_001}, "message", id="too long a message"),
    pytest.param({"task_id": "t", "event": "over"}, "event", id="an event that is none"),
    pytest.param({"instance": "i", "event": "started"}, "event", id="a start of no task"),
    pytest.param(
        {"task_id": "t", "event": "finished", "outcome": "well"}, "outcome", id="an end in words"
    ),
    pytest.param({"task_id": "t", "outcome": "success"}, "outcome", id="an outcome with no end"),
    pytest.param(
        {"task_id": "t", "event": "started", "exit_code": 0}, "exit_code", id="a start's exit code"
    ),
    pytest.param(
        {"task_id": "t", "event": "finished", "exit_code": 1 << 40}, "exit_code", id="no exit code"
    ),
]


@pytest.mark.parametrize(("said", "field"), REFUSED)
def test_a_wrong_heartbeat_is_refused_by_the_name_of_what_is_wrong(
    shared: Running, said: dict[str, Any] | bytes, field: str
) -> None:
    """It is answered 400, as JSON, with the field at fault and why: a person may read it."""
    answer = shared.beat(said)
    assert (
        answer.status,
        answer.headers["content-type"].partition(";")[0],
    ) == (400, "application/json")
    assert field in answer.error
    assert "\n" not in answer.error


def test_an_unknown_field_is_refused_with_those_that_are_known(shared: Running) -> None:
    """Whoever misspells a field is shown how it is spelled."""
    assert "task_id, attempt, task_name" in shared.beat({"task_id": "t", "taskname": "x"}).error


def test_several_wrong_fields_are_all_named(shared: Running) -> None:
    """One answer tells everything that is wrong."""
    told = shared.beat({"task_id": "t", "attempt": -1, "interval_s": 0, "ts": "soon"}).error
    assert [name in told for name in ("attempt", "interval_s", "ts")] == [True] * 3


def test_a_refused_heartbeat_leaves_no_trace(shared: Running) -> None:
    """Only what was taken is in the timeline."""
    task = named("task")
    shared.beat({"task_id": task, "interval_s": -1})
    shared.beat({"task_id": task, "interval_s": 1})
    shared.hears(task)


def test_too_large_a_heartbeat_is_refused(shared: Running) -> None:
    """A body beyond 64 KiB is answered 413, as JSON."""
    answer = shared.beat(json.dumps({"task_id": "t", "message": "x" * 70_000}).encode())
    assert (answer.status, list(answer.json())) == (413, ["error"])


def test_a_heartbeat_is_posted(shared: Running) -> None:
    """Reading the address is answered 405, as JSON."""
    answer = call("GET", f"{shared.url()}/api/v1/heartbeat")
    assert (answer.status, list(answer.json())) == (405, ["error"])
