"""OTLP/HTTP as transport: every signal in both encodings, and answers as exporters read them."""

from __future__ import annotations

import gzip
import json
import socket
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from google.protobuf import json_format
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from collector.otlp import ROOTS
from tests.e2e._otlp import log, logs
from tests.e2e._sidecar import call, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e._sidecar import Answer, Running

PROTOBUF, JSON = "application/x-protobuf", "application/json"
KINDS = [
    (signal, sent_as)
    for signal in ("logs", "traces", "metrics")
    for sent_as in (PROTOBUF, JSON)
    if f"{signal}{'+json' if sent_as == JSON else ''}" in ROOTS
]
EMPTY = {PROTOBUF: b"", JSON: b"{}"}
GARBAGE = {PROTOBUF: b"\xff\xff\xff\xff", JSON: b'{"resource'}
TOKEN = "0123456789abcdef"  # noqa: S105 - the example
TARGETS = {"logs": "Logs", "traces": "Spans", "metrics": "Metrics"}


def told(answer: Answer) -> Status:
    """Return the google.rpc.Status of an answer, in whichever encoding it came."""
    if answer.headers["content-type"].startswith(JSON):
        return json_format.Parse(answer.body, Status())
    return Status.FromString(answer.body)


# What decoding knows is served; see `collector.otlp.ROOTS`


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("signal", "sent_as"), KINDS)
def test_an_export_of_nothing_succeeds(
    shared: Running, signal: str, sent_as: str, *, packed: bool
) -> None:
    """The answer is empty in the request's own encoding: no partial success."""
    body = gzip.compress(EMPTY[sent_as]) if packed else EMPTY[sent_as]
    said = {"Content_Encoding": "gzip"} if packed else {}
    answer = shared.otlp(signal, body, Content_Type=sent_as, **said)
    assert (200, sent_as, EMPTY[sent_as]) == (
        answer.status,
        answer.headers["content-type"],
        answer.body,
    )


@pytest.mark.parametrize(("signal", "sent_as"), KINDS)
def test_bad_data_is_refused_in_the_requests_encoding(
    shared: Running, signal: str, sent_as: str
) -> None:
    """400 and INVALID_ARGUMENT: it must not be sent again."""
    answer = shared.otlp(signal, GARBAGE[sent_as], Content_Type=sent_as)
    assert (400, sent_as) == (answer.status, answer.headers["content-type"])
    assert told(answer).code == 3
    assert f"not an export request of {signal}" in told(answer).message
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("signal", ["logs", "traces", "metrics"])
@pytest.mark.parametrize("sent_as", [PROTOBUF, JSON, "text/plain", ""])
def test_what_decoding_does_not_know_is_refused(shared: Running, signal: str, sent_as: str) -> None:
    """415, with what may be sent instead; what it does know is not."""
    answer = shared.otlp(signal, b"", Content_Type=sent_as)
    assert ((signal, sent_as) in KINDS) == (answer.status == 200)
    if answer.status != 200:
        assert (answer.status, told(answer).code) == (415, 12)
        assert "send application/" in told(answer).message or signal == "metrics"


def test_a_charset_beside_the_type_changes_nothing(shared: Running) -> None:
    """Parameters of the content type are no part of it."""
    answer = shared.otlp("logs", b"", Content_Type=f"{PROTOBUF}; charset=utf-8")
    assert (answer.status, answer.headers["content-type"]) == (200, PROTOBUF)


# What is not here


@pytest.mark.parametrize("sent_as", [PROTOBUF, JSON])
@pytest.mark.parametrize("path", ["/v1/profiles", "/v1/logs/", "/", "/metrics"])
def test_what_is_not_here_is_told_with_what_is(shared: Running, path: str, sent_as: str) -> None:
    """404 in the request's encoding, naming the addresses that there are."""
    answer = call("POST", f"{shared.url('otlp')}{path}", b"", {"Content-Type": sent_as})
    assert (404, sent_as, 5) == (
        answer.status,
        answer.headers["content-type"].split(";")[0],
        told(answer).code,
    )
    assert "takes POST /v1/logs, /v1/traces, /v1/metrics" in told(answer).message


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_than_post_are_told_so(shared: Running, method: str) -> None:
    """405 with what is allowed; no preflight is answered, so no page of others may post."""
    answer = call(method, f"{shared.url('otlp')}/v1/logs")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert told(answer).message == f"{method} is not taken at /v1/logs: POST an export request"
    assert not [name for name in answer.headers if name.startswith("access-control")]


# Bounds


