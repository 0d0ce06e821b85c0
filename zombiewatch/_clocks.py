"""How far the clocks of those who speak in a timeline are apart, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from model.units import us

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb

_AROUND_US: Final = us(900)
"""Calls so long before and after tell of a clock: later it may have been set, or have drifted."""

_PLACES: Final = """
SELECT instance, coalesce(max(host), instance) AS place FROM instances
WHERE namespace = $namespace AND list_contains($instances, instance) GROUP BY instance"""

_BOUNDS: Final = """
SELECT caller_instance, callee_instance, max(at_least_us), min(at_most_us) FROM clocks
WHERE namespace = $namespace AND last_seen_us BETWEEN $from_us AND $to_us
  AND list_contains($instances, caller_instance) AND list_contains($instances, callee_instance)
GROUP BY caller_instance, callee_instance"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A clock is ahead of another by at least so much, and at most so much."""

    low_us: int
    high_us: int

    @property
    def turned(self) -> Bounds:
        """The same of the other clock."""
        return Bounds(-self.high_us, -self.low_us)

    def after(self, other: Bounds) -> Bounds:
        """Return the bounds of a clock that is so far ahead of one that is *other* ahead."""
        return Bounds(self.low_us + other.low_us, self.high_us + other.high_us)

    @property
    def offset_us(self) -> int:
        """Return the middle: the best guess."""
        return (self.low_us + self.high_us) // 2

    @property
    def uncertainty_us(self) -> int:
        """Return by how much that may be wrong.

        Where the least is above the most, the clock was set in between: then all that it showed.
        """
        apart = self.high_us - self.low_us
        return (apart + 1) // 2 if apart >= 0 else -apart


def beside(
    reader: duckdb.DuckDBPyConnection,
    namespace: str,
    instances: Sequence[str],
    from_us: int,
    to_us: int,
) -> dict[str, Bounds]:
    """Return how far the clock of each of *instances* is ahead of that of the first.

    The first that can be compared, that is: nobody knows which clock is right. It is told by calls
    that were seen from both ends at about the time (*from_us* to *to_us*, by arrival), directly or
    by way of others. Who is on the same machine has the same clock; who is missing is not known.
    """
    said = {"namespace": namespace, "instances": list(instances)}
    places = dict(reader.execute(_PLACES, said).fetchall())
    around = {"from_us": from_us - _AROUND_US, "to_us": to_us + _AROUND_US}
    apart: dict[tuple[str, str], Bounds] = {}
    for caller, callee, low, high in reader.execute(_BOUNDS, said | around).fetchall():
        mine, other = places.get(caller, caller), places.get(callee, callee)
        if mine != other:
            _narrow(apart, (mine, other), Bounds(low, high))
            _narrow(apart, (other, mine), Bounds(low, high).turned)
    known = _from_first([places.get(one, one) for one in instances], apart)
    return {one: known[place] for one in instances if (place := places.get(one, one)) in known}


def _narrow(apart: dict[tuple[str, str], Bounds], pair: tuple[str, str], more: Bounds) -> None:
    old = apart.get(pair, more)
    apart[pair] = Bounds(max(old.low_us, more.low_us), min(old.high_us, more.high_us))


def _from_first(
    places: Iterable[str], apart: Mapping[tuple[str, str], Bounds]
) -> dict[str, Bounds]:
    """Return each place's clock against the first's that can be compared with another's."""
    ordered = list(dict.fromkeys(places))
    compared = {one for pair in apart for one in pair}
    first = next((one for one in ordered if one in compared), None)
    if first is None:
        # one machine has one clock; of several, nothing is known
        return {ordered[0]: Bounds(0, 0)} if len(ordered) == 1 else {}
    known, reached = {first: Bounds(0, 0)}, [first]
    for here in reached:  # grows as it goes: who is nearest in calls first
        for (mine, other), ahead in apart.items():
            if mine == here and other not in known:
                known[other] = ahead.after(known[here])
                reached.append(other)
    return known
