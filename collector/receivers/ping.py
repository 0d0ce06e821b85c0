"""`/ping/<name>[/start|/fail|/log|/<exit code>]`: a sign of a job that any crontab can send.

GET, POST and HEAD do the same; the body of a POST is kept as its message. With `?rid=` it is of
that run, so that runs which overlap can be told apart; without, an end is that of the run that
began last. It is answered when it is on disk, with nothing: cron mails what a job prints.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson
from aiohttp import web

from collector.ingest import BusyError
from collector.schedule import NAME_MAX, usable
from collector.store.journal import Entry, JournalFullError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from collector.expected import Expected
    from model.clock import Clock

MESSAGE_MAX: Final = 10_000
"""Bytes kept of a body: the last ones, where a job that fails says why."""

BODY_MAX: Final = 16 << 20
"""Bytes of a body that are read at all."""

TASK_HEADER: Final = "Zombiewatch-Task"
"""The answer's header that names the task which the ping belongs to (`zombiewatch explain`)."""

_BODY_S: Final = 30.0
_EXIT_MAX: Final = 255
_CODE: Final = re.compile(r"[0-9]{1,3}")
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"
_SAYS: Final[dict[str, tuple[str, str | None]]] = {
    "": ("end", "success"),
    "start": ("start", None),
    "fail": ("end", "failure"),
    "log": ("log", None),
}
"""What may follow the name → what it is, and how the run ended."""


class _RefusedError(Exception):
    """A ping that is not taken: status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request's address says."""

    name: str
    what: str
    outcome: str | None
    exit_code: int | None
    rid: str | None


def handler(
    append: Callable[[Entry], Future[int]],
    clock: Clock,
    expected: Expected,
    *,
    declared_only: bool,
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler; with *declared_only* names that no schedule has are answered 404."""

    async def take(request: web.Request) -> web.Response:
        try:
            asked = _asked(request, list(expected.declared) if declared_only else None)
            said = _said(asked, await _message(request), clock(), expected)
            entry = Entry("ping", said["ts_us"], orjson.dumps(said))
            await asyncio.wrap_future(append(entry))
        except _RefusedError as refused:
            return web.Response(status=refused.status, text=f"{refused}\n")
        except (BusyError, JournalFullError) as error:
            return web.Response(status=503, text=f"{error}\n", headers={"Retry-After": "1"})
        return web.Response(text="", headers={TASK_HEADER: _header(said["task"])})

    return take


def _asked(request: web.Request, declared: list[str] | None) -> _Asked:
    """Return what is asked, of the *declared* names only, if any are given.

    Raises _RefusedError with how to mend it.
    """
    name, word = request.match_info["name"], request.match_info.get("what", "").rstrip("/")
    if "/" in name or not usable(name):
        raise _RefusedError(
            400,
            f"a name is 1 to {NAME_MAX} printable characters, without / or spaces around it",
        )
    if declared is not None and name not in declared:
        raise _RefusedError(404, _unknown(name, declared))
    code = None
    if word in _SAYS:
        what, outcome = _SAYS[word]
    elif _CODE.fullmatch(word) and int(word) <= _EXIT_MAX:
        what, code = "end", int(word)
        outcome = "failure" if code else "success"
    else:
        raise _RefusedError(
            404,
            f"{word!r} is nothing to say of {name}: /start, /fail, /log, an exit code from 0 to"
            f" {_EXIT_MAX}, or nothing for success",
        )
    return _Asked(name, what, outcome, code, _rid(request))


def _rid(request: web.Request) -> str | None:
    others = sorted(set(request.query) - {"rid"})
    if others:
        raise _RefusedError(400, f"{others[0]!r} is not a parameter: the one there is is rid")
    given = request.query.getall("rid", [])
    if not given:
        return None
    if len(given) > 1 or not usable(given[0]):
        raise _RefusedError(
            400,
            f"rid is given once: 1 to {NAME_MAX} printable characters, without spaces around them",
        )
    return given[0]


async def _message(request: web.Request) -> str | None:
    """Return the end of the body, as text; it is read whole, so that the sender is not cut off."""
    kept, size = b"", 0
    try:
        async with asyncio.timeout(_BODY_S):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > BODY_MAX:
                    raise _RefusedError(413, f"the body is over {BODY_MAX} bytes: send its end")
                kept = (kept + chunk)[-MESSAGE_MAX:]
    except TimeoutError:
        raise _RefusedError(408, f"the body did not come within {_BODY_S:.0f} s") from None
    if not size:
        return None
    text = kept.decode(errors="replace").replace("\0", "")
    return f"{_CUT}{text}" if size > len(kept) else text


def _said(asked: _Asked, message: str | None, now: int, expected: Expected) -> dict[str, Any]:
    """Return the record of a ping that came *now*."""
    one = expected.declared.get(asked.name)
    said: dict[str, Any] = {
        "schedule": asked.name,
        "what": asked.what,
        "ts_us": now,
        "rid": asked.rid,
        "outcome": asked.outcome,
        "exit_code": asked.exit_code,
        "message": message,
        "service": one.service if one else None,
        "queue": one.queue if one else None,
    }
    if asked.rid is not None:
        said["task"] = f"{asked.name}/{asked.rid}"
    elif asked.what == "start":
        said["task"], said["before"] = expected.begins(asked.name, now)
    elif asked.what == "end":
        said["task"] = expected.ends(asked.name, now)
    else:
        said["task"] = expected.running(asked.name) or asked.name
    if asked.what != "log":
        said["due_us"] = expected.honours(asked.name, now)
    return said


def _unknown(name: str, declared: list[str]) -> str:
    near = get_close_matches(name, declared, 1)
    meant = f" (is {near[0]!r} meant?)" if near else ""
    return (
        f"no schedule is called {name!r}{meant}: declare it under `schedules`, or set"
        " `pings: any` to take pings of every name"
    )


def _header(task: str) -> str:
    """Return *task* as it can stand in a header: what is beyond ASCII as in an address."""
    return quote(task, safe="/:@!$&'()*+,;=-._~ ")
