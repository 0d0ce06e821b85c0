"""How settings are written: sections, lengths of time, sizes, labels, a detector's thresholds."""

import math
import re
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    model_validator,
)

from model.durations import seconds_of
from zombiewatch._nearest import refuse

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
DAY_S: Final = 86_400.0

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b?")
_LABEL: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
SELECTORS: Final = ("service", "queue", "name")
"""By what an override of a threshold may choose."""


def duration(value: object) -> float:
    """Return the seconds that *value* names: a number, or `500ms`, `30s`, `10m`, `1d12h`."""
    if isinstance(value, str) and (said := seconds_of(value)) is not None:
        return said
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise refuse("it must be a number of seconds, or like 30s, 10m, 2h or 7d")
    return float(value)


def size(value: object) -> int:
    """Return the bytes that *value* names: a whole number, or `512MiB` (1024s), `10GB` (1000s)."""
    found = _SIZE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if found:
        amount, unit, binary = found.groups()
        factor = math.pow(KIB if binary else 1000, " kmgt".index(unit or " "))
        return round(float(amount) * factor)
    if not isinstance(value, int) or isinstance(value, bool):
        raise refuse("it must be a number of bytes, or like 512MiB or 10GB")
    return value


def threshold(value: object) -> float | bool | list[dict[str, float | str]]:
    """Return what a detector's setting means.

    `enabled` is true or false; a threshold is a number, or text like `30s` and `512MiB`;
    `overrides` is a list of mappings that select by `service`, `queue` or `name` (patterns)
    and hold the thresholds that are in force there.
    """
    if isinstance(value, list):
        return [_override(item) for item in value]
    return value if isinstance(value, bool) else _quantity(value)


def _quantity(value: object) -> float:
    text = isinstance(value, str) and value.strip().lower()
    if text and text.endswith("b"):
        return float(size(value))
    return duration(value)


def _override(item: object) -> dict[str, float | str]:
    keys = set(item) if isinstance(item, dict) else set()
    if not keys & set(SELECTORS) or not keys - set(SELECTORS):
        raise refuse("each override needs service, queue or name, and at least one threshold")
    assert isinstance(item, dict)  # noqa: S101 - or it would have no keys
    return {
        key: str(value) if key in SELECTORS else _quantity(value) for key, value in item.items()
    }


def _detector(settings: dict[str, object]) -> dict[str, object]:
    for key, value in settings.items():
        kind = {"enabled": bool, "overrides": list}.get(key, float)
        if not isinstance(value, kind):
            name = {bool: "true or false", list: "a list of mappings"}.get(kind, "a number")
            raise refuse(f"it must be {name}", at=key, what=f"{{path}} is {value}")
    return settings


def _label(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise refuse("it must be 1 to 64 letters, digits, dots, dashes or underscores")
    return name


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise refuse("it must be the name of a time zone, like Europe/Berlin or UTC") from None
    return name


class Section(BaseModel):
    """Settings that belong together: frozen, and closed to whatever is not one of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, data: object) -> object:
        """Leave out settings with nothing after the colon: all commented out is a common state."""
        if not isinstance(data, dict):
            return data
        known = {info.alias or name for name, info in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}


Seconds = Annotated[float, BeforeValidator(duration)]
Bytes = Annotated[int, BeforeValidator(size)]
Count = Annotated[int, Field(strict=True)]
Name = Annotated[str, Field(min_length=1)]
Label = Annotated[str, AfterValidator(_label)]
Zone = Annotated[str, AfterValidator(_zone)]
DetectorSettings = Annotated[
    dict[str, Annotated[object, PlainValidator(threshold)]], AfterValidator(_detector)
]
