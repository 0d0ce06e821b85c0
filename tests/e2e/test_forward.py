"""What came in is sent on, unchanged, to a second sidecar; never at the first one's cost."""

from __future__ import annotations

import gzip
import json
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e._certificates import Authority
from tests.e2e._otlp import log, logs, span, spans
from tests.e2e._sidecar import Running, eventually, stored
from tests.e2e.test_grpc import export
from tests.e2e.test_start import refusal
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "0123456789abcdef"  # noqa: S105 - the example


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Running]:
    """A second sidecar, to be sent to."""
    with Running(tmp_path / "target") as sidecar:
        yield sidecar


def sends_on(to: str, **more: Any) -> dict[str, Any]:
    return {"forward": {"endpoint": to, **more}}


def dropped(sidecar: Running, reason: str) -> float:
    return sidecar.metric("zombiewatch_forward_dropped_total", reason=reason)


def sent(sidecar: Running) -> float:
    return sidecar.metric("zombiewatch_forward_sent_total")


def task(name: str, filler: str = "") -> bytes:
    return logs([log({"task.id": name}, filler)])


def tasks_of(sidecar: Running) -> list[str]:
    """End it, and return the tasks of which it has kept something."""
    assert sidecar.stop() == 0, sidecar.log
    return [one for (one,) in stored(sidecar.data, "task")]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_what_came_in_either_way_is_sent_on(
    run: Callable[..., Running], target: Running, compression: str
) -> None:
    """Over HTTP, packed or not, and over gRPC; logs and spans; both have all of it, once."""
    sidecar = run(sends_on(target.url("otlp"), compression=compression))
    sidecar.otlp("logs", task("http"))
    sidecar.otlp("logs", gzip.compress(task("packed")), Content_Encoding="gzip")
    export(sidecar, "logs", task("grpc"))
    sidecar.otlp("traces", spans([span("work", {"task.id": "span"})]))
    eventually(4.0, lambda: sent(sidecar))
    assert sidecar.metric("zombiewatch_forward_queued_bytes") == 0
    both = [sorted(tasks_of(one)) for one in (sidecar, target)]
    assert both == [["grpc", "http", "packed", "span"]] * 2


def test_the_bytes_that_arrive_are_those_that_came(run: Callable[..., Running]) -> None:
    """Fields that we do not know are sent on with the rest."""
    body = task("odd") + b"\x92\x06\x03new"  # field 98, of a later version
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        sidecar = run(sends_on(f"http://127.0.0.1:{listener.getsockname()[1]}/base"))
        assert sidecar.otlp("logs", body).status == 200
        listener.settimeout(10)
        connection, _ = listener.accept()
        with closing(connection):
            connection.settimeout(10)
            got = b""
            while not got.endswith(body):
                got += connection.recv(65536) or pytest.fail(f"only {got!r} came")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            head = got[: -len(body)].decode()
            assert head.startswith("POST /base/v1/logs HTTP/1.1\r\n")
            assert "Content-Type: application/x-protobuf\r\n" in head
            eventually(1.0, lambda: sent(sidecar))


