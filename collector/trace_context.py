"""W3C trace context: `traceparent` where a record has no trace ID of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collector.batch import Batch

_NAMES: Final = ("traceparent", "http.request.header.traceparent", "Traceparent", "TRACEPARENT")

_FORM: Final = (
    r"^\s*(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})"
    r"-[0-9a-f]{2}(?P<more>-.*)?\s*$"
)
_INVALID: Final = "ff"


def fill(batch: Batch) -> None:
    """Fill trace and span ID from an attribute `traceparent`, where the record has no trace ID.

    Version 00 has nothing after the flags, higher ones may; ff and all-zero IDs are invalid. One
    that is none is marked (`trace_broken`): the next hop begins a new trace because of it.
    """
    found = [text for name in _NAMES if (text := batch.attribute(name)) is not None]
    if not found:
        return
    text = pc.coalesce(*found)
    said = pc.extract_regex(text, _FORM)
    good = said.is_valid()
    version, trace, span = (said.field(name) for name in ("version", "trace", "span"))
    for part, never in ((version, _INVALID), (trace, "0" * 32), (span, "0" * 16)):
        good = pc.and_(good, pc.not_equal(part, never))
    plain = pc.or_(pc.not_equal(version, "00"), pc.equal(said.field("more"), ""))
    good = pc.and_(good, plain)
    given = pc.and_(text.is_valid(), pc.not_equal(text, ""))
    batch.columns["trace_broken"] = pc.if_else(
        pc.fill_null(pc.and_(given, pc.invert(good)), False), True, pa.scalar(None, pa.bool_())
    )
    good = pc.and_(good, batch.get("trace_id").is_null())
    for name, part in (("trace_id", trace), ("span_id", span)):
        none = pa.scalar(None, pa.string())
        batch.columns[name] = pc.coalesce(batch.get(name), pc.if_else(good, part, none))
