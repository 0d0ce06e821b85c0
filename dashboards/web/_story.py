"""What a timeline tells, before it is drawn: lanes, marks, and who was not heard of since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dashboards.web._axis import length, relative
from dashboards.web._calls import ends
from dashboards.web._glyphs import BAD
from model.phases import CALLEE, CALLER, ERROR_SEVERITY, SIGNS, TASK
from model.plain import plain
from model.units import iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SINCE: Final = "no one has heard of it since"
DISPATCHER: Final = "dispatcher"
AGENT: Final = "agent"
MOST_PARTS: Final = 6
_MOST_ENTRIES: Final = 400
_MOST_LANES: Final = 40
_MOST_NAMED: Final = 4

_WARNING: Final = 13
"""Severity numbers from here on are warnings (OpenTelemetry logs data model)."""
_IN_STEP_US: Final = 1000
"""Clocks that are nearer than that are in step, as people understand it."""
_APART_US: Final = 2000
"""What a part or a log says of a moment that is nearer to one that is drawn is said of that one."""

_OPEN: Final = frozenset({"suspected", "confirmed", "unknown"})
_ORDER: Final = {DISPATCHER: 0, AGENT: 1}
_BEGINNINGS: Final = dict.fromkeys(CALLER[1:], CALLER[0]) | dict.fromkeys(CALLEE[1:], CALLEE[0])


@dataclass(slots=True)
class Lane:
    """One who speaks, or a side of which nobody was `heard`.

    Its clock is `offset_us` ahead of the clock of reference, give or take `uncertainty_us`.
    """

    id: str
    side: str | None
    service: str | None
    instance: str | None
    offset_us: int | None = None
    uncertainty_us: int | None = None
    heard: bool = True

    @property
    def name(self) -> str:
        """What it is called, in short."""
        return plain(self.instance or self.service or self.id)

    @property
    def shift_us(self) -> int:
        """How far its clock is ahead for certain: so far its times are set back."""
        offset = self.offset_us or 0
        return offset if abs(offset) > max(self.uncertainty_us or 0, _IN_STEP_US) else 0

    @property
    def refers(self) -> bool:
        """Whether its clock is the one that others are compared with."""
        return self.offset_us == self.uncertainty_us == 0

    def around(self, at_us: int) -> tuple[int, int] | None:
        """Return between what times that was which is drawn at *at_us*, if that is known."""
        if self.uncertainty_us is None:
            return None
        middle = at_us + self.shift_us - (self.offset_us or 0)
        return middle - self.uncertainty_us, middle + self.uncertainty_us

    def clock(self) -> str:
        """Return what is known of its clock, in words; nothing where it is in step."""
        offset, unsure = self.offset_us, self.uncertainty_us
        if offset is None or unsure is None:
            return ""
        if self.shift_us:
            return f"clock {length(abs(offset))} {'ahead' if offset > 0 else 'behind'}"
        unsure += abs(offset)
        return f"clock ±{length(unsure)}" if unsure > _IN_STEP_US else ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A record: its glyphs with their times, and whether others `again` say it better."""

    entry: Mapping[str, Any]
    lane: Lane
    glyphs: Sequence[tuple[int, str | None]]
    again: bool

    @property
    def alarming(self) -> bool:
        """Whether it is an error, or its phase is one."""
        severe: bool = (self.entry.get("severity") or 0) >= ERROR_SEVERITY
        return not self.again and (severe or self.entry.get("phase") in BAD)

    @property
    def warns(self) -> bool:
        """Whether it is a warning."""
        warns: bool = (self.entry.get("severity") or 0) >= _WARNING
        return not self.again and warns

    @property
    def lasts(self) -> bool:
        """Whether it has a beginning and an end."""
        begun: int = self.entry["at_us"]
        return end(self.entry) > begun


