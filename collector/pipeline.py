"""Journal records → one table of signals: decode, rules, identity. No state but caches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from collector import lost, otlp, pings, standard
from collector.batch import Batch, constant, plausible_times
from collector.in_progress import mark_pending, open_partials, settle
from collector.jsonl import LineParser
from collector.limits import RecordLimits
from collector.rules import RuleBook
from collector.scrub import Scrub
from model.signals import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.batch import Array
    from collector.rules import Rule

_WAYS: Final = {
    "lines": "file",
    "events": "events",
    "heartbeat": "heartbeat",
    "ping": "ping",
    "due": "schedule",
    lost.KIND: lost.WAY,
}
"""Kind of journal record → way in; all others are OTLP's."""

_LINES: Final = {"lines": "log", "events": "event"}
"""Kind of journal record that is JSON lines → kind of the signals in it."""

ROW_BITS: Final = 24
"""A signal's `seq` is its journal record's ID shifted by this, plus its row in the record."""


@dataclass(slots=True)
class Record:
    """One body as the journal holds it."""

    id: int
    kind: str  # of `otlp.ROOTS`, `pings.KINDS` or `_LINES`, `lost.KIND`, or heartbeat
    arrived_us: int
    meta: Mapping[str, Any]
    body: bytes


class Pipeline:
    """Turns records into signals by the rules given.

    `sides` says what a service is (dispatcher or agent) where a record does not say so itself;
    `scrub` what is taken out as a secret beside what always is, `limits` what a record may say.
    """

    def __init__(
        self,
        *,
        namespace: str,
        sides: Mapping[str, str],
        rules: Sequence[Rule],
        scrub: Scrub | None = None,
        limits: RecordLimits | None = None,
    ) -> None:
        self._scrub = scrub or Scrub()
        self._limits = limits or RecordLimits()
        self._namespace = namespace
        self._sides = dict(sides)
        self._rules = RuleBook(rules)
        self._lines = LineParser.open()

    def signals(self, records: Sequence[Record]) -> tuple[pa.Table, dict[str, int]]:
        """Return the signals of *records*, and counts worth a metric.

        They are in journal order within each kind of record.
        """
        tables: list[pa.Table] = []
        counts: dict[str, int] = {}
        for group in _parts(records):
            batch = self._decode(group)
            if batch.rows:
                self._common(batch, group)
                tables.append(batch.table())
            for name, number in batch.counts.items():
                counts[name] = counts.get(name, 0) + number
        return (pa.concat_tables(tables) if tables else SCHEMA.empty_table()), counts

    def _decode(self, group: Sequence[Record]) -> Batch:
        arrived = np.array([record.arrived_us for record in group], np.int64)
        kind = group[0].kind
        if kind in otlp.ROOTS:
            bodies = [record.body for record in group]
            decoded = otlp.decode(kind, bodies)
            batch = otlp.flatten(kind, decoded, arrived, self._scrub, self._limits)
            if batch.rows and kind.startswith("logs"):
                open_partials(batch, self._scrub, self._limits)
            elif batch.rows and kind.startswith("traces"):
                mark_pending(batch)
            return batch
        if kind in _LINES:
            bodies = [record.body for record in group]
            batch = self._lines.parse(bodies, arrived, self._scrub, self._limits)
            batch.columns["kind"] = pa.repeat(_LINES[kind], batch.rows)
            return batch
        if kind == lost.KIND:
            return lost.batch(group, arrived)
        ours = kind in pings.KINDS
        batch = pings.batch(kind, group, arrived) if ours else _beats(group, arrived)
        batch.columns["body"], scrubbed = self._scrub.text(batch.get("body"))
        batch.count("secrets_scrubbed", scrubbed)
        return batch

    def _common(self, batch: Batch, group: Sequence[Record]) -> None:
        """Fill what every way in has in common, then let the rules speak."""
        columns, rows = batch.columns, batch.rows
        request = columns.pop("request")
        for name in ("source", "service", "side"):
            said = pa.array([record.meta.get(name) for record in group], pa.string()).take(request)
            columns[name] = pc.coalesce(batch.get(name), said)
        batch.count("lines_cut", sum(record.meta.get("cut") or 0 for record in group))
        promised = [record.meta.get("expect_s") for record in group]
        if any(promised):
            columns["expect_s"] = pa.array(promised, pa.float64()).take(request)
        way = _WAYS.get(group[0].kind, "otlp")
        columns["way"] = constant(way, rows, "way")
        columns["seq"] = _sequence(group, request)
        plausible_times(batch)
        standard.task_ids(batch)
        self._rules.apply(batch)
        standard.outcomes(batch)
        known = constant(self._namespace, rows, "namespace")
        columns["namespace"] = pc.coalesce(batch.get("namespace"), known)
        if group[0].kind not in pings.KINDS:  # no side speaks there, whatever its service
            columns["side"] = self._side(batch)
        settle(batch)
        columns["request_id"] = _request_id(batch)

    def _side(self, batch: Batch) -> Array:
        services = pc.dictionary_encode(batch.get("service"))
        sides = [self._sides.get(name) for name in services.dictionary.to_pylist()]
        side = batch.get("side")
        if any(sides):
            side = pc.coalesce(side, pa.array(sides, pa.string()).take(services.indices))
        return side

    def close(self) -> None:
        """Release the JSON reader."""
        self._lines.connection.close()


