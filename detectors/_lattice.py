"""Which limits must fit which times, and what to set where they do not: said once.

`timeout_lattice` makes its SQL from these pairs, and `zombiewatch lint` judges declared figures by
them, without an engine. All times are seconds; thresholds are those of the detector, by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

THRESHOLDS: Final = {"samples_min": 20.0, "beats_per_limit": 3.0, "margin": 1.25}
"""`samples_min`: from so many samples on the 99th percentile counts, below that what is usual.
`beats_per_limit`: how many beats a heartbeat's time-out must hold. `margin`: the room above the
99th percentile."""

_SAME_S: Final = 1e-6
"""What differs by less is the same: times are whole microseconds, and 3 x 0.1 is more than 0.3."""

FIX: Final = "{advice} {proposed_s} s: the limit is {limit_s} s, and {against} {needs_s} s or more"
"""What to do, filled in with what a pair and a misfit have of these names."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A limit and what it has to hold; the limit misfits if it is below that times *room*.

    *needs* is what it holds: `usual` (the usual or 99th percentile of what is measured) or `beat`
    (`beats_per_limit` declared intervals). *room* names a threshold, or is empty for once. One
    that is *roomy_only* misfits for want of room alone: what is below the need itself is another
    pair's. The proposed value is *base* (the limit, the need, or the top: what 99% surely do not
    exceed) times or, where it is the limit, over *scale*; *twice* doubles it.
    """

    name: str
    misfit: str
    advice: str
    against: str
    needs: Literal["usual", "beat"] = "usual"
    room: Literal["", "margin", "beats_per_limit"] = ""
    roomy_only: bool = False
    base: Literal["limit_s", "needs_s", "top_s"] = "top_s"
    scale: Literal["", "margin", "beats_per_limit"] = "margin"
    twice: bool = False

    def needs_s(
        self,
        thresholds: Mapping[str, float],
        *,
        samples: float = float("inf"),
        p50_s: float | None = None,
        p99_s: float | None = None,
        beat_s: float | None = None,
    ) -> float | None:
        """Return what the limit has to hold, or None where that is not known.

        Figures that were declared, not measured, count as from any number of *samples*.
        """
        if self.needs == "beat":
            return None if beat_s is None else thresholds["beats_per_limit"] * beat_s
        return p99_s if samples >= thresholds["samples_min"] else p50_s

    def misfits(self, limit_s: float, needs_s: float, thresholds: Mapping[str, float]) -> bool:
        """Say whether a limit of *limit_s* does not hold *needs_s*."""
        room = thresholds[self.room] if self.room else 1.0
        below = limit_s < needs_s * room - _SAME_S
        return below and (not self.roomy_only or limit_s >= needs_s - _SAME_S)

    def proposed_s(
        self, limit_s: float, needs_s: float, top_s: float, thresholds: Mapping[str, float]
    ) -> float:
        """Return the value to set."""
        value = {"limit_s": limit_s, "needs_s": needs_s, "top_s": top_s}[self.base]
        scale = thresholds[self.scale] if self.scale else 1.0
        value = value / scale if self.base == "limit_s" else value * scale
        return 2 * value if self.twice else value

    # -- the same as SQL, over a row `a` with the columns of `timeouts` and these ------------

    def needs_sql(self) -> str:
        """Return `needs_s` as SQL."""
        if self.needs == "beat":
            return "{beats_per_limit} * a.beat_s"
        return "CASE WHEN a.n >= {samples_min} THEN a.p99_us ELSE a.p50_us END / 1e6"

    def misfits_sql(self) -> str:
        """Return `misfits` as SQL."""
        room = f" * {{{self.room}}}" if self.room else ""
        own = f" AND a.limit_s >= a.needs_s - {_SAME_S:f}" if self.roomy_only else ""
        return f"a.limit_s < a.needs_s{room} - {_SAME_S:f}{own}"

    def proposed_sql(self) -> str:
        """Return `proposed_s` as SQL."""
        value = {"top_s": "a.top_us / 1e6"}.get(self.base, f"a.{self.base}")
        if self.scale:
            value += f" {'/' if self.base == 'limit_s' else '*'} {{{self.scale}}}"
        return f"2 * ({value})" if self.twice else value


RUN: Final = Pair("run", "time-out below the run", "Raise the time-out to", "the run takes")
RUN_WITHOUT_BEATS: Final = Pair(
    "run without beats",
    "time-out close to the run, and no heartbeat",
    "Let it beat every",
    "the run takes",
    room="margin",
    roomy_only=True,
    base="limit_s",
    scale="beats_per_limit",
)
BEAT_THAT_NEVER_COMES: Final = Pair(
    "beat that never comes",
    "heartbeat time-out, and no heartbeat",
    "Let it beat every",
    "the run takes",
    room="beats_per_limit",
    base="limit_s",
    scale="beats_per_limit",
)
BEAT: Final = Pair(
    "beat",
    "heartbeat time-out of too few beats",
    "Raise the heartbeat time-out to",
    "so many intervals are",
    needs="beat",
    base="needs_s",
    scale="",
)
CALL: Final = Pair("call", "limit below the answer", "Raise the limit to", "the answer takes")
RETRY: Final = Pair(
    "retry", "retries end before the answer", "Keep trying for", "the answer takes", twice=True
)
VISIBILITY: Final = Pair(
    "visibility",
    "visibility time-out below the hold",
    "Raise the visibility time-out to",
    "a message is held for",
)

PAIRS: Final = (RUN, RUN_WITHOUT_BEATS, BEAT_THAT_NEVER_COMES, BEAT, CALL, RETRY, VISIBILITY)


def of_a_call(caller: str, callee: str, purpose: str) -> str:
    """Return how a sentence calls the calls of one purpose from *caller* to *callee*."""
    return f"{caller} to {callee}, {purpose}"


def sql_case(part: Literal["needs", "misfits", "proposed", "misfit", "advice", "against"]) -> str:
    """Return that *part* of the pair of a row `a`, as a SQL CASE."""
    whens = [f"WHEN '{one.name}' THEN {_SQL[part](one)}" for one in PAIRS]
    return f"CASE a.pair {' '.join(whens)} END"


_SQL: Final[Mapping[str, Callable[[Pair], str]]] = {
    "needs": Pair.needs_sql,
    "misfits": Pair.misfits_sql,
    "proposed": Pair.proposed_sql,
    "misfit": lambda one: f"'{one.misfit}'",
    "advice": lambda one: f"'{one.advice}'",
    "against": lambda one: f"'{one.against}'",
}
