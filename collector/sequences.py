"""Which records never came: processes that number what they say leave a gap where one is lost.

A gap is told as an `export.failed` signal, and goes the way of all that comes in. What fills it
later takes that back. A sidecar that begins looks at what came last before it ended: else what was
lost while it was away would leave no gap.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
import orjson
import pyarrow.compute as pc

from collector.ingest import BusyError
from collector.lost import KIND, WHO
from collector.store.journal import Entry, JournalFullError
from model.units import SECOND_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    import pyarrow as pa
    from numpy.typing import NDArray

_LOG: Final = logging.getLogger("zombiewatch.store")

_HOLD_US: Final = 10 * SECOND_US
"""What is missing so long after its followers came is told: most that is late comes sooner."""

_SETTLE_US: Final = 2 * SECOND_US
"""So short, where its followers themselves tell of a time so long after it: all were held up."""

PAST_US: Final = 600 * SECOND_US
"""So long before its end a sidecar that begins looks at what came."""

PAST_ROWS: Final = 200_000
"""It looks at no more than so many records."""

READ: Final = (*WHO, "sequence", "ts_us", "end_us", "arrived_us")
"""Columns of signals that are looked at."""

_SOURCES_MAX: Final = 10_000
_HOLES_MAX: Final = 1_000
_WAIT_S: Final = 5.0

_Who: TypeAlias = tuple[str | None, ...]


@dataclass(slots=True)
class _Hole:
    """Numbers that did not come, both included; times are by the sender's clock."""

    first: int
    last: int
    from_us: int
    to_us: int
    noticed_us: int
    told: bool = False


class _Heard(NamedTuple):
    """Numbers of one source, rising, each once; when it was said, and when it came."""

    numbers: NDArray[np.int64]
    said_us: NDArray[np.int64]
    arrived_us: NDArray[np.int64]


