"""SVG from words that others wrote: harmless, and no longer than there is room."""

from __future__ import annotations

import re
import unicodedata
from html import escape
from typing import Final

_UNKNOWN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ADVANCES: Final = {
    **dict.fromkeys("ijl|'", 0.28),
    **dict.fromkeys(" .,:;!/()[]-·I", 0.37),
    **dict.fromkeys("ftr", 0.41),
    **dict.fromkeys("mMwW⟨⟩…+±%@", 0.95),
}
_LEAST: Final = min(_ADVANCES.values())
_ADVANCE, _CAPITAL, _FULL = 0.61, 0.7, 1.05
BOLD: Final = 1.14
"""So much wider bold text is."""


def width(text: str, size: float = 11.0) -> float:
    """Return about how wide *text* is, in units, set in *size*.

    As in DejaVu Sans: of what people's systems have, the widest, and the one of our pictures.
    """
    return sum(map(_advance, text)) * size


def _advance(char: str) -> float:
    known = _ADVANCES.get(char)
    if known is not None:
        return known
    if unicodedata.combining(char):
        return 0.0
    if unicodedata.east_asian_width(char) in "WF":
        return _FULL
    return _CAPITAL if char.isupper() else _ADVANCE


def clipped(text: str, room: float, size: float = 11.0) -> str:
    """Return *text*, its middle left out where it is wider than *room*: both ends tell it apart."""
    if width(text, size) <= room:
        return text
    keep = min(len(text), int(room / size / _LEAST) + 2)  # nothing longer fits
    while keep > 1:
        keep = min(keep - 1, int(keep * 0.9) or 1)
        tail = keep // 3
        short = f"{text[: keep - tail]}…{text[len(text) - tail :] if tail else ''}"
        if width(short, size) <= room:
            return short
    return "…"


def element(name: str, *inside: str, **said: object) -> str:
    """Return an element: *inside* is markup, what is *said* attributes.

    `cls` is the class; `_` in names stands for `-`; None is not said.
    """
    attributes = "".join(
        f' {"class" if key == "cls" else key.replace("_", "-")}="{_value(value)}"'
        for key, value in said.items()
        if value is not None
    )
    body = "".join(inside)
    return f"<{name}{attributes}>{body}</{name}>" if body else f"<{name}{attributes}/>"


def content(text: str) -> str:
    """Return *text* as markup. What XML does not know, not even escaped, becomes `\ufffd`."""
    return escape(_UNKNOWN.sub("\ufffd", text))


def _value(value: object) -> str:
    if isinstance(value, float):
        return number(value)
    return content(str(value))


def number(value: float) -> str:
    """Return *value* as a coordinate: a tenth of a unit is enough."""
    return f"{value:.1f}".removesuffix(".0")


def words(x: float, y: float, text: str, cls: str, whole: str | None = None) -> str:
    """Return *text* at a place; the *whole* of it, where it was cut, is its tooltip."""
    tip = title(whole) if whole is not None and whole != text else ""
    return element("text", tip, content(text), x=x, y=y, cls=cls)


def title(text: str) -> str:
    """Return *text* as a tooltip."""
    return f"<title>{content(text)}</title>"
