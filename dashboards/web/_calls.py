"""Which words of a caller and of a callee are two ends of one call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from model.phases import CALLEE, CALLER

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

_OPENING: Final = (CALLER[0], CALLEE[0])


@dataclass(slots=True)
class End:
    """One end of a call: when it began there, and how and when it ended there, if that was said."""

    lane: str
    calls: bool
    request: str | None
    trace: str | None
    span: str | None
    parent: str | None = None
    began_us: int | None = None
    ended_us: int | None = None
    verdict: str | None = None
    seqs: list[int] = field(default_factory=list)

    def take(self, entry: Mapping[str, Any]) -> None:
        """Add what *entry*, of this end, says of it; a span says both, and most exactly."""
        phase, at, end = entry["phase"], entry["at_us"], entry.get("end_us")
        spans = entry.get("kind") == "span"
        self.parent = self.parent or entry.get("parent_id")
        self.request = self.request or entry.get("request_id")
        self.seqs.append(entry["seq"])
        if phase in _OPENING or end is not None:
            self.began_us = at if self.began_us is None or spans else self.began_us
        if phase not in _OPENING and (self.verdict is None or spans):
            self.ended_us = at if end is None else end
            self.verdict = phase


@dataclass(frozen=True, slots=True)
class Hop:
    """A call, of which both ends are known."""

    caller: End
    callee: End

    @property
    def answered(self) -> bool:
        """Whether the callee's answer was waited for."""
        return self.caller.verdict in {"call.ok", "call.failed"}

    @property
    def broken(self) -> bool:
        """Whether the callee answered a caller that had given up on it."""
        return self.caller.verdict == "call.gave_up" and self.callee.verdict is not None


def hops(ends: Sequence[End]) -> list[Hop]:
    """Return the calls of which *ends* has both.

    Spans name their caller. Else both ends bear one request ID, in order, and where there are not
    as many of the one as of the other, by which of the callers was waiting; what remains
    ambiguous is no call: an arrow that may be wrong is worse than none.
    """
    callers = {(one.trace, one.span): one for one in ends if one.calls and one.span}
    made: list[Hop] = []
    loose: dict[str, tuple[list[End], list[End]]] = {}
    taken: set[int] = set()
    for one in ends:
        caller = None if one.calls or not one.parent else callers.get((one.trace, one.parent))
        if caller is not None:
            made.append(Hop(caller, one))
            taken |= {id(caller), id(one)}
    for one in ends:
        if one.request and id(one) not in taken:
            loose.setdefault(one.request, ([], []))[0 if one.calls else 1].append(one)
    for left, right in loose.values():
        made += _paired(left, right)
    return made


def ends(entries: Iterable[Mapping[str, Any]]) -> list[End]:
    """Return the ends of calls that *entries*, in order, tell of: each span or log once."""
    found: dict[Hashable, End] = {}
    tries: dict[Hashable, int] = {}
    for entry in entries:
        phase = entry.get("phase")
        if phase not in CALLER and phase not in CALLEE:
            continue
        calls, lane = phase in CALLER, entry["lane"]
        trace, span = entry.get("trace_id"), entry.get("span_id")
        key: Hashable = (calls, lane, trace, span)
        if not (trace and span):
            key = (calls, lane, entry.get("request_id"))
            tries[key] = tries.get(key, 0) + (phase in _OPENING)
            key = (key, tries[key])
        if key not in found:
            found[key] = End(lane, calls, entry.get("request_id"), trace, span)
        found[key].take(entry)
    return list(found.values())


def _paired(callers: Sequence[End], callees: Sequence[End]) -> Iterable[Hop]:
    if len(callers) == len(callees):
        both = zip(callers, callees, strict=True)
        return [Hop(one, other) for one, other in both if _one_trace(one, other)]
    made = []
    for callee in callees:
        waiting = [one for one in callers if _waits(one, callee) and _one_trace(one, callee)]
        if len(waiting) == 1:
            made.append(Hop(waiting[0], callee))
    return made


def _one_trace(one: End, other: End) -> bool:
    return one.trace is None or other.trace is None or one.trace == other.trace


def _waits(caller: End, callee: End) -> bool:
    at = callee.began_us if callee.began_us is not None else callee.ended_us
    begun, ended = caller.began_us, caller.ended_us
    if at is None or begun is None:
        return False
    return begun <= at and (ended is None or at <= ended)
