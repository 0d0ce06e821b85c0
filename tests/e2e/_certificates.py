"""Certificates for tests, made with the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.needs import need

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """Issues certificates into its folder; all are good for a day."""

    folder: Path
    own: Pair

    @classmethod
    def of(cls, folder: Path, name: str = "authority") -> Authority:
        """Make one."""
        folder.mkdir(parents=True, exist_ok=True)
        own = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl("req", "-x509", *_new(own, name), "-out", str(own.certificate))
        return cls(folder, own)

    def issue(self, name: str) -> Pair:
        """Return a certificate for 127.0.0.1 and localhost."""
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        of = ("-CA", str(self.own.certificate), "-CAkey", str(self.own.key))
        names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
        extra = ("-addext", names, "-addext", "basicConstraints=critical,CA:FALSE")
        _openssl("req", "-x509", *of, *_new(pair, name), *extra, "-out", str(pair.certificate))
        return pair


def _new(pair: Pair, name: str) -> tuple[str, ...]:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    return (*key, "-keyout", str(pair.key), "-subj", f"/CN={name}", "-days", "1")


def _openssl(*words: str) -> None:
    openssl = need("openssl", "apt-get install openssl")
    subprocess.run([openssl, *words], check=True, capture_output=True)
