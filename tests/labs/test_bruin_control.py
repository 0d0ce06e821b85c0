"""The control plane's table, its one writer, and what becomes of a caller that gives up."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from labs._http import REQUEST_ID
from labs.bruin import database
from labs.bruin.connection import Connection, OutOfTimeError
from labs.bruin.database import Planned
from labs.bruin.dispatcher import Api
from labs.bruin.store import Store
from labs.bruin.wire import LIMIT_MS, MARGIN_S, NEXT, Caller, CallFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path


async def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until *holds*, or fail after *seconds*."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to hold in time"
        await asyncio.sleep(0.01)


# The database


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    monkeypatch.setattr(database, "_SLICE_ROWS", 200)
    monkeypatch.setattr(database, "_MOST_BYTES", 400_000)
    with closing(sqlite3.connect(tmp_path / "oxr.db", isolation_level=None)) as connection:
        yield connection


@pytest.mark.parametrize(("index", "how"), [(True, "SEARCH"), (False, "SCAN")])
def test_the_look_up_reads_every_row_only_without_the_index(
    raw: sqlite3.Connection, how: str, *, index: bool
) -> None:
    """The bug is a missing index, and nothing else: the statement is the same."""
    database.build(raw, index=index)
    detail = raw.execute(f"EXPLAIN QUERY PLAN {database.LOOK_UP}", {"ref": "t-1"}).fetchone()[3]
    assert detail.startswith(how)


def test_the_table_is_sized_by_what_a_look_up_costs_here(raw: sqlite3.Connection) -> None:
    """It begins at a fixed share of what it grows to, and never takes more than the cap."""
    size = database.build(raw, index=True)
    assert raw.execute("SELECT count(*) FROM tasks").fetchone()[0] == size.first_rows
    assert 200 <= size.first_rows <= size.last_rows <= 400_000 // 500


def test_the_oldest_due_task_is_handed_out_once(raw: sqlite3.Connection) -> None:
    """Tasks leave in the order of their due times, none before it, none twice."""
    database.build(raw, index=True)
    database.plan(raw, [Planned(f"t-{n}", "sync_table", "default", n, 0.5) for n in (3, 1, 2)])
    taken = [database.hand_out(raw, "agent-1", due_us=2) for _ in range(3)]
    assert [order and order.task for order in taken] == ["t-1", "t-2", None]


def test_a_result_is_recorded_once(raw: sqlite3.Connection) -> None:
    """The same report again changes nothing, and says so."""
    database.build(raw, index=True)
    database.plan(raw, [Planned("t-1", "sync_table", "default", 1, 0.5)])
    database.hand_out(raw, "agent-1", due_us=1)
    row = database.look_up(raw, "t-1")
    assert row is not None
    assert [database.record(raw, row, 1, "success") for _ in range(2)] == [True, False]


# Turns on a connection


_FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


def test_cancelling_interrupts_and_rolls_back(tmp_path: Path) -> None:
    """A statement without end ends, what came before it is undone, and the next one gets on."""

    async def scenario() -> None:
        connection = Connection(tmp_path / "x.db")
        await connection.run(lambda raw: raw.execute("CREATE TABLE t (a)"))
        begun = threading.Event()

        def work(raw: sqlite3.Connection) -> None:
            raw.execute("INSERT INTO t VALUES (1)")
            begun.set()
            raw.execute(_FOREVER).fetchall()

        task = asyncio.ensure_future(connection.run(work))
        await until(begun.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        rows = await connection.run(lambda raw: raw.execute("SELECT * FROM t").fetchall())
        assert rows == []
        connection.close()

    asyncio.run(scenario())


def test_a_deadline_bounds_the_work(tmp_path: Path) -> None:
    """Who is out of time is told so, and has changed nothing."""

    async def scenario() -> None:
        connection = Connection(tmp_path / "x.db")
        with pytest.raises(OutOfTimeError):
            await connection.run(
                lambda raw: raw.execute(_FOREVER).fetchall(), commit_by=time.monotonic() + 0.1
            )
        connection.close()

    asyncio.run(scenario())


def test_a_deadline_bounds_the_wait_for_a_turn(tmp_path: Path) -> None:
    """Waiting behind another transaction is part of the time that a caller has."""

    async def scenario() -> None:
        connection = Connection(tmp_path / "x.db")
        release = threading.Event()
        holder = asyncio.ensure_future(connection.run(lambda _raw: release.wait(20)))
        await asyncio.sleep(0)
        with pytest.raises(OutOfTimeError):
            await connection.run(lambda _raw: None, commit_by=time.monotonic() + 0.05)
        release.set()
        assert await holder
        connection.close()

    asyncio.run(scenario())


def test_a_commit_that_has_begun_counts(tmp_path: Path) -> None:
    """Cancelled when the deed is done: the result is told rather than dropped."""

    async def scenario() -> None:
        connection = Connection(tmp_path / "x.db")
        task = asyncio.ensure_future(connection.run(lambda _raw: "done"))
        await asyncio.sleep(0)

        def committed() -> bool:
            return not connection._thread._work_queue.qsize()

        await until(committed)
        # Behind the first on the same thread: once this ran, the first has committed.
        connection._thread.submit(lambda: None).result()
        task.cancel()
        assert await task == "done"
        connection.close()

    asyncio.run(scenario())


# A dispatch call whose caller gives up, over real HTTP


@asynccontextmanager
async def served(
    work: Path, *bugs: str, tracer: trace.Tracer | None = None
) -> AsyncIterator[tuple[Store, str]]:
    """Serve the API with one task waiting, as the control plane does; yield its base URL."""
    store = Store(work / "oxr.db")
    await store.build(index=True)
    await store.plan([Planned("t-1", "sync_table", "default", 1, 0.5)])
    store.announced_us = 1
    api = Api(store, tracer or trace.NoOpTracer(), logging.getLogger("test"), frozenset(bugs))
    runner = web.AppRunner(api.app(), handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield store, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        store.close()


async def state_after_giving_up(work: Path, *bugs: str, headers: dict[str, str]) -> str:
    """Ask for work while a job holds the writer, give up, let the job go; return the task's state.

    With the limit told in *headers* the control plane may answer first, that it has no time.
    """
    async with served(work, *bugs) as (store, url), aiohttp.ClientSession() as session:
        release = threading.Event()
        job = asyncio.ensure_future(store._writer.run(lambda _raw: release.wait(20)))
        await until(store._writer._turns.locked)
        limit = aiohttp.ClientTimeout(total=2 * MARGIN_S)
        with suppress(TimeoutError):
            async with session.post(
                f"{url}/agents/agent-1/next", headers=headers, timeout=limit
            ) as response:
                assert response.status == 503
        # Either the handler leaves the queue for the writer, or it is there to stay.
        stays = "wrong_context" in bugs
        await until(lambda: bool(store._writer._turns._waiters) == stays)
        release.set()
        await job
        # First come, first served: after us nobody is left of those who came before.
        found = await store._writer.run(
            lambda raw: raw.execute("SELECT state FROM tasks WHERE external_ref = 't-1'").fetchone()
        )
        return str(found[0])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_SLICE_ROWS", 200)
    monkeypatch.setattr(database, "_MOST_BYTES", 400_000)


_ID = "http.request.header.x-request-id"
_SAYS_ITS_LIMIT = {LIMIT_MS: str(int(2000 * MARGIN_S)), REQUEST_ID: "r-1"}


@pytest.mark.usefixtures("small")
def test_in_the_applications_context_a_commit_follows_the_give_up(tmp_path: Path) -> None:
    """The bug: the caller has left, and its task is set running all the same."""
    state = asyncio.run(state_after_giving_up(tmp_path, "wrong_context", headers=_SAYS_ITS_LIMIT))
    assert state == "running"


@pytest.mark.usefixtures("small")
def test_in_the_requests_context_nothing_follows_the_give_up(tmp_path: Path) -> None:
    """The fix: a caller that hangs up takes its state change with it."""
    assert asyncio.run(state_after_giving_up(tmp_path, headers={REQUEST_ID: "r-1"})) == "queued"


@pytest.mark.usefixtures("small")
def test_the_callers_limit_is_kept(tmp_path: Path) -> None:
    """The fix, sooner: who says how long it waits is answered in time that there is nothing."""
    assert asyncio.run(state_after_giving_up(tmp_path, headers=_SAYS_ITS_LIMIT)) == "queued"


@pytest.mark.usefixtures("small")
def test_spans_tell_who_gave_up_and_who_committed(tmp_path: Path) -> None:
    """Both ends' spans are one hop of one trace and bear the same request ID."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("test")

    async def scenario() -> None:
        async with (
            served(tmp_path, "wrong_context", tracer=tracer) as (store, url),
            aiohttp.ClientSession() as session,
        ):
            release = threading.Event()
            job = asyncio.ensure_future(store._writer.run(lambda _raw: release.wait(20)))
            await until(store._writer._turns.locked)
            caller = Caller(session, url, tracer, logging.getLogger("test"), limit_s=0.3)
            with pytest.raises(CallFailedError, match=r"gave up: no answer within 0\.3 s"):
                await caller.post("ask", "/agents/agent-1/next", route=NEXT)
            await until(lambda: store._writer._turns._waiters)
            release.set()
            await job
            await until(lambda: len(kept.get_finished_spans()) == 2)

    asyncio.run(scenario())
    client, server = kept.get_finished_spans()
    assert (client.name, client.kind) == (f"POST {NEXT}", trace.SpanKind.CLIENT)
    assert (server.name, server.kind) == (f"POST {NEXT}", trace.SpanKind.SERVER)
    assert client.status.status_code is trace.StatusCode.ERROR
    told = dict(client.attributes or {})
    assert told["error.type"] == "TimeoutError"
    assert "http.response.status_code" not in told
    assert told["oxr.limit_s"] == 0.3
    done = dict(server.attributes or {})
    assert (done["http.response.status_code"], done["oxr.task"]) == (200, "t-1")
    assert told[_ID] == done[_ID]
    assert isinstance(told[_ID], tuple)
    assert server.parent is not None
    assert server.parent.span_id == client.context.span_id
    assert server.context.trace_id == client.context.trace_id


@pytest.mark.usefixtures("small")
def test_a_caller_gets_its_task_and_reports_it(tmp_path: Path) -> None:
    """With nobody in the way both calls succeed; a second report changes nothing."""

    async def scenario() -> None:
        async with served(tmp_path) as (_, url), aiohttp.ClientSession() as session:
            log = logging.getLogger("test")
            caller = Caller(session, url, trace.NoOpTracer(), log, limit_s=20.0)
            ask = partial(caller.post, "ask", "/agents/agent-1/next", route=NEXT)
            order = await ask()
            assert (order["task"], order["attempt"]) == ("t-1", 1)
            assert await ask() is None
            done = {"task": "t-1", "attempt": 1, "outcome": "success"}
            report = partial(caller.post, "tell", "/tasks/t-1/result", route="/r", body=done)
            assert [await report(), await report()] == [{"recorded": True}, {"recorded": False}]
            with pytest.raises(CallFailedError, match="failed: answered 404"):
                await caller.post("tell", "/tasks/t-2/result", route="/r", body=done)

    asyncio.run(scenario())
