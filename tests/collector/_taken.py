"""Bodies as signals, and what was counted on the way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from collector.pipeline import Pipeline, Record

if TYPE_CHECKING:
    from collector.limits import RecordLimits
    from collector.rules import Rule
    from collector.scrub import Scrub

NOW = 1_790_000_000_000_000
NOW_NS = NOW * 1000


def taken(
    *bodies: tuple[str, bytes],
    rules: tuple[Rule, ...] = (),
    scrub: Scrub | None = None,
    limits: RecordLimits | None = None,
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the signals of *bodies*, each a kind of journal record and its bytes, and counts."""
    pipeline = Pipeline(
        namespace="test",
        sides={"oxr": "dispatcher", "agent": "agent"},
        rules=rules,
        scrub=scrub,
        limits=limits,
    )
    try:
        records = [Record(7 + at, kind, NOW, {}, body) for at, (kind, body) in enumerate(bodies)]
        table, counts = pipeline.signals(records)
    finally:
        pipeline.close()
    return table.to_pylist(), counts


def log_body(*records: dict[str, Any], **resource: Any) -> bytes:
    """Return an export request of logs in OTLP/JSON; attributes are plain dictionaries."""
    return _body("resourceLogs", "scopeLogs", "logRecords", records, resource)


def span_body(*spans: dict[str, Any], **resource: Any) -> bytes:
    """Return an export request of traces in OTLP/JSON; attributes are plain dictionaries."""
    return _body("resourceSpans", "scopeSpans", "spans", spans, resource)


def _body(
    root: str, scope: str, name: str, records: tuple[dict[str, Any], ...], resource: dict[str, Any]
) -> bytes:
    shared = {"attributes": pairs({key.replace("__", "."): one for key, one in resource.items()})}
    made = [{**one, "attributes": pairs(one.get("attributes", {}))} for one in records]
    return json.dumps({root: [{"resource": shared, scope: [{name: made}]}]}).encode()


def pairs(said: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP/JSON has them."""
    return [{"key": key, "value": value(one)} for key, one in said.items()]


def value(said: Any) -> dict[str, Any]:
    """Return an AnyValue as OTLP/JSON has it."""
    match said:
        case bool():
            return {"boolValue": said}
        case int():
            return {"intValue": str(said)}
        case float():
            return {"doubleValue": said}
        case list():
            return {"arrayValue": {"values": [value(one) for one in said]}}
        case dict():
            return {"kvlistValue": {"values": pairs(said)}}
    return {"stringValue": str(said)}
