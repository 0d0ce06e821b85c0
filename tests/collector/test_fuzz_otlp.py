"""Nothing that a stranger sends raises anything but ValueError."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import otlp
from collector.pipeline import Pipeline, Record
from tests.collector._taken import NOW
from tests.collector.fuzz import Fuzz

_KINDS = sorted(otlp.ROOTS)


@pytest.mark.parametrize("seed", [1, 2])
def test_spoiled_requests_are_refused_or_become_signals(seed: int) -> None:
    """Cut, flipped, spliced: in short; `python -m tests.collector.fuzz` is the long form."""
    fuzz = Fuzz(seed)
    try:
        fuzz.run(1_000)
    finally:
        fuzz.close()
    assert fuzz.refused > 100
    assert fuzz.taken > 100
    assert fuzz.signals > 100


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from([
                "resourceLogs", "scopeLogs", "logRecords", "resource", "attributes", "key", "value",
                "stringValue", "intValue", "arrayValue", "kvlistValue", "values", "body", "traceId",
                "timeUnixNano", "resourceSpans", "scopeSpans", "spans", "status", "kind",
                "resourceMetrics", "scopeMetrics", "metrics", "gauge", "dataPoints", "asInt",
            ]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(_KINDS), body=st.one_of(st.binary(max_size=80), st.none()), said=_json)
def test_any_bytes_and_any_json_are_refused_or_become_signals(
    kind: str, body: bytes | None, said: object
) -> None:
    """From nothing but bytes, and from JSON that has our names in places of its own."""
    if body is None:
        try:
            body = orjson.dumps(said)
        except TypeError:  # an integer beyond 64 bits
            return
    try:
        otlp.check(kind, body)
    except ValueError:
        return
    pipeline = Pipeline(namespace="fuzz", sides={}, rules=())
    try:
        table, _ = pipeline.signals([Record(1, kind, NOW, {}, body)])
    finally:
        pipeline.close()
    table.validate(full=True)
