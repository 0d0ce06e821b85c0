"""The joined timeline of a task or a request: both sides' records, and where they part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, cast

from pydantic import WithJsonSchema
from typing_extensions import TypedDict

from model.findings import FindingJson
from model.phases import CALLEE, CALLER, PHASES, Side
from model.signals import unpack
from model.units import Iso, iso
from zombiewatch._clocks import beside
from zombiewatch._once import once

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb

    from model.findings import Finding

_REQUESTS: Final = 20
"""So many requests of one task are shown whole."""

_GAVE_UP: Final = "gave_up_but_committed"

Phase = Annotated[str | None, WithJsonSchema({"enum": [*PHASES, None]})]


class Signal(TypedDict):
    """The columns of a signal that are shown."""

    seq: int
    arrived_us: int
    end_us: int | None
    kind: str
    side: Side | None
    phase: Phase
    name: str | None
    severity: int | None
    body: str | None
    task: str | None
    attempt: int | None
    request_id: str | None
    trace_id: str | None
    span_id: str | None
    parent_id: str | None
    outcome: str | None
    state: str | None
    source: str | None
    way: str


class EntryJson(Signal):
    """One record, when and by whom it was said (`lane`), and all its attributes."""

    at: Iso
    at_us: int
    lane: str
    raw: dict[str, str]


class LaneJson(TypedDict):
    """One who speaks, and how far its clock is ahead of a lane's that is 0 ahead, give or take 0.

    Null where that is not known: no calls between them were seen from both ends at that time.
    """

    id: str
    side: Side | None
    service: str | None
    instance: str | None
    offset_us: int | None
    uncertainty_us: int | None


class PartJson(TypedDict):
    """Where the stories part, and by which detector that was found."""

    at_us: int
    at: Iso
    lane: str | None
    text: str
    finding: str


class TimelineJson(TypedDict):
    """All that was said of a task or a request, in order, and where it parts."""

    query: dict[str, str]
    found: bool
    lanes: list[LaneJson]
    entries: list[EntryJson]
    parts: list[PartJson]
    findings: list[FindingJson]


class Told(Protocol):
    """What timelines are read from: the store, as far as they need it."""

    def timeline(self, column: str, value: str) -> list[dict[str, Any]]:
        """Return the signals whose *column* is *value*, by time."""
        ...

    def reader(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor on the hot relations, to be closed by who asked."""
        ...


_SHOWN: Final = tuple(Signal.__annotations__)


def build(
    store: Told,
    column: str,
    value: str,
    findings: Sequence[Finding],
    namespace: str | None = None,
) -> TimelineJson:
    """Return the timeline of *value*; *column* is `task`, `request_id` or `trace_id`.

    With *namespace* only what was said in that: others may use the same IDs.
    """
    rows = {row["seq"]: row for row in store.timeline(column, value)}
    other = "request_id" if column == "task" else "task"
    related = sorted({row[other] for row in rows.values() if row[other]})[:_REQUESTS]
    for one in related if column == "task" else ():
        rows |= {row["seq"]: row for row in store.timeline(other, one)}
    if namespace is not None:
        rows = {seq: row for seq, row in rows.items() if row["namespace"] == namespace}
    ordered = sorted(once(rows.values()).values(), key=lambda row: (row["ts_us"], row["seq"]))
    lanes: dict[str, LaneJson] = {}
    entries = [_entry(row, lanes) for row in ordered]
    _set_clocks(store, ordered, list(lanes.values()))
    return {
        "query": {column: value},
        "found": bool(entries),
        "lanes": list(lanes.values()),
        "entries": entries,
        "parts": sorted(_parts(entries, lanes, findings), key=lambda part: part["at_us"]),
        "findings": [one.as_json() for one in findings],
    }


def _entry(row: Mapping[str, Any], lanes: dict[str, LaneJson]) -> EntryJson:
    who = row["service"] or row["side"] or row["way"]  # a ping names neither
    lane = "/".join(part for part in (who, row["instance"]) if part) or "?"
    lanes.setdefault(
        lane,
        {
            "id": lane,
            "side": row["side"],
            "service": row["service"],
            "instance": row["instance"],
            "offset_us": None,
            "uncertainty_us": None,
        },
    )
    return {
        **cast("Signal", {name: row[name] for name in _SHOWN}),
        "at": iso(row["ts_us"]),
        "at_us": row["ts_us"],
        "lane": lane,
        "raw": unpack(row["attr_keys"], row["attr_values"]),
    }


def _set_clocks(store: Told, rows: Sequence[Mapping[str, Any]], lanes: Sequence[LaneJson]) -> None:
    """Say of *lanes* how far their clocks are apart: where it can be, from a dispatcher's."""
    first = sorted(lanes, key=lambda lane: lane["side"] != "dispatcher")
    instances = [lane["instance"] for lane in first if lane["instance"]]
    namespaces = {row["namespace"] for row in rows}
    if not instances or len(namespaces) != 1:
        return
    arrived = [row["arrived_us"] for row in rows]
    reader = store.reader()
    try:
        known = beside(reader, namespaces.pop(), instances, min(arrived), max(arrived))
    finally:
        reader.close()
    for lane in lanes:
        ahead = known.get(lane["instance"] or "")
        if ahead is not None:
            lane["offset_us"], lane["uncertainty_us"] = ahead.offset_us, ahead.uncertainty_us


def _parts(
    entries: Sequence[EntryJson], lanes: Mapping[str, LaneJson], findings: Iterable[Finding]
) -> Iterable[PartJson]:
    """Yield where the stories part: commits after a give-up, and each finding where it began.

    What two machines say is compared by one clock, as far as it is known how far theirs are apart.
    """
    told: set[str] = set()
    gave_up = {
        one["request_id"]: one for one in entries if one["phase"] == CALLER[3] and one["request_id"]
    }
    committed = [one for one in entries if one["phase"] == CALLEE[1] and one["request_id"]]
    for request, one in gave_up.items():
        later = [
            (by, each)
            for each in committed
            if each["request_id"] == request and (by := _later(one, each, lanes)) > 0
        ]
        if later:
            by, first = min(later, key=lambda each: each[0])
            text = f"committed here, {by / 1e6:.2f} s after its caller gave up"
            yield _part(_end(one), one["lane"], "its caller gave up here", _GAVE_UP)
            yield _part(_end(first), first["lane"], text, _GAVE_UP)
            told.add(_GAVE_UP)
    for finding in findings:
        if finding.verdict in {"dropped", "retracted"} or finding.detector in told:
            continue
        before = (one["lane"] for one in reversed(entries) if _end(one) <= finding.since_us)
        yield _part(finding.since_us, next(before, None), finding.summary, finding.detector)


def _later(one: EntryJson, other: EntryJson, lanes: Mapping[str, LaneJson]) -> int:
    """Return by how many microseconds *other* was after *one*; 0 where that is not certain."""
    mine, its = lanes[one["lane"]], lanes[other["lane"]]
    ahead = (its["offset_us"] or 0) - (mine["offset_us"] or 0)
    unsure = (its["uncertainty_us"] or 0) + (mine["uncertainty_us"] or 0)
    by = _end(other) - ahead - _end(one)
    return by if by > unsure else 0


def _part(at_us: int, lane: str | None, text: str, finding: str) -> PartJson:
    return {"at_us": at_us, "at": iso(at_us), "lane": lane, "text": text, "finding": finding}


def _end(entry: EntryJson) -> int:
    return entry["end_us"] or entry["at_us"]
