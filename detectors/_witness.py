"""When is silence evidence? Only if who is silent could have been heard, all the time.

Absence counts where the missing phase was seen before for that service and name, the side
that would speak has been heard since the deadline, and so has each of its processes that may have
said it and was heard within the last minute; every followed file has been read past the deadline,
and no gap of ours or its own lies in between: of its own, where what is missed would have been
said just then. Otherwise the verdict is unknown, or has to wait.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from model.narrow import narrowed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import duckdb

    from detectors._kit import Detector

_DARK_US: Final = 60_000_000
"""Until a side has been silent for so long, its next word is waited for."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Whether a row may be confirmed, and if not, why."""

    verdict: Literal["ok", "unknown", "wait"]
    reason: str | None = None


class Dark(NamedTuple):
    """A time in which a service of a side was not heard, though it had promised to be."""

    namespace: str
    side: str | None
    service: str | None
    from_us: int
    to_us: int


class Lost(NamedTuple):
    """Records of one process that will never come, made between two moments by our clock."""

    namespace: str
    side: str | None
    service: str
    instance: str
    from_us: int
    to_us: int


_NEAR_US: Final = 2_000_000
"""So far ways to us differ: what was lost so shortly before a word may have followed it."""

_QUIET_US: Final = 2_000_000
"""Who was heard so shortly ago has been heard since anything."""

_SIDES: Final = narrowed("""
SELECT namespace, side, min(least(first_us, first_seen_us)), max(last_seen_us),
  bool_or(way = 'file' AND coalesce(sign_seen_us, record_seen_us, log_seen_us) IS NOT NULL),
  count(DISTINCT service)
FROM sources GROUP BY ALL""")

_LOSSES: Final = narrowed("SELECT 1 FROM losses LIMIT 1")

_ALIVE: Final = narrowed("""
SELECT namespace, max(side), service, instance, max(last_seen_us) FROM instances
WHERE instance <> '' GROUP BY namespace, service, instance
HAVING max(last_seen_us) > ? AND max(last_seen_us) <= ?
  AND (max(stopped_last_us) IS NULL OR max(last_us) > max(stopped_last_us) + 1000000)""")

_RECORD_US: Final = 30_000_000
"""Within that, a dispatcher records the end that an agent tells of."""


class Alive(NamedTuple):
    """A process that was heard within the last minute, and when, by our clock, that was last."""

    namespace: str
    side: str | None
    service: str
    instance: str
    seen_us: int