@dataclass(slots=True)
class _Source:
    """How far one life of a process has counted, and what is missing up to there."""

    high: int
    high_us: int
    newest_us: int
    holes: list[_Hole] = field(default_factory=list)

    def take(self, heard: _Heard) -> list[_Hole]:
        """Take in what was *heard*; return told holes of which some came."""
        numbers, times = heard.numbers, heard.said_us
        again = (numbers <= self.high) & (times > self.newest_us)
        if again.any() and not self._holds(numbers[again]):
            # it counts from its beginning again, without having said that it is another life
            self.high, self.high_us = int(numbers[again][0]) - 1, int(times[again][0])
            self.holes = []
        new = numbers > self.high
        filled = self._fill(numbers[~new], times[~new])
        if new.any():
            come, said, arrived = numbers[new], times[new], heard.arrived_us[new]
            before = np.concatenate(([self.high], come[:-1]))
            before_us = np.concatenate(([self.high_us], said[:-1]))
            for at in np.nonzero(come - before > 1)[0]:
                self.holes.append(
                    _Hole(int(before[at]) + 1, int(come[at]) - 1,
                          int(min(before_us[at], said[at])), int(max(before_us[at], said[at])),
                          int(arrived[at]))
                )  # fmt: skip
            self.high, self.high_us = int(come[-1]), int(said[-1])
        self.newest_us = max(self.newest_us, int(times.max()))
        if len(self.holes) > _HOLES_MAX:
            self._merge()
        return filled

    def _holds(self, numbers: NDArray[np.int64]) -> bool:
        return any(
            bool(((numbers >= one.first) & (numbers <= one.last)).any()) for one in self.holes
        )

    def _fill(self, numbers: NDArray[np.int64], times: NDArray[np.int64]) -> list[_Hole]:
        filled, left = [], []
        for hole in self.holes:
            inside = (numbers >= hole.first) & (numbers <= hole.last)
            if not inside.any():
                left.append(hole)
                continue
            if hole.told:
                filled.append(hole)
            first, since = hole.first, hole.from_us
            for number, at in zip(numbers[inside].tolist(), times[inside].tolist(), strict=True):
                if number > first:
                    left.append(
                        _Hole(first, number - 1, min(since, at), max(since, at), hole.noticed_us)
                    )
                first, since = number + 1, at
            if first <= hole.last:
                left.append(
                    _Hole(first, hole.last, min(since, hole.to_us), hole.to_us, hole.noticed_us)
                )
        self.holes = left
        return filled

    def _merge(self) -> None:
        """Make one of the older half: more is missing than is worth telling apart."""
        half = self.holes[: len(self.holes) // 2]
        whole = _Hole(half[0].first, half[-1].last, min(one.from_us for one in half),
                      max(one.to_us for one in half), half[-1].noticed_us)  # fmt: skip
        self.holes[: len(half)] = [whole]


class Sequences:
    """What each numbering source has said so far. *append* is the store's; used by one thread.

    Nothing is told before *ready*: while the journal is read again, nobody writes it yet.
    """

    def __init__(
        self, append: Callable[[Entry], Future[int]], ready: Callable[[], bool] = lambda: True
    ) -> None:
        self._append = append
        self._ready = ready
        self._sources: OrderedDict[_Who, _Source] = OrderedDict()
        self._untold: list[dict[str, Any]] = []
        self._waiting = False

    def look(self, signals: pa.Table) -> None:
        """Look at *signals* (see `model.signals`) as they are applied; tell what never came."""
        numbered = signals["sequence"].null_count < signals.num_rows
        if not (numbered or self._waiting) or not signals.num_rows:
            return
        now = pc.max(signals["arrived_us"]).as_py()
        if numbered:
            self._count(signals.filter(signals["sequence"].is_valid()))
        self._waiting = False
        for who, source in self._sources.items():
            for hole in source.holes:
                late = source.newest_us - hole.to_us >= _HOLD_US
                held_us = _SETTLE_US if late else _HOLD_US
                if not hole.told and hole.noticed_us <= now - held_us:
                    hole.told = True
                    self._untold.append(_row(who, hole, found=False))
                self._waiting |= not hole.told
        if self._untold and self._ready():
            self._tell(now)
        elif self._untold:
            self._waiting = True

    def resume(self, past: pa.Table) -> None:
        """Go on from numbered signals that came before this sidecar began; columns as `READ`.

        What is missing of them is told again, in the same words.
        """
        if not past.num_rows:
            return
        self._count(past)
        arrived = pc.min_max(past["arrived_us"]).as_py()
        # what seems to be missing of the older half may have come before what is looked at
        certain_us = (arrived["min"] + arrived["max"]) // 2
        for source in self._sources.values():
            source.holes = [one for one in source.holes if one.noticed_us >= certain_us]
            self._waiting |= bool(source.holes)

    def _count(self, signals: pa.Table) -> None:
        for who, heard in _by_source(signals):
            source = self._sources.get(who)
            if source is None:
                first_us = int(heard.said_us[0])
                source = _Source(int(heard.numbers[0]) - 1, first_us, first_us)
                self._sources[who] = source
                while len(self._sources) > _SOURCES_MAX:
                    self._sources.popitem(last=False)
            self._sources.move_to_end(who)
            filled = source.take(heard)
            self._untold += [_row(who, hole, found=True) for hole in filled]

    def _tell(self, now_us: int) -> None:
        """Write down what is to be told; what cannot be written now is tried again next time."""
        try:
            self._append(Entry(KIND, now_us, orjson.dumps(self._untold))).result(_WAIT_S)
        except (BusyError, JournalFullError, TimeoutError, RuntimeError) as error:
            _LOG.warning("lost records could not be written down, it is tried again: %s", error)
            self._waiting = True
        else:
            self._untold = []


def _by_source(signals: pa.Table) -> Iterator[tuple[_Who, _Heard]]:
    """Yield each source that numbers, and what was heard of it."""
    columns = [pc.fill_null(signals[name], "").combine_chunks() for name in WHO]
    codes = pc.binary_join_element_wise(*columns, "\x1f").dictionary_encode()
    of = codes.indices.to_numpy(zero_copy_only=False)
    numbers = signals["sequence"].to_numpy()
    times = pc.coalesce(signals["end_us"], signals["ts_us"]).to_numpy()
    arrived = signals["arrived_us"].to_numpy()
    order = np.lexsort((numbers, of))
    for rows in np.split(order, np.nonzero(np.diff(of[order]))[0] + 1):
        who = codes.dictionary[int(of[rows[0]])].as_py().split("\x1f")
        once, first = np.unique(numbers[rows], return_index=True)
        heard = _Heard(once, times[rows][first], arrived[rows][first])
        yield tuple(one or None for one in who), heard


def _row(who: _Who, hole: _Hole, *, found: bool) -> dict[str, Any]:
    said = dict(zip(WHO, who, strict=True))
    return said | {
        "error": f"{said['boot'] or ''}/{hole.first}-{hole.last}",
        "ts_us": hole.to_us,
        # of what is said of one hole, the later word counts
        "end_us": hole.to_us + found,
        "from_us": hole.from_us,
        "to_us": hole.to_us,
        "lost": 0 if found else hole.last - hole.first + 1,
    }
