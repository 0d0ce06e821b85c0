"""Calls as arrows between lanes: there, back, and broken off where nobody waited any more."""

from __future__ import annotations

from math import hypot
from typing import TYPE_CHECKING, Final

from dashboards.web._svg import element, number, title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dashboards.web._calls import Hop

_OFF: Final = 8.0
"""Units between an arrow and the mark that it begins or ends at."""
_HEAD: Final = 8.0
_BROKEN_AT: Final = 0.56
"""So much of its way an answer goes that reaches nobody."""
_LEAN: Final = 16.0
_Point = tuple[float, float]


def arrows(
    hop: Hop, x: Callable[[int], float], caller_y: float, callee_y: float, most_x: float
) -> Iterator[str]:
    """Yield the arrows of a call between two lanes; *x* places a time, *most_x* is the last."""
    sent, told, got, done = (
        None if at is None else (x(at), y)
        for one, y in ((hop.caller, caller_y), (hop.callee, callee_y))
        for at in (one.began_us, one.ended_us)
    )
    if sent and got:
        yield _arrow(sent, got, "tl-request", "the request")
    if done and told and hop.answered:
        yield _arrow(done, told, "tl-answer", "the answer")
    elif done and hop.broken:
        yield _broken(done, caller_y, most_x)


def _arrow(begin: _Point, end: _Point, cls: str, tip: str) -> str:
    (x, y), (to_x, to_y) = begin, end
    far = hypot(to_x - x, to_y - y) or 1.0
    along_x, along_y = (to_x - x) / far, (to_y - y) / far
    to_x, to_y = to_x - along_x * _OFF, to_y - along_y * _OFF
    back_x, back_y = to_x - along_x * _HEAD, to_y - along_y * _HEAD
    aside_x, aside_y = -along_y * _HEAD * 0.45, along_x * _HEAD * 0.45
    line = (
        f"M{number(x + along_x * _OFF)} {number(y + along_y * _OFF)}"
        f"L{number(back_x)} {number(back_y)}"
    )
    head = (
        f"M{number(to_x)} {number(to_y)}L{number(back_x + aside_x)} {number(back_y + aside_y)}"
        f"L{number(back_x - aside_x)} {number(back_y - aside_y)}Z"
    )
    return element(
        "g",
        title(tip),
        element("path", d=line, cls=f"tl-arrow {cls}"),
        element("path", d=head, cls="tl-head"),
    )


def _broken(begin: _Point, to_y: float, most_x: float) -> str:
    x, y = begin
    end_x, end_y = min(x + _LEAN, most_x), y + (to_y - y) * _BROKEN_AT
    off = _OFF if to_y > y else -_OFF
    line = f"M{number(x + 2)} {number(y + off)}L{number(end_x)} {number(end_y)}"
    cross = f"M{number(end_x - 4.5)} {number(end_y - 4.5)}l9 9m-9 0l9-9"
    return element(
        "g",
        title("its answer reached nobody: its caller had given up"),
        element("path", d=line, cls="tl-arrow tl-answer tl-broken"),
        element("path", d=cross, cls="tl-cross"),
    )
