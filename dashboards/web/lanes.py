"""The swim-lane timeline as SVG: who said what when, and where the stories part.

It uses no styles but the classes of `static/lanes.css`, and no scripts. Whatever it shows was
written by those who are watched.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from dashboards.web._arrows import arrows
from dashboards.web._axis import length, relative
from dashboards.web._calls import hops
from dashboards.web._glyphs import glyph
from dashboards.web._layout import LEFT, MARGIN, PART_ROW, PAST, REACH, RIGHT, ROW, WIDE, Layout
from dashboards.web._story import SINCE, Story, end, subject
from dashboards.web._svg import BOLD, clipped, content, element, number, title, width, words
from model.phases import SIGNS
from model.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dashboards.web._layout import Track
    from dashboards.web._story import Lane, Mark

_AXIS: Final = 50.0
_NAME_ROOM: Final = 176.0
_START_ROOM: Final = 560.0
_NAME_SIZE: Final = 13 * BOLD
_WHISKER_ROWS: Final = 3
_VISIBLE: Final = 2.0
"""Units from which on a clock's uncertainty is drawn."""


def draw(timeline: Mapping[str, Any], *, now_us: int) -> str:
    """Return *timeline*, as the API answers it, as an `<svg>` element.

    *now_us* is where it ends while something that was found of it is open. Of very many records
    those are drawn that say most; how many are not is said in it.
    """
    if timeline.get("entries"):
        return _Picture(Story(timeline, now_us)).svg()
    said = f"Nothing is known of {subject(timeline.get('query') or {})}."
    shown = clipped(said, WIDE - 2 * MARGIN)
    return _svg(said, 60.0, words(WIDE / 2, 36.0, shown, "tl-note tl-middle"))


def _svg(name: str, high: float, *inside: str) -> str:
    return element(
        "svg",
        title(name),
        *inside,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(WIDE)} {number(high)}",
        role="img",
        cls="tl",
        font_size=11,
    )


