"""Clocks that were never set, and times that are none: nothing is lost, and nothing is found."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from model.units import iso
from tests.e2e._otlp import Span, Status, log, logs, span, spans
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, eventually, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECOND: Final = 10**9  # in nanoseconds
YEAR_2100: Final = 4_102_444_800

NANOS: Final = {
    "1970": 5 * SECOND,
    "2100": YEAR_2100 * SECOND,
    "the last nanosecond there is": 2**64 - 1,
}
"""Times as OTLP has them: unsigned, so that none is negative, and 0 means none."""

STATED: Final[dict[str, object]] = {
    "1970": "1970-01-01T00:00:05Z",
    "the first moment of 1970": "1970-01-01T00:00:00Z",
    "1970 as a number": 5,
    "2100": "2100-01-01T00:00:00Z",
    "2100 as a number": YEAR_2100,
    "2100 in milliseconds": YEAR_2100 * 1000,
    "negative": -5,
    "very negative": -1e19,
    "1900": "1900-01-01T00:00:00Z",
    "NaN in words": "NaN",
    "infinity in words": "-inf",
    "beyond all times": 1e30,
    "no time": "yesterday",
}
"""Times as a JSON line may have them."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sidecar that follows a folder and takes tasks for zombies quickly."""
    folder = tmp_path_factory.mktemp("clocks")
    (folder / "logs").mkdir()
    settings = {**QUICK, "follow": [{"path": str(folder / "logs" / "*.log")}]}
    with Running(folder, settings) as sidecar:
        yield sidecar
        assert sidecar.stop() == 0, sidecar.log


@pytest.fixture
def write(watched: Running) -> Callable[..., None]:
    """Return what appends lines to a followed file."""
    path: Path = watched.folder / "logs" / "app.log"

    def append(*lines: str) -> None:
        with path.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    return append


def oddities(sidecar: Running) -> float:
    return sidecar.metric("zombiewatch_input_oddities_total")


def placed(sidecar: Running, task: str) -> dict[str, Any]:
    """Return the one entry of a task's timeline; it is where it arrived."""
    sidecar.hears(task)
    entry = sidecar.task(task)[0]
    assert entry["arrived_us"] == entry["at_us"]
    return entry


# Where records with such times are kept


@pytest.mark.parametrize("nanos", NANOS.values(), ids=NANOS)
def test_a_log_record_of_an_impossible_time_is_kept_where_it_arrived(
    watched: Running, nanos: int
) -> None:
    """It is counted as an oddity."""
    task, before = named("task"), oddities(watched)
    watched.otlp("logs", logs([log({"task.id": task}, time_unix_nano=nanos)]))
    placed(watched, task)
    assert before + 1 == oddities(watched)


