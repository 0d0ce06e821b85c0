"""Where everything of a timeline goes: its lanes, its words, and the words of its partings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dashboards.web._axis import Axis
from dashboards.web._glyphs import WEIGHTY, word
from dashboards.web._rows import Rows
from dashboards.web._story import AGENT, DISPATCHER, MOST_PARTS, Lane, Story
from dashboards.web._svg import BOLD, clipped, width
from model.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

WIDE: Final = 1100.0
MARGIN: Final = 14.0
LEFT: Final = 206.0
RIGHT: Final = 1074.0
PAST: Final = 8.0
"""So far beyond its first and last moment a line goes."""
_TOP: Final = 12.0
REACH: Final = 9.0
"""Half a mark."""
ROW: Final = 14.0
PART_ROW: Final = 18.0
_BARE: Final = 26.0
"""What a lane takes on the side where its words are not."""
_BETWEEN: Final = 30.0
"""More room where arrows go from the dispatcher's lanes to the agents'."""
_WORD_ROOM: Final = 150.0
_SILENT_ROOM: Final = 210.0
_NOW_ROOM: Final = 78.0
"""What silence up to now takes if it is cut short: with words in it, or only its length below."""
_FLAG_SIZE: Final = 12 * BOLD
_LABEL_ROWS: Final = 4
_NEAR: Final = 3.0
"""Units within which marks are at the same place, as far as words are concerned."""
_LIGHT: Final = 2
"""The weight from which on words are left out rather than put where they disturb."""


@dataclass(slots=True)
class Track:
    """Where a lane is, and which words and whiskers have their place there."""

    lane: Lane
    y: float = 0.0
    whiskers: list[float] = field(default_factory=list)
    rows: Rows = field(default_factory=lambda: Rows(LEFT - MARGIN, WIDE - 4, _LABEL_ROWS))

    @property
    def up(self) -> bool:
        """Whether its words stand above it: the dispatcher's do, arrows go from below."""
        return self.lane.side == DISPATCHER

    @property
    def cls(self) -> str:
        return f"tl-{self.lane.side if self.lane.side in {DISPATCHER, AGENT} else 'other'}"

    @property
    def room(self) -> float:
        """What it takes on the side where its words are."""
        return REACH + 6 + max(1, len(self.rows)) * ROW


@dataclass(frozen=True, slots=True)
class Label:
    track: Track
    x: float
    weight: int
    said: str
    cls: str = ""

    @property
    def wide(self) -> float:
        return width(self.said) * (BOLD if self.cls else 1)


class Layout:
    """A story with the places of all that is drawn of it."""

    def __init__(self, story: Story) -> None:
        self.story = story
        room = _SILENT_ROOM if story.silent else _NOW_ROOM
        self.axis = Axis(story.moments(), LEFT, RIGHT, tail=room)
        self.right = self.axis.x(story.to_us)
        self.tracks = {lane.id: Track(lane) for lane in story.lanes}
        self.parting = [self.axis.x(part["at_us"]) for part in story.parts]
        self.labels = self._labels()
        self.flags, flag_rows = self._flags()
        self.top = _TOP + flag_rows * PART_ROW
        self.bottom = self._lay_out()

    def _labels(self) -> list[tuple[Label, int, float]]:
        """Return the words for marks that have room, with their row and where they begin."""
        wanted = sorted(self._wanted(), key=lambda one: (one.weight, one.x))
        made: list[tuple[Label, int, float]] = []
        near: set[tuple[str, str, int]] = set()
        for one in wanted:
            spot = one.track.lane.id, one.said, round(one.x / _NEAR)
            if spot in near:
                continue
            near.add(spot)
            # best beside what wants words too, which need a way out; a parting only if it must be
            others = [
                each.x for each in wanted
                if each.track is one.track and abs(each.x - one.x) > _NEAR
            ]  # fmt: skip
            tries = [[*self.parting, *others], self.parting, *([[]] if one.weight < _LIGHT else [])]
            for lines in tries:
                place = one.track.rows.place(one.x, one.wide, lines=lines)
                if place:
                    made.append((one, *place))
                    break
        return made

    def _wanted(self) -> Iterator[Label]:
        beating = set()
        for mark in self.story.marks:
            track = self.tracks[mark.lane.id]
            for at, phase in mark.glyphs:
                if phase is None or (phase == "heartbeat" and mark.lane.id in beating):
                    continue
                if phase == "heartbeat":
                    beating.add(mark.lane.id)
                bad = mark.alarming and phase == mark.entry.get("phase")
                weight = 0 if bad else 1 if phase in WEIGHTY else _LIGHT
                said = _said(phase, mark.entry)
                yield Label(track, self.axis.x(at), weight, said, " tl-bad" if bad else "")
        for lane, at in self.story.signs.items():
            x = self.axis.x(at)
            if self.right - x > REACH:
                yield Label(self.tracks[lane], x, -1, "last sign of life", " tl-bad")

    def _flags(self) -> tuple[list[tuple[float, int, float, str, str]], int]:
        """Return the words where the stories part, placed, and how many rows they take."""
        rows = Rows(PAST, WIDE - PAST, 2 * MOST_PARTS)
        texts = (plain(part.get("text")) for part in self.story.parts)
        left = list(zip(self.parting, texts, strict=True))
        made = []
        while left:
            # lowest what covers fewest lines of the others, which come down from their own words
            xs = [x for x, _ in left]
            x, whole, start, said = min(
                (one for each in left for one in _beside(*each)),
                key=lambda one: (_covered(one[2], one[3], xs), -one[0]),
            )
            left.remove((x, whole))
            place = rows.place(x, width(said, _FLAG_SIZE), starts=[start])
            if place:
                made.append((x, *place, said, whole))
        return made, len(rows)

    def _lay_out(self) -> float:
        """Give each lane its height; return where the axis is."""
        y = self.top
        above = None
        for track in self.tracks.values():
            if above is not None and above.up and not track.up:
                y += _BETWEEN
            track.y = y + (track.room if track.up else _BARE)
            y = track.y + (_BARE if track.up else track.room)
            above = track
        return y + PAST


def _said(phase: str, entry: Mapping[str, Any]) -> str:
    of = entry.get("state") if phase == "recorded" else None
    of = of or (entry.get("outcome") if phase in {"finished", "recorded", "reported"} else None)
    said = plain(word(phase), 40)
    return clipped(f"{said}: {plain(of, 40)}" if of else said, _WORD_ROOM)


def _beside(x: float, whole: str) -> Iterator[tuple[float, str, float, str]]:
    """Yield where words of a parting at *x* may begin, and what of them has room there."""
    wide = width(whole, _FLAG_SIZE)
    if x + REACH + wide <= WIDE - PAST:
        yield x, whole, x + REACH, whole
    if x - REACH - wide >= PAST:
        yield x, whole, x - REACH - wide, whole
    said = clipped(whole, max(x, WIDE - x) - 3 * PAST, _FLAG_SIZE)
    if said != whole:
        yield x, whole, x + REACH if x < WIDE / 2 else x - REACH - width(said, _FLAG_SIZE), said


def _covered(start: float, said: str, xs: Iterable[float]) -> int:
    return sum(start - 2 < x < start + width(said, _FLAG_SIZE) + 2 for x in xs)
