"""Records become signals: every way in, every rule, every spelling."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import ValidationError

from collector.pipeline import Pipeline, Record
from collector.rules import Rule
from model.signals import unpack
from tests.collector.otlp_plainly import pair

NOW = 1_790_000_000_000_000


def lines(
    *said: dict[str, Any] | str | bytes, rules: tuple[Rule, ...] = ()
) -> list[dict[str, Any]]:
    """Return the signals of one chunk of lines."""
    parts = []
    for one in said:
        text = json.dumps(one) if isinstance(one, dict) else one
        parts.append(text if isinstance(text, bytes) else text.encode())
    body = b"\n".join(parts) + b"\n"
    return taken("lines", body, rules=rules, meta={"source": "a.log"})


def taken(
    kind: str, body: bytes, *, rules: tuple[Rule, ...] = (), meta: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return the signals of one record."""
    pipeline = Pipeline(namespace="test", sides={"oxr": "dispatcher"}, rules=rules)
    table, _ = pipeline.signals([Record(7, kind, NOW, meta or {}, body)])
    pipeline.close()
    return list(table.to_pylist())


@pytest.mark.parametrize(
    "name",
    [
        "X-Request-Id", "x-request-id", "X-REQUEST-ID", "X_Request_ID", "request_id", "request.id",
        "requestId", "RequestID", "xRequestId", "http.request.header.x-request-id",
    ],
)  # fmt: skip
def test_a_request_id_is_known_in_any_spelling(name: str) -> None:
    """As a key of a JSON line, however a team writes it."""
    assert [one["request_id"] for one in lines({name: "abc-123", "msg": "x"})] == ["abc-123"]


@pytest.mark.parametrize(
    "text",
    [
        "POST /x X-Request-Id: abc-123 done", "handled request_id=abc-123", "requestId=abc-123, ok",
        'x-request-id: "abc-123"', "[request-id abc-123] ok", "REQUEST_ID=abc-123",
    ],
)  # fmt: skip
def test_a_request_id_is_found_in_the_text_of_a_line(text: str) -> None:
    """In a message, JSON or not, as people print headers."""
    assert [one["request_id"] for one in lines(text, {"msg": text})] == ["abc-123", "abc-123"]


@pytest.mark.parametrize(
    ("said", "known"),
    [("abc", None), ("abcd", "abcd"), ("a" * 128, "a" * 128), ("a" * 300, "a" * 128)],
)
def test_an_id_in_a_text_has_four_characters_at_least_and_128_at_most(
    said: str, known: str | None
) -> None:
    """What is shorter is a word; of what is longer the beginning is taken."""
    assert [one["request_id"] for one in lines(f"request_id={said} done")] == [known]


def test_text_that_only_speaks_of_requests_bears_no_id() -> None:
    """`request failed` is no request with the ID `failed`."""
    found = lines("request failed", "the request id is missing", "requests: 12")
    assert [one["request_id"] for one in found[::2]] == [None, None]


def test_a_native_line_needs_no_rule() -> None:
    """Names of the vocabulary fill their columns, in their types."""
    [one] = lines(
        {
            "event.name": "task.finished", "ts": "2026-09-21T14:13:20.25Z", "service.name": "agent",
            "service.instance.id": "a1", "zombiewatch.side": "agent", "task.id": "t1",
            "task.attempt": 2, "task.outcome": "success", "task.exit_code": 0,
            "task.timeout_s": 1.5, "task.reports": False, "level": "warning", "message": "done",
        }
    )  # fmt: skip
    assert (one["phase"], one["task"], one["attempt"], one["outcome"]) == (
        "finished", "t1", 2, "success",
    )  # fmt: skip
    assert (one["exit_code"], one["timeout_s"], one["reports"]) == (0, 1.5, False)
    assert (one["side"], one["service"], one["instance"]) == ("agent", "agent", "a1")
    assert (one["ts_us"], one["severity"], one["body"]) == (1_790_000_000_250_000, 13, "done")
    assert one["namespace"] == "test"


def test_lines_keep_every_attribute_and_their_order() -> None:
    """What is not promoted is kept as it was, separators in values included."""
    found = lines({"msg": "x", "odd": "a\x1fb\x1ec", "n": 1.5, "deep": {"a": [1]}}, {"msg": "y"})
    assert [one["seq"] for one in found] == [7 << 24, (7 << 24) + 1]
    assert unpack(found[0]["attr_keys"], found[0]["attr_values"]) == {
        "msg": "x", "odd": "a\x1fb\x1ec", "n": "1.5", "deep": '{"a":[1]}',
    }  # fmt: skip


