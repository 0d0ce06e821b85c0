"""A run: hashes of keys in order, and with each where its key is; a file, written once.

An entry is one number: the upper five bytes of a key's hash, and below them the *place*: which row
group, counted over all segments that the run is of. So entries are sorted, merged and searched as
plain numbers. Unlike keys may share an entry's hash (with 100 million entries, one unknown key in
ten thousand does): an entry says where a key may be, and that there is none, where it is not.

The file: blocks of entries, then the first entry and the CRC32C of each block, then what the run
is of, as JSON. Only the last two are held in memory, 12 bytes a block; a block is read, and
checked, when it is asked for.
"""

from __future__ import annotations

import os
import struct
import weakref
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import google_crc32c
import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    Numbers = np.ndarray[Any, np.dtype[np.uint64]]

VERSION: Final = 1

PLACES: Final = np.uint64((1 << 24) - 1)
"""The bits of an entry that are its place."""

_BLOCK: Final = 512
"""Entries in a block: 4 KiB."""

_BYTES: Final = 8 * _BLOCK

_AT_ONCE: Final = 1024
"""Keys that are looked for at once: so many blocks are in memory."""

_END: Final = struct.Struct("<8sIIQ")
_MAGIC: Final = b"zw-run\r\n"
_DAMAGED: Final = "{}: a block is damaged"


class RunError(Exception):
    """A run cannot be used: it is damaged, or not of this version."""


@dataclass(frozen=True, slots=True)
class Of:
    """A segment that a run is of: its name and checksum, and how many row groups it has."""

    name: str
    crc: int
    groups: int


class Run:
    """The run at *path*, open until nobody uses it any more. Used by any thread.

    *maker* tells how keys were hashed. Raises RunError, also where it was made by another.
    """

    def __init__(self, path: Path, maker: str) -> None:
        self.path = path
        try:
            self._handle = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise RunError(str(error)) from None
        weakref.finalize(self, os.close, self._handle)
        try:
            about = self._about(path.stat().st_size)
            said = (about["version"], about["maker"])
            self.of = tuple(Of(**one) for one in about["of"])
            self.entries = int(about["entries"])
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            msg = f"{path.name} is no run: {error}"
            raise RunError(msg) from None
        if said != (VERSION, maker):
            msg = f"{path.name} was made by another version"
            raise RunError(msg)
        self._starts = np.cumsum([0, *(one.groups for one in self.of)])

    def _about(self, size: int) -> dict[str, Any]:
        """Read what is after the blocks. Raises ValueError, struct.error, OSError."""
        end = os.pread(self._handle, _END.size, max(0, size - _END.size))
        magic, crc, length, blocks = _END.unpack(end)
        rest = 12 * blocks + length
        if magic != _MAGIC or rest + _END.size > size:
            raise ValueError("it has no end")
        body = os.pread(self._handle, rest, size - _END.size - rest)
        if google_crc32c.value(body) != crc:
            raise ValueError("its checksum does not hold")
        self._fences = np.frombuffer(body, np.uint64, blocks).copy()
        self._crcs = np.frombuffer(body, np.uint32, blocks, 8 * blocks).copy()
        found: dict[str, Any] = orjson.loads(body[12 * blocks :])
        return found

    def find(self, hashes: Numbers) -> Iterator[tuple[Of, int]]:
        """Yield where keys of *hashes* (sorted, each once) may be: segment and row group.

        Raises RunError where what has to be read is damaged.
        """
        low = np.unique(hashes & ~PLACES)
        for at in range(0, len(low), _AT_ONCE):
            for place in np.unique(self._found(low[at : at + _AT_ONCE])).tolist():
                number = int(np.searchsorted(self._starts, place, "right")) - 1
                yield self.of[number], place - int(self._starts[number])

    def _found(self, low: Numbers) -> Numbers:
        """Return the places of all entries whose hash is one of *low*."""
        high = low | PLACES
        first = np.maximum(np.searchsorted(self._fences, low) - 1, 0)
        last = np.searchsorted(self._fences, high, "right") - 1
        some = last >= 0
        if not some.any():
            return low[:0]
        low, high, first, last = low[some], high[some], first[some], last[some]
        wide = int((last - first).max()) + 1  # mostly 1; more only where one hash fills blocks
        entries = self._read(np.unique([np.minimum(first + i, last) for i in range(wide)]))
        begin = np.searchsorted(entries, low)
        end = np.searchsorted(entries, high, "right")
        hits = np.nonzero(end > begin)[0].tolist()
        found = [entries[begin[one] : end[one]] for one in hits]
        return np.concatenate(found) & PLACES if found else low[:0]

    def between(self, low: int, high: int) -> Numbers:
        """Return the entries from *low* up to *high*, without that. Raises RunError if damaged."""
        bounds = np.array([low, high], np.uint64)
        first = max(0, int(np.searchsorted(self._fences, bounds[0])) - 1)
        last = int(np.searchsorted(self._fences, bounds[1]))
        body = self._bytes(first, max(0, last - first))
        crcs = self._crcs[first:last].tolist()
        if [google_crc32c.value(one) for one in _cut(body)] != crcs:
            raise RunError(_DAMAGED.format(self.path.name))
        entries = np.frombuffer(body, np.uint64)
        begin, end = np.searchsorted(entries, bounds)
        return entries[begin:end]

    def _read(self, blocks: np.ndarray[Any, Any]) -> Numbers:
        """Return the entries of *blocks*, which are in order."""
        parts = []
        for block, crc in zip(blocks.tolist(), self._crcs[blocks].tolist(), strict=True):
            part = self._bytes(block, 1)
            if google_crc32c.value(part) != crc:
                raise RunError(_DAMAGED.format(self.path.name))
            parts.append(part)
        return np.frombuffer(b"".join(parts), np.uint64)

    def _bytes(self, first: int, blocks: int) -> bytes:
        """Return so many *blocks* from *first* on."""
        size = min(_BYTES * blocks, 8 * self.entries - _BYTES * first)
        try:
            body = os.pread(self._handle, size, _BYTES * first)
        except OSError as error:
            raise RunError(str(error)) from None
        if len(body) != size:
            raise RunError(_DAMAGED.format(self.path.name))
        return body


