"""OTLP over HTTP, from the wire to the timeline."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import urllib.parse
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from google.protobuf import json_format
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from tests.e2e._otlp import Span, log, logs, span, spans
from tests.e2e._sidecar import eventually, named
from tests.e2e.conftest import SHARED_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.e2e._sidecar import Answer, Running

MIB = 1 << 20

SAID = {
    "text": "Grüße, 世界\n",
    "whole": -7,
    "large": 2**53 + 1,
    "broken": 1.5,
    "yes": True,
    "no": False,
    "raw": b"\x00\xff",
    "words": ["a", "b"],
    "numbers": [1, 2],
    "nothing": "",
    "separators": "a\x1fb\x1ec",
    "": "a key of no letters",
}
KEPT = {
    "text": "Grüße, 世界\n",
    "whole": "-7",
    "large": "9007199254740993",
    "broken": "1.5",
    "yes": "true",
    "no": "false",
    "raw": "00ff",
    "words": "a,b",
    "numbers": "1,2",
    "nothing": "",
    "separators": "a\x1fb\x1ec",
    "": "a key of no letters",
}


def export(kind: str, said: dict[str, object], **resource: object) -> bytes:
    if kind == "logs":
        return logs([log(said)], **resource)
    return spans([span("GET /work", said)], **resource)


def the_request(sidecar: Running, identifier: str) -> dict[str, Any]:
    """Return the one entry of a request's timeline, once it is there."""
    sidecar.hears(request=identifier)
    return sidecar.request(identifier)[0]


# What arrives


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("kind", ["logs", "traces"])
def test_every_attribute_of_an_export_is_in_the_timeline(
    shared: Running, kind: str, encoding: str
) -> None:
    """Attributes of every scalar type and of arrays, the resource's included, are all kept."""
    request = named("req")
    body = export(kind, {**SAID, "X-Request-Id": [request]}, service__name="svc", zone="z1")
    body = gzip.compress(body) if encoding == "gzip" else body
    answer = shared.otlp(kind, body, Content_Encoding=encoding)
    assert (
        answer.status,
        answer.headers["content-type"],
        answer.body,
    ) == (200, "application/x-protobuf", b"")
    own = {"X-Request-Id": request, "service.name": "svc", "zone": "z1"}
    assert {**KEPT, **own} == the_request(shared, request)["raw"]


def test_a_log_record_says_all_that_it_said(shared: Running) -> None:
    """Time, severity, text, event name and the span's IDs are kept beside the attributes."""
    request, trace = named("req"), uuid4().bytes
    record = log(
        {"request.id": request},
        "all well",
        time_unix_nano=1_795_000_000_123_456_789,
        severity_number=13,
        event_name="it.happened",
        trace_id=trace,
        span_id=b"12345678",
    )
    shared.otlp("logs", logs([record], service__name="svc", service__instance__id="svc-1"))
    entry = the_request(shared, request)
    expected = {
        "at_us": 1_795_000_000_123_456,
        "severity": 13,
        "body": "all well",
        "name": "it.happened",
        "trace_id": trace.hex(),
        "kind": "log",
        "way": "otlp",
        "lane": "svc/svc-1",
    }
    assert expected == {name: entry[name] for name in expected}


def test_a_span_says_all_that_it_said(shared: Running) -> None:
    """Both its times, its name, its trace and what it says of a call are kept."""
    request, trace = named("req"), uuid4().bytes
    call = span(
        "POST /report",
        {"http.request.header.x-request-id": [request]},
        kind=Span.SPAN_KIND_CLIENT,
        trace_id=trace,
        start_time_unix_nano=1_795_000_000_000_001_000,
        end_time_unix_nano=1_795_000_000_000_003_000,
    )
    shared.otlp("traces", spans([call], service__name="svc"))
    entry = the_request(shared, request)
    expected = {
        "at_us": 1_795_000_000_000_001,
        "end_us": 1_795_000_000_000_003,
        "name": "POST /report",
        "phase": "call.ok",
        "trace_id": trace.hex(),
        "kind": "span",
    }
    assert expected == {name: entry[name] for name in expected}


def test_a_map_is_kept_as_json(shared: Running) -> None:
    """An attribute that is a map is as JSON: as it is in a JSON line."""
    request = named("req")
    said = {
        "X-Request-Id": request,
        "map": {"a": 1, "b": {"c": "d"}},
    }
    shared.otlp("logs", logs([log(said)]))
    raw = the_request(shared, request)["raw"]
    assert json.dumps(said["map"]) == json.dumps(json.loads(raw["map"] or "null"))


