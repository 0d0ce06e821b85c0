"""What programs read of a switch: feature flags, as OpenFeature's remote evaluation has them.

The official providers are stricter than the protocol's text: `variant` is always there, and
`reason` is one that all of them know. Everything is answered from memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from typing_extensions import TypedDict

from alerts.degrade.lease import LEVELS
from model.units import iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alerts.degrade.lease import Lease

LEVEL: Final = "degrade.level"
DEEDS: Final = ("degrade.shed", "degrade.fallback", "degrade.pause_dispatch")
"""What a program may be told to do: turn work away, do without what is slow, hand out nothing."""

KEYS: Final = (LEVEL, *DEEDS)


class FlagJson(TypedDict):
    """A flag's value for one service: `metadata` says who set it, and until when."""

    key: str
    value: bool | int
    reason: str
    variant: str
    metadata: dict[str, str | bool]


def flag(key: str, lease: Lease | None, from_level: Mapping[str, int]) -> FlagJson:
    """Return the flag *key* where *lease* is in force.

    A deed is to be done from the level on that *from_level* names for it.
    """
    level = lease.level if lease else 0
    value: bool | int = level if key == LEVEL else level >= from_level[key]
    variant = LEVELS[level] if key == LEVEL else "on" if value else "off"
    reason = "STATIC" if lease is None else "TARGETING_MATCH" if level else "DISABLED"
    return {
        "key": key,
        "value": value,
        "reason": reason,
        "variant": variant,
        "metadata": _metadata(lease),
    }


def _metadata(lease: Lease | None) -> dict[str, Any]:
    if lease is None:
        return {}
    return {
        "expires_at": iso(lease.expires_us),
        "set_by": lease.set_by,
        "why": lease.reason,
        "mode": lease.mode,
        "dry_run": lease.dry_run,
    }
