"""Attributes as columns of keys and values, and what is made of them.

Records of one kind bear the same keys in the same order: their *shape*. A batch of thousands of
records has a few shapes, so that whatever depends on keys alone (which column an attribute fills,
which key comes twice, the keys as text) is done once for each shape, not for each record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.batch import Array, typed
from collector.limits import LEFT_OUT, RecordLimits, cut
from collector.scrub import MARK, Scrub
from model.signals import ATTRIBUTES, ESCAPE, SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

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
    """Attributes of a batch: record *i* bears those from `starts[i]` up to `starts[i + 1]`.

    `codes` are the keys, as places in `names`; `shapes[shape[i]]` is the codes of record *i*.
    """

    rows: int
    starts: NDArray[np.int64]
    codes: NDArray[np.int32]
    names: list[str]
    values: Array  # string
    shape: NDArray[np.int64]
    shapes: list[tuple[int, ...]]
    left_out: list[int] = field(default_factory=list)  # of each shape, where any was cut

    @classmethod
    def of(cls, starts: NDArray[np.int64], keys: Array, values: Array) -> Attributes:
        """Return the attributes, their keys encoded and their shapes found."""
        encoded = pc.dictionary_encode(pc.fill_null(keys, "") if keys.null_count else keys)
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        starts = starts.astype(np.int64)
        shape, shapes = _shapes(starts, codes)
        rows = len(starts) - 1
        return cls(rows, starts, codes, encoded.dictionary.to_pylist(), values, shape, shapes)

    def tidy(self, scrub: Scrub, limits: RecordLimits, count: Callable[[str, int], None]) -> None:
        """Keep one of each key, no secrets, and no more than *limits* allow; count what was done.

        Of two values under one key the last is kept, as of two in a JSON object.
        """
        twice = [at for at, one in enumerate(self.shapes) if len(set(one)) < len(one)]
        if twice:
            count("attributes_twice", self._keep(_last_of_each))
        over = [max(len(one) - limits.attributes, 0) for one in self.shapes]
        if any(over):
            count("attributes_cut", self._keep(lambda one: range(min(len(one), limits.attributes))))
            self.left_out = over
        secret = scrub.secret_names(self.names)
        if secret:
            hit = np.isin(self.codes, secret)
            self.values = pc.if_else(pa.array(hit), MARK, self.values)
            count("secrets_scrubbed", int(hit.sum()))
        self.values, scrubbed = scrub.text(self.values)
        count("secrets_scrubbed", scrubbed)
        self.values, shortened = cut(self.values, limits.value_bytes)
        count("values_cut", shortened)
        keys, long = cut(pa.array(self.names, pa.string()), limits.value_bytes)
        if long:
            self.names = keys.to_pylist()
            count("values_cut", long)

    def _keep(self, which: Callable[[tuple[int, ...]], Sequence[int]]) -> int:
        """Keep the attributes at the places that *which* says of a shape; return how many go."""
        kept_of = [np.isin(np.arange(len(one)), which(one)) for one in self.shapes]
        first = np.cumsum([0, *(len(one) for one in self.shapes)])[self.shape]
        sizes = np.diff(self.starts)
        place = np.arange(len(self.codes)) - np.repeat(self.starts[:-1], sizes)
        kept = np.concatenate(kept_of)[np.repeat(first, sizes) + place]
        self.values, self.codes = self.values.filter(pa.array(kept)), self.codes[kept]
        self.starts = np.concatenate(([0], np.cumsum(kept)))[self.starts]
        self.shapes = [
            tuple(code for code, stays in zip(one, some.tolist(), strict=True) if stays)
            for one, some in zip(self.shapes, kept_of, strict=True)
        ]
        return int(len(kept) - kept.sum())

    def text(self, key: str) -> Array | None:
        """Return the attribute as a string array over the records, None where nobody bears it."""
        if key not in self.names:
            return None
        code = self.names.index(key)
        return self._taken([_place(one, (code,)) for one in self.shapes])

    def _taken(self, places: list[int]) -> Array:
        """Return the value at a place of each shape, null where that is negative."""
        place = np.array(places, np.int64)[self.shape] if places else np.empty(0, np.int64)
        return self.values.take(pa.array(self.starts[:-1] + place, mask=place < 0))

    def promoted(self) -> tuple[dict[str, Array], int]:
        """Return the columns that these attributes fill, and how many values did not fit."""
        wanted: dict[str, list[tuple[int, int]]] = {}
        for code, name in enumerate(self.names):
            found = column_of(name)
            if found:
                wanted.setdefault(found[0], []).append((found[1], code))
        columns, misfits = {}, 0
        for column, candidates in wanted.items():
            preferred = [code for _, code in sorted(candidates)]
            text = self._taken([_place(one, preferred) for one in self.shapes])
            if column == "request_id":
                text = first_of(text)
            columns[column], bad = typed(text, column)
            misfits += bad
        return columns, misfits

    def packed(self, leave_out: Collection[str] = ()) -> tuple[Array, Array]:
        """Return all attributes of each record as two joined strings, null where it has none."""
        out = {code for code, name in enumerate(self.names) if name in leave_out}
        values, starts, shapes = self.values, self.starts, self.shapes
        if out:
            kept = ~np.isin(self.codes, list(out))
            values = values.filter(pa.array(kept))
            starts = np.concatenate(([0], np.cumsum(kept)))[starts]
            shapes = [tuple(code for code in one if code not in out) for one in shapes]
        names = [_escaped(name) for name in self.names]
        told = [SEPARATOR.join(names[code] for code in one) if one else None for one in shapes]
        none = np.array([one is None for one in told], bool)[self.shape]
        keys = pa.DictionaryArray.from_arrays(
            pa.array(self.shape.astype(np.int32), mask=none),
            pa.array([one or "" for one in told], pa.string()),
        )
        joined = _joined(starts.astype(np.int32), values)
        if not self.left_out:
            return keys, joined
        name = pa.array([LEFT_OUT if one else None for one in self.left_out], pa.string())
        number = pa.array([str(one) if one else None for one in self.left_out], pa.string())
        spread = pa.array(self.shape)
        return beside(keys, name.take(spread)), beside(joined, number.take(spread))


def _shapes(
    starts: NDArray[np.int64], codes: NDArray[np.int32]
) -> tuple[NDArray[np.int64], list[tuple[int, ...]]]:
    """Return the shape of each record, as a place among the distinct ones, and these."""
    sizes = np.diff(starts)
    rows = len(sizes)
    if not len(codes):
        return np.zeros(rows, np.int64), [()] if rows else []
    place = np.arange(len(codes)) - np.repeat(starts[:-1], sizes)
    with np.errstate(over="ignore"):
        mixed = (codes.astype(np.uint64) + np.uint64(1)) * _ODD
        mixed ^= mixed >> np.uint64(29)
        mixed *= (place.astype(np.uint64) * np.uint64(2) + np.uint64(1)) * _ODDER
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)))
    encoded = pc.dictionary_encode(pa.array(sums[starts[1:]] - sums[starts[:-1]]))
    shape = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    first = np.empty(len(encoded.dictionary), np.int64)
    first[shape[::-1]] = np.arange(rows - 1, -1, -1)
    like = first[shape]
    # the sums only guess: where they are wrong, each record is a shape of its own
    if (sizes[like] != sizes).any() or (
        codes[np.repeat(starts[:-1][like], sizes) + place] != codes
    ).any():
        shape = first = np.arange(rows)
    shapes = [tuple(codes[starts[one] : starts[one + 1]].tolist()) for one in first.tolist()]
    return shape, shapes


_ODD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_ODDER: Final = np.uint64(0xC2B2_AE3D_27D4_EB4F)


def _place(shape: tuple[int, ...], codes: Collection[int]) -> int:
    """Return where in *shape* the first of *codes* is that it has, -1 if it has none."""
    for code in codes:
        if code in shape:
            return shape.index(code)
    return -1


def _last_of_each(shape: tuple[int, ...]) -> list[int]:
    return sorted({code: place for place, code in enumerate(shape)}.values())


def _escaped(text: str) -> str:
    return text.replace(ESCAPE, ESCAPE + "e").replace(SEPARATOR, ESCAPE + "s")


def first_of(text: Array) -> Array:
    """Return the first member where a header came as a list of values: `a,b` or `["a","b"]`."""
    data = text.buffers()[2]
    raw = bytes(data) if data else b""
    if not any(mark in raw for mark in (b",", b'"', b"[", b"]")):
        return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    found = pc.extract_regex(text, r'^\[?"?(?P<first>[^",\]]+)')
    return pc.if_else(found.is_valid(), found.field("first"), pa.scalar(None, pa.string()))


def texts(values: Array) -> Array:
    """Return a column of strings as such, whether it was told by a dictionary or not."""
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def beside(left: Array, right: Array) -> Array:
    """Return two packed columns as one; a side without attributes is null."""
    if right.null_count == len(right):
        return left
    if pa.types.is_dictionary(left.type) and pa.types.is_dictionary(right.type):
        return _beside_coded(left, right)
    left, right = texts(left), texts(right)
    # not null_handling="skip": in pyarrow 26 that drops rows of which both are null
    both = pc.binary_join_element_wise(left, right, SEPARATOR)
    if not left.null_count and not right.null_count:
        return both
    return pc.if_else(left.is_null(), right, pc.if_else(right.is_null(), left, both))


def _beside_coded(left: Array, right: Array) -> Array:
    """Return two columns of few distinct texts as one: each pair is joined once."""
    parts = [[*one.dictionary.to_pylist(), None] for one in (left, right)]
    codes = [
        np.asarray(pc.fill_null(one.indices, len(one.dictionary))).astype(np.int64)
        for one in (left, right)
    ]
    width = len(parts[1])
    pairs = pc.dictionary_encode(pa.array(codes[0] * width + codes[1]))
    told = []
    for pair in pairs.dictionary.to_pylist():
        both = [parts[0][pair // width], parts[1][pair % width]]
        told.append(SEPARATOR.join(one for one in both if one is not None))
    none = (codes[0] == len(parts[0]) - 1) & (codes[1] == width - 1)
    indices = pairs.indices.to_numpy(zero_copy_only=False)
    return pa.DictionaryArray.from_arrays(pa.array(indices, mask=none), pa.array(told, pa.string()))


def _joined(offsets: NDArray[np.int32], texts: Array) -> Array:
    texts = pc.fill_null(texts, "")
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    data = texts.buffers()[2]
    if data is not None:
        seen = bytes(data)
        if SEPARATOR.encode() in seen or ESCAPE.encode() in seen:
            texts = pc.replace_substring(texts, ESCAPE, ESCAPE + "e")
            texts = pc.replace_substring(texts, SEPARATOR, ESCAPE + "s")
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), texts), SEPARATOR)
    some = np.diff(offsets) > 0
    if some.all():
        return joined
    return pc.if_else(pa.array(some), joined, pa.scalar(None, pa.string()))
