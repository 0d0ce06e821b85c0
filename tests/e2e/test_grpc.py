"""OTLP over gRPC, from the wire to the timeline."""

from __future__ import annotations

import gzip
import signal as signals
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector.receivers.otlp_grpc import METHODS
from tests.e2e._otlp import log, logs, span, spans
from tests.e2e._sidecar import eventually, named
from tests.e2e.conftest import SHARED_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e._sidecar import Running

MIB = 1 << 20
TOKEN = "0123456789abcdef"  # noqa: S105 - the example
ANY_SIZE = [("grpc.max_send_message_length", -1), ("grpc.enable_http_proxy", 0)]


def export(sidecar: Running, signal: str, body: bytes, **more: Any) -> bytes:
    """Send *body* to the signal's Export method. Raises grpc.RpcError."""
    target = sidecar.url("grpc").removeprefix("http://")
    with grpc.insecure_channel(target, options=ANY_SIZE) as channel:
        method = channel.unary_unary(f"/{METHODS[signal]}/Export")
        return bytes(method(body, timeout=30, **more))


def refusal(sidecar: Running, signal: str, body: bytes, **more: Any) -> Any:
    """Send what must be refused; return the error, which holds a status that agrees with it."""
    with pytest.raises(grpc.RpcError) as caught:
        export(sidecar, signal, body, **more)
    error: Any = caught.value
    told = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert (error.code().value[0], error.details()) == (told.code, told.message)
    return error


def counted(sidecar: Running, signal: str, code: str) -> float:
    labels = {"protocol": "grpc", "signal": signal, "code": code}
    return sidecar.metric("zombiewatch_otlp_requests_total", **labels)


# What arrives


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
@pytest.mark.parametrize("signal", ["logs", "traces"])
def test_an_export_is_in_the_timeline(
    shared: Running, signal: str, compression: grpc.Compression
) -> None:
    """Packed by gRPC or not; the answer is an empty message, the request is counted."""
    request, before = named("req"), counted(shared, signal, "OK")
    said = {"X-Request-Id": request, "filler": "x" * 5000}
    body = logs([log(said)]) if signal == "logs" else spans([span("GET /work", said)])
    assert export(shared, signal, body, compression=compression) == b""
    shared.hears(request=request)
    assert shared.request(request)[0]["raw"]["filler"] == "x" * 5000
    assert before + 1 == counted(shared, signal, "OK")


def test_the_generated_client_is_understood(shared: Running) -> None:
    """The stub made from the specification's own files."""
    request = named("req")
    with grpc.insecure_channel(shared.url("grpc").removeprefix("http://")) as channel:
        stub: Any = logs_service_pb2_grpc.LogsServiceStub(channel)
        body = ExportLogsServiceRequest.FromString(logs([log({"request.id": request})]))
        answer = stub.Export(body, timeout=30)
    assert not answer.HasField("partial_success")
    shared.hears(request=request)


@pytest.mark.parametrize("signal", METHODS)
def test_an_export_of_nothing_succeeds(shared: Running, signal: str) -> None:
    """Every signal."""
    assert export(shared, signal, b"") == b""


def test_many_calls_on_one_connection_lose_nothing(shared: Running) -> None:
    """Four hundred at once: each is there once."""
    request = named("req")
    bodies = [logs([log({"request.id": request, "task.id": f"t-{i}"})]) for i in range(400)]
    with grpc.insecure_channel(shared.url("grpc").removeprefix("http://")) as channel:
        method = channel.unary_unary(f"/{METHODS['logs']}/Export")
        for sent in [method.future(body, timeout=30) for body in bodies]:
            assert sent.result() == b""
    wanted = sorted(f"t-{i}" for i in range(400))
    eventually(wanted, lambda: sorted(one["task"] for one in shared.request(request)))


def test_calls_given_up_while_they_wait_hold_up_nobody(
    run: Callable[..., Running],
) -> None:
    """Senders that go away at any moment, two hundred of them: the next one is served."""
    sidecar = run()
    body = logs([log({"task.id": f"t-{i}"}) for i in range(100)])
    with grpc.insecure_channel(sidecar.url("grpc").removeprefix("http://")) as channel:
        method = channel.unary_unary(f"/{METHODS['logs']}/Export")
        for number in range(200):
            sent = method.future(body, timeout=30)
            if number % 4:
                time.sleep(number / 200_000)  # up to a millisecond on their way
            sent.cancel()
    request = named("req")
    assert export(sidecar, "logs", logs([log({"request.id": request})])) == b""
    sidecar.hears(request=request)


# What is refused


SOUND = logs([log({"task.id": "never"}, "x" * 100)])
GZIP = {"compression": grpc.Compression.Gzip}