def test_what_is_not_json_is_kept_as_text() -> None:
    """Broken JSON, arrays, binary and bad UTF-8 are lines all the same; empty lines are none."""
    found = lines('{"a": 1', "[1, 2]", b"\xff\xfe\x00", "", "   ", "plain\r", '{"a": "\\ud800"}')
    assert [one["body"] for one in found] == [
        '{"a": 1', "[1, 2]", "��\x00", "plain", '{"a": "\\ud800"}',
    ]  # fmt: skip
    assert {one["ts_us"] for one in found} == {NOW}


_STAMPS = {
    "2026-09-21T14:13:20+00:00": 1_790_000_000_000_000,
    "2026-09-21T14:13:20.25Z": 1_790_000_000_250_000,
    "2026-09-21 16:13:20.000001+02:00": 1_790_000_000_000_001,
    "2026-09-21T14:13:20.123456789Z": 1_790_000_000_123_456,
    "2026-09-21T14:13:20": 1_790_000_000_000_000,
    "2026-09-21": 1_789_948_800_000_000,
    "1790000000.5": 1_790_000_000_500_000,
    "1790000000123": 1_790_000_000_123_000,
    "2026-09-31T14:13:20Z": None,
    "soon": None,
}


@pytest.mark.parametrize("beside", [[], ["2026-09-21T00:00:00Z"], ["1790000000"], ["never"]])
def test_a_time_is_the_same_whatever_others_stand_beside_it(beside: list[str]) -> None:
    """All of one form are read another way than many forms at once."""
    for stamp, ts_us in _STAMPS.items():
        said = lines({"ts": stamp}, *({"ts": one} for one in beside))
        assert said[0]["ts_us"] == (NOW if ts_us is None else ts_us), stamp


_ODD = [
    "{", '{"a": 1} x', '{"a": "\\ud800"}', '{"a": 1, "a": 2}', '{"a": {"b": [1, null]}}', "{}",
    '  {"a": 1}', '{"a": 1e400}', "null", '{"a": 1}{"b": 2}', "text {", '{"é": "ü"}', "[1]",
    '{"a": "\x01"}',
]  # fmt: skip


@pytest.mark.parametrize("odd", _ODD)
def test_a_line_is_the_same_whatever_stands_beside_it(odd: str) -> None:
    """Where each line is an object they are read another way: at half the cost."""
    [alone] = lines(odd)
    [first, then] = lines(odd, {"b": "2"})
    assert {**first, "seq": 0} == {**alone, "seq": 0}
    [plain] = lines({"b": "2"})
    assert {**then, "seq": 0} == {**plain, "seq": 0}


@pytest.mark.parametrize(
    "stamp", ["1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z", 0, -5, "yesterday", None, 4102444800]
)
def test_an_impossible_time_becomes_the_time_of_arrival(stamp: object) -> None:
    """A clock that was never set decides no order; what it said is kept."""
    [one] = lines({"ts": stamp, "msg": "x"})
    assert one["ts_us"] == NOW
    assert "ts" in unpack(one["attr_keys"], one["attr_values"])


def test_the_first_matching_rule_decides() -> None:
    """By service, attributes and text; named groups, constants and attributes fill fields."""
    rules = (
        Rule(service="other", phase="enqueued"),
        Rule(
            service="ox*",
            body=r"task (?P<task>\S+) attempt (?P<attempt>\d+) delivered",
            attributes={"logger": "api.*"},
            phase="dispatched",
            set={"queue": "default", "reports": False},
            take={"task_name": "job"},
        ),
        Rule(service="oxr", phase="enqueued"),
    )
    found = lines(
        {"service": "oxr", "msg": "task t1 attempt 2 delivered", "logger": "api.x", "job": "sync"},
        {"service": "oxr", "msg": "task t1 attempt 2 delivered", "logger": "web"},
        {"service": "agent", "msg": "task t1 attempt 2 delivered", "logger": "api.x"},
        rules=rules,
    )
    shown = [(one["phase"], one["task"], one["attempt"], one["task_name"]) for one in found]
    assert shown == [
        ("dispatched", "t1", 2, "sync"),
        ("enqueued", None, None, None),
        (None, None, None, None),
    ]
    assert (found[0]["queue"], found[0]["reports"], found[0]["side"]) == (
        "default", False, "dispatcher",
    )  # fmt: skip


