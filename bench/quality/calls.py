"""One call between two processes, as both tell of it: as log lines, or as a pair of spans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bench.quality import wire

if TYPE_CHECKING:
    import random

    from bench.quality.path import Heard
    from bench.quality.process import Process
    from bench.quality.wire import Value

_HALF_S = 0.01
"""So long a message is on its way."""


@dataclass(frozen=True, slots=True)
class Call:
    """What happens in one call. Times in seconds, from when it is sent.

    The caller waits for `limit_s` at most; the callee takes `takes_s`, and then commits, or fails
    with `status`. `known` is what both say of it, `caller_says` what the caller alone knows.
    """

    purpose: str
    request: str
    takes_s: float
    limit_s: float
    status: int = 200
    known: tuple[tuple[str, Value], ...] = ()
    callee_knows: tuple[tuple[str, Value], ...] = ()
    spans: bool = False
    new_trace: bool = False
    """Whether the callee begins a trace of its own."""
    renamed: bool = False
    """Whether the callee gives the request another ID."""

    @property
    def given_up(self) -> bool:
        """Whether the caller stops waiting before the answer is there."""
        return self.takes_s + 2 * _HALF_S > self.limit_s

    @property
    def lasts_s(self) -> float:
        """How long it lasts for the caller."""
        return min(self.limit_s, self.takes_s + 2 * _HALF_S)


class Told(NamedTuple):
    """When both ends' records of a call are all heard, when the last repetition of one was.

    And when the last one of each end was heard first.
    """

    all_s: float
    last_s: float
    callee_s: float
    caller_s: float
    request: str


def tell(
    call: Call, caller: Process, callee: Process | None, at_s: float, rng: random.Random
) -> Told:
    """Let both ends say what happened; without *callee*, it says nothing of it (a stranger)."""
    said: dict[str, Value] = {
        "call.purpose": call.purpose, "request.id": call.request, **dict(call.known),
    }  # fmt: skip
    more = {**said, **dict(call.callee_knows)}
    if call.renamed:
        more["request.id"] = f"{call.request}-own"
    limited = {**said, "call.timeout_s": call.limit_s}
    heard = (_spans if call.spans else _lines)(call, caller, callee, at_s, rng, limited, more)
    mine, theirs = heard
    return Told(
        max(one.first_s for one in (*mine, *theirs)),
        max(one.last_s for one in (*mine, *theirs)),
        min((one.first_s for one in theirs[-1:]), default=0.0),
        mine[-1].first_s,
        call.request,
    )


def _lines(  # noqa: PLR0917 - two ways to tell the same
    call: Call,
    caller: Process,
    callee: Process | None,
    at_s: float,
    _rng: random.Random,
    said: dict[str, Value],
    more: dict[str, Value],
) -> tuple[list[Heard], list[Heard]]:
    failed = call.status >= 400  # noqa: PLR2004 - of HTTP
    end = "call.gave_up" if call.given_up else "call.failed" if failed else "call.ok"
    status: dict[str, Value] = {} if call.given_up else {"http.response.status_code": call.status}

    def line(who: Process, event: str, when_s: float, told: dict[str, Value]) -> Heard:
        return who.tell(wire.log(event, when_s + who.ahead_s, told), when_s)

    mine = [
        line(caller, "call.sent", at_s, said),
        line(caller, end, at_s + call.lasts_s, {**said, **status}),
    ]
    if callee is None:
        return mine, []
    done = "call.errored" if failed else "call.committed"
    theirs = [
        line(callee, "call.received", at_s + _HALF_S, more),
        line(callee, done, at_s + _HALF_S + call.takes_s, more),
    ]
    return mine, theirs


def _spans(  # noqa: PLR0917 - likewise
    call: Call,
    caller: Process,
    callee: Process | None,
    at_s: float,
    rng: random.Random,
    said: dict[str, Value],
    more: dict[str, Value],
) -> tuple[list[Heard], list[Heard]]:
    failed = call.status >= 400  # noqa: PLR2004 - of HTTP
    trace, own, other = rng.randbytes(16), rng.randbytes(8), rng.randbytes(8)
    if call.given_up:
        said = {**said, "error.type": "timeout"}
    else:
        said = {**said, "http.response.status_code": call.status}
    end_s = at_s + call.lasts_s
    mine = wire.span(
        f"POST {call.purpose}", (at_s + caller.ahead_s, end_s + caller.ahead_s),
        (trace, own, b""), said, server=False, error=call.given_up or failed,
    )  # fmt: skip
    heard = [caller.tell(mine, end_s)]
    if callee is None:
        return heard, []
    begun_s = at_s + _HALF_S
    done_s = begun_s + call.takes_s
    ids = (rng.randbytes(16), other, b"") if call.new_trace else (trace, other, own)
    theirs = wire.span(
        f"POST /{call.purpose}", (begun_s + callee.ahead_s, done_s + callee.ahead_s),
        ids, {**more, "http.response.status_code": call.status},
        server=True, error=failed,
    )  # fmt: skip
    return heard, [callee.tell(theirs, done_s)]
