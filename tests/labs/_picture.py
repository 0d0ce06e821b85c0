"""A recorded run as SVG: a lane for each detector, with when it lasted and when it was told."""

from __future__ import annotations

import math
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Final

from model.findings import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.findings import Finding
    from tests.labs._seen import Run

_COLOURS: Final = {"critical": "#c0392b", "warning": "#d68910", "info": "#2471a3"}
_LEFT, _RIGHT, _LANE, _TOP, _WIDE = 190, 24, 30, 34, 900
_TICKS_S: Final = 10
_HEAD: Final = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img"\
 font-family="system-ui, sans-serif" font-size="13">
<title>{title}</title>
<rect width="{wide}" height="{high}" rx="8" fill="#ffffff"/>"""


def picture(title: str, run: Run) -> str:
    """Return *run* as SVG.

    A bar is from when something had gone wrong to when that was over; a dot is when we were sure,
    the larger the more we were sure of at that moment.
    """
    lanes = run.by_detector()
    length = run.at(run.to_us)
    bottom = _TOP + _LANE * len(lanes)

    def x(when_us: int) -> float:
        return _LEFT + run.at(when_us) / length * (_WIDE - _LEFT - _RIGHT)

    drawn = [_HEAD.format(wide=_WIDE, high=bottom + 40, title=escape(title))]
    for second in range(0, int(length) + 1, _TICKS_S):
        at = x(run.from_us + second * 1_000_000)
        drawn.append(f'<path d="M{at:.1f} {_TOP - 8}V{bottom}" stroke="#e5e7e9"/>')
        drawn.append(_text(at, bottom + 20, "middle", "#5d6d7e", f"{second} s"))
    for lane, (detector, found) in enumerate(lanes.items()):
        y = _TOP + _LANE * lane + _LANE / 2
        drawn.append(_text(_LEFT - 14, y + 4, "end", "#1c2833", detector))
        drawn += [
            f'<path d="M{x(begun):.1f} {y:.1f}H{max(x(ended), x(begun) + 2):.1f}"'
            f' stroke="{_colour(found)}" stroke-width="10" stroke-opacity=".25"/>'
            for begun, ended in _merged(found, run)
        ]
        for told, number in sorted(Counter(one.confirmed_us or 0 for one in found).items()):
            drawn.append(
                f'<circle cx="{x(told):.1f}" cy="{y:.1f}" r="{4 + math.log2(number):.1f}"'
                f' fill="{_colour(found)}" stroke="#ffffff" stroke-width="1.5"/>'
            )
    return "\n".join([*drawn, "</svg>", ""])


def _colour(found: Sequence[Finding]) -> str:
    worst = max((one.severity for one in found), key=SEVERITIES.index)
    return _COLOURS[worst]


def _merged(found: Sequence[Finding], run: Run) -> list[tuple[int, int]]:
    """Return when at least one of *found* lasted, within the run."""
    made: list[tuple[int, int]] = []
    for one in sorted(found, key=lambda one: one.since_us):
        begun, ended = max(one.since_us, run.from_us), one.ended_us or run.to_us
        if made and begun <= made[-1][1]:
            begun, ended = made[-1][0], max(ended, made.pop()[1])
        made.append((begun, ended))
    return made


def _text(x: float, y: float, anchor: str, colour: str, said: str) -> str:
    at = f'x="{x:.1f}" y="{y:.1f}"'
    return f'<text {at} fill="{colour}" text-anchor="{anchor}">{escape(said)}</text>'