def test_a_body_that_is_a_map_is_kept_as_json(shared: Running) -> None:
    """Structured log bodies are not lost: they are shown as JSON."""
    request = named("req")
    shared.otlp("logs", logs([log({"request.id": request}, {"user": 7, "path": "/x"})]))
    body = the_request(shared, request)["body"]
    assert json.loads(body or "null") == {"user": 7, "path": "/x"}


# How a request is known


@pytest.mark.parametrize("kind", ["logs", "traces"])
@pytest.mark.parametrize(
    "key",
    [
        "http.request.header.x-request-id",
        "http.request.header.x_request_id",
        "X-Request-Id",
        "x-request-id",
        "X-REQUEST-ID",
        "request_id",
        "requestId",
        "request.id",
    ],
)
def test_a_request_is_known_by_its_id_in_any_spelling(shared: Running, kind: str, key: str) -> None:
    """Whatever the attribute that bears the request ID is called, the request is found by it."""
    request = named("req")
    shared.otlp(kind, export(kind, {key: request}))
    assert request == the_request(shared, request)["request_id"]


@pytest.mark.parametrize("kind", ["logs", "traces"])
def test_of_a_header_that_came_twice_the_first_counts(shared: Running, kind: str) -> None:
    """The conventions make a header an array; its element 0 is the request's ID."""
    request = named("req")
    said: dict[str, object] = {"http.request.header.x-request-id": [request, named("other")]}
    shared.otlp(kind, export(kind, said))
    assert request == the_request(shared, request)["request_id"]


@pytest.mark.parametrize(
    "text",
    [
        "POST /done X-Request-Id: {} 200",
        "handled (request_id={}) in 3 ms",
        '{{"requestId": "{}", "ok": true}}',
        "headers: x-request-id=[{}]",
    ],
)
def test_a_request_is_known_by_the_text_of_a_log_record(shared: Running, text: str) -> None:
    """Where no attribute bears the request ID, the log line's words are searched for it."""
    request = named("req")
    shared.otlp("logs", logs([log({}, text.format(request))]))
    assert request == the_request(shared, request)["request_id"]


def test_both_sides_of_one_request_are_in_one_timeline(shared: Running) -> None:
    """What the caller logs and what the callee traces is joined by the request's ID, by time."""
    request = named("req")
    shared.otlp("logs", logs([log({"X-Request-Id": request}, "sending")], service__name="agent"))
    served = span("PUT /state", {"X-Request-Id": [request]}, kind=Span.SPAN_KIND_SERVER)
    shared.otlp("traces", spans([served], service__name="api"))
    eventually({"agent", "api"}, lambda: {one["lane"] for one in shared.request(request)})
    times = [one["at_us"] for one in shared.request(request)]
    assert sorted(times) == times


# The OpenTelemetry SDK itself

