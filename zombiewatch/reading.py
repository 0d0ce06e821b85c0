"""What page and API ask of the service alike, each in one place."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from detectors._suspects import suspects
from zombiewatch import timeline, views
from zombiewatch.operations import SOURCE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

    from model.findings import Finding
    from zombiewatch.operations import OneIncidentJson
    from zombiewatch.service import Service
    from zombiewatch.timeline import TimelineJson
    from zombiewatch.views import CoverageJson, TimeoutJson

_ASKED: Final = 20
"""So many tasks, and requests, of one trace are asked for."""

_SOURCES: Final = f"SELECT {', '.join(SOURCE_COLUMNS)} FROM sources ORDER BY ALL"
_GAPS: Final = (
    "SELECT namespace, service, instance, lost, from_us, to_us FROM lost"
    " ORDER BY to_us DESC LIMIT 50"
)

T = TypeVar("T")


@contextmanager
def reader(service: Service) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a reader of the relations of *service*, closed afterwards."""
    made = service.store.reader()
    try:
        yield made
    finally:
        made.close()


def rows(made: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """Return the rows that answer *query*, by column."""
    answer = made.execute(query)
    names = [one[0] for one in answer.description]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def sources(service: Service) -> list[dict[str, Any]]:
    """Return who speaks, by way in."""
    with reader(service) as made:
        return rows(made, _SOURCES)


def gaps(service: Service) -> list[dict[str, Any]]:
    """Return what will never come, the newest first."""
    with reader(service) as made:
        return rows(made, _GAPS)


def timeouts(service: Service) -> list[TimeoutJson]:
    """Return each declared limit beside what it has to hold, as it was a moment ago."""
    return service.lately.get("timeouts", lambda: _counted(service, views.timeouts))


def coverage(service: Service) -> list[CoverageJson]:
    """Return which share of calls is seen from both ends, as it was a moment ago."""
    return service.lately.get("coverage", lambda: _counted(service, views.coverage))


def _counted(service: Service, count: Callable[[duckdb.DuckDBPyConnection, str], T]) -> T:
    with reader(service) as made:
        return count(made, service.config.namespace)


def story(service: Service, column: str, value: str, namespace: str | None = None) -> TimelineJson:
    """Return the timeline of *value* (see `timeline.build`), with what was found of it."""
    if column == "trace_id":
        told = timeline.build(service.store, column, value, ())
        known = _found_of(service, told)
        if not known:
            return told
    else:
        known = service.about(column, value)
    if namespace is not None:
        known = [one for one in known if one.namespace == namespace]
    return timeline.build(service.store, column, value, known, namespace)


def _found_of(service: Service, told: TimelineJson) -> list[Finding]:
    """Return what was found of the tasks and requests that *told* speaks of."""
    tasks = dict.fromkeys(one["task"] for one in told["entries"] if one["task"])
    requests = dict.fromkeys(one["request_id"] for one in told["entries"] if one["request_id"])
    found: dict[int, Finding] = {}
    for column, values in (("task", tasks), ("request_id", requests)):
        for value in list(values)[:_ASKED]:
            found |= {one.id: one for one in service.about(column, value)}
    return list(found.values())


def incident(service: Service, number: int) -> OneIncidentJson | None:
    """Return the open incident that the finding *number* belongs to, with suspects."""
    one = next((one for one in service.incidents() if one.has(number)), None)
    if one is None:
        return None
    with reader(service) as made:
        ranked = suspects(made, one.namespace, one.since_us)
    return {**one.as_json(), "suspects": [each.as_json() for each in ranked]}
