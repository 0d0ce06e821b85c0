"""Certificates and keys, read when the sidecar starts, and refused there with what is wrong."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from zombiewatch.config import Tls


class TlsError(Exception):
    """A file that encryption needs cannot be used; the message says which setting, and why."""


@dataclass(frozen=True, slots=True)
class Pem:
    """The texts of the files: for gRPC, which reads none itself."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


def context(name: str, tls: Tls) -> ssl.SSLContext | None:
    """Return what encrypts the listener *name*, or None where it is not to be encrypted.

    Raises TlsError.
    """
    pem = texts(name, tls)
    if pem is None or tls.certificate is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_cert_chain(tls.certificate, tls.key, password=_asks(name))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            msg = f"{name}.tls.key {tls.key} is not the key of {tls.certificate}; name its own"
        else:
            msg = (
                f"{name}.tls.certificate {tls.certificate} and {name}.tls.key {tls.key} cannot be"
                f" used: {error.reason or error}; they must be PEM files"
            )
        raise TlsError(msg) from None
    if pem.client_ca is not None:
        try:
            made.load_verify_locations(tls.client_ca)
        except ssl.SSLError as error:
            msg = (
                f"{name}.tls.client_ca {tls.client_ca} cannot be used:"
                f" {error.reason or error}; it must be a PEM file of certificates"
            )
            raise TlsError(msg) from None
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def trust(name: str, ca: str | None) -> ssl.SSLContext:
    """Return what checks the certificates of those whom we call. Raises TlsError."""
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        msg = f"{name}.ca {ca} cannot be used: {error}; name a PEM file of certificates"
        raise TlsError(msg) from None


def texts(name: str, tls: Tls) -> Pem | None:
    """Return the files' texts, or None where nothing is set. Raises TlsError."""
    if tls.certificate is None or tls.key is None:
        return None
    read: dict[str, bytes] = {}
    for setting in ("certificate", "key", "client_ca"):
        path = getattr(tls, setting)
        if path is None:
            continue
        try:
            read[setting] = Path(path).read_bytes()
        except OSError as error:
            msg = (
                f"{name}.tls.{setting} {path} cannot be read: {error.strerror};"
                " name a PEM file that this user may read"
            )
            raise TlsError(msg) from None
    return Pem(read["certificate"], read["key"], read.get("client_ca"))


def _asks(name: str) -> Callable[[], str]:
    def password() -> str:
        # without this, whoever starts the sidecar would be asked on the terminal
        msg = f"{name}.tls.key has a password; give a key without one, readable by this user alone"
        raise TlsError(msg)

    return password