SDK = {"service.name": "sdk", "service.instance.id": "sdk-1"}


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_what_the_sdk_traces_arrives(shared: Running, compression: Compression) -> None:
    """Spans of the Python SDK's own exporter are in the timeline, parent and child."""
    request = named("req")
    exporter = OTLPSpanExporter(f"{shared.url('otlp')}/v1/traces", compression=compression)
    provider = TracerProvider(resource=Resource.create(SDK), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("e2e")
    said: dict[str, Any] = {"http.request.header.x-request-id": (request,), "tries": 2}
    with (
        tracer.start_as_current_span("handle", attributes={**said, "who": "parent"}),
        tracer.start_as_current_span("call", kind=SpanKind.CLIENT, attributes=said),
    ):
        pass
    assert provider.force_flush()
    provider.shutdown()
    eventually(["handle", "call"], lambda: [one["name"] for one in shared.request(request)])
    parent, child = shared.request(request)
    assert (parent["trace_id"], "call.ok") == (child["trace_id"], child["phase"])
    own = {"tries": "2", "who": "parent", **SDK}
    assert {"http.request.header.x-request-id": request, **own} == parent["raw"]


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_what_the_sdk_logs_arrives(shared: Running, compression: Compression) -> None:
    """Log records of the Python SDK's own exporter are in the timeline, attributes and all."""
    request = named("req")
    exporter = OTLPLogExporter(f"{shared.url('otlp')}/v1/logs", compression=compression)
    provider = LoggerProvider(Resource.create(SDK), shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = provider.get_logger("e2e")
    for number in range(3):
        logger.emit(
            LogRecord(
                timestamp=1_795_000_000_000_000_000 + number * 1000,
                severity_number=SeverityNumber.ERROR,
                body=f"step {number}",
                attributes={"X-Request-Id": [request], "number": number, "ratio": 0.5},
                event_name="task.started",
            )
        )
    assert provider.force_flush()
    provider.shutdown()
    bodies = ["step 0", "step 1", "step 2"]
    eventually(bodies, lambda: [one["body"] for one in shared.request(request)])
    last = shared.request(request)[-1]
    assert (last["severity"], last["phase"], last["lane"]) == (17, "started", "sdk/sdk-1")
    own = {"number": "2", "ratio": "0.5", **SDK}
    assert {"X-Request-Id": request, **own} == last["raw"]


# What is refused


def told(answer: Answer) -> Any:
    """Return the google.rpc.Status of an answer, in whichever encoding it came."""
    if answer.headers["content-type"].startswith("application/json"):
        return json_format.Parse(answer.body, Status())
    return Status.FromString(answer.body)


def bomb(size: int) -> bytes:
    """Return gzip of *size* zeros."""
    packer = zlib.compressobj(1, wbits=31)
    block = bytes(MIB)
    return b"".join(packer.compress(block) for _ in range(size // MIB)) + packer.flush()


def unfinished(data: bytes) -> Iterable[bytes]:
    """Yield gzip of *data* that ends within its header; its length is not known beforehand."""
    yield gzip.compress(data)[:6]


SOUND = logs([log({"task.id": "never"}, "x" * 100)])
GZIP = {"Content_Encoding": "gzip"}
INVALID, TOO_LARGE, UNSUPPORTED = 3, 8, 12  # codes of google.rpc

REFUSED: list[Any] = [
    pytest.param(b"\xff\xff\xff\xff", {}, 400, INVALID, id="not protobuf"),
    pytest.param(SOUND[:-5], {}, 400, INVALID, id="protobuf that was cut"),
    pytest.param(b"a log line\n", {}, 400, INVALID, id="text"),
    pytest.param(SOUND, {"Content_Type": "text/plain"}, 415, UNSUPPORTED, id="text/plain"),
    pytest.param(SOUND, {"Content_Encoding": "br"}, 415, UNSUPPORTED, id="brotli"),
    pytest.param(SOUND, GZIP, 400, INVALID, id="not gzip"),
    pytest.param(gzip.compress(SOUND)[:-9], GZIP, 400, INVALID, id="gzip that was cut"),
    pytest.param(gzip.compress(SOUND) + b"rest", GZIP, 400, INVALID, id="gzip and a rest"),
    pytest.param(gzip.compress(b"\xff\xff"), GZIP, 400, INVALID, id="gzip of no protobuf"),
    pytest.param(bytes(SHARED_BODY_BYTES + 1), {}, 413, TOO_LARGE, id="too large"),
    pytest.param(bomb(SHARED_BODY_BYTES + MIB), GZIP, 413, TOO_LARGE, id="gzip, too large"),
]


@pytest.mark.parametrize(("body", "headers", "status", "code"), REFUSED)
def test_what_cannot_be_taken_is_refused_alone(
    shared: Running, body: bytes, headers: dict[str, str], status: int, code: int
) -> None:
    """A bad request is answered with a google.rpc.Status; what came before and after is kept."""
    before, after = named("req"), named("req")
    counted = shared.metric("zombiewatch_otlp_requests_total", code=str(status), signal="logs")
    assert shared.otlp("logs", logs([log({"request.id": before})])).status == 200
    answer = shared.otlp("logs", body, **headers)
    sent_as = headers.get("Content_Type", "application/x-protobuf")
    told_as = {"text/plain": "application/json"}.get(sent_as, sent_as)
    assert (status, told_as) == (answer.status, answer.headers["content-type"].split(";")[0])
    assert code == told(answer).code
    assert told(answer).message
    assert "retry-after" not in answer.headers
    assert shared.otlp("logs", logs([log({"request.id": after})])).status == 200
    for request in (before, after):
        the_request(shared, request)
    assert counted + 1 == shared.metric(
        "zombiewatch_otlp_requests_total", code=str(status), signal="logs"
    )
    assert shared.task("never") == []


def test_gzip_without_a_length_that_ends_too_early_is_refused(shared: Running) -> None:
    """What was cut before its first byte of content is not taken for an empty request."""
    assert shared.otlp("logs", unfinished(SOUND), **GZIP).status == 400


def test_what_is_too_large_is_told_with_its_limit(shared: Running) -> None:
    """The message names the limit and the setting that raises it."""
    answer = shared.otlp("logs", bytes(SHARED_BODY_BYTES + 1))
    assert f"over {SHARED_BODY_BYTES} bytes after decompression (otlp.max_body_bytes)" == (
        told(answer).message
    )


def test_a_body_of_just_the_limit_is_taken(shared: Running) -> None:
    """The limit itself is not over the limit, compressed or not."""
    request = named("req")
    without = len(logs([log({"request.id": request}, "", time_unix_nano=1)]))
    filler = "x" * (SHARED_BODY_BYTES - without - 24)
    body = logs([log({"request.id": request}, filler, time_unix_nano=1)])
    body += b"\x92\x06" + struct.pack("B", SHARED_BODY_BYTES - len(body) - 3)
    body += bytes(SHARED_BODY_BYTES - len(body))
    assert [
        len(body),
        shared.otlp("logs", body).status,
        shared.otlp("logs", gzip.compress(body), **GZIP).status,
    ] == [SHARED_BODY_BYTES, 200, 200]
    eventually(2, lambda: len(shared.request(request)))


def test_a_bomb_does_not_fill_the_memory(shared: Running) -> None:
    """A quarter of a gigabyte in a few kilobytes is refused before it is unpacked."""
    body = bomb(256 * MIB)
    before = peak = shared.memory_bytes
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(shared.otlp, "logs", body, **GZIP)
        while not sent.done():
            peak = max(peak, shared.memory_bytes)
    assert sent.result().status == 413
    assert peak - before < 64 * MIB
    request = named("req")
    shared.otlp("logs", logs([log({"request.id": request})]))
    the_request(shared, request)


# What is taken, though it looks odd


@pytest.mark.parametrize("kind", ["logs", "traces"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_empty_request_is_taken(shared: Running, kind: str, encoding: str) -> None:
    """An export of nothing is a success: SDKs send it."""
    assert shared.otlp(kind, b"", Content_Encoding=encoding).status == 200


def test_an_export_of_a_resource_without_records_is_taken(shared: Running) -> None:
    """Where there is a resource and nothing of it, there is nothing to keep and no error."""
    assert [
        shared.otlp("logs", logs([], service__name="svc")).status,
        shared.otlp("traces", spans([], service__name="svc")).status,
    ] == [200, 200]


def test_gzip_of_several_members_is_read_to_its_end(shared: Running) -> None:
    """Members of gzip one after the other are one body, as RFC 1952 has it."""
    one, other = named("req"), named("req")
    members = [logs([log({"request.id": request})]) for request in (one, other)]
    body = b"".join(gzip.compress(member) for member in members)
    assert shared.otlp("logs", body, **GZIP).status == 200
    for request in (one, other):
        the_request(shared, request)


def test_a_body_of_unknown_length_is_taken(shared: Running) -> None:
    """HTTP's chunked encoding will do: collectors that stream use it."""
    request = named("req")
    body = logs([log({"request.id": request})])
    assert shared.otlp("logs", iter([body[:10], body[10:]])).status == 200
    the_request(shared, request)


def test_a_sender_that_goes_away_in_the_middle_harms_nobody(shared: Running) -> None:
    """Half a request is nothing; the next sender is served."""
    to = urllib.parse.urlsplit(shared.url("otlp"))
    head = (
        "POST /v1/logs HTTP/1.1\r\nHost: here\r\nContent-Type: application/x-protobuf\r\n"
        f"Content-Length: {len(SOUND)}\r\n\r\n"
    )
    with socket.create_connection((to.hostname, to.port)) as half:
        half.sendall(head.encode() + SOUND[:50])
    request = named("req")
    assert shared.otlp("logs", logs([log({"request.id": request})])).status == 200
    the_request(shared, request)
    assert shared.task("never") == []


def test_many_senders_at_once_lose_nothing(shared: Running) -> None:
    """All that eight senders were told was taken is there, each record once."""
    request = named("req")
    bodies = [
        logs([log({"request.id": request, "task.id": f"{number}-{i}"}) for i in range(5)])
        for number in range(80)
    ]
    with ThreadPoolExecutor(8) as pool:
        statuses = {one.status for one in pool.map(lambda body: shared.otlp("logs", body), bodies)}
    assert {200} == statuses
    wanted = sorted(f"{number}-{i}" for number in range(80) for i in range(5))
    eventually(wanted, lambda: sorted(one["task"] for one in shared.request(request)))
