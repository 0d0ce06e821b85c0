"""A statement that reads only the columns it names finds what it would find in all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from detectors._kit import Detector, load
from model.narrow import narrowed
from model.views import VIEWS
from tests.detectors.harness import NOW_US, every_case, hot

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb


@pytest.fixture(scope="module")
def reader() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give all cases of all detectors, a namespace each."""
    with hot(every_case()) as found:
        yield found


def _found(reader: duckdb.DuckDBPyConnection, query: str) -> tuple[list[str], list[str]]:
    asked = reader.execute(query)
    return [str(one[:2]) for one in asked.description or ()], sorted(map(repr, asked.fetchall()))


@pytest.mark.parametrize("detector", load(), ids=lambda one: one.name)
@pytest.mark.parametrize("overridden", [False, True])
def test_a_detector_finds_the_same(
    reader: duckdb.DuckDBPyConnection,
    detector: Detector,
    overridden: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Wherever it looks, whatever its thresholds are overridden by."""
    by = {"service": "oxr", "queue": "q", "name": "sync", **detector.thresholds}
    settings = {"overrides": [by] if overridden else []}
    narrow = replace(detector, sql=narrowed(detector.sql))
    names, rows = _found(reader, narrow.query(NOW_US, settings))
    assert rows
    assert (names, rows) == _found(reader, detector.query(NOW_US, settings))


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_shows_the_same(reader: duckdb.DuckDBPyConnection, name: str) -> None:
    """All its columns, of the same types, and its rows."""
    names, rows = _found(reader, f"SELECT * FROM {name}")
    assert rows
    assert (names, rows) == _found(reader, f"SELECT * FROM ({VIEWS[name]}) one")


def test_what_is_read_is_what_is_named() -> None:
    """Under the alias it was read by, beside what a threshold may be overridden by."""
    said = narrowed("SELECT a.task FROM open_attempts a JOIN limits l ON l.side = a.agent")
    assert said == (
        "SELECT a.task FROM (SELECT task, name, substr(queue__at, 18) AS queue,"
        " substr(service__at, 18) AS service, substr(agent__at, 18) AS agent"
        " FROM attempts_rows WHERE NOT closed) a"
        " JOIN (SELECT service, name, queue, side FROM limits_rows) l ON l.side = a.agent"
    )


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM calls",
        "\nSELECT c.*, 1 AS one FROM calls c",
        "WITH calls AS (SELECT 1 AS one) SELECT one FROM calls",
        "WITH calls AS NOT MATERIALIZED (SELECT 1 AS one) SELECT one FROM calls",
        "SELECT n FROM learned",
        "SELECT calls FROM other_calls",
    ],
)
def test_what_cannot_be_narrowed_stays(query: str) -> None:
    """Where all is shown, or the name is another's."""
    assert narrowed(query) == query
