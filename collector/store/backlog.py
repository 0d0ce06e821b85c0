"""What is on disk and not yet in the relations, in journal order.

The newest records are at hand in memory, as many as may be; what is over that is read from the
journal again when its turn comes. So a sidecar that cannot keep up, or has just started, needs
disk and time, but no more memory.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from collector.pipeline import Record

ROWS: Final = 50_000
"""Rows in a batch at most, about: a body is not cut."""

_BYTES_A_ROW: Final = 400.0
_LEAST_BYTES_A_ROW: Final = 40.0


class Backlog:
    """Filled by the journal's thread, emptied in batches by one other.

    *read* returns some records past an ID, and the last ID looked at. *held_bytes* is what the
    records kept in memory may take.
    """

    def __init__(
        self,
        read: Callable[[int], tuple[list[Record], int]],
        *,
        after: int,
        newest: int,
        held_bytes: int,
    ) -> None:
        self._read = read
        self._most = held_bytes
        self._changed = threading.Condition()
        self._held: deque[Record] = deque()  # without a gap: those that follow `_taken`
        self._size = 0
        self._newest = newest
        self._taken = after
        self._taken_us = 0  # when the last one that was taken had arrived
        self._in_hand: deque[tuple[int, int]] = deque()  # of each batch: last ID, first arrival
        self._bytes_a_row: dict[str, float] = {}
        self._stopping = self._hurried = False
        self.applied = after

    # -- filled -----------------------------------------------------------------------------

    def add(self, records: Sequence[Record]) -> None:
        """Note *records*, which are the next in the journal; keep them where there is room."""
        with self._changed:
            for record in records:
                next_one = record.id == self._newest + 1  # or one before it was not handed on
                if next_one and not self._behind and self._size < self._most:
                    self._held.append(record)
                    self._size += len(record.body)
                self._newest = record.id
            self._changed.notify_all()

    def stop(self) -> None:
        """Let `take` return None when all is taken."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    # -- emptied ----------------------------------------------------------------------------

    def take(self, pause_s: float) -> list[Record] | None:
        """Return the next batch, waiting for it; None when all was taken and we stop.

        A batch of one record costs as much as one of thousands, so a trickle is gathered for
        *pause_s*, or until somebody wants to look (see `hurry`); a flood is taken at once. A
        batch is empty where the journal had only damage.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._taken < self._newest or self._stopping)
            if self._taken == self._newest:
                return None
            if not self._full():
                self._changed.wait_for(self._full, pause_s)
            batch, rows = [], 0.0
            while self._held and rows < ROWS:
                batch.append(self._held.popleft())
                self._size -= len(batch[-1].body)
                rows += self._rows(batch[-1:])
            if batch:
                self._take(batch, batch[-1].id)
                return batch
            last, newest = self._taken, self._newest
        while rows < ROWS and last < newest:
            more, upto = self._read(last)
            last = upto if upto > last else newest  # what is not there any more is passed over
            batch += more
            rows += self._rows(more)
        with self._changed:
            self._take(batch, last)
        return batch

    def _full(self) -> bool:
        hurried = self._stopping or self._behind or self._hurried
        return hurried or self._rows(self._held) >= ROWS

    def _take(self, batch: Sequence[Record], last: int) -> None:
        self._in_hand.append((last, batch[0].arrived_us if batch else self._taken_us))
        self._taken, self._hurried = last, False
        if batch:
            self._taken_us = batch[-1].arrived_us

    def learn(self, batch: Sequence[Record], rows: int) -> None:
        """Note how many *rows* a batch had, to cut the next ones by."""
        if batch and batch[0].kind == batch[-1].kind:
            size = sum(len(one.body) for one in batch)
            self._bytes_a_row[batch[0].kind] = max(_LEAST_BYTES_A_ROW, size / max(1, rows))

    def done(self) -> None:
        """Note that the oldest batch in hand is in the relations."""
        with self._changed:
            self.applied = self._in_hand.popleft()[0]
            self._changed.notify_all()

    # -- seen -------------------------------------------------------------------------------

    def wait_applied(self, record_id: int, timeout_s: float | None) -> bool:
        """Wait until the record *record_id* is in the relations; False if time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: self.applied >= record_id, timeout_s)

    def hurry(self, timeout_s: float) -> bool:
        """Have what is gathered taken now, and wait until it is in the relations.

        False if time ran out, or there is so much that nobody should wait for it.
        """
        with self._changed:
            newest = self._newest
            self._hurried = self._taken < newest
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.applied >= newest or self._behind, timeout_s)
            return self.applied >= newest

    def complete_us(self, now_us: int) -> int:
        """Return until when everything that arrived is in the relations: now, if nothing waits."""
        with self._changed:
            if self._in_hand:
                return min(now_us, self._in_hand[0][1])
            if self._held:
                return min(now_us, self._held[0].arrived_us)
            return min(now_us, self._taken_us) if self._behind else now_us

    @property
    def _behind(self) -> bool:
        return self._taken + len(self._held) < self._newest

    def _rows(self, records: Iterable[Record]) -> float:
        """Return about how many rows *records* hold, by what their kind has shown before."""
        known = self._bytes_a_row
        return sum(1 + len(one.body) / known.get(one.kind, _BYTES_A_ROW) for one in records)
