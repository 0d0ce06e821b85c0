"""One axis of time for all lanes: to scale, but for long stretches in which nothing happened."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from model.units import DAY_US, HOUR_US, MINUTE_US, SECOND_US, span_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_BREAK: Final = 48.0
"""Units that a stretch which is cut takes."""
_LEGIBLE: Final = 26.0
"""Units between two moments from where on they are told apart at a glance."""
_COST: Final = 18.0
"""What a break must add to what is legible, in the same units, to be worth its irritation."""
_MOST: Final = 7
_LEAST_SHARE: Final = 0.4
"""At least so much of the axis is to scale."""
_SAME_US: Final = 200
"""Moments that are nearer than that are one: no two clocks agree so well."""
_TICK: Final = 84.0
_ROUND_US: Final[tuple[int, ...]] = (
    *(factor * 10**power for power in range(7) for factor in (1, 2, 5)),
    *(factor * SECOND_US for factor in (10, 15, 30)),
    *(factor * MINUTE_US for factor in (1, 2, 5, 10, 15, 30)),
    *(factor * HOUR_US for factor in (1, 2, 3, 6, 12)),
    DAY_US,
)
_TENTHS_US: Final = 10_000
"""Milliseconds below that have a digit more."""


@dataclass(frozen=True, slots=True)
class Break:
    """A stretch of time that is cut short."""

    from_us: int
    to_us: int
    left: float
    right: float

    @property
    def text(self) -> str:
        """How long it really is."""
        return length(self.to_us - self.from_us)


@dataclass(frozen=True, slots=True)
class Tick:
    """A moment with its place and its words."""

    x: float
    text: str


class Axis:
    """Places for times, from *left* to *right*: monotone, and linear but for `breaks`.

    A task handed out, answered within milliseconds and missed for ten minutes: to scale, all that
    was said of it would be one dot. So the longest gaps between *moments* are cut where that lets
    more of the others be seen than it costs. What is not cut has one scale everywhere.
    With *tail*, the last gap is silence up to now, and takes so much if it is cut.
    """

    def __init__(
        self, moments: Iterable[int], left: float, right: float, *, tail: float = _BREAK
    ) -> None:
        self._left, self._right = left, right
        merged = _merged(sorted(moments))
        self.from_us, self.to_us = merged[0], merged[-1]
        cut = _cut(merged, right - left, tail=tail)
        room = right - left - sum(cut.values())
        whole = sum(b - a for i, (a, b) in enumerate(pairwise(merged)) if i not in cut)
        self._scale = room / whole if whole else 0.0
        self._times, self._places = [merged[0]], [left]
        self.breaks: list[Break] = []
        for index, (begin, end) in enumerate(pairwise(merged)):
            at = self._places[-1]
            if index in cut:
                self.breaks.append(Break(begin, end, at, at + cut[index]))
            self._times.append(end)
            self._places.append(at + (cut.get(index) or (end - begin) * self._scale))

    def x(self, at_us: int) -> float:
        """Return the place of a time; of one beyond the ends, that end."""
        if at_us <= self.from_us:
            return self._left
        if at_us >= self.to_us:
            return self._places[-1]
        after = bisect_right(self._times, at_us)
        (begin, end), (low, high) = (
            self._times[after - 1 : after + 1],
            self._places[after - 1 : after + 1],
        )
        return low + (high - low) * (at_us - begin) / (end - begin)

    def ticks(self, taken: Iterable[tuple[float, float]] = ()) -> list[Tick]:
        """Return round times, and where there is none the first of what is between two breaks.

        *taken* are places where there is no room for one.
        """
        step = _step(_TICK / self._scale if self._scale else SECOND_US)
        made: list[Tick] = []
        taken = [*taken, *((one.left + 2, one.right - 2) for one in self.breaks)]
        wanted = [(begin, True) for begin, _ in self._stretches()]
        for begin, end in self._stretches():
            first = self.from_us + -(-(begin - self.from_us) // step) * step
            count = min(64, max(0, (end - first) // step + 1))
            wanted += [(first + n * step, False) for n in range(count)]
        for at_us, exact in wanted:
            x = self.x(at_us)
            half = 34.0 if exact else 30.0
            if all(x + half <= low or x - half >= high for low, high in taken):
                made.append(Tick(x, relative(at_us - self.from_us, 1000 if exact else step)))
                taken.append((x - half, x + half))
        return made

    def _stretches(self) -> Iterator[tuple[int, int]]:
        begin = self.from_us
        for one in self.breaks:
            yield begin, one.from_us
            begin = one.to_us
        yield begin, self.to_us


def _merged(moments: Sequence[int]) -> list[int]:
    """Return *moments* without those that are the same to the eye; the last one stays."""
    kept = [moments[0]]
    for one in moments[1:]:
        if one - kept[-1] >= _SAME_US:
            kept.append(one)
    if kept[-1] != moments[-1]:
        kept.append(moments[-1])
    return kept


def _cut(moments: Sequence[int], room: float, *, tail: float) -> dict[int, float]:
    """Return which gaps are cut, by their number, and to what."""
    gaps = [end - begin for begin, end in pairwise(moments)]
    longest = sorted(range(len(gaps)), key=lambda index: -gaps[index])
    best: dict[int, float] = {}
    best_score = float("-inf")
    cut: dict[int, float] = {}
    for number in range(min(_MOST, len(gaps) - 1) + 1):
        if number:
            index = longest[number - 1]
            cut[index] = tail if index == len(gaps) - 1 else _BREAK
        linear = room - sum(cut.values())
        if linear < room * _LEAST_SHARE:
            break
        rest = [gap for index, gap in enumerate(gaps) if index not in cut]
        scale = linear / (sum(rest) or 1)
        score = sum(min(gap * scale, _LEGIBLE) for gap in rest) + number * (_LEGIBLE - _COST)
        if any(gaps[index] * scale < wide for index, wide in cut.items()):
            continue  # to scale it would be shorter: nothing is gained
        if score > best_score:
            best, best_score = dict(cut), score
    return best


def _step(least_us: float) -> int:
    """Return the round length of time that is at least *least_us*."""
    for round_us in _ROUND_US:
        if round_us >= least_us:
            return round_us
    return DAY_US << int(least_us / DAY_US).bit_length()


def relative(us: int, step_us: int = 1000) -> str:
    """Return a time since the first record as `+1.003 s`, from two minutes on as `+0:12:30`.

    *step_us* is how exact it has to be: where whole minutes or hours do, `+12 min`, `+3 h`.
    """
    sign, us = ("-" if us < 0 else "+"), abs(us)
    if us == 0:
        return "0 s"
    for unit, name in ((DAY_US, "d"), (HOUR_US, "h"), (MINUTE_US, "min")):
        if step_us % unit == 0 and us % unit == 0:
            return f"{sign}{us // unit:,} {name}"
    exact = (10**6, 10**5, 10**4, 10**3)
    digits = next((at for at, unit in enumerate(exact) if step_us % unit == 0), 6)
    if us < 2 * MINUTE_US:
        return f"{sign}{us / 1e6:.{digits}f} s"
    minutes, seconds = divmod(round(us / 1e6, digits), 60)
    hours, minutes = divmod(int(minutes), 60)
    second = f"{seconds:0{digits + 3 if digits else 2}.{digits}f}"
    return f"{sign}{hours}:{minutes:02d}:{second}"


def length(us: int) -> str:
    """Return a length of time as people say it, milliseconds included."""
    if abs(us) < SECOND_US:
        return f"{us / 1000:.1f} ms" if abs(us) < _TENTHS_US else f"{us / 1000:.0f} ms"
    return span_text(us / 1e6) if us >= 10 * SECOND_US else f"{us / 1e6:.2f} s"
