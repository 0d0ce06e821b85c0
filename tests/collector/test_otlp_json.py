"""OTLP/JSON, as the specification has it and as senders write it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector import otlp
from model.signals import unpack
from tests.collector._taken import NOW, NOW_NS, log_body, taken
from tests.collector.otlp_plainly import as_json, pair


def _spans() -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(pair("service.name", "oxr"))
    span = resource.scope_spans.add().spans.add(
        trace_id=b"\xab" * 16, span_id=b"\xcd" * 8, parent_span_id=b"\xef" * 8, name="POST /x",
        kind="SPAN_KIND_CLIENT", start_time_unix_nano=NOW_NS - 5_000_000_000,
        end_time_unix_nano=NOW_NS,
    )  # fmt: skip
    span.status.code = 2
    for key, value in {
        "error.type": "TimeoutError", "n": -(2**63), "x": float("nan"), "raw": b"\x00\xff",
        "list": ["a", 1, True], "map": {"a": [1.5, {"b": b"\x01"}]},
        "http.request.header.x-request-id": ["r-1"],
    }.items():  # fmt: skip
        span.attributes.append(pair(key, value))
    return request


@pytest.mark.parametrize(
    "form", [{}, {"names": True}, {"snake": True}, {"snake": True, "names": True}]
)
def test_json_says_what_protobuf_says(form: dict[str, bool]) -> None:
    """With enums as numbers or names, in lowerCamelCase or with underscores: the same signal."""
    request = _spans()
    [plain, told], counts = taken(
        ("traces", request.SerializeToString()), ("traces+json", as_json(request, **form))
    )
    assert counts == {}
    assert told["seq"] == 8 << 24
    assert {**told, "seq": 0} == {**plain, "seq": 0}
    assert (told["phase"], told["request_id"]) == ("call.gave_up", "r-1")
    assert (told["trace_id"], told["span_id"]) == ("ab" * 16, "cd" * 8)
    said = unpack(told["attr_keys"], told["attr_values"])
    assert (said["n"], said["raw"], said["list"]) == (str(-(2**63)), "00ff", "a,1,true")
    assert json.loads(said["map"]) == {"a": [1.5, {"b": "01"}]}


def _log(**fields: Any) -> dict[str, Any]:
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [fields]}]}]}
    [one], _ = taken(("logs+json", json.dumps(body).encode()))
    return one


@pytest.mark.parametrize("at", [NOW_NS, str(NOW_NS)])
def test_64_bit_integers_are_text_or_numbers(at: object) -> None:
    """Nanoseconds since 1970 do not fit a double: most write text, some a number."""
    attributes = [{"key": "task.attempt", "value": {"intValue": 3 if at == NOW_NS else "3"}}]
    one = _log(timeUnixNano=at, severityNumber=13, attributes=attributes)
    assert (one["ts_us"], one["attempt"], one["severity"]) == (NOW, 3, 13)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("AB" * 16, "ab" * 16),
        ("aB" * 16, "ab" * 16),
        ("0" * 32, None),
        ("ab" * 15, None),
        ("zz" * 16, None),
        (5, None),
        (None, None),
    ],
)
def test_an_id_is_hex_of_either_case_or_none(said: object, told: str | None) -> None:
    """Not base64; what is not sixteen bytes is no ID, and the record stays."""
    assert _log(traceId=said, body={"stringValue": "x"})["trace_id"] == told


@pytest.mark.parametrize(("said", "told"), [("NaN", "nan"), ("Infinity", "inf"), (1.5, "1.5")])
def test_numbers_that_json_lacks_are_quoted(said: object, told: str) -> None:
    """`NaN` and `Infinity` as text."""
    one = _log(attributes=[{"key": "x", "value": {"doubleValue": said}}])
    assert unpack(one["attr_keys"], one["attr_values"]) == {"x": told}


def test_unknown_fields_and_nulls_are_no_matter() -> None:
    """A later version's fields are ignored, at every depth; null is the default."""
    one = _log(
        body={"stringValue": "x", "newValue": [1]}, later={"a": [1]}, spanId=None,
        attributes=[{"key": "task.id", "value": {"stringValue": "t1"}, "later": 1}, {"key": "y"}],
    )  # fmt: skip
    assert (one["body"], one["task"], one["span_id"]) == ("x", "t1", None)


@pytest.mark.parametrize("kind", [kind for kind in otlp.ROOTS if kind.endswith("+json")])
@pytest.mark.parametrize("body", [b"{}", b'{"later": [1]}', b' {"resourceLogs": null}'])
def test_an_empty_request_is_one(kind: str, body: bytes) -> None:
    """No records are no error."""
    assert taken((kind, body)) == ([], {})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\x0a\x02", "not JSON"),
        (b"\xff{}", "not UTF-8"),
        (b"[]", "Logs must be an object, and is a list"),
        (b"null", "Logs must be an object, and is a NoneType"),
        (b'{"resourceLogs": 5}', "resourceLogs must be a list, and is a int"),
        (b'{"resourceLogs": [5]}', "ResourceLogs must be an object, and is a int"),
        (b'{"resourceLogs": [{"scopeLogs": [[]]}]}', "ScopeLogs must be an object, and is a list"),
        (b'{"resourceLogs": [{"scopeLogs": {}}]}', "scopeLogs must be a list, and is a dict"),
        (
            b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {}}, 7]}]}]}',
            "LogRecord must be an object, and is a int",
        ),
        (b'{"resource_logs": [', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"resource_logs":' + b"[" * 5_000, "not JSON"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, told: str) -> None:
    """With what is wrong, so that the sender can be mended."""
    with pytest.raises(ValueError, match=told):
        otlp.decode("logs+json", [body])
    with pytest.raises(ValueError, match="not JSON" if told == "not UTF-8" else told):
        otlp.check("logs+json", body)


def test_what_is_sound_is_decoded_together_in_its_order() -> None:
    """Each is checked when it comes; decoded they are in one go."""
    bodies = [
        log_body({"body": {"stringValue": f"{number} " + "x" * size}})
        for number, size in enumerate((5, 70_000, 5, 70_000))
    ]
    for body in bodies:
        otlp.check("logs+json", body)
    batch = otlp.flatten("logs+json", otlp.decode("logs+json", bodies), np.zeros(4, np.int64))
    assert [text[0] for text in batch.get("body").to_pylist()] == ["0", "1", "2", "3"]
    assert batch.get("request").to_pylist() == [0, 1, 2, 3]


def test_a_wrong_type_within_a_record_costs_its_value_only() -> None:
    """The record stays."""
    one = _log(timeUnixNano="soon", severityNumber={}, body={"stringValue": "x"}, attributes="none")
    assert (one["body"], one["ts_us"], one["severity"]) == ("x", NOW, 0)


def test_an_integer_text_of_protobuf_and_json_is_the_same() -> None:
    """Records of both encodings lie side by side in a batch."""
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=NOW_NS)
    record.attributes.append(pair("big", 2**62))
    found, _ = taken(("logs", request.SerializeToString()), ("logs+json", as_json(request)))
    assert {one["attr_values"] for one in found} == {str(2**62)}
