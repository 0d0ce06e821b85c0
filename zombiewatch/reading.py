"""A reader for one question of the page or the API, and what several of them ask."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from detectors._suspects import suspects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import duckdb

    from model.clock import Clock
    from zombiewatch.operations import OneIncidentJson
    from zombiewatch.service import Service


T = TypeVar("T")


class Lately:
    """Keeps what is dear to count for *lasts_us*: however many ask, it is counted once."""

    def __init__(self, clock: Clock, lasts_us: int) -> None:
        self._clock = clock
        self._lasts_us = lasts_us
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, Any]] = {}

    def get(self, name: str, count: Callable[[], T]) -> T:
        """Return what *count* gives, or gave a moment ago under that *name*."""
        with self._lock:
            until_us, value = self._known.get(name, (0, None))
            if self._clock() >= until_us:
                value = count()
                self._known[name] = (self._clock() + self._lasts_us, value)
            return cast("T", value)


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
