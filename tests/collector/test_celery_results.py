"""Results of Celery's that are stored, that are not to be, and that an outage has eaten."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import redis

from collector.receivers.celery.results import Results
from collector.receivers.celery.words import Asked
from tests.celery._installation import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.receivers.celery.words import Line


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """Return a real Redis."""
    made = Redis(tmp_path_factory.mktemp("redis"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def client(server: Redis) -> Iterator[Any]:
    """Return a connection to it."""
    with server.client() as made:
        yield made


def _store(client: Any, task: str, status: str) -> None:
    client.set(f"celery-task-meta-{task}", f'{{"status": "{status}", "result": "{"x" * 999}"}}')


def _until(results: Results, from_s: float, to_s: float) -> list[tuple[float, Line]]:
    """Look every half second; return when what was told."""
    told = []
    for at in range(round(from_s * 2), round(to_s * 2) + 1):
        told += [(at / 2, line) for line in results.look(at / 2)]
    return told


@pytest.mark.parametrize(
    ("status", "state"),
    [("SUCCESS", "success"), ("FAILURE", "failure"), ("REVOKED", "canceled")],
)
def test_what_is_stored_is_told_once(client: Any, status: str, state: str) -> None:
    """At the first look, in our words."""
    results = Results(client)
    _store(client, "t1", status)
    assert results.expect(Asked("t1", 2, "app.add"), 100.0) is None
    [(at_s, line)] = _until(results, 100, 130)
    assert at_s == 100.5
    assert (line["event.name"], line["status"]) == ("result-stored", state)
    assert (line["uuid"], line["task.attempt"], line["name"]) == ("t1", 2, "app.add")
    assert results.waiting == 0


def test_what_is_never_there_was_not_to_be_stored(client: Any) -> None:
    """The backend answered all the time: said before `lost_report` would tell."""
    results = Results(client)
    results.expect(Asked("t1", 1, "app.quiet"), 100.0)
    [(at_s, line)] = _until(results, 100, 130)
    assert line["event.name"] == "result-ignored"
    assert at_s == 124.0


def test_of_a_name_that_is_never_stored_nobody_looks_twice(client: Any) -> None:
    """Until one of that name is there after all."""
    results = Results(client)
    for number in range(20):
        results.expect(Asked(f"t{number}", 1, "app.quiet"), 100.0)
    assert len(_until(results, 100, 130)) == 20
    results.expect(Asked("a", 1, "app.quiet"), 200.0)
    assert [at for at, _ in _until(results, 200, 230)] == [200.5]
    _store(client, "b", "SUCCESS")
    results.expect(Asked("b", 1, "app.quiet"), 300.0)
    assert [one["event.name"] for _, one in _until(results, 300, 330)] == ["result-stored"]
    results.expect(Asked("c", 1, "app.quiet"), 400.0)
    assert [at for at, _ in _until(results, 400, 430)] == [424.0]


def test_what_an_outage_may_have_eaten_is_not_told_and_found_when_it_comes(
    server: Redis, client: Any
) -> None:
    """Nothing is said of it while it is away, nor that it was not to be stored."""
    results = Results(client)
    results.expect(Asked("t1", 1, "app.add"), 100.0)
    server.stop()
    with pytest.raises(redis.RedisError):
        results.look(101.0)
    results.doubt()
    server.start()
    assert _until(results, 102, 150) == []
    _store(client, "t1", "SUCCESS")
    [(_, line)] = _until(results, 150, 400)
    assert line["event.name"] == "result-stored"


def test_a_state_that_is_not_final_is_no_result(client: Any) -> None:
    """`track_started`: the run has ended, and the backend still has it running."""
    results = Results(client)
    _store(client, "t1", "STARTED")
    results.expect(Asked("t1", 1, "app.add"), 100.0)
    assert _until(results, 100, 130) == []


def test_what_is_too_much_to_look_for_is_not_missed(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a storm memory has its bound; what is not looked for must not be told as lost."""
    monkeypatch.setattr("collector.receivers.celery.results.MAX", 2)
    results = Results(client)
    told = [results.expect(Asked(f"t{number}", 1, "app.add"), 100.0) for number in range(3)]
    assert told[:2] == [None, None]
    assert told[2] is not None
    assert (told[2]["event.name"], told[2]["uuid"]) == ("result-ignored", "t2")


_DAY_S = 1_795_737_600.0
"""2026-11-27, midnight in UTC."""


@pytest.mark.parametrize(
    ("status", "date", "since_s", "state"),
    [
        ("SUCCESS", "2026-11-27T00:01:00.5+00:00", _DAY_S + 60, "success"),
        ("FAILURE", "2026-11-27T00:01:00", _DAY_S + 60, "failure"),
        ("SUCCESS", "2026-11-27T02:01:00+02:00", _DAY_S + 60, "success"),
        ("SUCCESS", "2026-11-27T00:00:54+00:00", _DAY_S + 60, None),
        ("STARTED", "2026-11-27T00:02:00+00:00", _DAY_S + 60, None),
        ("SUCCESS", "2026-99-27T00:02:00+00:00", _DAY_S + 60, None),
        ("SUCCESS", None, _DAY_S + 60, None),
    ],
)
def test_an_end_that_no_event_told_of_is_read_from_the_result(
    client: Any, status: str, date: str | None, since_s: float, state: str | None
) -> None:
    """Only what was stored since then: IDs are used anew, and old results lie there for a day."""
    results = Results(client)
    said: dict[str, Any] = {
        "status": status,
        "result": "x" * 9_999,
        "traceback": None,
        "children": [],
    }
    said |= {"date_done": date} if date else {}
    client.set("celery-task-meta-t1", json.dumps(said | {"task_id": "t1"}))
    found = results.unheard(
        [Asked("t0", 1, None, since_s), Asked("t1", 2, "app.add", since_s)], 500.0
    )
    told = [(one["uuid"], one["task.attempt"], one["status"]) for one in found]
    assert told == ([("t1", 2, state)] if state else [])


def test_a_result_of_an_earlier_use_of_the_id_is_not_that_of_this_run(client: Any) -> None:
    """Else what was lost now would look recorded."""
    results = Results(client)
    old = {"status": "SUCCESS", "date_done": "2026-11-26T00:00:00+00:00", "task_id": "t1"}
    client.set("celery-task-meta-t1", json.dumps(old))
    results.expect(Asked("t1", 1, "app.add", _DAY_S), _DAY_S + 9)
    assert _until(results, _DAY_S + 9, _DAY_S + 12) == []
    client.set("celery-task-meta-t1", json.dumps(old | {"date_done": "2026-11-27T00:00:09+00:00"}))
    [(_, line)] = _until(results, _DAY_S + 12.5, _DAY_S + 30)
    assert line["event.name"] == "result-stored"


def test_a_result_whose_state_cannot_be_read_is_not_missed(client: Any) -> None:
    """Pickled, most likely: nobody can say whether it is lost."""
    results = Results(client)
    client.set("celery-task-meta-t1", b"\x80\x05\x95status")
    results.expect(Asked("t1", 1, "app.add"), 100.0)
    results.doubt()
    [(_, line)] = _until(results, 100, 130)
    assert line["event.name"] == "result-ignored"
    assert results.unreadable == 1
