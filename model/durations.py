"""Lengths of time as people write them; by the standard library only, for `zombiewatch exec`."""

from __future__ import annotations

import math
import re
from typing import Final

_AMOUNT: Final = re.compile(r"\d+(?:\.\d+)?")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h|d|w)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def seconds_of(text: str) -> float | None:
    """Return the seconds that *text* names: a number, or `500ms`, `30s`, `1d12h`; else None."""
    plain = text.strip().lower()
    if _AMOUNT.fullmatch(plain):
        return float(plain)
    if plain and not _PART.sub("", plain).strip():
        return math.fsum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(plain))
    return None