def test_a_target_that_is_down_gets_all_when_it_is_up(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """Senders notice nothing; what waited arrives, each once."""
    port = free_port()
    sidecar = run(sends_on(f"http://127.0.0.1:{port}"))
    names = [f"t-{number}" for number in range(20)]
    assert {200} == {sidecar.otlp("logs", task(name)).status for name in names}
    eventually(True, lambda: sidecar.metric("zombiewatch_forward_retries_total") > 0)
    assert sidecar.metric("zombiewatch_forward_queued_bytes") > 0
    with Running(tmp_path / "target", {"otlp": {"port": port}}) as late:
        eventually(20.0, lambda: sent(sidecar))
        assert sorted(tasks_of(late)) == sorted(names)


def test_a_target_that_never_answers_costs_the_oldest(run: Callable[..., Running]) -> None:
    """The queue is bounded: what is new pushes out what is old; nobody who sends here waits."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        to = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sidecar = run(sends_on(to, queue_max_bytes="100KiB", timeout_s=60))
        longest = 0.0
        for number in range(100):
            begun = time.monotonic()
            assert sidecar.otlp("logs", task(f"t-{number}", "x" * 10_000)).status == 200
            longest = max(longest, time.monotonic() - begun)
        assert longest < 5
        # two are on their way, and some seven wait
        assert 88 <= dropped(sidecar, "full") <= 92
        assert sidecar.metric("zombiewatch_forward_queued_bytes") <= 100 * 1024
        eventually(100, lambda: sidecar.signals(way="otlp"))
        assert sidecar.stop() == 0, sidecar.log


def test_a_target_that_refuses_is_not_asked_again(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """401 will not change by asking: dropped, counted, said once; kept here."""
    with Running(tmp_path / "target", {"otlp": {"token": TOKEN}}) as target:
        sidecar = run(sends_on(target.url("otlp")))
        for number in range(3):
            assert sidecar.otlp("logs", task(f"t-{number}")).status == 200
        eventually(3.0, lambda: dropped(sidecar, "refused"))
        assert sidecar.metric("zombiewatch_forward_retries_total") == 0
        assert sidecar.log.count("HTTP status 401") == 1
        eventually(3, lambda: sidecar.signals(way="otlp"))


def test_a_target_that_is_full_is_asked_again_until_it_is_too_late(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """503 means later; past `retry_for_s` it is dropped."""
    with Running(tmp_path / "target", {"store": {"min_free_disk_bytes": "1000TB"}}) as target:
        sidecar = run(sends_on(target.url("otlp"), retry_for_s=4))
        assert sidecar.otlp("logs", task("late")).status == 200
        eventually(1.0, lambda: dropped(sidecar, "too_old"))
        assert sidecar.metric("zombiewatch_forward_retries_total") >= 1


def test_a_token_and_an_authority_of_the_targets_are_used(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """Over TLS, to a target that asks for a token."""
    authority = Authority.of(tmp_path / "certificates")
    pair = authority.issue("target")
    tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
    with Running(tmp_path / "target", {"otlp": {"token": TOKEN, "tls": tls}}) as target:
        ca = str(authority.own.certificate)
        sidecar = run(sends_on(target.url("otlp"), token=TOKEN, ca=ca))
        assert sidecar.otlp("logs", task("secret")).status == 200
        target.hears("secret")


def test_what_goes_in_a_circle_is_kept_once(run: Callable[..., Running], tmp_path: Path) -> None:
    """Two that send to each other: what comes back is known by its way, and ends there."""
    ports = [free_port(), free_port()]
    mine = {"otlp": {"port": ports[0]}, **sends_on(f"http://127.0.0.1:{ports[1]}")}
    theirs = {"otlp": {"port": ports[1]}, **sends_on(f"http://127.0.0.1:{ports[0]}")}
    with Running(tmp_path / "target", theirs) as other:
        sidecar = run(mine)
        assert sidecar.otlp("logs", task("round")).status == 200
        eventually(1.0, lambda: sent(other))
        assert sent(sidecar) == 1
        assert [tasks_of(one) for one in (sidecar, other)] == [["round"]] * 2


def test_an_end_waits_a_moment_for_what_waits(run: Callable[..., Running], target: Running) -> None:
    """What was taken a moment before the end is still sent on."""
    sidecar = run(sends_on(target.url("otlp")))
    for number in range(20):
        assert sidecar.otlp("logs", task(f"t-{number}")).status == 200
    assert sidecar.stop() == 0, sidecar.log
    eventually(20, lambda: target.signals(way="otlp"))


@pytest.mark.parametrize(
    "said", ["127.0.0.1:4318", "ftp://127.0.0.1", "http://", "http://127.0.0.1/?x=1"]
)
def test_what_is_no_address_is_refused(tmp_path: Path, said: str) -> None:
    """With an example of one."""
    words = ("--set", f"forward.endpoint={json.dumps(said)}")
    assert "it must be like http://127.0.0.1:4318" in refusal(tmp_path / "data", *words)


def test_an_authority_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """As a listener's files are."""
    words = ("--set", "forward.endpoint=https://127.0.0.1:1", "--set", "forward.ca=/none.pem")
    assert "forward.ca /none.pem cannot be used" in refusal(tmp_path / "data", *words)