_PART_BYTES: Final = 8 << 20
"""Bytes of bodies that are decoded together: what is made of more is no longer in the caches when
the next step reads it."""


def _parts(records: Sequence[Record]) -> list[list[Record]]:
    """Split *records* by their kind, in order within each, and into what is decoded at once."""
    kinds: dict[str, list[list[Record]]] = {}
    sizes: dict[str, int] = {}
    for record in records:
        parts = kinds.setdefault(record.kind, [])
        if not parts or sizes[record.kind] >= _PART_BYTES:
            parts.append([])
            sizes[record.kind] = 0
        parts[-1].append(record)
        sizes[record.kind] += len(record.body)
    return [part for parts in kinds.values() for part in parts]


def _sequence(group: Sequence[Record], request: Array) -> Array:
    of = request.to_numpy(zero_copy_only=False)
    ids = np.array([record.id for record in group], np.int64)
    first = np.searchsorted(of, np.arange(len(group)))  # `request` never decreases
    row = np.arange(len(of)) - first[of]
    return pa.array((ids[of] << ROW_BITS) + row)


_IN_TEXT: Final = (
    r"(?i)\b(?:x[-_.]?)?request[-_.]?id[\"']?\s*[:= ]\s*[\"'\[]?"
    r"(?P<id>[A-Za-z0-9][\w.:/+=-]{3}[\w.:/+=-]*)"
)
"""Without a bound, which would take three times as long: what is longer is cut afterwards."""

_ID_LENGTH: Final = 128


def _request_id(batch: Batch) -> Array:
    """Return the request IDs; where no attribute bears one, from the text of the record."""
    known = batch.get("request_id")
    text = batch.get("body")
    maybe = pc.and_(known.is_null(), pc.match_substring(text, "equest", ignore_case=False))
    maybe = pc.or_(
        pc.fill_null(maybe, False),
        pc.fill_null(pc.and_(known.is_null(), pc.match_substring(text, "REQUEST")), False),
    )
    if not pc.any(maybe).as_py():
        return known
    wanted = pc.if_else(maybe, text, pa.scalar(None, pa.string()))
    found = pc.extract_regex(wanted, _IN_TEXT)
    text_id = pc.if_else(found.is_valid(), found.field("id"), pa.scalar(None, pa.string()))
    return pc.coalesce(known, pc.utf8_slice_codeunits(text_id, 0, _ID_LENGTH))


def _beats(group: Sequence[Record], arrived: Any) -> Batch:  # noqa: ANN401 - a NumPy array
    """Return heartbeats that came one by one over HTTP; each body was checked before."""
    said = [orjson.loads(record.body) for record in group]
    rows = len(said)

    def column(name: str) -> Array:
        return pa.array([_text(one.get(name)) for one in said], pa.string())

    columns = {
        "request": pa.array(np.arange(rows)),
        "arrived_us": pa.array(arrived),
        "ts_us": pa.array([one["ts_us"] for one in said], pa.int64()),
        "kind": pa.repeat("beat", rows),
        "phase": pa.array([one.get("event", "heartbeat") for one in said], pa.string()),
        "outcome": column("outcome"),
        "exit_code": pa.array([one.get("exit_code") for one in said], pa.int32()),
        "severity": pa.array([9] * rows, pa.int16()),
        "task": column("task_id"),
        "attempt": pa.array([one.get("attempt") for one in said], pa.int32()),
        "task_name": column("task_name"),
        "queue": column("queue"),
        "instance": column("instance"),
        "service": column("service"),
        "host": column("host"),
        "boot": column("boot"),
        "request_id": column("request_id"),
        "body": column("message"),
        "beat_s": pa.array([one.get("interval_s") for one in said], pa.float64()),
        "side": pa.repeat("agent", rows),
        "attr_keys": pa.repeat("", rows),
        "attr_values": pa.repeat("", rows),
    }
    return Batch(rows, columns, lambda _key: None)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