class _Picture(Layout):
    """A story, drawn."""

    def svg(self) -> str:
        """Return all of it, what lies beneath first."""
        high = self.bottom + _AXIS
        return _svg(
            f"Timeline of {self.story.subject}",
            high,
            element("desc", content(self.story.told())),
            element("rect", width=WIDE, height=high, rx=8.0, cls="tl-ground"),
            *self._rift(),
            *self._time(),
            *self._rails(),
            *self._silence(),
            *self._part_lines(),
            *self._arrows(),
            *self._runs(),
            *map(self._mark, self._ordered()),
            *self._words(),
            *self._part_words(),
        )

    def _ordered(self) -> list[Mark]:
        """Return marks, what matters over what does not, bars beneath all."""
        marks = self.story.marks
        return sorted(marks, key=lambda one: (not one.lasts, not one.again, one.alarming))

    def _rift(self) -> Iterator[str]:
        """Yield the stretch in which the stories are apart."""
        if self.parting and self.parting[-1] - self.parting[0] >= 1:
            yield self._band(self.parting[0], self.parting[-1], "tl-rift")

    def _band(self, left: float, right: float, cls: str, tip: str = "") -> str:
        return element(
            "rect", tip, x=left, y=self.top, width=right - left, height=self.bottom - self.top,
            cls=cls,
        )  # fmt: skip

    def _time(self) -> Iterator[str]:
        """Yield the axis: its ticks, its breaks, when it begins, and now."""
        y, story = self.bottom, self.story
        for tick in self.axis.ticks([(self.right - 18, self.right + 18)] if story.waits else ()):
            yield _line(tick.x, self.top, tick.x, y, "tl-grid")
            yield _line(tick.x, y, tick.x, y + 5, "tl-tick")
            yield words(tick.x, y + 18, tick.text, "tl-time tl-middle")
        yield _line(LEFT - PAST, y, self.right + PAST, y, "tl-axis")
        for one in self.axis.breaks:
            middle, tip = (one.left + one.right) / 2, f"{one.text}, of which nothing is told"
            yield self._band(one.left + 4, one.right - 4, "tl-cut", title(tip))
            yield element("rect", x=middle - 5, y=y - 2, width=10.0, height=4.0, cls="tl-gap")
            for at in (middle - 5, middle + 5):
                yield _line(at - 3, y + 6, at + 3, y - 6, "tl-zigzag")
            yield words(middle, y + 18, one.text, "tl-length tl-middle")
        if story.waits:
            now = f"now, {relative(story.to_us - story.from_us)}"
            yield _line(self.right, self.top, self.right, y + 5, "tl-tick")
            yield words(self.right, y + 18, "now", "tl-time tl-middle", now)
        start = story.starts()
        yield words(LEFT - PAST, y + 38, clipped(start, _START_ROOM), "tl-note", start)
        if story.omitted():
            yield words(RIGHT + PAST, y + 38, story.omitted(), "tl-note tl-end")

    def _rails(self) -> Iterator[str]:
        """Yield each lane's line, and who it is."""
        for track in self.tracks.values():
            lane, y = track.lane, track.y
            rail = f"tl-rail{'' if lane.heard else ' tl-unheard'}"
            yield _line(LEFT - PAST, y, RIGHT + PAST, y, rail)
            lines = [words(MARGIN, y - 3, clipped(lane.name, _NAME_ROOM, _NAME_SIZE), "tl-name")]
            if lane.heard:
                lines += [_whose(lane, y + 12, track.cls)]
            else:
                lines += [words(MARGIN, y + 12, "nothing heard", "tl-off")]
            if lane.clock():
                off = " tl-off" if lane.shift_us else ""
                lines.append(words(MARGIN, y + 26, lane.clock(), f"tl-clock{off}"))
            name = plain(lane.id) if lane.heard else None
            yield element(
                "g", title(name or lane.name), *lines, cls=f"tl-lane {track.cls}", data_lane=name
            )

    def _silence(self) -> Iterator[str]:
        """Yield the time in which nobody was heard of, on its lane."""
        for name, at in self.story.silent.items():
            track, lasted = self.tracks[name], length(self.story.to_us - at)
            left = self.axis.x(at) + (PAST if track.lane.heard else 0)
            if track.lane.heard:
                texts = (f"{SINCE} · {lasted}", SINCE, "silent")
            else:
                texts = (f"no agent was ever heard of it · {lasted}", "never heard of it", "silent")
            low, high = self._widest(left, self.right)
            fits = (one for one in texts if width(one, 11 * BOLD) < high - low - 6)
            text = next(fits, "")
            yield element(
                "g",
                title(texts[0]),
                element(
                    "rect", x=left, y=track.y - 10, width=max(0.0, self.right - left), height=20.0,
                    rx=3.0, cls="tl-silence",
                ),
                words((low + high) / 2, track.y + 4, text, "tl-silent tl-middle") if text else "",
            )  # fmt: skip

    def _widest(self, left: float, right: float) -> tuple[float, float]:
        """Return the widest room between *left* and *right* that no line of a parting crosses."""
        stops = sorted({left, right, *(x for x in self.parting if left < x < right)})
        return max(pairwise(stops), key=lambda one: one[1] - one[0], default=(left, right))

    def _runs(self) -> Iterator[str]:
        """Yield a line from where a run began to where it ended, or to its last sign of life."""
        begun: dict[tuple[str, Any, Any], int] = {}
        over: dict[tuple[str, Any, Any], int] = {}
        for mark in self.story.marks:
            one, phase = mark.entry, mark.entry.get("phase")
            key = mark.lane.id, one.get("task"), one.get("attempt")
            if phase == "started":
                begun.setdefault(key, one["at_us"])
            if phase in SIGNS and phase != "reported":  # to report is no longer to run
                over[key] = end(one)
        for key, at in begun.items():
            track, left, right = self.tracks[key[0]], self.axis.x(at), self.axis.x(over[key])
            yield _line(left, track.y, right, track.y, f"tl-run {track.cls}")

    def _arrows(self) -> Iterator[str]:
        for hop in hops(self.story.ends):
            caller, callee = self.tracks[hop.caller.lane], self.tracks[hop.callee.lane]
            if caller is not callee:
                yield from arrows(hop, self.axis.x, caller.y, callee.y, WIDE - MARGIN)

    def _mark(self, mark: Mark) -> str:
        """Return a record's bar and glyphs, with what it says as their tooltip."""
        track = self.tracks[mark.lane.id]
        left, right = self.axis.x(mark.entry["at_us"]), self.axis.x(end(mark.entry))
        phase, y = mark.entry.get("phase"), track.y
        tone = " tl-bad" if mark.alarming else " tl-warn" if mark.warns else ""
        hit = element(
            "rect", x=left - PAST, y=y - 9, width=right - left + 2 * PAST, height=18.0, rx=5.0,
            cls="tl-hit",
        )  # fmt: skip
        inside = [title(self._tip(mark)), hit]
        if mark.lasts:
            half = 3.0 if phase else 2.0
            inside.append(
                element(
                    "rect", x=left, y=y - half, width=right - left, height=2 * half, rx=2.0,
                    cls="tl-bar",
                )
            )  # fmt: skip
        for at, each in mark.glyphs:
            inside += self._whisker(track, at)
            if each is None and mark.lasts and not mark.alarming:
                continue  # its bar is enough
            place = f"translate({number(self.axis.x(at))} {number(y)})"
            cls = f"{track.cls}{tone if each == phase else ''}"
            inside.append(
                element("g", glyph(each, alarming=mark.alarming), transform=place, cls=cls)
            )
        dim = " tl-dim" if mark.again or (phase is None and not mark.alarming) else ""
        return element("g", *inside, cls=f"tl-mark {track.cls}{dim}", data_seq=mark.entry["seq"])

    def _whisker(self, track: Track, at_us: int) -> Iterator[str]:
        """Yield between what times it was, where that can be seen."""
        around = track.lane.around(at_us)
        if around is None:
            return
        low, high = map(self.axis.x, around)
        if (high - low) / 2 > _VISIBLE:
            free = (row for row, taken in enumerate(track.whiskers) if taken < low)
            row = min(next(free, len(track.whiskers)), _WHISKER_ROWS - 1)
            track.whiskers[row : row + 1] = [high]
            y = track.y + (REACH + 4 + 5 * row) * (1 if track.up else -1)
            line = f"M{number(low)} {number(y - 3)}v6m0-3H{number(high)}m0-3v6"
            yield element("path", d=line, cls="tl-whisker")

    def _tip(self, mark: Mark) -> str:
        one, lane = mark.entry, mark.lane
        said = [self.story.at(one), one.get("phase") or one.get("kind"), one.get("name")]
        if mark.lasts:
            said.append(f"took {length(end(one) - one['at_us'])}")
        said += [one.get("outcome"), one.get("state"), one.get("body")]
        own = relative(one["at_us"] + lane.shift_us - self.story.from_us)
        clock = f", by its own clock {own}" if lane.shift_us else ""
        told = "  ".join(plain(each, 160) for each in said if each)
        return f"{told}  ({plain(lane.id, 120)}{clock})"

    def _words(self) -> Iterator[str]:
        for one, row, start in self.labels:
            track, x = one.track, one.x
            down = -1 if track.up else 1
            y = track.y + down * (REACH + 4 + row * ROW) + (0 if track.up else REACH)
            if row:
                tip = y + (3 if track.up else -REACH)
                yield _line(x, track.y + down * REACH, x, tip, "tl-leader")
            # anchored where its mark is: the words are not just as wide as was thought
            at, anchor = start + one.wide / 2, " tl-middle"
            if start > x or start + one.wide < x:
                at, anchor = (start, "") if start > x else (start + one.wide, " tl-end")
            yield words(at, y, one.said, f"tl-word {track.cls}{one.cls}{anchor}")

    def _part_lines(self) -> Iterator[str]:
        rows: dict[float, int] = {}
        for x, row, *_ in self.flags:
            rows[x] = max(row, rows.get(x, 0))
        for x, part in zip(self.parting, self.story.parts, strict=True):
            tip = title(plain(part.get("text")))
            yield _line(x, self._flag_y(rows.get(x, 0)) - 10, x, self.bottom, "tl-part", tip=tip)

    def _part_words(self) -> Iterator[str]:
        for x, row, start, said, whole in self.flags:
            y, left = self._flag_y(row), start < x
            flag = f"M{number(x)} {number(y - 9)}l4.5 4.5l-4.5 4.5l-4.5-4.5Z"
            yield element("path", d=flag, cls="tl-flag")
            at, anchor = (x - 9, " tl-end") if left else (start, "")
            yield words(at, y, said, f"tl-parting{anchor}", whole)

    def _flag_y(self, row: int) -> float:
        return self.top - 5 - row * PART_ROW


def _line(x: float, y: float, to_x: float, to_y: float, cls: str, *, tip: str = "") -> str:
    line = f"M{number(x)} {number(y)}L{number(to_x)} {number(to_y)}"
    return element("path", tip, d=line, cls=cls)


def _whose(lane: Lane, y: float, cls: str) -> str:
    """Return a lane's side and its service, as one line."""
    side, service = lane.side or "", plain(lane.service or "") if lane.instance else ""
    short = clipped(service, _NAME_ROOM - width(side, 11 * BOLD))
    return element(
        "text",
        element("tspan", content(side), cls=f"tl-side {cls}") if side else "",
        element("tspan", content(short), dx=5.0 if side else None, cls="tl-service"),
        x=MARGIN,
        y=y,
    )