@pytest.mark.parametrize(
    ("body", "more", "code"),
    [
        pytest.param(b"\xff\xff\xff\xff", {}, "INVALID_ARGUMENT", id="not protobuf"),
        pytest.param(SOUND[:-5], {}, "INVALID_ARGUMENT", id="protobuf that was cut"),
        pytest.param(b"\xff" * 2000, GZIP, "INVALID_ARGUMENT", id="gzip of no protobuf"),
        pytest.param(gzip.compress(SOUND)[:-9], {}, "INVALID_ARGUMENT", id="gzip that was cut"),
        pytest.param(bytes(SHARED_BODY_BYTES + 1), {}, "RESOURCE_EXHAUSTED", id="too large"),
        pytest.param(
            bytes(SHARED_BODY_BYTES + 1), GZIP, "RESOURCE_EXHAUSTED", id="gzip, too large"
        ),
    ],
)
def test_what_cannot_be_taken_is_refused_for_good(
    shared: Running, body: bytes, more: dict[str, Any], code: str
) -> None:
    """Without RetryInfo: it must not be sent again. What comes after is kept."""
    before = counted(shared, "logs", code)
    error = refusal(shared, "logs", body, **more)
    assert code == error.code().name
    assert "google.rpc.retryinfo-bin" not in dict(error.trailing_metadata())
    assert before + 1 == counted(shared, "logs", code)
    request = named("req")
    export(shared, "logs", logs([log({"request.id": request})]))
    shared.hears(request=request)
    assert shared.task("never") == []


def test_a_message_far_over_the_limit_is_refused_by_its_length(shared: Running) -> None:
    """GRPC itself ends it, before it has been read."""
    with pytest.raises(grpc.RpcError) as caught:
        export(shared, "logs", bytes(SHARED_BODY_BYTES + MIB))
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_deflate_is_refused(shared: Running) -> None:
    """The specification asks for gzip; what else gRPC could unpack is no way around our limit."""
    more = {"compression": grpc.Compression.Deflate}
    with pytest.raises(grpc.RpcError) as caught:
        export(shared, "logs", logs([log({}, "x" * 5000)]), **more)
    error: Any = caught.value
    assert error.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}


def test_a_method_that_is_not_there_is_unimplemented(shared: Running) -> None:
    """As everywhere in gRPC."""
    with (
        grpc.insecure_channel(shared.url("grpc").removeprefix("http://")) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary("/opentelemetry.proto.collector.nothing/Export")(b"", timeout=30)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_bomb_does_not_fill_the_memory(shared: Running) -> None:
    """A quarter of a gigabyte in a quarter of a megabyte is refused before it is unpacked."""
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(MIB)
    body = b"".join(packer.compress(block) for _ in range(256)) + packer.flush()
    before = peak = shared.memory_bytes
    with ThreadPoolExecutor(1) as pool:
        # as it is on the wire when gRPC packs it: the bytes are told from a message by their start
        sent = pool.submit(refusal, shared, "logs", body)
        while not sent.done():
            peak = max(peak, shared.memory_bytes)
    assert sent.result().code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert peak - before < 64 * MIB


# Back-pressure, tokens, ends


def test_when_nothing_fits_senders_are_told_to_come_again_soon(
    run: Callable[..., Running],
) -> None:
    """UNAVAILABLE with a RetryInfo of 1 or 2 seconds, where the standard and the SDK look."""
    sidecar = run({"store": {"min_free_disk_bytes": "1000TB"}})
    waits = set()
    for _ in range(4):
        error = refusal(sidecar, "logs", logs([log({})]))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        said = dict(error.trailing_metadata())
        for_sdk = RetryInfo.FromString(said["google.rpc.retryinfo-bin"])
        standard = RetryInfo()
        assert Status.FromString(said["grpc-status-details-bin"]).details[0].Unpack(standard)
        assert for_sdk == standard
        waits.add(for_sdk.retry_delay.seconds)
    assert {1, 2} == waits
    assert counted(sidecar, "logs", "UNAVAILABLE") == 4


def test_a_token_is_asked_for(run: Callable[..., Running]) -> None:
    """Before a message is read; the right one is let in."""
    sidecar = run({"grpc": {"token": TOKEN}})
    body = logs([log({"task.id": "let-in"})])
    for wrong in ((), (("authorization", TOKEN),), (("authorization", f"Bearer {TOKEN}x"),)):
        error = refusal(sidecar, "logs", body, metadata=wrong)
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    export(sidecar, "logs", body, metadata=(("authorization", f"Bearer {TOKEN}"),))
    sidecar.hears("let-in")
    assert counted(sidecar, "logs", "UNAUTHENTICATED") == 3


def test_it_can_be_switched_off(run: Callable[..., Running]) -> None:
    """Then no port is opened, and none is named."""
    sidecar = run({"grpc": {"enabled": False}})
    assert "gRPC" not in sidecar.log
    with pytest.raises(KeyError):
        sidecar.url("grpc")


def test_where_it_listens_is_said(shared: Running) -> None:
    """In the line that says that it is ready."""
    assert f"OTLP/gRPC: {shared.url('grpc')}" in shared.log


@pytest.mark.parametrize("number", [signals.SIGTERM, signals.SIGINT])
def test_it_ends_in_seconds_with_connections_open(
    run: Callable[..., Running], number: signals.Signals
) -> None:
    """Exporters keep theirs open; what they were answered is on disk."""
    sidecar = run()
    with closing(grpc.insecure_channel(sidecar.url("grpc").removeprefix("http://"))) as channel:
        method = channel.unary_unary(f"/{METHODS['logs']}/Export")
        assert method(logs([log({"task.id": "last"})]), timeout=30) == b""
        begun = time.monotonic()
        sidecar.process.send_signal(number)
        assert sidecar.process.wait(20) == 0, sidecar.log
        assert time.monotonic() - begun < 10
    sidecar.start()
    sidecar.hears("last")