def write(path: Path, maker: str, of: Iterable[Of], parts: Iterable[Numbers]) -> Run:
    """Write the run at *path*, synced, and open it; *parts* are its entries, in order.

    Raises OSError where it cannot be written; no half file stays.
    """
    partial = path.with_suffix(".partial")
    fences: list[bytes] = []
    crcs: list[int] = []
    try:
        with partial.open("wb") as file:
            for some in _whole_blocks(parts):
                fences += [block[:8] for block in _cut(some)]
                crcs += [google_crc32c.value(block) for block in _cut(some)]
                file.write(some)
                file.flush()
                os.fdatasync(file.fileno())  # much at once would hold up the journal's own
            about = orjson.dumps(
                {
                    "version": VERSION,
                    "maker": maker,
                    "entries": file.tell() // 8,
                    "of": [asdict(one) for one in of],
                }
            )
            body = b"".join(fences) + np.array(crcs, np.uint32).tobytes() + about
            file.write(body)
            file.write(_END.pack(_MAGIC, google_crc32c.value(body), len(about), len(crcs)))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return Run(path, maker)


def _whole_blocks(parts: Iterable[Numbers]) -> Iterator[bytes]:
    """Yield what *parts* hold, so many blocks each; only the last one may be shorter."""
    rest = b""
    for part in parts:
        body = rest + part.tobytes()
        whole = len(body) - len(body) % _BYTES
        rest = body[whole:]
        if whole:
            yield body[:whole]
    if rest:
        yield rest


def _cut(body: bytes) -> Iterator[bytes]:
    """Yield *body* in blocks."""
    return (body[at : at + _BYTES] for at in range(0, len(body), _BYTES))
