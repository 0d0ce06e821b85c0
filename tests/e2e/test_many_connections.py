"""Ten thousand connections that ask for nothing, slow senders, and bombs: others are served on."""

from __future__ import annotations

import resource
import socket
import threading
import time
import urllib.parse
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException
from typing import TYPE_CHECKING

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from tests.e2e._otlp import log, logs
from tests.e2e._sidecar import call, eventually, named
from tests.e2e.test_grpc import export

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e._sidecar import Running

MIB = 1 << 20
MANY = 10_000
SPARE = 200
HEAD = (
    b"POST /v1/logs HTTP/1.1\r\nHost: here\r\nContent-Type: application/x-protobuf\r\n"
    b"Content-Length: 100000\r\n\r\n"
)


@pytest.fixture
def many() -> Iterator[int]:
    """How many connections we may hold: ten thousand, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY + SPARE if hard == resource.RLIM_INFINITY else min(MANY + SPARE, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield wanted - SPARE
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connections(sidecar: Running, name: str, number: int, held: ExitStack) -> list[socket.socket]:
    to = urllib.parse.urlsplit(sidecar.url(name))
    made = []
    for _ in range(number):
        made.append(socket.create_connection((to.hostname, to.port), timeout=30))
        held.enter_context(made[-1])
    return made


def serves(sidecar: Running) -> float:
    """Send a log record and see it; return how long the answer took, in seconds."""
    request = named("req")
    begun = time.monotonic()
    assert sidecar.otlp("logs", logs([log({"request.id": request})])).status == 200
    took_s = time.monotonic() - begun
    sidecar.hears(request=request)
    return took_s


@pytest.mark.slow
def test_idle_connections_do_not_stop_a_healthy_sender(
    run: Callable[..., Running], many: int
) -> None:
    """Ten thousand to exporters' port and some to the page's: the oldest idle ones make room."""
    sidecar = run()
    before = sidecar.memory_bytes
    with ExitStack() as held:
        connections(sidecar, "otlp", many, held)
        assert serves(sidecar) < 5
        assert sidecar.metric("zombiewatch_otlp_connections") <= 2000
        closed = sidecar.metric("zombiewatch_otlp_connections_closed_total")
        assert many - 2000 <= closed <= many + 100
        assert sidecar.memory_bytes - before < 200 * MIB
        assert sidecar.get("/healthz").status == 200
    serves(sidecar)


@pytest.mark.slow
def test_idle_connections_do_not_stop_a_healthy_sender_over_grpc(
    run: Callable[..., Running], many: int
) -> None:
    """They are let go when they have not said what they want for some seconds."""
    sidecar = run()
    with ExitStack() as held:
        connections(sidecar, "grpc", many, held)
        eventually("", lambda: tried(sidecar))
        assert serves(sidecar) < 5


def tried(sidecar: Running) -> str:
    try:
        export(sidecar, "logs", logs([log({"task.id": "healthy"})]))
    except Exception as error:  # noqa: BLE001 - shown, if it stays
        return repr(error)
    return ""


@pytest.mark.slow
def test_slow_senders_do_not_stop_a_healthy_one(run: Callable[..., Running]) -> None:
    """More than there may be connections, each a byte now and then: the longest gives way."""
    sidecar = run({"otlp": {"max_connections": 200}})
    done = threading.Event()
    with ExitStack() as held:
        slow = connections(sidecar, "otlp", 200, held)
        for one in slow:
            one.sendall(HEAD)

        def trickle() -> None:
            while not done.wait(0.05):
                for one in slow:
                    try:
                        one.send(b"\x0a")
                    except OSError:
                        continue

        trickling = threading.Thread(target=trickle)
        trickling.start()
        try:
            for _ in range(10):  # as exporters do: again, where they were not let in
                eventually(True, lambda: reached(sidecar), within_s=5)
        finally:
            done.set()
            trickling.join()


def reached(sidecar: Running) -> bool:
    """Whether a request is answered: past a second, the longest in hand makes room."""
    try:
        return sidecar.otlp("logs", b"").status == 200
    except (OSError, HTTPException):
        return False


def test_beyond_the_limit_the_oldest_idle_connection_is_closed(
    run: Callable[..., Running],
) -> None:
    """Not the newest, and not those with a request in hand."""
    sidecar = run({"otlp": {"max_connections": 3}})
    with ExitStack() as held:
        busy, first, second = connections(sidecar, "otlp", 3, held)
        busy.sendall(HEAD)
        eventually(3.0, lambda: sidecar.metric("zombiewatch_otlp_connections"))
        assert sidecar.otlp("logs", b"").status == 200
        assert first.recv(1) == b""
        second.sendall(b"POST /v1/logs HTTP/1.1\r\nHost: x\r\n\r\n")
        assert second.recv(12) == b"HTTP/1.1 415"
        busy.sendall(bytes(100_000))
        assert busy.recv(12) == b"HTTP/1.1 400"


# Bytes in hand


@pytest.mark.slow
def test_large_requests_at_once_do_not_fill_the_memory(run: Callable[..., Running]) -> None:
    """Far more than may be in hand: they wait or come again, and all get through."""
    limits = {
        "max_body_bytes": "8MiB",
        "in_flight_max_bytes": "16MiB",
    }
    sidecar = run({"otlp": limits})
    assert sidecar.otlp("logs", logs([log({}, "x" * MIB)])).status == 200
    before = peak = sidecar.memory_bytes
    # a field of a later version: read, forwarded, journaled, and not in the relations' memory
    unknown = b"\x92\x06" + b"\x80\x80\x80\x03" + bytes(6 * MIB)
    bodies = [logs([log({"task.id": f"t-{i}"})]) + unknown for i in range(48)]
    statuses: list[int] = []

    def send(body: bytes) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            answer = sidecar.otlp("logs", body)
            statuses.append(answer.status)
            if answer.status == 200:
                return
            assert (answer.status, Status.FromString(answer.body).code) == (503, 14)
            time.sleep(float(answer.headers["retry-after"]) / 10)  # as we were told, but sooner

    with ThreadPoolExecutor(48) as pool:
        sending = [pool.submit(send, body) for body in bodies]
        while not all(one.done() for one in sending):
            peak = max(peak, sidecar.memory_bytes)
        for one in sending:
            one.result()
    assert statuses.count(200) == 48
    # all at once they are 288 MiB, and as much again where they wait to be applied
    assert peak - before < 320 * MIB, (peak - before) / MIB
    eventually(0.0, lambda: sidecar.metric("zombiewatch_otlp_in_flight_bytes"))


def bomb(size: int) -> bytes:
    """Return gzip of *size* zeros, made a megabyte at a time."""
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(MIB)
    return b"".join(packer.compress(block) for _ in range(size // MIB)) + packer.flush()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["http", "grpc"])
def test_a_bomb_costs_next_to_nothing(run: Callable[..., Running], way: str) -> None:
    """1.5 GiB in 1.5 MB, at the limits that are the defaults: less than 64 MiB more memory."""
    body = bomb(1536 * MIB)
    sidecar = run()
    serves(sidecar)
    if way == "grpc":
        export(sidecar, "logs", b"")
    before = peak = sidecar.memory_bytes

    def send() -> str:
        if way == "grpc":
            try:
                export(sidecar, "logs", body)
            except Exception as error:  # noqa: BLE001 - its text is looked at
                return repr(error)
            return "taken"
        answer = call(
            "POST",
            f"{sidecar.url('otlp')}/v1/logs",
            body,
            {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"},
        )
        return str(answer.status)

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        while not sending.done():
            peak = max(peak, sidecar.memory_bytes)
    refused = sending.result()
    assert refused == "413" or "RESOURCE_EXHAUSTED" in refused
    assert peak - before < 64 * MIB
    serves(sidecar)
