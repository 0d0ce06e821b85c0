"""Lines of a followed file → columns: JSON objects by their keys, anything else as text.

Splitting is a search for newlines; parsing is DuckDB's, which yields the same
(record, key, value) triples as OTLP has, so that promotion is one table for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.attributes import Attributes
from collector.batch import Array, Batch
from collector.engine import new_engine
from collector.limits import RecordLimits, cut
from collector.scrub import Scrub
from collector.trace_context import fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_NEWLINE: Final = 10

_PLAIN: Final = Scrub()
_USUAL: Final = RecordLimits()

_TIME: Final = ("timestamp", "time", "ts", "@timestamp")
_TEXT: Final = ("message", "msg", "body", "event")
_LEVEL: Final = ("severity", "level", "severity_text", "levelname", "severity_number")
_EVENT: Final = ("event.name", "event_name", "event")
_TRACE: Final = ("trace_id", "traceId", "traceid", "trace.id", "otelTraceID")
_SPAN: Final = ("span_id", "spanId", "spanid", "span.id", "otelSpanID")

_SEVERITIES: Final = {
    "TRACE": 1,
    "DEBUG": 5,
    "INFO": 9,
    "NOTICE": 10,
    "WARN": 13,
    "WARNING": 13,
    "ERROR": 17,
    "ERR": 17,
    "CRITICAL": 21,
    "CRIT": 21,
    "FATAL": 21,
    "ALERT": 22,
    "EMERG": 23,
    "PANIC": 23,
}
"""Level names of the usual loggers → severity number (OpenTelemetry logs data model)."""

_SURE: Final = "SELECT json_keys(line) AS k, json_extract_string(line, '$.*') AS v FROM lines"
"""Where each line is an object. It fails if one is not."""

_PARSE: Final = """
SELECT TRY(json_keys(o)) AS k, TRY(json_extract_string(o, '$.*')) AS v FROM (
  SELECT CASE WHEN (line LIKE '{%' OR ltrim(line, ' \t\r') LIKE '{%') AND json_valid(line) THEN line
  END AS o FROM lines
)"""
"""What begins like an object and is JSON is one; each further question reads the line once more,
so that it takes half as long again."""

_TIMES: Final = """
SELECT CASE WHEN iso THEN coalesce(epoch_us(TRY_CAST(t AS TIMESTAMPTZ)), -1)
  WHEN abs(n) < 1e11 THEN CAST(n * 1e6 AS BIGINT) WHEN abs(n) < 1e14 THEN CAST(n * 1e3 AS BIGINT)
  WHEN abs(n) < 1e17 THEN CAST(n AS BIGINT) WHEN abs(n) < 1e20 THEN CAST(n / 1e3 AS BIGINT)
  WHEN t IS NOT NULL THEN -1 END
FROM (SELECT t, iso, TRY_CAST(CASE WHEN NOT iso THEN t END AS DOUBLE) AS n
  FROM (SELECT t, t LIKE '____-__-__%' AS iso FROM lines))"""
"""ISO 8601, in UTC where no zone is said; or epoch seconds, ms, us, ns, told apart by size.

