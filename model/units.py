"""Time and its forms: integer microseconds since 1970 UTC inside, ISO 8601 for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, overload

from pydantic import Field

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 3600 * SECOND_US
DAY_US: Final = 24 * HOUR_US

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def us(seconds: float) -> int:
    """Return *seconds* as whole microseconds."""
    return round(seconds * SECOND_US)


Iso = Annotated[
    str,
    Field(
        pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z|-?[0-9]+)$",
        description="ISO 8601 in UTC; what is out of its range, as microseconds since 1970.",
    ),
]
"""A moment as `iso` writes it, for descriptions of answers."""


@overload
def iso(at_us: int) -> str: ...
@overload
def iso(at_us: int | None) -> str | None: ...
def iso(at_us: int | None) -> str | None:
    """Return *at_us* as ISO 8601 in UTC with microseconds; out-of-range times as their number."""
    if at_us is None:
        return None
    try:
        at = _EPOCH + timedelta(microseconds=at_us)
    except OverflowError:
        return str(at_us)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def span_text(seconds: float) -> str:
    """Return a length of time as people say it: `0.4 s`, `73 s`, `12 min`, `5.2 h`, `3.1 d`."""
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if abs(seconds) < limit:
            value = seconds / divisor
            return f"{value:.1f} {unit}" if abs(value) < 10 else f"{value:.0f} {unit}"  # noqa: PLR2004 - one digit
    return f"{seconds / 86_400:.1f} d"


_ISO: Final = re.compile(r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d")


def parse_time(value: object) -> int | None:
    """Return the microseconds that *value* names, or None.

    Takes ISO 8601 (UTC where no zone is given) and epoch seconds, milliseconds,
    microseconds or nanoseconds, told apart by their size.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        if _ISO.match(text):
            try:
                at = datetime.fromisoformat(text)
            except ValueError:
                return None
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            return (at - _EPOCH) // timedelta(microseconds=1)
        try:
            value = float(text)
        except ValueError:
            return None
    if not isinstance(value, int | float) or value != value or abs(value) > 1e20:  # noqa: PLR0124, PLR2004 - NaN
        return None
    for limit, factor in ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0)):
        if abs(value) < limit:
            return round(value * factor)
    return round(value / 1e3)
