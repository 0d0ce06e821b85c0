"""What the OTLP specification and its clients ask of a receiver, line by line.

`CHECKLIST` names, for each sentence of it, the tests that show it; what is tested by nothing else
is tested here, and in tests/e2e/test_otlp_checklist.py where it crosses a process.
"""

from __future__ import annotations

import ast
import hmac
import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from collector import attributes
from collector.ingest import BusyError
from collector.limits import RecordLimits
from collector.receivers.token import admits
from collector.scrub import Scrub
from collector.store.journal import Entry
from model.signals import unpack
from tests.collector import stores
from tests.collector._receivers import served
from tests.collector._taken import NOW, NOW_NS, log_body, span_body, taken
from tests.collector.otlp_plainly import pair
from tests.e2e._sidecar import call
from tests.e2e.test_sdk_clients import records
from zombiewatch.sources import load

HERE = "collector/test_otlp_checklist.py"
PROCESS = "e2e/test_otlp_checklist.py"
HTTP, GRPC = "e2e/test_otlp_http.py", "e2e/test_grpc.py"
OTLP, ANSWERS = "e2e/test_otlp.py", "collector/test_answers.py"
JSON, PROGRESS = "collector/test_otlp_json.py", "collector/test_in_progress.py"
CONFIG, CROWD = "zombiewatch/test_config.py", "e2e/test_many_connections.py"

CHECKLIST: dict[str, list[str]] = {
    "gRPC listens on 4317 and HTTP on 4318": [f"{HERE}::test_the_defaults_are_the_standards"],
    "each signal, protobuf or JSON, gzip or not, by either way; answered in the request's type": [
        f"{PROCESS}::test_every_record_arrives_by_every_way",
        f"{PROCESS}::test_every_sample_of_a_queue_arrives_by_every_way",
        f"{HTTP}::test_a_charset_beside_the_type_changes_nothing",
        f"{HTTP}::test_what_decoding_does_not_know_is_refused",
        f"{GRPC}::test_the_generated_client_is_understood",
        f"{OTLP}::test_gzip_of_several_members_is_read_to_its_end",
    ],
    "success is 200 or OK, partial_success unset; an empty request succeeds": [
        f"{HTTP}::test_an_export_of_nothing_succeeds",
        f"{GRPC}::test_an_export_of_nothing_succeeds",
        f"{OTLP}::test_an_export_of_a_resource_without_records_is_taken",
        f"{ANSWERS}::test_a_whole_success_sets_no_partial_one",
    ],
    "partial success is a success that says how many were rejected, and why": [
        f"{HERE}::test_what_is_rejected_of_a_request_is_told_and_counted",
        f"{ANSWERS}::test_a_partial_success_says_how_many_and_why",
    ],
    "errors are a Status in the request's encoding; bad data is refused for good": [
        f"{HTTP}::test_bad_data_is_refused_in_the_requests_encoding",
        f"{PROCESS}::test_what_is_wrong_for_good_must_not_be_sent_again",
        f"{HTTP}::test_what_is_not_here_is_told_with_what_is",
        f"{GRPC}::test_what_cannot_be_taken_is_refused_for_good",
        f"{GRPC}::test_a_method_that_is_not_there_is_unimplemented",
    ],
    "what may be sent again is 503 or UNAVAILABLE, in 1 or 2 seconds: Retry-After, RetryInfo": [
        f"{HTTP}::test_when_nothing_fits_senders_are_told_to_come_again_soon",
        f"{GRPC}::test_when_nothing_fits_senders_are_told_to_come_again_soon",
        f"{ANSWERS}::test_a_wait_is_a_second_or_two",
        "e2e/test_disk_full.py::test_a_full_journal_tells_senders_to_come_again",
        f"{HERE}::test_want_of_memory_is_told_as_what_passes",
    ],
    "the SDK's exporters come again after the wait that they are told, and drop nothing": [
        f"{HERE}::test_an_exporter_that_is_told_to_wait_delivers",
        "e2e/test_sdk_clients.py::test_what_the_sdk_reports_as_exported_is_stored",
    ],
    "sizes are limited after decompression, 64 MiB by default; over it 413, RESOURCE_EXHAUSTED": [
        f"{HERE}::test_the_defaults_are_the_standards",
        f"{PROCESS}::test_what_is_wrong_for_good_must_not_be_sent_again",
        f"{HTTP}::test_a_body_that_is_announced_too_large_is_not_waited_for",
        f"{OTLP}::test_a_body_of_just_the_limit_is_taken",
        f"{OTLP}::test_what_is_too_large_is_told_with_its_limit",
        f"{GRPC}::test_what_cannot_be_taken_is_refused_for_good",
        f"{GRPC}::test_a_message_far_over_the_limit_is_refused_by_its_length",
    ],
    "a decompression bomb does not fill the memory": [
        f"{OTLP}::test_a_bomb_does_not_fill_the_memory",
        f"{GRPC}::test_a_bomb_does_not_fill_the_memory",
        f"{CROWD}::test_a_bomb_costs_next_to_nothing",
        f"{ANSWERS}::test_a_bomb_is_found_out_before_it_is_held",
    ],
    "JSON: IDs in hex of either case": [f"{JSON}::test_an_id_is_hex_of_either_case_or_none"],
    "JSON: integers for enums, lowerCamelCase, bytes in base64": [
        f"{JSON}::test_json_says_what_protobuf_says"
    ],
    "JSON: unknown fields are ignored": [f"{JSON}::test_unknown_fields_and_nulls_are_no_matter"],
    "JSON: 64-bit integers are text or numbers": [
        f"{JSON}::test_64_bit_integers_are_text_or_numbers"
    ],
    "JSON: NaN and Infinity are quoted": [f"{JSON}::test_numbers_that_json_lacks_are_quoted"],
    "a log's time is that of the event, else when it was observed": [
        f"{HERE}::test_a_log_has_its_time_else_when_it_was_observed"
    ],
    "an ID of the wrong length or of zeros is none; the row stays": [
        f"{HERE}::test_an_id_that_is_none_leaves_the_row",
        f"{JSON}::test_an_id_is_hex_of_either_case_or_none",
    ],
    "of a key that comes twice one is kept, and that is counted": [
        f"{HERE}::test_of_a_key_that_comes_twice_the_last_is_kept_and_the_others_counted"
    ],
    "a key or value by index is absent, and counted": [
        f"{HERE}::test_a_key_or_value_by_index_is_absent_and_counted"
    ],
    "what comes twice is one only by its declared identity: spans, ended over pending; beats": [
        f"{HERE}::test_what_has_an_identity_counts_once_however_often_it_comes",
        f"{PROGRESS}::test_the_span_that_ends_replaces_its_pending_self",
    ],
    "logs are never one by what they hold": [f"{PROCESS}::test_the_same_log_twice_is_two"],
    "rejections are counted on our side": [
        f"{HERE}::test_what_is_rejected_of_a_request_is_told_and_counted"
    ],
    "work that has not ended is seen: partial heartbeats and stops, pending spans": [
        f"{PROCESS}::test_work_that_has_not_ended_is_heard_of",
        f"{PROGRESS}::test_a_partial_heartbeat_is_a_sign_of_life_of_its_task",
        f"{PROGRESS}::test_a_stop_is_the_last_sign_of_life",
        f"{PROGRESS}::test_a_pending_span_says_what_has_begun",
    ],
    "loopback by default; beyond it a token of 16 characters or more": [
        f"{HERE}::test_the_defaults_are_the_standards",
        f"{CONFIG}::test_beyond_loopback_a_token_is_needed",
        f"{CONFIG}::test_a_weak_token_is_refused_and_not_shown",
        f"{HTTP}::test_a_missing_token_is_told_in_the_requests_encoding",
        f"{GRPC}::test_a_token_is_asked_for",
    ],
    "the token is compared in constant time": [
        f"{HERE}::test_a_token_is_compared_in_constant_time"
    ],
    "no other page may post": [
        f"{PROCESS}::test_no_page_of_others_is_let_in",
        f"{HTTP}::test_other_methods_than_post_are_told_so",
    ],
    "traceparent as W3C has it: zeros are invalid, higher versions are tolerated": [
        f"{HERE}::test_a_traceparent_fills_what_is_missing",
        f"{HERE}::test_a_traceparent_overrules_no_id",
    ],
}


