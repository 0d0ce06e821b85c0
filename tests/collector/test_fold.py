"""The fold equals its declaration, whatever the order, the repetition and the batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.store import fold
from model.phases import CALLEE, CALLER, OTHER, TASK
from model.relations import RELATIONS
from tests.detectors.harness import NOW_US, signals

if TYPE_CHECKING:
    from model.relation import Relation

_ids = st.sampled_from(["t1", "t2", "t3"])

_signal = st.fixed_dictionaries(
    {
        "t": st.integers(-50, 50),
        "phase": st.sampled_from([*TASK, *CALLER, *CALLEE, *OTHER]),
        "task": st.one_of(st.none(), _ids),
        "attempt": st.one_of(st.none(), st.integers(1, 2)),
        "service": st.sampled_from(["oxr", "agent"]),
        "side": st.sampled_from(["dispatcher", "agent"]),
        "instance": st.sampled_from(["a", "b", None]),
        "outcome": st.sampled_from(["success", "failure", "yielded", None]),
        "state": st.sampled_from(["running", "success", "failure", None]),
        "purpose": st.sampled_from(["dispatch", "report", None]),
        "request_id": st.sampled_from(["r1", "r2", None]),
        "beat_s": st.sampled_from([None, 5.0]),
        "reports": st.sampled_from([None, True, False]),
        "queue": st.sampled_from([None, "q1"]),
        "depth": st.sampled_from([None, 3.0, 20.0]),
        "schedule": st.sampled_from([None, "nightly"]),
        "due_us": st.sampled_from([None, NOW_US]),
        "trace_broken": st.sampled_from([None, True]),
    }
)


def _rows(connection: Any, relation: Relation, query: str) -> list[tuple[Any, ...]]:
    names = [*relation.keys, *(column.name for column in relation.columns)]
    return sorted(
        connection.execute(f"SELECT {', '.join(names)} FROM ({query})").fetchall(),
        key=repr,
    )


def _without_derived(relation: Relation, source: str) -> str:
    columns = ", ".join(column.shown() for column in relation.columns)
    return f"SELECT {relation.key_list}, {columns} FROM {source}"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(_signal, min_size=1, max_size=40), data=st.data())
def test_any_order_duplicate_or_batching_gives_the_row_of_the_declaration(
    rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Signals shuffled, repeated and cut into batches fold to what one SELECT over them says."""
    repeated = data.draw(st.lists(st.sampled_from(rows), max_size=10))
    stream = data.draw(st.permutations(rows + repeated))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    connection = fold.connect(256 << 20, threads=1)
    fold.create(connection)
    folding = fold.Fold(connection, bin_us=60_000_000, settle_us=3_600_000_000)
    start = 0
    for cut in [*cuts, len(stream)]:
        if cut > start:
            folding.apply(signals(stream[start:cut]))
        start = cut
    connection.register("every", signals(rows))
    for relation in RELATIONS:
        expected = _without_derived(relation, f"({relation.fresh('every')})")
        assert _rows(connection, relation, f"SELECT * FROM {relation.name}") == _rows(
            connection, relation, expected
        )
    connection.close()


def test_a_row_is_open_or_closed_but_never_both() -> None:
    """A late signal takes its row back from the closed ones, and the row is there once."""
    connection = fold.connect(256 << 20)
    fold.create(connection)
    folding = fold.Fold(connection, bin_us=60_000_000, settle_us=3_600_000_000)
    dispatcher = {"side": "dispatcher", "service": "oxr", "task": "t1"}
    agent = {"side": "agent", "service": "agent", "task": "t1"}
    folding.apply(signals([{**dispatcher, "t": -9, "phase": "dispatched"}]))
    folding.apply(signals([{**dispatcher, "t": -5, "phase": "recorded", "state": "success"}]))
    assert connection.execute("SELECT count(*) FROM attempts WHERE closed").fetchall() == [(1,)]
    folding.apply(signals([{**agent, "t": -7, "phase": "started"}]))
    assert connection.execute("SELECT count(*) FROM attempts WHERE closed").fetchall() == [(0,)]
    folding.apply(signals([{**agent, "t": -6, "phase": "finished", "outcome": "success"}]))
    assert connection.execute("SELECT count(*) FROM open_attempts").fetchall() == [(0,)]
    assert connection.execute("SELECT count(*) FROM attempts").fetchall() == [(1,)]


@pytest.mark.parametrize(("reports", "still"), [(False, 0), (True, 1), (None, 1)])
def test_where_results_are_never_recorded_the_end_closes_an_attempt(
    reports: bool | None,  # noqa: FBT001 - it is the case
    still: int,
) -> None:
    """Else each run of a job that nobody keeps a record of would stay hot for days."""
    connection = fold.connect(256 << 20)
    fold.create(connection)
    folding = fold.Fold(connection, bin_us=60_000_000, settle_us=3_600_000_000)
    job = {"task": "backup/1", "reports": reports}
    folding.apply(signals([{**job, "t": -9, "phase": "started"}]))
    assert connection.execute("SELECT count(*) FROM open_attempts").fetchall() == [(1,)]
    folding.apply(signals([{**job, "t": -5, "phase": "finished", "outcome": "success"}]))
    assert connection.execute("SELECT count(*) FROM open_attempts").fetchall() == [(still,)]


def test_a_measure_is_counted_once_however_often_its_signals_come() -> None:
    """The time from hand-out to first sign is one sample, though every signal came three times."""
    connection = fold.connect(256 << 20)
    fold.create(connection)
    folding = fold.Fold(connection, bin_us=60_000_000, settle_us=3_600_000_000)
    story = [
        {"side": "dispatcher", "service": "oxr", "task": "t1", "t": -9, "phase": "dispatched"},
        {"side": "agent", "service": "agent", "task": "t1", "t": -7, "phase": "started"},
    ]
    for _ in range(3):
        folding.apply(signals(story))
    samples = connection.execute(
        "SELECT measure, n, total_us FROM rates WHERE measure = 'accept'"
    ).fetchall()
    assert samples == [("accept", 1, 2_000_000.0)]


def test_a_batch_that_fails_changes_nothing() -> None:
    """A fold is all or nothing: no relation has half of a batch."""
    connection = fold.connect(256 << 20)
    fold.create(connection)
    folding = fold.Fold(connection, bin_us=60_000_000, settle_us=3_600_000_000)
    connection.execute("DROP TABLE sources_rows")
    with pytest.raises(duckdb.Error, match="sources_rows"):  # after others were folded
        folding.apply(signals([{"t": 0, "phase": "enqueued", "task": "t1"}]))
    for table in ("marks", "attempts", "instances", "rates"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)]


def test_what_has_not_the_shape_of_signals_is_refused_before_anything_is_touched() -> None:
    """The fold's statements were planned for that shape: another would be read as if it had it."""
    connection = fold.connect(256 << 20)
    fold.create(connection)
    folding = fold.Fold(connection, bin_us=60_000_000, settle_us=3_600_000_000)
    broken = signals([{"t": 0, "phase": "enqueued", "task": "t1"}]).drop_columns(["expect_s"])
    with pytest.raises(ValueError, match="no signals"):
        folding.apply(broken)
    assert connection.execute("SELECT count(*) FROM marks").fetchall() == [(0,)]