What is there and is no time is -1: as impossible as other impossible times, and counted so.
"""

_MOMENT: Final = pa.timestamp("us", "UTC")


@dataclass(slots=True)
class LineParser:
    """Turns chunks of lines into batches. Holds one small DuckDB for its JSON reader."""

    connection: duckdb.DuckDBPyConnection

    @classmethod
    def open(cls) -> LineParser:
        """Return a parser with an engine of its own, on one thread."""
        return cls(new_engine())

    def parse(
        self,
        chunks: Sequence[bytes],
        arrived_us: NDArray[np.int64],
        scrub: Scrub = _PLAIN,
        limits: RecordLimits = _USUAL,
    ) -> Batch:
        """Return the lines of *chunks* as one batch, in order; empty lines are left out.

        `arrived_us[i]` is when chunk *i* came. The batch has a column `request`: which chunk
        a line came in. A line that is not a JSON object keeps its text as `body`.
        """
        lines, chunk = _split(chunks)
        rows = len(lines)
        keys, values = self._objects(lines)
        sizes = pc.fill_null(pc.list_value_length(keys), 0).to_numpy(zero_copy_only=False)
        starts = np.concatenate(([0], np.cumsum(sizes)))
        attributes = Attributes.of(starts, pc.list_flatten(keys), pc.list_flatten(values))
        batch = Batch(rows, {}, attributes.text)
        attributes.tidy(scrub, limits, batch.count)
        columns, misfits = attributes.promoted()
        batch.columns = columns
        batch.count("misfit_values", misfits)
        plain = keys.is_null()
        batch.count("lines_not_json", pc.sum(plain).as_py() or 0)
        columns["attr_keys"], columns["attr_values"] = attributes.packed()
        columns["arrived_us"] = pa.array(arrived_us[chunk], pa.int64())
        columns["request"] = pa.array(chunk, pa.int64())
        columns["trace_id"] = _trace(_first(attributes, _TRACE, rows))
        columns["span_id"] = _first(attributes, _SPAN, rows)
        named = _first(attributes, _EVENT, rows)
        columns["name"] = pc.coalesce(batch.get("name"), named)
        text = pc.coalesce(_first(attributes, _TEXT, rows), pa.scalar(""))
        body, scrubbed = scrub.text(pc.if_else(plain, lines, text))
        batch.count("secrets_scrubbed", scrubbed)
        columns["body"], shortened = cut(body, limits.body_bytes)
        batch.count("bodies_cut", shortened)
        columns["severity"] = _severity(_first(attributes, _LEVEL, rows))
        columns["ts_us"] = self._times(_first(attributes, _TIME, rows))
        fill(batch)
        return batch

    def _times(self, text: Array) -> Array:
        if text.null_count == len(text):
            return pa.nulls(len(text), pa.int64())
        try:  # ISO 8601 with a zone, all of it, as most loggers have it
            return text.cast(_MOMENT).cast(pa.int64())
        except pa.ArrowInvalid:
            pass
        return self._ask(_TIMES, pa.table({"t": text})).column(0).combine_chunks()

    def _ask(self, query: str, lines: pa.Table) -> pa.Table:
        self.connection.register("lines", lines)
        try:
            return self.connection.sql(query).to_arrow_table()
        finally:
            self.connection.unregister("lines")

    def _objects(self, lines: Array) -> tuple[Array, Array]:
        parsed = self._parsed(pa.table({"line": lines}))
        keys, values = (_whole(parsed.column(name)) for name in ("k", "v"))
        # both or neither: a value that cannot be decoded leaves the line as plain text
        broken = pc.or_(keys.is_null(), values.is_null())
        if broken.null_count < len(broken) and pc.any(broken).as_py():
            none = pa.scalar(None, keys.type)
            keys, values = pc.if_else(broken, none, keys), pc.if_else(broken, none, values)
        return keys, values

    def _parsed(self, lines: pa.Table) -> pa.Table:
        if pc.all(pc.starts_with(lines["line"], "{")).as_py():
            try:
                return self._ask(_SURE, lines)
            except duckdb.Error:  # whatever it is: line by line it is found out which one
                pass
        return self._ask(_PARSE, lines)


def _whole(column: Array) -> Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _split(chunks: Sequence[bytes]) -> tuple[Array, NDArray[np.int64]]:
    """Return the non-empty lines of all chunks, and the chunk that each is of."""
    parts = [_utf8(chunk) for chunk in chunks]
    data = b"".join(parts)
    raw = np.frombuffer(data, np.uint8)
    ends = np.nonzero(raw == _NEWLINE)[0]
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    offsets = np.empty(len(ends) + 1, np.int32)
    offsets[:-1], offsets[-1] = starts, len(data)
    # one string a line with its newline: trimmed by the kernel, which also takes \r
    lines = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
    lines = pc.ascii_rtrim_whitespace(lines)
    bounds = np.cumsum([len(part) for part in parts])
    chunk = np.searchsorted(bounds, starts, side="right")
    some = pc.not_equal(lines, "")
    if pc.all(some).as_py():
        return lines, chunk
    return lines.filter(some), chunk[some.to_numpy(zero_copy_only=False)]


def _utf8(chunk: bytes) -> bytes:
    """Return *chunk* as valid UTF-8 ended by a newline; what is not UTF-8 becomes U+FFFD."""
    if not chunk.endswith(b"\n"):
        chunk += b"\n"
    try:
        chunk.decode()
    except UnicodeDecodeError:
        return chunk.decode(errors="replace").encode()
    return chunk


def _first(attributes: Attributes, names: Sequence[str], rows: int) -> Array:
    found = [text for name in names if (text := attributes.text(name)) is not None]
    if not found:
        return pa.nulls(rows, pa.string())
    return pc.coalesce(*found)


def _trace(text: Array) -> Array:
    known = pc.fill_null(pc.match_substring_regex(text, "^[0-9a-fA-F]{32}$"), False)
    return pc.if_else(known, pc.utf8_lower(text), pa.scalar(None, pa.string()))


def _severity(text: Array) -> Array:
    coded = pc.dictionary_encode(text)
    levels = [_level(name) for name in coded.dictionary.to_pylist()]
    return pa.array(levels, pa.int16()).take(coded.indices)


def _level(name: str) -> int | None:
    if name.strip().isdigit():
        number = int(name)
        return number if number <= 24 else min(number // 10 * 4 + 1, 24)  # noqa: PLR2004 - Python's 10…50
    return _SEVERITIES.get(name.strip().upper())
