"""Encrypted listeners: who is let in, and which files are refused."""

from __future__ import annotations

import ssl
import urllib.parse
from contextlib import suppress
from http.client import HTTPSConnection
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from collector.receivers.otlp_grpc import METHODS
from tests.e2e._certificates import Authority, Pair
from tests.e2e._otlp import log, logs
from tests.e2e._sidecar import PATIENCE_S, call
from tests.e2e.test_start import refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e._sidecar import Running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.of(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def own(authority: Authority) -> Pair:
    return authority.issue("sidecar")


def settings(pair: Pair, client_ca: Path | None = None) -> dict[str, Any]:
    said = {"certificate": str(pair.certificate), "key": str(pair.key)}
    if client_ca:
        said["client_ca"] = str(client_ca)
    return {name: {"tls": said} for name in ("http", "otlp", "grpc")}


def ask(
    url: str, path: str, trusted: Path, mine: Pair | None = None, body: bytes | None = None
) -> int:
    """Post *body*, or get, over TLS, and return the status. Raises ssl.SSLError, OSError."""
    method = "GET" if body is None else "POST"
    context = ssl.create_default_context(cafile=str(trusted))
    if mine:
        context.load_cert_chain(mine.certificate, mine.key)
    to = urllib.parse.urlsplit(url)
    connection = HTTPSConnection(to.hostname or "", to.port, timeout=PATIENCE_S, context=context)
    try:
        connection.request(method, path, body, {"Content-Type": "application/x-protobuf"})
        return connection.getresponse().status
    finally:
        connection.close()


def ask_grpc(sidecar: Running, trusted: Path, mine: Pair | None, body: bytes) -> bytes:
    """Export logs over gRPC and TLS. Raises grpc.RpcError."""
    credentials = grpc.ssl_channel_credentials(
        trusted.read_bytes(),
        mine.key.read_bytes() if mine else None,
        mine.certificate.read_bytes() if mine else None,
    )
    target = sidecar.url("grpc").removeprefix("https://")
    with grpc.secure_channel(target, credentials) as channel:
        return bytes(channel.unary_unary(f"/{METHODS['logs']}/Export")(body, timeout=10))


def stored_there(sidecar: Running, trusted: Path, mine: Pair | None = None) -> set[str]:
    """Send a log over each protocol; return which of them were taken."""
    taken = set()
    with suppress(OSError):
        body = logs([log({"task.id": "over-http"})])
        if ask(sidecar.url("otlp"), "/v1/logs", trusted, mine, body) == 200:
            taken.add("otlp")
    with suppress(OSError):
        if ask(sidecar.url("http"), "/healthz", trusted, mine) == 200:
            taken.add("http")
    with suppress(grpc.RpcError):
        ask_grpc(sidecar, trusted, mine, logs([log({"task.id": "over-grpc"})]))
        taken.add("grpc")
    return taken


ALL = {"http", "otlp", "grpc"}


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    return Authority.of(tmp_path / "other", "stranger")


def test_every_listener_can_be_encrypted(
    run: Callable[..., Running], authority: Authority, own: Pair, other: Authority
) -> None:
    """Addresses say https; who trusts the authority is served, who trusts another goes away."""
    sidecar = run(settings(own))
    assert {"https"} == {urllib.parse.urlsplit(sidecar.url(name)).scheme for name in ALL}
    assert stored_there(sidecar, authority.own.certificate) == ALL
    assert stored_there(sidecar, other.own.certificate) == set()


def test_plain_text_is_not_understood(run: Callable[..., Running], own: Pair) -> None:
    """An encrypted listener never answers what is not."""
    sidecar = run(settings(own))
    with pytest.raises(OSError, match=r".") as caught:
        call("POST", sidecar.url("otlp").replace("https", "http") + "/v1/logs", b"")
    assert not isinstance(caught.value, TimeoutError)


def test_callers_can_be_asked_for_a_certificate(
    run: Callable[..., Running], authority: Authority, own: Pair, other: Authority
) -> None:
    """One of the authority named: none, or one of another authority, is not let in."""
    sidecar = run(settings(own, authority.own.certificate))
    trusted = authority.own.certificate
    assert stored_there(sidecar, trusted) == set()
    assert stored_there(sidecar, trusted, other.issue("caller")) == set()
    assert stored_there(sidecar, trusted, authority.issue("caller")) == ALL


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("lacking", ["certificate", "key", "client_ca"])
def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, own: Pair, name: str, lacking: str
) -> None:
    """Which setting, which file, and what it must be."""
    files = {"certificate": own.certificate, "key": own.key, lacking: tmp_path / "none.pem"}
    said = refusal(tmp_path / "data", *words(name, files))
    assert said == (
        f"{name}.tls.{lacking} {tmp_path / 'none.pem'} cannot be read: No such file or directory;"
        " name a PEM file that this user may read"
    )


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_key_of_another_certificate_is_named(
    tmp_path: Path, authority: Authority, own: Pair, name: str
) -> None:
    """The commonest slip when certificates are renewed."""
    key = authority.issue("renewed").key
    said = refusal(tmp_path / "data", *words(name, {"certificate": own.certificate, "key": key}))
    assert said == f"{name}.tls.key {key} is not the key of {own.certificate}; name its own"


@pytest.mark.parametrize("bad", ["certificate", "key", "client_ca"])
def test_a_file_that_is_not_pem_is_named(tmp_path: Path, own: Pair, bad: str) -> None:
    """A file of the wrong kind is not taken for one that is not there."""
    path = tmp_path / "bad.pem"
    path.write_text("not PEM\n")
    files = {"certificate": own.certificate, "key": own.key, bad: path}
    said = refusal(tmp_path / "data", *words("otlp", files))
    assert f"otlp.tls.{bad} {path}" in said
    assert "cannot be used" in said
    assert "PEM" in said


def test_a_certificate_without_its_key_is_refused(tmp_path: Path, own: Pair) -> None:
    """By the configuration, before a file is looked at."""
    said = refusal(tmp_path / "data", *words("otlp", {"certificate": own.certificate}))
    assert "otlp.tls has no key; set certificate and key together" in said


def words(name: str, files: dict[str, Path]) -> list[str]:
    return [word for one, path in files.items() for word in ("--set", f"{name}.tls.{one}={path}")]