def test_a_rule_turns_a_word_of_the_scheduler_s_own_into_one_of_ours() -> None:
    """For one service; the phase that the event has stays, and so do words that are ours."""
    rules = (Rule(service="oxr", attributes={"task.state": "skipped"}, set={"state": "success"}),)
    said = {"event.name": "task.recorded", "task.id": "t1"}
    found = lines(
        {**said, "service": "oxr", "task.state": "skipped"},
        {**said, "service": "oxr", "task.state": "canceled"},
        {**said, "service": "other", "task.state": "skipped"},
        rules=rules,
    )
    assert [(one["phase"], one["state"]) for one in found] == [
        ("recorded", "success"),
        ("recorded", "canceled"),
        ("recorded", "skipped"),
    ]


def test_a_value_that_does_not_fit_leaves_the_record() -> None:
    """`attempt: many` is no number: the field is empty, the line stays."""
    [one] = lines({"event.name": "task.started", "task.id": "t", "task.attempt": "many"})
    assert (one["phase"], one["task"], one["attempt"]) == ("started", "t", None)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"phase": "begun"}, "'begun' is not a phase"),
        ({"body": "(?P<task>", "phase": "started"}, "not a pattern that RE2 takes"),
        ({"body": "(?P<tsk>x)", "phase": "started"}, "'tsk' is not a field"),
        ({"phase": "started", "set": {"colour": "red"}}, "'colour' is not a field"),
        ({"phase": "started", "bdoy": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_a_bad_rule_is_refused(said: dict[str, Any], told: str) -> None:
    """With what is wrong, before anything starts."""
    with pytest.raises(ValidationError, match=told):
        Rule.model_validate(said)


def test_client_and_server_spans_are_the_two_ends_of_a_call() -> None:
    """By kind, status, status code and error type; other spans have no phase."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(pair("service.name", "oxr"))
    spans = resource.scope_spans.add()
    stories: list[tuple[int, int, dict[str, Any], str | None]] = [
        (3, 0, {"http.response.status_code": 200}, "call.ok"),
        (3, 2, {"error.type": "TimeoutError"}, "call.gave_up"),
        (3, 2, {"error.type": "CancelledError"}, "call.gave_up"),
        (3, 2, {"error.type": "ConnectionError"}, "call.failed"),
        (3, 0, {"http.response.status_code": 503}, "call.failed"),
        (2, 0, {"http.response.status_code": 201}, "call.committed"),
        (2, 2, {}, "call.errored"),
        (1, 0, {}, None),
    ]
    for kind, code, said, _ in stories:
        span = spans.spans.add(
            trace_id=b"\x01" * 16, span_id=b"\x02" * 8, name="POST /x", kind=kind,
            start_time_unix_nano=(NOW - 5_000_000) * 1000, end_time_unix_nano=NOW * 1000,
        )  # fmt: skip
        span.status.code = code
        span.attributes.extend(pair(name, value) for name, value in said.items())
        span.attributes.append(pair("http.request.header.x-request-id", ["r1", "r2"]))
    found = taken("traces", request.SerializeToString())
    assert [one["phase"] for one in found] == [phase for *_, phase in stories]
    assert {one["end_us"] - one["ts_us"] for one in found} == {5_000_000}
    assert {one["request_id"] for one in found} == {"r1"}


def test_the_conventions_for_messages_and_pipelines_need_no_rule() -> None:
    """A producer enqueues, a consumer runs; a task run is keyed by its pipeline run too."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add()
    stories: list[tuple[int, int, dict[str, Any]]] = [
        (4, 0, {"messaging.message.id": "m1", "messaging.destination.name": "orders"}),
        (5, 0, {"messaging.message.id": "m1", "messaging.operation.type": "process"}),
        (5, 0, {"messaging.message.id": "m1", "messaging.operation.type": "receive"}),
        (5, 2, {"messaging.message.id": "m2"}),
        (
            1,
            0,
            {
                "cicd.pipeline.run.id": "r9",
                "cicd.pipeline.task.run.id": "t3",
                "cicd.pipeline.task.run.result": "cancellation",
                "cicd.worker.id": "w1",
            },
        ),
    ]
    for kind, code, said in stories:
        span = spans.spans.add(
            trace_id=b"\x01" * 16, span_id=b"\x02" * 8, name="x", kind=kind,
            start_time_unix_nano=(NOW - 5_000_000) * 1000, end_time_unix_nano=NOW * 1000,
        )  # fmt: skip
        span.status.code = code
        span.attributes.extend(pair(name, value) for name, value in said.items())
    found = taken("traces", request.SerializeToString())
    assert [(one["phase"], one["task"], one["outcome"]) for one in found] == [
        ("enqueued", "m1", None),
        ("finished", "m1", "success"),
        (None, "m1", None),
        ("finished", "m2", "failure"),
        ("finished", "r9/t3", "canceled"),
    ]
    assert (found[0]["queue"], found[4]["instance"]) == ("orders", "w1")
