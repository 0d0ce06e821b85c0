"""Small pictures as SVG: a trend, a limit against what was seen, a share. Classes, no styles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDE, _HIGH = 120, 24
_BAR: Final = 220
_SHARE: Final = 80


def spark(points: Sequence[float | None], label: str) -> Markup:
    """Return *points*, the newest last, as a line; gaps where there is none. Empty for under 2."""
    known = [one for one in points if one is not None]
    if len(known) < 2:  # noqa: PLR2004 - a line has two ends
        return Markup()
    low, high = min(0.0, *known), max(known)
    step, tall = _WIDE / (len(points) - 1), (high - low) or 1.0
    path, pen = [], "M"
    for at, value in enumerate(points):
        if value is None:
            pen = "M"
            continue
        path.append(f"{pen}{at * step:.1f} {_HIGH - 2 - (value - low) / tall * (_HIGH - 4):.1f}")
        pen = "L"
    told = f"{label}: from {known[0]:,.4g} to {known[-1]:,.4g}, at most {high:,.4g}"
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img">'
        '<title>{}</title><path d="{}"/></svg>'
    ).format(_WIDE, _HIGH, told, Markup("".join(path)))  # noqa: S704 - numbers of our own


def limit_bar(one: Mapping[str, Any]) -> Markup:
    """Return a row of time-outs: its limit as a line over a bar from p50 to p99, p95 marked."""
    seen = [one[name] for name in ("p50_s", "p95_s", "p99_s", "beat_s") if one[name] is not None]
    whole = max([one["limit_s"], *seen]) * 1.08 or 1.0

    def x(seconds: float) -> str:
        return f"{seconds / whole * _BAR:.1f}"

    limit, drawn = x(one["limit_s"]), []
    if one["p99_s"] is not None:
        begins, ends = one["p50_s"] or 0.0, one["p99_s"]
        wide = max((ends - begins) / whole * _BAR, 2.0)
        drawn.append(f'<rect class="seen" x="{x(begins)}" y="6" width="{wide:.1f}" height="8"/>')
        if one["p95_s"] is not None:
            drawn.append(f'<path class="mark95" d="M{x(one["p95_s"])} 4v12"/>')
    if one["beat_s"] is not None:
        drawn.append(f'<path class="mark95" d="M{x(one["beat_s"])} 4v12"/>')
    drawn.append(f'<path class="limit" d="M{limit} 1v18"/>')
    told = (
        f"limit {one['limit_s']:g} s, seen up to {max(seen, default=0.0):.3g} s: {one['verdict']}"
    )
    return Markup(
        '<svg class="limit-bar" data-verdict="{}" viewBox="0 0 {} 20" role="img">'
        "<title>{}</title>{}</svg>"
    ).format(one["verdict"], _BAR, told, Markup("".join(drawn)))  # noqa: S704 - likewise


def share_bar(share: float) -> Markup:
    """Return a share from 0 to 1 as a bar."""
    filled = f"{max(0.0, min(1.0, share)) * _SHARE:.1f}"
    return Markup(
        '<svg class="share-bar" viewBox="0 0 {} 8" aria-hidden="true">'
        '<rect class="all" width="{}" height="8"/><rect class="part" width="{}" height="8"/></svg>'
    ).format(_SHARE, _SHARE, escape(filled))
