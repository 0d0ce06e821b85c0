"""The receiver's checklist where it crosses a process (see tests/collector/test_otlp_checklist)."""

from __future__ import annotations

import base64
import gzip
import json
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import json_format
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.receivers.otlp_grpc import METHODS
from tests.collector.otlp_plainly import as_json
from tests.e2e._otlp import log, logs, span, spans
from tests.e2e._sidecar import eventually, named
from tests.e2e.conftest import SHARED_BODY_BYTES

if TYPE_CHECKING:
    from tests.e2e._sidecar import Answer, Running

PROTOBUF, JSON = "application/x-protobuf", "application/json"
WAYS = ["http", "http+json", "grpc"]
REQUESTS: dict[str, Any] = {
    "logs": ExportLogsServiceRequest,
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
RETRYABLE = {429, 502, 503, 504}


def sent(sidecar: Running, way: str, signal: str, body: bytes, *, packed: bool = False) -> None:
    """Send an export request, given as protobuf; see it succeed in the encoding it was sent in."""
    if way == "grpc":
        with grpc.insecure_channel(sidecar.url("grpc").removeprefix("http://")) as channel:
            method = channel.unary_unary(f"/{METHODS[signal]}/Export")
            packing = grpc.Compression.Gzip if packed else grpc.Compression.NoCompression
            assert method(body, timeout=30, compression=packing) == b""
        return
    sent_as = JSON if way == "http+json" else PROTOBUF
    if sent_as == JSON:
        body = as_json(REQUESTS[signal].FromString(body))
    more = {"Content_Encoding": "gzip"} if packed else {}
    answer = sidecar.otlp(
        signal, gzip.compress(body) if packed else body, **more, Content_Type=sent_as
    )
    expected = (200, sent_as, b"{}" if sent_as == JSON else b"")
    assert (answer.status, answer.headers["content-type"], answer.body) == expected


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("signal", ["logs", "traces"])
def test_every_record_arrives_by_every_way(
    shared: Running, signal: str, way: str, *, packed: bool
) -> None:
    """Both transports and encodings, packed or not; the answer is in the request's own type."""
    request = named("req")
    said = {"request.id": request, "filler": "x" * 2000}
    body = logs([log(said)]) if signal == "logs" else spans([span("GET /work", said)])
    sent(shared, way, signal, body, packed=packed)
    shared.hears(request=request)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_every_sample_of_a_queue_arrives_by_every_way(
    shared: Running, way: str, *, packed: bool
) -> None:
    """Likewise; metrics that name a queue are samples of it."""
    before = shared.signals()
    point = {"timeUnixNano": str(time.time_ns()), "asInt": "7", "attributes": [
        {"key": "queue.name", "value": {"stringValue": named("queue")}}]}  # fmt: skip
    metric = {"name": "queue.depth", "gauge": {"dataPoints": [point]}}
    said = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}
    body = json_format.ParseDict(said, ExportMetricsServiceRequest()).SerializeToString()
    sent(shared, way, "metrics", body, packed=packed)
    eventually(before + 1, shared.signals)


def told(answer: Answer) -> Status:
    """Return the google.rpc.Status of an answer, in whichever encoding it came."""
    if answer.headers["content-type"].startswith(JSON):
        return json_format.Parse(answer.body, Status())
    return Status.FromString(answer.body)


@pytest.mark.parametrize("sent_as", [PROTOBUF, JSON])
@pytest.mark.parametrize(
    ("path", "body", "packing", "status"),
    [
        ("logs", b"\xff\xff", "identity", 400),
        ("logs", b"no gzip", "gzip", 400),
        ("logs", b"x", "br", 415),
        ("logs", b" " * (SHARED_BODY_BYTES + 1), "identity", 413),
        ("logs", gzip.compress(b" " * (SHARED_BODY_BYTES + 1)), "gzip", 413),
        ("profiles", b"", "identity", 404),
    ],
    ids=[
        "bad data",
        "bad gzip",
        "unknown encoding",
        "too large",
        "too large once unpacked",
        "path",
    ],
)
def test_what_is_wrong_for_good_must_not_be_sent_again(  # noqa: PLR0917 - one row of the table
    shared: Running, path: str, body: bytes, packing: str, status: int, sent_as: str
) -> None:
    """No status that exporters send again, no time to come again; why, in the request's type."""
    answer = shared.otlp(path, body, Content_Type=sent_as, Content_Encoding=packing)
    assert (answer.status, answer.headers["content-type"]) == (status, sent_as)
    assert status not in RETRYABLE
    assert "retry-after" not in answer.headers
    assert told(answer).message
    assert not told(answer).details


def test_no_page_of_others_is_let_in(shared: Running) -> None:
    """An answer to a request that names its origin allows none."""
    answer = shared.otlp("logs", b"", Origin="https://example.org")
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_same_log_twice_is_two(shared: Running) -> None:
    """What a client sends again is no other than what happened twice; nothing is compared."""
    request = named("req")
    body = logs([log({"request.id": request}, "the same", time_unix_nano=time.time_ns())])
    for way in ("http", "grpc"):
        sent(shared, way, "logs", body)
    eventually(2, lambda: len(shared.request(request)))


@pytest.mark.parametrize("way", WAYS)
def test_work_that_has_not_ended_is_heard_of(shared: Running, way: str) -> None:
    """A heartbeat of a span in progress, whose body has IDs in base64; and a span without end."""
    run, task = named("run"), named("task")
    ids = {"traceId": base64.b64encode(b"\xab" * 16), "spanId": base64.b64encode(b"\xcd" * 8)}
    said = [
        {"key": "cicd.pipeline.run.id", "value": {"stringValue": run}},
        {"key": "cicd.pipeline.task.run.id", "value": {"stringValue": task}},
    ]
    began = time.time_ns() - 10**9
    one: dict[str, Any] = {key: value.decode() for key, value in ids.items()}
    one |= {"name": "run it", "startTimeUnixNano": str(began), "attributes": said}
    data = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]})
    partial = {"partial.event": "heartbeat", "partial.frequency": "5000ms"}
    sent(shared, way, "logs", logs([log(partial, data)], service__name="agent"))
    pending = {"cicd.pipeline.run.id": run, "cicd.pipeline.task.run.id": task}
    body = spans([span("run it", pending, end_time_unix_nano=0)], service__name="agent")
    sent(shared, way, "traces", body)
    look = lambda: sorted(one["phase"] for one in shared.task(f"{run}/{task}"))  # noqa: E731
    eventually(["heartbeat", "started"], look)
