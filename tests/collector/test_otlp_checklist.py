"""What the specification leaves to the receiver: times, IDs, keys that come twice, indexes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from collector import attributes
from collector.limits import RecordLimits
from collector.scrub import Scrub
from model.signals import unpack
from tests.collector._taken import NOW, NOW_NS, log_body, taken
from tests.collector.otlp_plainly import pair


def _logs(**fields: Any) -> bytes:
    request = ExportLogsServiceRequest()
    attributes = fields.pop("attributes", [])
    record = request.resource_logs.add().scope_logs.add().log_records.add(**fields)
    record.attributes.extend(attributes)
    return bytes(request.SerializeToString())


def _attributes(one: dict[str, Any]) -> dict[str, str]:
    return unpack(one["attr_keys"], one["attr_values"])


@pytest.mark.parametrize(
    ("stated", "observed", "told"),
    [
        (NOW_NS - 1_000_000, NOW_NS, NOW - 1_000),
        (0, NOW_NS - 1_000_000, NOW - 1_000),
        (0, 0, NOW),
    ],
)
def test_a_log_has_its_time_else_when_it_was_observed(
    stated: int, observed: int, told: int
) -> None:
    """And without either, when it arrived."""
    [one], _ = taken(("logs", _logs(time_unix_nano=stated, observed_time_unix_nano=observed)))
    assert one["ts_us"] == told


def test_of_a_key_that_comes_twice_the_last_is_kept_and_the_others_counted() -> None:
    """In columns and in what is kept, for each kind of record in a batch."""
    twice = [pair("task.id", "t1"), pair("a", "1"), pair("task.id", "t2"), pair("a", "2")]
    once = [pair("task.id", "t3"), pair("a", "1")]
    found, counts = taken(
        ("logs", _logs(attributes=twice)),
        ("logs", _logs(attributes=once)),
        ("logs", _logs(attributes=[])),
    )
    assert counts == {"attributes_twice": 2}
    assert [one["task"] for one in found] == ["t2", "t3", None]
    assert [_attributes(one) for one in found] == [
        {"task.id": "t2", "a": "2"}, {"task.id": "t3", "a": "1"}, {},
    ]  # fmt: skip
    assert found[0]["attr_keys"].count("task.id") == 1


def test_a_key_or_value_by_index_is_absent_and_counted() -> None:
    """The table that the index points into is not sent in OTLP."""
    odd = [
        KeyValue(key="by.index", value=AnyValue(string_value_strindex=3)),
        KeyValue(key_strindex=4, value=AnyValue(string_value="x")),
        pair("task.id", "t1"),
    ]
    body = AnyValue(string_value_strindex=1)
    [one], counts = taken(("logs", _logs(attributes=odd, body=body)))
    assert counts == {"attributes_empty": 2}
    assert _attributes(one) == {"task.id": "t1"}
    assert (one["task"], one["body"]) == ("t1", None)


def test_arrays_keep_the_maps_and_arrays_in_them() -> None:
    """Those of scalars are joined by a comma, all others are JSON."""
    said = [
        pair("plain", ["a", 1, 2.5, True, b"\x01", None]),
        pair("deep", [{"a": {"b": [1]}}, ["x"], 1, None, b"\x02"]),
        pair("none", []),
    ]
    [one], _ = taken(("logs", _logs(attributes=said, body=pair("", [{"x": 1}]).value)))
    told = _attributes(one)
    assert (told["plain"], told["none"]) == ("a,1,2.5,true,01,", "")
    assert json.loads(told["deep"]) == [{"a": {"b": [1]}}, ["x"], 1, None, "02"]
    assert json.loads(one["body"]) == [{"x": 1}]


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("said", "trace"),
    [
        (f"00-{TRACE}-{SPAN}-01", TRACE),
        (f"01-{TRACE}-{SPAN}-01-later", TRACE),
        (f"00-{TRACE}-{SPAN}-01-later", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        ("none", None),
    ],
)
def test_a_traceparent_fills_what_is_missing(said: str, trace: str | None) -> None:
    """In a log record's attributes, a header of it, or a key of a JSON line."""
    line = json.dumps({"msg": "x", "traceparent": said}).encode() + b"\n"
    header = "http.request.header.traceparent"
    found, _ = taken(
        ("logs+json", log_body({"attributes": {"traceparent": said}})),
        ("logs+json", log_body({"attributes": {header: [said]}})),
        ("lines", line),
    )
    assert [one["trace_id"] for one in found] == [trace] * 3
    assert [one["span_id"] for one in found] == [SPAN if trace else None] * 3


def test_a_traceparent_overrules_no_id() -> None:
    """The record knows better which span it belongs to."""
    said = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    own = {"traceId": "ab" * 16, "spanId": "cd" * 8, "attributes": said}
    half = {"traceId": "ab" * 16, "attributes": said}
    found, _ = taken(("logs+json", log_body(own, half)))
    shown = [(one["trace_id"], one["span_id"]) for one in found]
    assert shown == [("ab" * 16, "cd" * 8), ("ab" * 16, None)]


def test_too_many_attributes_are_cut_with_a_mark() -> None:
    """The first ones stay; the record says how many do not; others are untouched."""
    many = {f"k{number}": number for number in range(7)}
    found, counts = taken(
        ("logs+json", log_body({"attributes": many}, {"attributes": {"k1": "x"}})),
        limits=RecordLimits(attributes=5),
    )
    assert counts == {"attributes_cut": 2}
    assert _attributes(found[0]) == {
        "k0": "0", "k1": "1", "k2": "2", "k3": "3", "k4": "4",
        "zombiewatch.attributes_left_out": "2",
    }  # fmt: skip
    assert _attributes(found[1]) == {"k1": "x"}


def test_long_names_values_and_texts_are_cut_with_a_mark() -> None:
    """Between characters, and exactly at the limit not yet."""
    limits = RecordLimits(value_bytes=10, body_bytes=12)
    said = {"fits": "0123456789", "long": "012345678é…", "n" * 11: "x"}
    found, counts = taken(
        ("logs+json", log_body({"attributes": said, "body": {"stringValue": "é" * 7}})),
        ("lines", json.dumps({"msg": "fits", "v": "x" * 11}).encode() + b"\n" + b"y" * 13 + b"\n"),
        limits=limits,
    )
    assert counts == {"values_cut": 3, "bodies_cut": 2, "lines_not_json": 1}
    assert _attributes(found[0]) == {
        "fits": "0123456789",
        "long": "012345678… [cut: it was 14 bytes]",
        "n" * 10 + "… [cut: it was 11 bytes]": "x",
    }
    assert found[0]["body"] == "é" * 6 + "… [cut: it was 14 bytes]"
    assert found[2]["body"] == "y" * 12 + "… [cut: it was 13 bytes]"


def test_records_whose_sums_collide_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes are guessed by sums of their keys; a wrong guess is found and mended."""
    monkeypatch.setattr(attributes, "_ODD", np.uint64(0))
    keys, values = pa.array(["a", "b", "c", "d"]), pa.array(["1", "2", "3", "4"])
    made = attributes.Attributes.of(np.array([0, 2, 4]), keys, values)
    made.tidy(Scrub(), RecordLimits(), lambda _what, _number: None)
    found = [
        unpack(*one) for one in zip(*(each.to_pylist() for each in made.packed()), strict=True)
    ]
    assert found == [{"a": "1", "b": "2"}, {"c": "3", "d": "4"}]
