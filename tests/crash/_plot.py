"""Lines over time as an SVG: one small picture each, below one another, from zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDE, _HIGH, _LEFT, _GAP = 640, 90, 120, 26
_COLOURS: Final = ("#2563eb", "#b45309", "#047857", "#7c3aed", "#be123c")


def plot(at: Sequence[float], series: Mapping[str, Sequence[float]], unit: str) -> str:
    """Return an SVG of *series*, by title, each with a value for each of *at* (in *unit*)."""
    high = len(series) * (_HIGH + _GAP) + 30
    size = f"{_LEFT + _WIDE + 20} {high}"
    parts = [
        f'<svg xmlns="{_NAMESPACE}" viewBox="0 0 {size}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_LEFT + _WIDE + 20}" height="{high}" fill="#ffffff"/>',
    ]
    for number, (title, values) in enumerate(series.items()):
        parts += _one(title, at, values, 14 + number * (_HIGH + _GAP), _COLOURS[number % 5])
    last = f"{at[-1]:.3g} {unit}"
    parts.append(f'<text x="{_LEFT + _WIDE}" y="{high - 8}" text-anchor="end">{last}</text>')
    parts.append(f'<text x="{_LEFT}" y="{high - 8}">0</text></svg>')
    return "\n".join(parts) + "\n"


_NAMESPACE: Final = "http" + "://www.w3.org/2000/svg"  # a name, never asked


def _one(
    title: str, at: Sequence[float], values: Sequence[float], top: int, colour: str
) -> list[str]:
    most = max(*values, 1e-9) * 1.1
    points = " ".join(
        f"{_LEFT + _WIDE * x / at[-1]:.1f},{top + _HIGH * (1 - y / most):.1f}"
        for x, y in zip(at, values, strict=True)
    )
    grid = f'x1="{_LEFT}" x2="{_LEFT + _WIDE}" stroke="#d4d4d4"'
    return [
        f'<line y1="{top}" y2="{top}" {grid}/>',
        f'<line y1="{top + _HIGH}" y2="{top + _HIGH}" {grid}/>',
        f'<text x="4" y="{top + _HIGH / 2 + 4}">{escape(title)}</text>',
        f'<text x="{_LEFT - 6}" y="{top + 8}" text-anchor="end">{most:.3g}</text>',
        f'<text x="{_LEFT - 6}" y="{top + _HIGH}" text-anchor="end">0</text>',
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
    ]