@dataclass(frozen=True, slots=True)
class _Side:
    first_us: int
    seen_us: int
    keeps: bool  # by a followed file that holds what we missed
    services: int


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What could be heard: per namespace and side, gaps of ours, what was ever covered."""

    sides: Mapping[tuple[str, str], _Side]
    gaps: Sequence[tuple[int, int]]
    covered: frozenset[tuple[str, str, str, str]]
    now_us: int
    heard_us: int | None
    dark: Sequence[Dark] = ()
    lost: Mapping[str, Sequence[Lost]] = field(default_factory=dict)  # by namespace
    alive: Callable[[], Mapping[str, Sequence[Alive]]] = dict  # likewise

    @classmethod
    def of(
        cls,
        reader: duckdb.DuckDBPyConnection,
        now_us: int,
        heard_us: int | None,
        dark: Sequence[Dark] = (),
    ) -> Witnesses:
        """Read the witnesses from the relations; *heard_us* as `Judge.evaluate` has it.

        *dark* are times at which a source was not heard, as far as they are known.
        """
        sides = reader.execute(_SIDES).fetchall()
        gaps = reader.execute("SELECT from_us, to_us FROM gaps WHERE way = 'push'").fetchall()
        covered = reader.execute(
            "SELECT DISTINCT namespace, measure, service, key FROM rates"
        ).fetchall()
        lost: defaultdict[str, list[Lost]] = defaultdict(list)
        if reader.execute(_LOSSES).fetchone():
            told = "SELECT namespace, side, service, instance, from_us, to_us FROM lost"
            for one in reader.execute(told).fetchall():
                lost[one[0]].append(Lost(*one))

        @cache
        def alive() -> Mapping[str, Sequence[Alive]]:
            found: defaultdict[str, list[Alive]] = defaultdict(list)
            heard = reader.execute(_ALIVE, [now_us - _DARK_US, now_us - _QUIET_US]).fetchall()
            for one in heard:
                found[one[0]].append(Alive(*one))
            return found

        return cls(
            {(space, side): _Side(*known) for space, side, *known in sides},
            gaps,
            frozenset(covered),
            now_us,
            heard_us,
            dark,
            lost,
            alive,
        )

    def weigh(
        self, detector: Detector, rows: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[Mapping[str, Any], Evidence]]:
        """Yield each row with its evidence; what was never covered, once per service and name."""
        told: set[tuple[str, str, str]] = set()
        for row in rows:
            side = row.get("word_side") or detector.witness
            if side and self._was_lost(side, row):
                whose = "the agent's and the dispatcher's" if side == "both" else f"the {side}'s"
                yield row, Evidence("unknown", f"records of {whose} side were lost just then")
                continue
            if detector.witness is None:
                held = side and self._was_held(side, row)
                reason = f"the {side}'s side was not heard just then"
                yield row, Evidence("unknown", reason) if held else Evidence("ok")
                continue
            measure = detector.covered_by
            group = (row["namespace"], row["service"] or "", row["name"] or "")
            if measure and (group[0], measure, group[1], group[2]) not in self.covered:
                if group not in told:
                    told.add(group)
                    yield row, Evidence("unknown", _UNCOVERED.format(side=detector.witness))
                continue
            yield row, self._absence(detector.witness, row)

    def _absence(self, side: str, row: Mapping[str, Any]) -> Evidence:
        since, deadline = _since(row), row["deadline_us"]
        witness = self.sides.get((row["namespace"], side))
        if witness is None:
            return Evidence("unknown", f"nothing was ever heard from the {side}'s side")
        if since < witness.first_us:
            return Evidence("unknown", f"it began before the {side}'s side was first heard")
        if not witness.keeps and any(low < deadline and high > since for low, high in self.gaps):
            return Evidence("unknown", "we were not listening for a part of the time")
        if not witness.keeps and self._was_dark(side, row, since, deadline):
            return Evidence("unknown", f"the {side}'s side was not heard for a part of the time")
        if self.heard_us is None or self.heard_us < deadline:
            return Evidence("wait", "followed files have not been read that far")
        if witness.seen_us < deadline and self.now_us - witness.seen_us < _DARK_US:
            return Evidence("wait", f"the {side}'s side has not been heard since")
        if witness.seen_us < deadline:
            return Evidence("unknown", f"the {side}'s side has not been heard since")
        if quiet := self._not_yet_heard(side, row):
            return Evidence("wait", f"{quiet} has not been heard since, and may have said it")
        return Evidence("ok")

    def _not_yet_heard(self, side: str, row: Mapping[str, Any]) -> str:
        """Return who of those that may have said what is missed was heard shortly before it only.

        What was lost of it is known when it is heard again; if that is not soon, nobody waits.
        Nor where both sides would have told: then it is the silent one itself that is asked about.
        """
        due, who = row.get("word_due_us"), row.get("word_of")
        if due is None or row.get("word_side") == "both":
            return ""
        quiet = (
            one.instance
            for one in self.alive().get(row["namespace"], ())
            if one.side and one.seen_us < due and self._may_say(one, side, who, row["service"])
        )
        return next(quiet, "")

    def _was_dark(self, side: str, row: Mapping[str, Any], since_us: int, until_us: int) -> bool:
        """Say whether *side* was not heard in between: what was said then may be lost.

        Or it comes when all is heard again: what was held comes in no order.
        """
        return any(
            one.from_us < until_us and one.to_us > since_us for one in self._dark_of(side, row)
        )

    def _was_held(self, side: str, row: Mapping[str, Any]) -> bool:
        """Say whether the word that is missed was due while its side was not heard."""
        due, since = row.get("word_due_us"), row.get("word_since_us") or _since(row)
        return due is not None and self._was_dark(side, row, since - _NEAR_US, due)

    def _dark_of(self, side: str, row: Mapping[str, Any]) -> Iterator[Dark]:
        """Yield when *side* was dark to the service of *row*.

        Of several services of a side, another one's darkness says nothing.
        """
        known = self.sides.get((row["namespace"], side))
        alone = known is not None and known.services == 1
        for one in self.dark:
            if (one.namespace, one.side) == (row["namespace"], side) and (
                alone or one.service == row["service"]
            ):
                yield one

    def _was_lost(self, side: str, row: Mapping[str, Any]) -> bool:
        """Say whether the word that is missed may be among what was lost.

        That is so where whoever was to say it lost something when it was due; of an end that both
        sides tell of (`both`), where the dispatcher lost something too, just then or soon after.
        """
        due, who = row.get("word_due_us"), row.get("word_of")
        known = self.lost.get(row["namespace"], ())
        if due is None or not known:
            return False
        since = row.get("word_since_us") or _since(row)
        ends = side == "both"
        return any(
            one.from_us < due
            and one.to_us > since - _NEAR_US
            and self._may_say(one, "agent" if ends else side, who, row["service"])
            and (not ends or self._dispatcher_lost_too(one, row))
            for one in known
        )

    def _dispatcher_lost_too(self, agents: Lost, row: Mapping[str, Any]) -> bool:
        """Say whether the dispatcher's word, too, may not have come: lost, not heard, or we away.

        *agents* is what the agent lost.
        """
        since, until = agents.from_us - _NEAR_US, agents.to_us + _RECORD_US
        if any(low < until and high > since for low, high in self.gaps):
            return True
        if any(
            one.from_us < until
            and one.to_us > since
            and self._may_say(one, "dispatcher", None, row["service"])
            for one in self.lost[row["namespace"]]
        ):
            return True
        return self._was_dark("dispatcher", row, since, until)

    def _may_say(self, one: Lost | Alive, side: str, who: str | None, service: str | None) -> bool:
        """Say whether *one* may have had a word of *side*, or of the instance *who*.

        One whose side nobody has said (a collector on the way) may have had any.
        """
        if one.side is None:
            return True
        if who:
            return one.instance == who
        known = self.sides.get((one.namespace, side))
        alone = known is not None and known.services == 1
        return one.side == side and (alone or one.service == service)


def _since(row: Mapping[str, Any]) -> int:
    """Return since when it is silent, by our clock where that is known.

    A clock that is ahead must not hide that we were away, nor one that is behind claim it.
    """
    heard = row.get("heard_us")
    return int(row["since_us"] if heard is None else heard)


_UNCOVERED: Final = (
    "not covered: for this service and name, the {side}'s side has never shown what is missed here"
)