class Story:
    """A timeline, with all its times by one clock as far as that is certain."""

    def __init__(self, timeline: Mapping[str, Any], now_us: int) -> None:
        """Take *timeline*, which has entries; it ends *now_us* if something of it is open."""
        self._query: Mapping[str, Any] = timeline.get("query") or {}
        entries, self.left_out = _chosen(timeline["entries"])
        self.lanes, self.lanes_out = _lanes(timeline.get("lanes") or [], entries)
        self.by_id = {lane.id: lane for lane in self.lanes}
        drawn = [self._set_right(one) for one in entries if one["lane"] in self.by_id]
        self.entries = sorted(drawn, key=lambda one: one["at_us"])
        parts = [self._set_right(one) for one in timeline.get("parts") or []]
        self.parts = sorted(parts, key=lambda one: one["at_us"])[:MOST_PARTS]
        self.parts_out = len(parts) - len(self.parts)
        self.ends = ends(self.entries)
        self.marks = self._marks()
        is_open = any(
            one.get("verdict") in _OPEN and not one.get("ended_at")
            for one in timeline.get("findings") or []
        )
        last = max(map(end, [*self.entries, *self.parts]))
        self.waits = is_open and now_us > last
        self.from_us = min(one["at_us"] for one in self.entries)
        self.to_us = now_us if self.waits else last
        self.signs = self._last_signs() if is_open else {}
        self.silent = self._silent() if self.waits else {}

    def _set_right(self, one: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a record or a part with its times by the clock of reference."""
        lane = self.by_id.get(one.get("lane") or "")
        if lane is None or not lane.shift_us:
            return one
        times = {key: one[key] for key in ("at_us", "end_us") if one.get(key) is not None}
        return {**one, **{key: at - lane.shift_us for key, at in times.items()}}

    def moments(self) -> list[int]:
        """Return what must be told apart: an end of a call once, however often it was told."""
        calls = {seq for one in self.ends for seq in one.seqs}
        found = {self.from_us, self.to_us}
        for entry in self.entries:
            if entry["seq"] not in calls:
                found |= {entry["at_us"], end(entry)}
        for one in self.ends:
            found |= {at for at in (one.began_us, one.ended_us) if at is not None}
        for at in map(end, [*self.parts, *self.entries]):
            if all(abs(at - other) > _APART_US for other in found):
                found.add(at)
        return sorted(found)

    def _marks(self) -> list[Mark]:
        """Return a mark for each record; what says again how a call went is only a tick."""
        of = {seq: one for one in self.ends for seq in one.seqs}
        made = []
        for entry in self.entries:
            phase, at, call = entry.get("phase"), entry["at_us"], of.get(entry["seq"])
            glyphs: list[tuple[int, str | None]] = [(end(entry), phase)]
            if call is not None and end(entry) > at:
                glyphs.insert(0, (at, _BEGINNINGS.get(phase or "")))
            again = call is not None and at not in {call.began_us, call.ended_us}
            lane = self.by_id[entry["lane"]]
            made.append(Mark(entry, lane, [(at, None)] if again else glyphs, again))
        return made

    def _last_signs(self) -> dict[str, int]:
        """Return when each agent whose run has not ended was heard of last."""
        found: dict[str, int] = {}
        ran, ended = set(), set()
        for entry in self.entries:
            phase, lane = entry.get("phase"), self.by_id[entry["lane"]]
            if lane.side != AGENT:
                continue
            found[lane.id] = max(found.get(lane.id, 0), end(entry))
            if phase in SIGNS or phase in CALLER:
                ran.add(lane.id)  # who is only called does not run it
            if phase == "finished" and entry.get("outcome") != "yielded":
                ended.add(lane.id)
        return {
            lane: at
            for lane, at in found.items()
            if lane in ran and lane not in ended and at < self.to_us
        }

    def _silent(self) -> dict[str, int]:
        """Return since when the agent that was heard of last is silent, or all that there are."""
        unheard = [lane.id for lane in self.lanes if not lane.heard and lane.side == AGENT]
        if unheard:
            handed = [one["at_us"] for one in self.entries if one.get("phase") == "dispatched"]
            return {unheard[0]: min(handed)} if handed else {}
        agents = [one for one in self.entries if self.by_id[one["lane"]].side == AGENT]
        last = max(map(end, agents), default=0)
        return {lane: at for lane, at in self.signs.items() if at == last}

    # ------------------------------------------------------------ in words

    @property
    def subject(self) -> str:
        """Whose story it is."""
        return subject(self._query)

    def told(self) -> str:
        """Return the story in sentences, for who cannot see it."""
        who = [plain(lane.id, 80) for lane in self.lanes if lane.heard]
        lasted = length(self.to_us - self.from_us)
        said = [f"{self.subject}, as told by {_listed(who)}, from {iso(self.from_us)}, {lasted}."]
        for part in self.parts:
            lane = f" ({plain(part['lane'], 80)})" if part.get("lane") else ""
            said.append(f"At {self.at(part)}{lane}: {plain(part.get('text')).removesuffix('.')}.")
        for name, at in self.silent.items():
            if self.by_id[name].heard:
                when = relative(at - self.from_us)
                said.append(f"The last sign of life of {plain(name, 80)} is at {when}; {SINCE}.")
        said += [f"No {lane.side} was heard of." for lane in self.lanes if not lane.heard]
        if not self.parts:
            said.append("Nothing shows where the stories would part.")
        return " ".join(said)

    def at(self, one: Mapping[str, Any]) -> str:
        """Return when that was, since the first record."""
        return relative(one["at_us"] - self.from_us)

    def starts(self) -> str:
        """Return when the first record was, and by whose clock."""
        said = f"0 s is {iso(self.from_us).replace('T', ' ').removesuffix('Z')} UTC"
        first = next((one for one in self.lanes if one.refers), None)
        if first is None or not any(one.offset_us for one in self.lanes):
            return said
        shifted = any(one.shift_us for one in self.lanes)
        others = ", to which others are set" if shifted else ""
        return f"{said} by the clock of {plain(first.instance or first.id, 40)}{others}"

    def omitted(self) -> str:
        """Return what is not drawn, in words."""
        said = (
            (self.left_out, "records that say less"),
            (self.lanes_out, "lanes"),
            (self.parts_out, "further partings"),
        )
        left = [f"{count:,} {what}" for count, what in said if count]
        return f"not drawn: {', '.join(left)}" if left else ""


def subject(query: Mapping[str, Any]) -> str:
    """Return what was asked for, in words."""
    kind, value = next(iter(query.items()), ("task", "?"))
    return f"{'request' if kind == 'request_id' else plain(kind, 20)} {plain(value, 80)}"


def end(entry: Mapping[str, Any]) -> int:
    """Return when a record or a part was over."""
    at: int = entry["at_us"]
    return max(entry.get("end_us") or at, at)


def _lanes(
    known: Sequence[Mapping[str, Any]], entries: Sequence[Mapping[str, Any]]
) -> tuple[list[Lane], int]:
    """Return the lanes, the dispatcher's first, and how many are not drawn.

    Where of a task one side was never heard, its empty lane is the point.
    """
    said = {one["id"]: one for one in known}
    found: dict[str, Lane] = {}
    for entry in entries:
        name, side = entry["lane"], entry.get("side") or TASK.get(entry.get("phase") or "")
        if name not in found:
            one = said.get(name, {})
            clock = one.get("offset_us"), one.get("uncertainty_us")
            found[name] = Lane(
                name, one.get("side") or side, one.get("service"), one.get("instance"), *clock
            )
        found[name].side = found[name].side or side
    drawn = list(found.values())[:_MOST_LANES]
    sides = {lane.side for lane in found.values()}
    told = any(entry.get("phase") in TASK for entry in entries)
    for side in _ORDER:
        if told and side not in sides and None not in sides:
            drawn.append(Lane(f"\0{side}", side, None, f"no {side}", heard=False))
    drawn.sort(key=lambda lane: _ORDER.get(lane.side or "", 2))
    return drawn, max(0, len(found) - _MOST_LANES)


def _chosen(entries: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], int]:
    """Return the records that are drawn, and how many are not."""
    if len(entries) <= _MOST_ENTRIES:
        return entries, 0
    telling = [
        one
        for one in entries
        if (one.get("phase") or "heartbeat") != "heartbeat"
        or (one.get("severity") or 0) >= ERROR_SEVERITY
    ]
    kept: Sequence[Mapping[str, Any]] = telling or entries
    half = _MOST_ENTRIES // 2
    kept = kept if len(kept) <= _MOST_ENTRIES else [*kept[:half], *kept[-half:]]
    return kept, len(entries) - len(kept)


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MOST_NAMED:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