def _tests_of(module: Path) -> set[str]:
    found = ast.walk(ast.parse(module.read_text()))
    return {one.name for one in found if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_sentence_of_the_checklist_has_its_tests() -> None:
    """Each that is named exists; each of the two modules of the checklist is named whole or not."""
    root = Path(__file__).parent.parent
    named = {one for tests in CHECKLIST.values() for one in tests}
    known = {
        f"{module}::{test}"
        for module in {one.partition("::")[0] for one in named}
        for test in _tests_of(root / module)
    }
    assert named <= known, sorted(named - known)
    assert all(CHECKLIST.values())
    ours = {f"{PROCESS}::{test}" for test in _tests_of(root / PROCESS) if test.startswith("test_")}
    assert ours <= named, sorted(ours - named)


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


def test_the_defaults_are_the_standards() -> None:
    """Ports, size and address as exporters expect them."""
    config = load(None, {})
    assert (config.grpc.port, config.otlp.port) == (4317, 4318)
    assert config.otlp.max_body_bytes == 64 << 20
    assert {config.http.host, config.otlp.host, config.grpc.host} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("said", "told"),
    [(b"\xab" * 16, "ab" * 16), (bytes(16), None), (b"\xab" * 8, None), (b"\xab" * 17, None)],
)
@pytest.mark.parametrize("span", [(b"\xcd" * 8, "cd" * 8), (bytes(8), None), (b"\xcd", None)])
def test_an_id_that_is_none_leaves_the_row(
    said: bytes, told: str | None, span: tuple[bytes, str | None]
) -> None:
    """In protobuf; what else the record says is there."""
    task = [pair("task.id", "t1")]
    [one], _ = taken(("logs", _logs(trace_id=said, span_id=span[0], attributes=task)))
    assert (one["trace_id"], one["span_id"], one["task"]) == (told, span[1], "t1")


