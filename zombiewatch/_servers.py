"""Starts a Prometheus or an Alertmanager of our own, on a free port of loopback, and ends it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import yaml

from zombiewatch._direct import opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_START_S: Final = 30.0
_END_S: Final = 10.0
_POLL_S: Final = 0.05
_LEASH: Final = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()
"""Linux ends it when we have died, however that was."""


class ServerError(Exception):
    """A server is not there, or did not start; the message says how to get it, or its own words."""


def command(*names: str) -> str | None:
    """Return the path of the first of these commands that is there."""
    return next((path for path in map(shutil.which, names) if path), None)


@contextmanager
def server(
    argv: list[str], folder: Path, said: Mapping[str, Any], storage: str, port: int | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run Prometheus or Alertmanager with the configuration *said*; yield address and process.

    *argv* is its command and what more is said on its line, *storage* the option that says where it
    keeps things. Raises ServerError.
    """
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(dict(said)))
    address = f"127.0.0.1:{port or _free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - found on PATH
            [
                *_LEASH,
                argv[0],
                f"--config.file={path}",
                f"{storage}={folder / 'data'}",
                f"--web.listen-address={address}",
                *argv[1:],
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us alone
        )
    try:
        _await_ready(f"http://{address}/-/ready", process, folder / "log")
        yield f"http://{address}", process
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), opened(url, 1.0):
            return
        time.sleep(_POLL_S)  # a poll, bounded by _START_S
    raise ServerError(f"{process.args!r} did not start:\n{log.read_text(errors='replace')[-1000:]}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
