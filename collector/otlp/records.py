"""Log records and spans → columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.attributes import Attributes, beside
from collector.batch import Array, Batch
from collector.limits import cut
from collector.otlp.values import field, hex_id, inside, micros, some_text, value_text, whole
from collector.standard import CLIENT, SERVER, task_ids, task_spans
from collector.trace_context import fill
from model.phases import CALLEE, CALLER

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from collector.limits import RecordLimits
    from collector.scrub import Scrub

_SDK: Final = frozenset({"telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version"})
"""Resource attributes that say nothing of the work."""


def resource_lists(resources: Array) -> Array:
    """Return the attributes of each resource, none where there is no resource."""
    held = resources.field("resource")
    lists = held.field("attributes")
    if not held.null_count:
        return lists
    return pc.if_else(held.is_valid(), lists, pa.scalar([], lists.type))


def attributes(lists: Array, count: Callable[[str, int], None]) -> Attributes:
    """Return a list of KeyValues for each record as attributes.

    Those that have no value, or have it or their key by an index into a table that OTLP does not
    send, are left out and counted.
    """
    lists = whole(lists)
    pairs = lists.flatten()
    starts = lists.offsets.to_numpy() - (lists.offsets[0].as_py() if len(lists.offsets) else 0)
    keys, values = pairs.field("key"), value_text(pairs.field("value"))
    by_index = pc.greater(pc.fill_null(pairs.field("keyStrindex"), 0), 0)
    if values.null_count or pc.any(by_index).as_py():
        empty = pc.and_(by_index, pc.equal(pc.fill_null(keys, ""), ""))
        kept = ~pc.or_(empty, values.is_null()).to_numpy(zero_copy_only=False)
        count("attributes_empty", int(len(kept) - kept.sum()))
        keys, values = keys.filter(pa.array(kept)), values.filter(pa.array(kept))
        starts = np.concatenate(([0], np.cumsum(kept)))[starts]
    return Attributes.of(starts, keys, values)


def flatten_records(
    signal: str,
    decoded: pa.RecordBatch,
    arrived_us: NDArray[np.int64],
    scrub: Scrub,
    limits: RecordLimits,
) -> Batch:
    """Return the log records or spans of *decoded* (see `collector.otlp.flatten`)."""
    request, resources = inside(np.arange(decoded.num_rows), decoded.column(0))
    of_resource, scopes = inside(np.arange(len(resources)), resources.field(1))
    resource, records = inside(of_resource, scopes.field(0))
    rows = len(records)
    batch = Batch(rows, {}, lambda _key: None)
    own = attributes(records.field("attributes"), batch.count)
    shared = attributes(resource_lists(resources), batch.count)
    for one in (own, shared):
        one.tidy(scrub, limits, batch.count)
    columns, misfits = own.promoted()
    common, more = shared.promoted()
    batch.count("misfit_values", misfits + more)
    spread = pa.array(resource)
    for name, values in common.items():
        wide = values.take(spread)
        columns[name] = pc.coalesce(columns[name], wide) if name in columns else wide
    keys, values = own.packed()
    shared_keys, shared_values = shared.packed(_SDK)
    columns["attr_keys"] = beside(shared_keys.take(spread), keys)
    columns["attr_values"] = beside(shared_values.take(spread), values)
    columns["arrived_us"] = pa.array(arrived_us[request[resource]] if rows else [], pa.int64())
    columns["request"] = pa.array(request[resource] if rows else [], pa.int64())
    columns["trace_id"] = hex_id(records.field("traceId"), 16)
    columns["span_id"] = hex_id(records.field("spanId"), 8)

    def attribute(key: str) -> Array | None:
        mine, theirs = own.text(key), shared.text(key)
        if theirs is None:
            return mine
        wide = theirs.take(spread)
        return wide if mine is None else pc.coalesce(mine, wide)

    batch.columns, batch.attribute = columns, attribute
    (_log_columns if signal == "logs" else _span_columns)(batch, records)
    body, scrubbed = scrub.text(whole(columns["body"]))
    batch.count("secrets_scrubbed", scrubbed)
    columns["body"], shortened = cut(body, limits.body_bytes)
    batch.count("bodies_cut", shortened)
    return batch


def _log_columns(batch: Batch, records: Array) -> None:
    stated = micros(records.field("timeUnixNano"))
    observed = micros(records.field("observedTimeUnixNano"))
    either = np.where(stated == 0, observed, stated)
    batch.columns["ts_us"] = pa.array(either, mask=either == 0)
    batch.columns["kind"] = pa.repeat("log", batch.rows)
    severity = pc.fill_null(records.field("severityNumber"), 0)
    batch.columns["severity"] = pc.cast(severity, pa.int16(), safe=False)
    batch.columns["body"] = value_text(records.field("body"))
    named = some_text(records.field("eventName"))
    batch.columns["name"] = pc.coalesce(named, batch.get("name"))
    fill(batch)


_ERROR_STATUS: Final = 2
_GAVE_UP: Final = r"(?i)time_?out|cancel|deadline"
_CLIENT_FAULT: Final = 400


def _span_columns(batch: Batch, records: Array) -> None:
    """Fill what a span says; client and server spans are the two ends of a call."""
    for name, said in (("ts_us", "startTimeUnixNano"), ("end_us", "endTimeUnixNano")):
        told = micros(records.field(said))
        batch.columns[name] = pa.array(told, mask=told == 0)
    batch.columns["kind"] = pa.repeat("span", batch.rows)
    batch.columns["parent_id"] = hex_id(records.field("parentSpanId"), 8)
    batch.columns["name"] = pc.fill_null(records.field("name"), "")
    status = records.field("status")
    code = pc.fill_null(field(status, "code"), 0)
    batch.columns["body"] = some_text(field(status, "message"))
    error = pc.equal(code, _ERROR_STATUS)
    batch.columns["severity"] = pc.cast(pc.if_else(error, 17, 9), pa.int16())
    kind = pc.fill_null(records.field("kind"), 0)
    http = pc.fill_null(batch.get("status_code"), 0)
    gave_up = pc.fill_null(pc.match_substring_regex(batch.get("error"), _GAVE_UP), False)
    gave_up = pc.and_(pc.and_(error, gave_up), pc.less(http, 1))
    failed = pc.or_(error, pc.greater_equal(http, _CLIENT_FAULT))
    _, ok, lost, away = CALLER
    _, committed, broken = CALLEE
    caller = pc.if_else(gave_up, away, pc.if_else(failed, lost, ok))
    callee = pc.if_else(failed, broken, committed)
    none = pa.scalar(None, pa.string())
    batch.columns["phase"] = pc.if_else(
        pc.equal(kind, CLIENT), caller, pc.if_else(pc.equal(kind, SERVER), callee, none)
    )
    fill(batch)
    task_ids(batch)
    task_spans(batch, kind, error)
    batch.columns["span_kind"] = kind