def test_what_has_an_identity_counts_once_however_often_it_comes(tmp_path: Path) -> None:
    """A span by its IDs, a beat by its process and time: sent again, they change no relation."""
    ids = {"traceId": TRACE, "startTimeUnixNano": str(NOW_NS - 5 * 10**9)}
    ended = {**ids, "endTimeUnixNano": str(NOW_NS)}
    run = {"cicd.pipeline.run.id": "r", "cicd.pipeline.task.run.id": "t"}
    bodies = {
        "traces+json": span_body(
            {**ended, "spanId": SPAN, "name": "run", "kind": 1, "attributes": run},
            {**ended, "spanId": "22" * 8, "name": "call", "kind": 3, "attributes": {}},
            service__name="agent",
            service__instance__id="a1",
        ),
        "heartbeat": json.dumps(
            {"task_id": "r/t", "instance": "a1", "boot": "b1", "ts_us": NOW, "interval_s": 5}
        ).encode(),
    }
    of = stores.store(tmp_path)
    tables = ("attempts", "runs", "calls", "instances")
    seen = []
    try:
        for _ in range(3):
            for kind, body in bodies.items():
                number = of.append(Entry(kind, NOW, body)).result(10)
                assert of.wait_applied(number, 20)
            rows = [stores.ask(of, f"FROM {table} ORDER BY ALL") for table in tables]
            rates = "SELECT measure, sum(n), sum(total_us) FROM rates GROUP BY 1 ORDER BY 1"
            seen.append([*rows, stores.ask(of, rates)])
    finally:
        of.close()
    assert all(seen[0])
    assert seen == [seen[0]] * 3


# Both ways in, with what is behind them given


def done(result: int) -> Future[int]:
    future: Future[int] = Future()
    future.set_result(result)
    return future


class Some(int):
    """The number of a record of which some was not kept."""

    rejected = 2
    why = "two were odd"


def test_what_is_rejected_of_a_request_is_told_and_counted() -> None:
    """Told by either way as partial success; counted too, since the SDK never reads it."""
    with served(lambda _entry: done(Some(1))) as (intake, urls):
        answer = call(
            "POST", f"{urls['http']}/v1/logs", _logs(), {"Content-Type": "application/x-protobuf"}
        )
        told = [ExportLogsServiceResponse.FromString(answer.body)]
        exporter: Any = grpc_logs.OTLPLogExporter(urls["grpc"], insecure=True)
        told.append(
            exporter._client.Export(ExportLogsServiceRequest.FromString(_logs()), timeout=9)
        )
        exporter.shutdown()
    assert answer.status == 200
    said = [(one.partial_success.rejected_log_records, one.partial_success.error_message)
            for one in told]  # fmt: skip
    assert said == [(2, "two were odd")] * 2
    assert intake.rejected == {"logs": 4}


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_an_exporter_that_is_told_to_wait_delivers(way: str) -> None:
    """Told once that there is no room, the SDK's own comes again within what it has of time."""
    came: list[Entry] = []

    def append(entry: Entry) -> Future[int]:
        came.append(entry)
        if len(came) == 1:
            raise BusyError("too much is waiting to be written")
        return done(len(came))

    with served(append) as (intake, urls):
        exporter: Any = (
            grpc_logs.OTLPLogExporter(urls["grpc"], insecure=True)
            if way == "grpc"
            else http_logs.OTLPLogExporter(f"{urls['http']}/v1/logs")
        )
        result = exporter.export(records(["t1", "t2"]))
        exporter.shutdown()
    assert result.name == "SUCCESS"
    assert [one.body for one in came] == [came[0].body] * 2
    again, taken_ = ("UNAVAILABLE", "OK") if way == "grpc" else ("503", "200")
    assert intake.requests == {(way, "logs", again): 1, (way, "logs", taken_): 1}


def test_want_of_memory_is_told_as_what_passes() -> None:
    """Not as an error of ours, after which an exporter drops what it has."""

    def append(_entry: Entry) -> Future[int]:
        future: Future[int] = Future()
        future.set_exception(pa.ArrowMemoryError("malloc of size 1 failed"))
        return future

    with served(append) as (_, urls):
        answer = call(
            "POST", f"{urls['http']}/v1/logs", _logs(), {"Content-Type": "application/x-protobuf"}
        )
    assert answer.status == 503
    assert answer.headers["retry-after"] in {"1", "2"}


def test_a_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the library's own comparison, whole against whole."""
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert admits("x" * 16, "Bearer " + "x" * 16)
    assert not admits("x" * 16, "Bearer y")
    assert [other for _, other in compared] == [b"Bearer " + b"x" * 16] * 2
