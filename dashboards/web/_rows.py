"""Room for words beside their marks: in rows, so that none covers another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_GAP: Final = 5.0
_LEADER: Final = 2.0


class Rows:
    """Rows of words, the first nearest to the marks; a word in a further one has a leader to it.

    Words are kept between *left* and *right*; there are at most *most* rows.
    """

    def __init__(self, left: float, right: float, most: int) -> None:
        self._left, self._right, self._most = left, right, most
        self._words: list[list[tuple[float, float]]] = []
        self._leaders: list[list[float]] = []

    def __len__(self) -> int:
        return len(self._words)

    def place(
        self,
        x: float,
        wide: float,
        *,
        starts: Iterable[float] | None = None,
        lines: Iterable[float] = (),
    ) -> tuple[int, float] | None:
        """Return the row, and where in it words begin that are *wide* and belong to *x*.

        They begin at one of *starts* (by default over *x*, or beside it), and are over none of the
        *lines*. None where there is no room: words that cover each other say nothing.
        """
        if starts is None:
            over = min(max(x - wide / 2, self._left), self._right - wide)
            starts = (over, x + _GAP, x - _GAP - wide)
        within = [one for one in starts if one >= self._left and one + wide <= self._right]
        free = [
            one for one in within
            if not any(one - _LEADER < line < one + wide + _LEADER for line in lines)
        ]  # fmt: skip
        for row in range(min(len(self) + 1, self._most)):
            for start in free:
                if self._has_room(row, start, start + wide):
                    self._take(row, start, start + wide, x)
                    return row, start
            if row < len(self) and not self._crosses(row, x):
                break  # nothing further out can be reached from here
        return None

    def _crosses(self, row: int, x: float) -> bool:
        """Return whether a leader at *x* passes between the words of *row*."""
        return all(x <= low - _LEADER or x >= high + _LEADER for low, high in self._words[row])

    def _has_room(self, row: int, start: float, end: float) -> bool:
        if row == len(self):
            return True
        words = all(end + _GAP <= low or start >= high + _GAP for low, high in self._words[row])
        return words and all(
            at <= start - _LEADER or at >= end + _LEADER for at in self._leaders[row]
        )

    def _take(self, row: int, start: float, end: float, x: float) -> None:
        if row == len(self):
            self._words.append([])
            self._leaders.append([])
        self._words[row].append((start, end))
        for low in range(row):
            self._leaders[low].append(x)