@pytest.mark.parametrize("nanos", NANOS.values(), ids=NANOS)
def test_what_a_log_record_said_of_its_time_is_not_forgotten(watched: Running, nanos: int) -> None:
    """The time that was not believed stands among the attributes, for whoever mends the clock."""
    task = named("task")
    watched.otlp("logs", logs([log({"task.id": task}, time_unix_nano=nanos)]))
    assert iso(nanos // 1000) in placed(watched, task)["raw"].values()


def test_a_log_record_without_a_time_has_that_of_its_observer(watched: Running) -> None:
    """The collector's clock is next best to the sender's."""
    task, at = named("task"), time.time_ns()
    record = log({"task.id": task}, time_unix_nano=0, observed_time_unix_nano=at)
    watched.otlp("logs", logs([record]))
    eventually([at // 1000], lambda: [one["at_us"] for one in watched.task(task)])


@pytest.mark.parametrize("make", [log, span], ids=["log", "span"])
def test_a_record_without_any_time_is_of_when_it_arrived(
    watched: Running, make: Callable[..., Any]
) -> None:
    """No time at all is no reason to refuse."""
    task = named("task")
    if make is log:
        watched.otlp("logs", logs([log({"task.id": task}, time_unix_nano=0)]))
    else:
        none = span("work", {"task.id": task}, start_time_unix_nano=0, end_time_unix_nano=0)
        watched.otlp("traces", spans([none]))
    placed(watched, task)


@pytest.mark.parametrize("nanos", NANOS.values(), ids=NANOS)
def test_a_span_of_an_impossible_time_keeps_its_length(watched: Running, nanos: int) -> None:
    """It is moved as a whole to where it arrived, and counted."""
    task, before = named("task"), oddities(watched)
    begun = nanos - 3 * SECOND
    odd = span("work", {"task.id": task}, start_time_unix_nano=begun, end_time_unix_nano=nanos)
    watched.otlp("traces", spans([odd]))
    entry = placed(watched, task)
    assert entry["end_us"] - entry["at_us"] == 3_000_000
    assert before + 1 == oddities(watched)


@pytest.mark.parametrize("end", [0, *NANOS.values()], ids=["none", *NANOS])
def test_only_the_impossible_end_of_a_span_is_not_believed(watched: Running, end: int) -> None:
    """A sound start stays; an end before it, or years after, is no end: it is counted."""
    task, before, begun = named("task"), oddities(watched), time.time_ns()
    odd = span("work", {"task.id": task}, start_time_unix_nano=begun, end_time_unix_nano=end)
    watched.otlp("traces", spans([odd]))
    eventually([begun // 1000], lambda: [one["at_us"] for one in watched.task(task)])
    assert watched.task(task)[0]["end_us"] in {None, begun // 1000}
    assert before + (end != 0) == oddities(watched)


@pytest.mark.parametrize("said", STATED.values(), ids=STATED)
def test_a_line_of_an_impossible_time_is_kept_where_it_arrived(
    watched: Running, write: Callable[..., None], said: object
) -> None:
    """It is counted as an oddity, and shows what it said."""
    task, before = named("task"), oddities(watched)
    write(json.dumps({"timestamp": said, "task.id": task}))
    raw = placed(watched, task)["raw"]
    if isinstance(said, str):
        assert said == raw["timestamp"]
    else:
        assert said == float(raw["timestamp"])
    assert before + 1 == oddities(watched)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_line_whose_time_is_no_number_is_kept(
    watched: Running, write: Callable[..., None], number: float
) -> None:
    """Python writes NaN into what then is no JSON: the line is kept, as text at least."""
    before, text = (
        oddities(watched),
        json.dumps({"timestamp": number, "X-Request-Id": named("req")}),
    )
    request = json.loads(text)["X-Request-Id"]
    write(text)
    watched.hears(request=request)
    entry = watched.request(request)[0]
    assert entry["arrived_us"] == entry["at_us"]
    assert before + 1 == oddities(watched)


def test_a_line_without_a_time_is_of_when_it_arrived(
    watched: Running, write: Callable[..., None]
) -> None:
    """Most plain programs write none: that is nothing odd."""
    task, before = named("task"), oddities(watched)
    write(json.dumps({"task.id": task}))
    placed(watched, task)
    assert before == oddities(watched)


@pytest.mark.parametrize("ts", [5, "1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z", -5, 1e19])
def test_a_heartbeat_of_an_impossible_time_is_kept_where_it_arrived(
    watched: Running, ts: object
) -> None:
    """It is a sign of life all the same, and counted as an oddity."""
    task, before = named("task"), oddities(watched)
    assert watched.beat({"task_id": task, "ts": ts}).status == 200
    placed(watched, task)
    assert before + 1 == oddities(watched)


# What is not found by such times


def test_impossible_times_prove_nothing(run: Callable[..., Running]) -> None:
    """Whichever event of a sound story has whichever impossible time: no finding comes of it."""
    sidecar = run(QUICK)
    scheduler = Scheduler(sidecar)
    story: list[tuple[str, str, dict[str, object]]] = [
        ("dispatcher", "task.enqueued", {}),
        ("dispatcher", "task.dispatched", {}),
        ("agent", "task.accepted", {}),
        ("agent", "task.started", {}),
        ("agent", "task.heartbeat", {"task.heartbeat_interval_s": 3600}),
        ("agent", "task.finished", {"task.outcome": "success"}),
        ("agent", "task.reported", {"task.outcome": "success"}),
        ("dispatcher", "task.recorded", {"task.state": "success"}),
    ]
    for name, nanos in {**NANOS, "none": 0}.items():
        for odd in range(len(story)):
            task = f"{name}/{odd}"
            for number, (side, event, more) in enumerate(story):
                said = {
                    "zombiewatch.side": side,
                    "service.name": side,
                    "event.name": event,
                    "task.id": task,
                    "task.name": "sync",
                    **more,
                }
                at = nanos if number == odd else time.time_ns()
                assert sidecar.otlp("logs", logs([log(said, time_unix_nano=at)])).status == 200
    # What really is a zombie is found: so everything before it has been judged.
    scheduler.loses("lost")
    assert [one["task"] for one in sidecar.findings()] == ["lost"]


ENDED_BEFORE: Final = {
    "whose start is not told": (0, -2 * SECOND),
    "that began in 1970": (5 * SECOND, -2 * SECOND),
    "that ends in another century": (-3 * SECOND, YEAR_2100 * SECOND),
    "whose end is not told": (-3 * SECOND, 0),
}
"""Starts and ends of a call's other side, in nanoseconds; those up to 0 count from now, 0 is 0."""


@pytest.mark.parametrize(("start", "end"), ENDED_BEFORE.values(), ids=ENDED_BEFORE)
def test_a_commit_is_not_late_by_a_time_that_cannot_be(
    run: Callable[..., Running], start: int, end: int
) -> None:
    """Where a server's span has half a time, nobody can say that its caller gave up before."""
    sidecar, now = run(QUICK), time.time_ns()
    common = {"X-Request-Id": named("req"), "call.purpose": "report", "host.name": "h1"}
    called = span(
        "PUT /state",
        {**common, "service.name": "agent", "error.type": "timeout"},
        kind=Span.SPAN_KIND_CLIENT,
        status=Status(code=Status.STATUS_CODE_ERROR),
        start_time_unix_nano=now - 3 * SECOND,
        end_time_unix_nano=now - SECOND,
    )
    served = span(
        "PUT /state",
        {**common, "service.name": "api"},
        kind=Span.SPAN_KIND_SERVER,
        trace_id=called.trace_id,
        parent_span_id=called.span_id,
        start_time_unix_nano=now + start if start < 0 else start,
        end_time_unix_nano=now + end if end < 0 else end,
    )
    assert sidecar.otlp("traces", spans([called, served])).status == 200
    # What really is a zombie is found: so everything before it has been judged.
    Scheduler(sidecar).loses("lost")
    assert [one["detector"] for one in sidecar.findings()] == ["zombie_task"]
