"""Work in progress: spans that have not ended, and logs that say that they still run.

A span is exported when it ends, so that stuck work shows in no trace. Some senders tell of it
before: with a span without an end, with one marked `logfire.span_type = pending_span` (a child of
the span that it stands for), or with log records `partial.event = heartbeat` or `stop`, whose body
is the span. None of them is the span itself: they become signs of life of its task, or the open end
of its call, under the identity of the span that will end.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from collector import otlp
from collector.attributes import beside
from collector.standard import CONSUMER
from model.phases import CALLEE, CALLER, SIGNS
from model.signals import COLUMNS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collector.batch import Array, Batch
    from collector.limits import RecordLimits
    from collector.scrub import Scrub

_NONE: Final = pa.scalar(None, pa.string())
_EVENTS: Final = ("heartbeat", "stop")
_INTERNAL: Final = (0, 1, CONSUMER)  # kinds of spans within a process; 0 is unspecified
_KIND: Final = "traces+json"
_IDS: Final = frozenset(
    ["traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"]
)

SPAN, LOG = "span", "log"
"""What tells of work in progress: values of the column `pending`, which only batches have."""


def mark_pending(batch: Batch) -> None:
    """Mark spans that have not ended, and give those that stand for another span its identity."""
    open_end = batch.get("end_us").is_null()
    kind = batch.attribute("logfire.span_type")
    if kind is not None:
        stand_in = pc.fill_null(pc.equal(kind, "pending_span"), False)
        parent = batch.attribute("logfire.pending_parent_id")
        parent = pa.nulls(batch.rows, pa.string()) if parent is None else pc.ascii_lower(parent)
        known = pc.fill_null(
            pc.match_substring_regex(parent, "^[0-9a-f]*[1-9a-f][0-9a-f]*$"), False
        )
        parent = pc.if_else(known, parent, _NONE)
        real = batch.get("parent_id")
        batch.columns["span_id"] = pc.if_else(stand_in, real, batch.get("span_id"))
        batch.columns["parent_id"] = pc.if_else(stand_in, parent, real)
        none = pa.scalar(None, pa.int64())
        batch.columns["end_us"] = pc.if_else(stand_in, none, batch.get("end_us"))
        open_end = pc.or_(open_end, stand_in)
    if pc.any(open_end).as_py():
        batch.columns["pending"] = pc.if_else(open_end, SPAN, _NONE)


def open_partials(batch: Batch, scrub: Scrub, limits: RecordLimits) -> None:
    """Give log records that tell of a span in progress what that span says.

    One whose body is no span stays a log record, and is counted.
    """
    event = batch.attribute("partial.event")
    if event is None:
        return
    told = pc.fill_null(pc.is_in(event, pa.array(_EVENTS)), False)
    rows = np.nonzero(told.to_numpy(zero_copy_only=False))[0]
    if not len(rows):
        return
    texts = batch.get("body").take(pa.array(rows)).to_pylist()
    spans, of = _spans([text or "" for text in texts], scrub, limits)
    batch.count("partials_unread", len(rows) - len(of))
    if spans is None:
        return
    where = np.full(batch.rows, -1, np.int64)
    request = spans.columns["request"].to_numpy(zero_copy_only=False)
    where[rows[of]] = np.searchsorted(request, np.arange(len(of)))  # the first span of each
    _lay_over(batch, spans, pa.array(where, mask=where < 0))


def _spans(
    texts: list[str], scrub: Scrub, limits: RecordLimits
) -> tuple[Batch | None, NDArray[np.int64]]:
    """Return the spans of those *texts* that hold one, and which of them these are."""
    bodies = {at: body for at, text in enumerate(texts) if (body := _body(text)) is not None}
    of = np.array([at for at, body in bodies.items() if _spans_in(body)], np.int64)
    if not len(of):
        return None, of
    whole = otlp.decode(_KIND, [bodies[at] for at in of.tolist()])
    return otlp.flatten(_KIND, whole, np.zeros(len(of), np.int64), scrub, limits), of


def _spans_in(body: bytes) -> int:
    try:
        return otlp.flatten(_KIND, otlp.decode(_KIND, [body]), np.zeros(1, np.int64)).rows
    except ValueError:
        return 0


def _body(text: str) -> bytes | None:
    """Return one body as OTLP/JSON: it is TracesData in JSON with IDs in base64, or in protobuf."""
    try:
        if not text.lstrip().startswith("{"):
            text = MessageToJson(TracesData.FromString(base64.b64decode(text, validate=True)))
        return orjson.dumps(_hex_ids(orjson.loads(text)))
    except (ValueError, TypeError, RecursionError, DecodeError):
        return None


def _hex_ids(said: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(said, dict):
        return {
            key: _hex_id(value) if key in _IDS else _hex_ids(value) for key, value in said.items()
        }
    return [_hex_ids(one) for one in said] if isinstance(said, list) else said


def _hex_id(value: object) -> object:
    """Return an ID in hex: in base64, 16 or 8 bytes are 24 or 12 characters."""
    if not isinstance(value, str) or len(value) not in {12, 24}:
        return value
    return base64.b64decode(value).hex()


_AS_LOGGED: Final = frozenset(
    {"request", "arrived_us", "ts_us", "end_us", "attr_keys", "attr_values", "beat_s", "severity"}
)
"""Columns that a log record keeps of its own when it tells of a span."""


def _lay_over(batch: Batch, spans: Batch, where: Array) -> None:
    """Lay what the spans say over the rows that tell of them; *where* is null elsewhere."""
    columns, told = batch.columns, where.is_valid()
    for name, values in spans.columns.items():
        if name in _AS_LOGGED:
            continue
        wide = values.take(where)
        known = batch.get(name) if name in COLUMNS else pa.nulls(batch.rows, wide.type)
        instead = pa.scalar(None, known.type) if name == "body" else known
        columns[name] = pc.coalesce(wide, pc.if_else(told, instead, known))
    for name in ("attr_keys", "attr_values"):
        columns[name] = beside(batch.get(name), spans.columns[name].take(where))
    columns["pending"] = pc.if_else(told, LOG, _NONE)
    columns["began_us"] = spans.columns["ts_us"].take(where)
    of_record = batch.attribute
    every = of_record("partial.frequency")
    if every is not None:
        columns["every_s"] = pc.if_else(told, _seconds(every), pa.scalar(None, pa.float64()))

    def attribute(key: str) -> Array | None:
        mine, theirs = of_record(key), spans.attribute(key)
        if theirs is None:
            return mine
        wide = theirs.take(where)
        return wide if mine is None else pc.coalesce(wide, mine)

    batch.attribute = attribute


_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LENGTH: Final = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h)\s*")


def _seconds(text: Array) -> Array:
    """Return lengths of time like `5000ms` and `5s` in seconds; null where it is none."""
    coded = pc.dictionary_encode(text)
    told: list[float | None] = []
    for one in coded.dictionary.to_pylist():
        found = _LENGTH.fullmatch(one or "")
        told.append(float(found[1]) * _UNITS[found[2]] if found else None)
    return pa.array(told, pa.float64()).take(coded.indices)


def settle(batch: Batch) -> None:
    """Give what is in progress its phase, now that rules and sides are known.

    A run has started, or shows a sign of life; so does a step within a task, if it is not the
    dispatcher's. A call has been sent, or received. Of all else that a span would say at its end,
    nothing is true yet.
    """
    columns = batch.columns
    pending = columns.pop("pending", None)
    began, every = columns.pop("began_us", None), columns.pop("every_s", None)
    if pending is None or pending.null_count == len(pending):
        return
    told, logged = pending.is_valid(), pc.fill_null(pc.equal(pending, LOG), False)
    phase, task = batch.get("phase"), batch.get("task")
    run = _among(phase, ("accepted", "started", "finished"))
    sign = _among(phase, SIGNS)
    step = pc.and_(phase.is_null(), _among(columns["span_kind"], _INTERNAL))
    step = pc.and_(step, pc.fill_null(pc.not_equal(batch.get("side"), "dispatcher"), True))
    alive = pc.and_(pc.or_(sign, step), task.is_valid())
    call = pc.or_(_among(phase, CALLER), _among(phase, CALLEE))
    new = pc.if_else(_among(phase, CALLEE), CALLEE[0], _NONE)
    new = pc.if_else(_among(phase, CALLER), CALLER[0], new)
    new = pc.if_else(alive, "heartbeat", new)
    new = pc.if_else(pc.and_(pc.and_(alive, run), pc.invert(logged)), "started", new)
    columns["phase"] = pc.if_else(told, new, phase)
    columns["outcome"] = pc.if_else(told, _NONE, batch.get("outcome"))
    beat = pc.and_(logged, pc.invert(call))
    columns["kind"] = pc.if_else(beat, "beat", batch.get("kind"))
    if began is not None:
        again = pc.fill_null(pc.and_(logged, call), False)
        columns["ts_us"] = pc.if_else(
            again, pc.coalesce(began, batch.get("ts_us")), batch.get("ts_us")
        )
    if every is not None:
        # only of a run: what is but a step of it ends, and its task goes on in silence
        own = pc.if_else(pc.and_(pc.and_(alive, run), logged), every, pa.scalar(None, pa.float64()))
        columns["beat_s"] = pc.coalesce(own, batch.get("beat_s"))


def _among(values: Array, of: tuple[Any, ...]) -> Array:
    return pc.fill_null(pc.is_in(values, pa.array(of, values.type)), False)
