"""Attributes as three columns, (record, key, value), and what is made of them.

Keys are dictionary-encoded once; after that a promoted attribute costs one comparison of
small integers over the batch, whatever the number of records.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.batch import Array, typed
from model.signals import ATTRIBUTES, ESCAPE, SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_RANK: Final = {key: rank for rank, key in enumerate(ATTRIBUTES)}
_REQUEST_ID: Final = re.compile(
    r"^(?:http[._]request[._]header[._])?(?:x[-_.]?)?request[-_.]?id$", re.IGNORECASE
)
_SHORT: Final = {
    "service": "service.name",
    "instance": "service.instance.id",
    "host": "host.name",
    "hostname": "host.name",
}
"""Short spellings that JSON loggers use, after the proper names in preference."""


@lru_cache(maxsize=65_536)
def column_of(key: str) -> tuple[str, int] | None:
    """Return which column the attribute *key* fills and its rank (lower is preferred), if any.

    A request ID is known in any spelling: `X-Request-Id`, `request_id`, `requestId`,
    `http.request.header.x-request-id` …
    """
    if key in ATTRIBUTES:
        return ATTRIBUTES[key], _RANK[key]
    if _REQUEST_ID.match(key):
        return "request_id", len(_RANK)
    if key in _SHORT:
        return ATTRIBUTES[_SHORT[key]], len(_RANK) + 1
    return None


@dataclass(slots=True)
class Attributes:
    """Attributes of a batch: `values[i]` is what record `owner[i]` says under `keys[i]`."""

    rows: int
    owner: NDArray[np.int64]  # ascending
    keys: Array  # string
    values: Array  # string
    codes: NDArray[np.int32]
    names: list[str]

    @classmethod
    def of(cls, rows: int, owner: NDArray[np.int64], keys: Array, values: Array) -> Attributes:
        """Return the attributes, their keys encoded."""
        encoded = pc.dictionary_encode(pc.fill_null(keys, ""))
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        return cls(rows, owner, keys, values, codes, encoded.dictionary.to_pylist())

    def text(self, key: str) -> Array | None:
        """Return the attribute as a string array over the records, None where nobody bears it."""
        if key not in self.names:
            return None
        return self._scatter(np.nonzero(self.codes == self.names.index(key))[0])

    def _scatter(self, spots: NDArray[np.int64]) -> Array:
        where = np.full(self.rows, -1, np.int64)
        where[self.owner[spots]] = spots
        return self.values.take(pa.array(where, mask=where < 0))

    def promoted(self) -> tuple[dict[str, Array], int]:
        """Return the columns that these attributes fill, and how many values did not fit."""
        wanted: dict[str, list[tuple[int, int]]] = {}
        for code, name in enumerate(self.names):
            found = column_of(name)
            if found:
                wanted.setdefault(found[0], []).append((found[1], code))
        columns, misfits = {}, 0
        for column, candidates in wanted.items():
            where = np.full(self.rows, -1, np.int64)
            for _, code in sorted(candidates, reverse=True):  # the preferred one is written last
                spots = np.nonzero(self.codes == code)[0]
                where[self.owner[spots]] = spots
            text = self.values.take(pa.array(where, mask=where < 0))
            if column == "request_id":
                text = first_of(text)
            columns[column], bad = typed(text, column)
            misfits += bad
        return columns, misfits

    def packed(self, leave_out: Iterable[str] = ()) -> tuple[Array, Array]:
        """Return all attributes of each record as two joined strings, null where it has none."""
        keys, values, owner = self.keys, self.values, self.owner
        out = {code for code, name in enumerate(self.names) if name in set(leave_out)}
        if out:
            kept = ~np.isin(self.codes, list(out))
            keys, values, owner = (
                keys.filter(pa.array(kept)),
                values.filter(pa.array(kept)),
                owner[kept],
            )
        offsets = np.searchsorted(owner, np.arange(self.rows + 1)).astype(np.int32)
        return _joined(offsets, keys), _joined(offsets, values)


def first_of(text: Array) -> Array:
    """Return the first member where a header came as a list of values: `a,b` or `["a","b"]`."""
    found = pc.extract_regex(text, r'^\[?"?(?P<first>[^",\]]+)')
    return pc.if_else(found.is_valid(), found.field("first"), pa.scalar(None, pa.string()))


def _joined(offsets: NDArray[np.int32], texts: Array) -> Array:
    texts = pc.fill_null(texts, "")
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    data = texts.buffers()[2]
    if data is not None:
        seen = memoryview(data).tobytes()
        if SEPARATOR.encode() in seen or ESCAPE.encode() in seen:
            texts = pc.replace_substring(texts, ESCAPE, ESCAPE + "e")
            texts = pc.replace_substring(texts, SEPARATOR, ESCAPE + "s")
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), texts), SEPARATOR)
    return pc.if_else(pa.array(np.diff(offsets) > 0), joined, pa.scalar(None, pa.string()))
