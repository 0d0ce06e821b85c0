"""A reader for one question of the page or the API, and what several of them ask."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from detectors._suspects import suspects

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import duckdb

    from zombiewatch.operations import OneIncidentJson
    from zombiewatch.service import Service


@contextmanager
def reading(service: Service) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a reader of the relations of *service*, closed afterwards."""
    reader = service.store.reader()
    try:
        yield reader
    finally:
        reader.close()


def rows(
    reader: duckdb.DuckDBPyConnection, query: str, values: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return the rows that answer *query*, by column."""
    answer = reader.execute(query, dict(values or {}))
    names = [one[0] for one in answer.description]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def incident(service: Service, number: int) -> OneIncidentJson | None:
    """Return the open incident that the finding *number* belongs to, with suspects."""
    one = next((one for one in service.incidents() if one.has(number)), None)
    if one is None:
        return None
    with reading(service) as reader:
        ranked = suspects(reader, one.namespace, one.since_us)
    return {**one.as_json(), "suspects": [each.as_json() for each in ranked]}
