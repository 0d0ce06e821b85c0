"""A switch as a silence of Alertmanager, for those who want it to outlive a restart of that.

It mutes what the inhibition of `ServiceDegraded` does, and ends when the lease does. Alertmanager
keeps silences on disk, not alerts: what is inhibited may leak when it restarts, what is silenced
does not. The price: a silence stays until its end where we are gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from alerts.degrade.lease import LEVELS, MUTES
from alerts.rules.rule import SOURCE
from model.units import iso, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from alerts.degrade.lease import Lease

_BY: Final = "zombiewatch "
"""What `createdBy` begins with; then comes which sidecar: others' silences are not touched."""

_OVER: Final = "expired"

Matchers = frozenset[tuple[str, str, bool]]
"""Each is a label, its value, and whether that is a pattern."""


@dataclass(frozen=True, slots=True)
class Silence:
    """One silence: what it mutes, since and until when (microseconds since 1970 UTC), and why."""

    matchers: Matchers
    since_us: int
    until_us: int
    comment: str
    id: str = ""

    @classmethod
    def of(cls, lease: Lease, now_us: int) -> Self:
        """Return the silence that *lease* asks for, from *now_us* on."""
        severities = "|".join(sorted(MUTES[lease.level]))
        matchers = {
            ("source", SOURCE, False),
            ("service", lease.service, False),
            ("degradable", "true", False),
            ("severity", severities, True),
        }
        return cls(
            frozenset(matchers),
            now_us,
            lease.expires_us,
            f"{lease.service} is degraded to {LEVELS[lease.level]} by {lease.set_by}:"
            f" {lease.reason}. It is lifted with the switch: zombiewatch switch clear.",
        )

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """Return what Alertmanager says of a silence. Raises KeyError, ValueError, TypeError."""
        matchers = ((one["name"], one["value"], one["isRegex"]) for one in said["matchers"])
        since_us, until_us = parse_time(said["startsAt"]), parse_time(said["endsAt"])
        if since_us is None or until_us is None:
            raise ValueError("a silence without times")
        return cls(frozenset(matchers), since_us, until_us, said["comment"], said["id"])

    def as_json(self, identity: str) -> dict[str, Any]:
        """Return it for `POST /api/v2/silences`, as made by the sidecar of that *identity*."""
        return {
            **({"id": self.id} if self.id else {}),
            "matchers": [
                {"name": name, "value": value, "isRegex": pattern, "isEqual": True}
                for name, value, pattern in sorted(self.matchers)
            ],
            "startsAt": iso(self.since_us),
            "endsAt": iso(self.until_us),
            "createdBy": _BY + identity,
            "comment": self.comment,
        }


def ours(said: Iterable[Mapping[str, Any]], identity: str) -> Iterator[Silence]:
    """Yield those of the silences *said* by Alertmanager that we made, and that are not over."""
    for one in said:
        if one["createdBy"] == _BY + identity and one["status"]["state"] != _OVER:
            yield Silence.read(one)


def changes(
    wanted: Iterable[Silence], known: Iterable[Silence], now_us: int
) -> tuple[list[Silence], list[str]]:
    """Return which silences to post, and the IDs of those to end.

    A policy prolongs its lease at each look, and Alertmanager keeps every version: one that is
    only to last longer is posted when half of its time is over.
    """
    there: dict[Matchers, list[Silence]] = {}
    for one in known:
        there.setdefault(one.matchers, []).append(one)
    posted: list[Silence] = []
    for one in wanted:
        found = there.pop(one.matchers, [])
        if not found:
            posted.append(one)
            continue
        last = max(found, key=lambda each: each.until_us)
        there[one.matchers] = [each for each in found if each is not last]  # doubles
        if last.until_us > one.until_us or 2 * (last.until_us - now_us) < one.until_us - now_us:
            posted.append(Silence(one.matchers, last.since_us, one.until_us, one.comment, last.id))
    return posted, [one.id for those in there.values() for one in those]