@pytest.mark.parametrize(
    "head",
    [
        f"X-Long: {'x' * 20_000}\r\n",
        "".join(f"X-{number}: x\r\n" for number in range(1000)),
    ],
    ids=["long", "many"],
)
def test_headers_are_bounded(shared: Running, head: str) -> None:
    """Neither one long header nor many are read to their end; others are served on."""
    to = urllib.parse.urlsplit(shared.url("otlp"))
    with socket.create_connection((to.hostname, to.port), timeout=10) as one:
        one.sendall(f"POST /v1/logs HTTP/1.1\r\nHost: here\r\n{head}\r\n".encode())
        assert one.recv(4096).split()[1] == b"400"
    assert shared.otlp("logs", b"").status == 200


def test_a_body_that_is_announced_too_large_is_not_waited_for(shared: Running) -> None:
    """413 comes before the body does."""
    to = urllib.parse.urlsplit(shared.url("otlp"))
    head = f"Host: here\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {1 << 40}\r\n"
    with socket.create_connection((to.hostname, to.port), timeout=10) as one:
        one.sendall(f"POST /v1/logs HTTP/1.1\r\n{head}\r\n".encode())
        assert one.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_come_is_given_up(run: Callable[..., Running]) -> None:
    """Half a body is waited for as long as the configuration says: 408, connection closed."""
    sidecar = run({"otlp": {"body_timeout_s": 0.3}})
    to = urllib.parse.urlsplit(sidecar.url("otlp"))
    head = f"Host: here\r\nContent-Type: {PROTOBUF}\r\nContent-Length: 100\r\n"
    with socket.create_connection((to.hostname, to.port), timeout=10) as one:
        one.sendall(f"POST /v1/logs HTTP/1.1\r\n{head}\r\nhalf".encode())
        assert one.recv(4096).startswith(b"HTTP/1.1 408 ")
    assert sidecar.metric("zombiewatch_otlp_requests_total", code="408") == 1


@pytest.mark.parametrize("sent", [b"", b"POST /v1/logs HTTP/1.1\r\nHost: he"])
def test_a_connection_that_asks_for_nothing_is_closed(
    run: Callable[..., Running], sent: bytes
) -> None:
    """Nothing at all, or a header that never ends: `idle_timeout_s` bounds both."""
    sidecar = run({"otlp": {"idle_timeout_s": 1}})
    to = urllib.parse.urlsplit(sidecar.url("otlp"))
    with socket.create_connection((to.hostname, to.port), timeout=10) as one:
        one.sendall(sent)
        assert one.recv(4096) == b""


# Back-pressure


@pytest.mark.parametrize("sent_as", [one for signal, one in KINDS if signal == "logs"])
def test_when_nothing_fits_senders_are_told_to_come_again_soon(
    run: Callable[..., Running], sent_as: str
) -> None:
    """503 with 1 or 2 seconds, as header and in the status; not counted as taken."""
    sidecar = run({"store": {"min_free_disk_bytes": "1000TB"}})
    said = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "1"}]}]}]}
    body = logs([log({})]) if sent_as == PROTOBUF else json.dumps(said).encode()
    answers = [sidecar.otlp("logs", body, Content_Type=sent_as) for _ in range(4)]
    assert {503} == {one.status for one in answers}
    assert {"1", "2"} == {one.headers["retry-after"] for one in answers}
    assert {14} == {told(one).code for one in answers}
    assert {sent_as} == {one.headers["content-type"] for one in answers}
    assert {"type.googleapis.com/google.rpc.RetryInfo"} == {
        one.details[0].type_url for one in map(told, answers)
    }
    requests = "zombiewatch_otlp_requests_total"
    assert sidecar.metric(requests, protocol="http", signal="logs", code="503") == 4


# Tokens


@pytest.mark.parametrize("sent_as", [PROTOBUF, JSON])
def test_a_missing_token_is_told_in_the_requests_encoding(
    run: Callable[..., Running], sent_as: str
) -> None:
    """401 and UNAUTHENTICATED, as a status; the right token is let in."""
    sidecar = run({"otlp": {"token": TOKEN}})
    for wrong in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": TOKEN}):
        answer = sidecar.otlp("logs", b"", Content_Type=sent_as, **wrong)
        assert (
            answer.status,
            told(answer).code,
            answer.headers["www-authenticate"],
        ) == (401, 16, "Bearer")
        assert sent_as == answer.headers["content-type"]
    right = {"Authorization": f"Bearer {TOKEN}"}
    request = named("req")
    body = logs([log({"request.id": request})])
    assert sidecar.otlp("logs", body, **right).status == 200
    sidecar.hears(request=request)
