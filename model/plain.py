"""Text of those who are watched, made harmless before a person sees it, wherever that is."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 400

_MARK: Final = "[\u0300-\u036f\u0483-\u0489\u20d0-\u20ff]"
_STACKS: Final = re.compile(f"({_MARK}{{2}}){_MARK}+")


def plain(value: object, longest: int = LONGEST) -> str:
    """Return *value* as one harmless line of at most about *longest* characters.

    Control characters, terminal escapes, direction overrides, invisible and broken characters
    are replaced by something that can be seen; line ends become `⏎`.
    """
    text = "" if value is None else str(value)
    cut = len(text) - longest
    shown = "".join(map(_visible, text[:longest].replace("\r\n", "\n")))
    shown = _STACKS.sub(r"\1", shown)
    return f"{shown} … (and {cut:,} more characters)" if cut > 0 else shown


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    if char.isspace():
        return "⏎" if char in "\n\u2028\u2029" else " "
    code = ord(char)
    # The pictures of the controls: ␛ for escape.
    return chr(0x2400 + code) if code < ord(" ") else f"⟨U+{code:04X}⟩"
