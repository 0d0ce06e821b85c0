"""Each detector finds in ClickHouse what it finds in DuckDB, row for row."""

from __future__ import annotations

import math
import signal
from typing import TYPE_CHECKING, Any

import pytest

from detectors._kit import Detector, load
from tests.detectors._clickhouse import ClickHouse
from tests.detectors.harness import NOW_US, every_case, hot

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

pytestmark = pytest.mark.slow

DETECTORS = load()


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[duckdb.DuckDBPyConnection, ClickHouse]]:
    """Give all cases of all detectors, a namespace each, in both engines."""
    with hot(every_case()) as reader:
        other = ClickHouse(reader)
        yield reader, other
        other.close()


def _plain(value: Any) -> Any:
    """Return *value* so that equal ones compare equal: engines differ in the last digit only."""
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.9g}")
    return int(value) if isinstance(value, bool) else value


def _rows(found: list[dict[str, Any]]) -> list[list[tuple[str, Any]]]:
    return sorted(
        ([(name, _plain(value)) for name, value in row.items()] for row in found), key=repr
    )


@pytest.mark.usefixtures("both")
def test_clickhouse_leaves_the_signals_of_this_process_alone() -> None:
    """Else what other tests start here would never be told that its reader has left."""
    assert signal.SIGPIPE not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.name)
def test_a_detector_finds_the_same_in_clickhouse(
    detector: Detector, both: tuple[duckdb.DuckDBPyConnection, ClickHouse]
) -> None:
    """All columns of all rows; and there are rows, so that there is something to compare."""
    reader, other = both
    query = detector.query(NOW_US, {})
    here = reader.execute(query)
    names = [column[0] for column in here.description or ()]
    found = [dict(zip(names, row, strict=True)) for row in here.fetchall()]
    assert found
    assert _rows(other.rows(query)) == _rows(found)


@pytest.mark.parametrize("detector", [one for one in DETECTORS if one.clears], ids=lambda o: o.name)
def test_what_ended_a_finding_is_the_same_in_clickhouse(
    detector: Detector, both: tuple[duckdb.DuckDBPyConnection, ClickHouse]
) -> None:
    """The SELECT that tells a false alarm from an end is as portable."""
    reader, other = both
    assert detector.clears
    here = reader.execute(detector.clears)
    names = [column[0] for column in here.description or ()]
    found = [dict(zip(names, row, strict=True)) for row in here.fetchall()]
    assert _rows(other.rows(detector.clears)) == _rows(found)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.name)
def test_a_sign_is_seen_in_clickhouse_too(
    detector: Detector, both: tuple[duckdb.DuckDBPyConnection, ClickHouse]
) -> None:
    """Whether it is worth to look at all: the cases that fire show each sign, in both engines."""
    reader, other = both
    met = []
    for relation, sign in detector.signs(NOW_US, {}).items():
        select = f"SELECT 1 FROM {relation} a WHERE {sign} LIMIT 1"
        met.append(len(reader.execute(select).fetchall()))
        assert len(other.rows(select)) == met[-1]
    assert any(met) or not detector.only_if
