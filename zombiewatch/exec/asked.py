"""What the user asks of `zombiewatch exec`, checked, and what one run is called."""

from __future__ import annotations

import os
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from model.durations import seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BEAT_S: Final = 30.0
"""How often a job beats that says nothing of its time-out."""

_BEATS: Final = 10.0
"""So many beats fit into a time-out: three that are missed are seen well before it."""

_LEAST_S: Final = 1.0
_MOST_S: Final = 60.0

NAME_MAX: Final = 200
"""Characters of a name, as `/ping/<name>` takes it."""

_ID_MAX: Final = 512


class AskedError(Exception):
    """What is asked cannot be done; the text says what, and how to mend it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of `zombiewatch exec`. Seconds, bytes of each end, base URLs ('' for none)."""

    command: Sequence[str]
    name: str
    task_id: str | None = None
    attempt: int = 1
    queue: str | None = None
    service: str = "jobs"
    timeout_s: float | None = None
    beat_s: float = BEAT_S
    keep: int = 2048
    url: str = ""
    otlp: str = ""
    spool: Path = Path()


@dataclass(frozen=True, slots=True)
class Run:
    """What one run is called, wherever it is spoken of. `began_ns` is since 1970.

    A task ID that was given is somebody else's; else the job is a job of its own, whose runs are
    `<name>/<id>`, as with pings.
    """

    id: str
    task: str
    pinged: bool
    host: str
    instance: str
    began_ns: int


def begin(asked: Asked) -> Run:
    """Return a run that begins now, with an ID that no other has."""
    run = secrets.token_hex(8)
    host = socket.gethostname()
    task = asked.task_id or f"{asked.name}/{run}"
    return Run(run, task, asked.task_id is None, host, f"{host}/{run}", time.time_ns())


def seconds(text: str, option: str) -> float:
    """Return the length of time that *text* names: a number of seconds, or like 90s, 10m, 1d12h.

    Raises AskedError.
    """
    found = seconds_of(text)
    if found is None:
        raise AskedError(f"{option} {text}: write a number of seconds, or like 90s, 10m, 2h")
    if not found:
        raise AskedError(f"{option} {text}: it must be more than nothing")
    return found


def beat_of(timeout_s: float | None) -> float:
    """Return how often a job with that time-out beats: a tenth of it, from 1 s to 60 s."""
    if timeout_s is None:
        return BEAT_S
    return min(max(timeout_s / _BEATS, _LEAST_S), _MOST_S)


def name_of(command: Sequence[str]) -> str:
    """Return what a job is called whose user gives it no name: as its program is."""
    return Path(command[0]).name


def checked_name(name: str) -> str:
    """Return *name* if it can be that of a job. Raises AskedError."""
    if not 0 < len(name) <= NAME_MAX or not name.isprintable() or name != name.strip():
        raise AskedError(f"--name {name!r}: 1 to {NAME_MAX} printable characters, no spaces around")
    if "/" in name:
        raise AskedError(f"--name {name}: it must be without /, which stands before a run's ID")
    return name


def checked_id(task_id: str | None, option: str) -> str | None:
    """Return *task_id* if it can be that of a task, or is not given. Raises AskedError."""
    if task_id is not None and not 0 < len(task_id.strip()) <= _ID_MAX:
        raise AskedError(f"{option} {task_id!r}: 1 to {_ID_MAX} characters, or leave it out")
    return task_id


def checked_url(url: str, option: str) -> str:
    """Return *url* if it is a base URL, or empty. Raises AskedError."""
    try:
        parts = urlsplit(url)
        good = not url or (parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0)
    except ValueError:
        good = False
    if not good:
        raise AskedError(f"{option} {url}: write it like http://127.0.0.1:9797, or '' for none")
    return url.rstrip("/")


def default_spool(env: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for reports that could not be sent, where the user names none."""
    state = env.get("XDG_STATE_HOME") or Path(env.get("HOME") or "/var/tmp") / ".local/state"  # noqa: S108 - who has no home has no better place that outlives a restart
    return Path(state) / "zombiewatch" / "spool"
