"""Secrets are taken out before anything is kept: by the name they stand under, and by their form.

What is found is replaced by a mark, and counted. The names are looked at once per distinct name of
a batch, and the texts searched for a few bytes first, so that it costs next to nothing where there
is nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from collector.batch import Array

MARK: Final = "[scrubbed]"
"""What stands where a secret was."""

_SECRET: Final = frozenset(
    (
        *("authorization", "cookie", "setcookie", "password", "passwd", "passphrase", "secret"),
        *("token", "authtoken", "accesstoken", "apitoken", "apikey", "accesskey", "privatekey"),
        *("secretkey", "credential", "credentials"),
    )
)
"""Words of a name under which a secret stands."""

_PAIRS: Final = frozenset(
    {("api", "key"), ("access", "key"), ("private", "key"), ("set", "cookie")}
)

_ABOUT: Final = frozenset(
    (
        *("count", "counts", "limit", "limits", "length", "len", "size", "type", "types", "kind"),
        *("name", "names", "id", "ids", "version", "usage", "used", "total", "budget", "max"),
        *("min", "expires", "expiry", "expiration", "ttl", "age", "at", "status", "valid"),
    )
)
"""Last words of a name that only says something about a secret: `task.token_count`."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


@lru_cache(maxsize=65_536)
def is_secret(name: str) -> bool:
    """Return whether a secret stands under *name*, in any spelling.

    `Authorization`, `http.request.header.set-cookie`, `dbPassword`, `X-Api-Key`, `access_token`;
    but not `task.token_count`, `gen_ai.usage.input_tokens`, `k8s.secret.name`.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _ABOUT:
        return False
    pairs = pairwise(words)
    return not _SECRET.isdisjoint(words) or any(pair in _PAIRS for pair in pairs)


_NEEDLES: Final = (b"earer ", b"asic ")
_BEARER: Final = r"\b([Bb]earer) +[\w.~+/-]{3,}=*"
_BASIC: Final = r"\b([Bb]asic) +[a-z+/]*[A-Z0-9][A-Za-z0-9+/]{2,}={0,2}"  # no plain English
_AFTER_SCHEME: Final = rf"\1 {MARK}"
_IN_JSON: Final = (
    r'(?i)("[\w.-]*(?:authorization|cookie|passw(?:or)?d|passphrase|secret|token|api[_-]?key'
    r'|credentials?)"\s*:\s*)"(?:[^"\\]|\\.)*"'
)
_AFTER_NAME: Final = rf'\1"{MARK}"'


@dataclass(frozen=True, slots=True)
class Scrub:
    """What is taken out beside what is always: names and texts by RE2 patterns.

    *names* is searched in names of attributes, *texts* in bodies and values, where what matches is
    replaced.
    """

    names: Sequence[str] = ()
    texts: Sequence[str] = ()

    def secret_names(self, names: Sequence[str]) -> list[int]:
        """Return which of *names* a secret stands under."""
        return [at for at, name in enumerate(names) if is_secret(name) or self._named(name)]

    def _named(self, name: str) -> bool:
        if not self.names:
            return False
        one = pa.array([name])
        return any(pc.match_substring_regex(one, each)[0].as_py() for each in self.names)

    def text(self, text: Array) -> tuple[Array, int]:
        """Return *text* without secrets that show by their form, and how many texts had some."""
        parts: dict[int, str | None] = {}
        rows = _suspects(text)
        if len(rows):
            few = text.take(pa.array(rows))
            clean = pc.replace_substring_regex(few, _BEARER, _AFTER_SCHEME)
            clean = pc.replace_substring_regex(clean, _BASIC, _AFTER_SCHEME)
            clean = pc.replace_substring_regex(clean, _IN_JSON, _AFTER_NAME)
            changed = np.nonzero(_differ(few, clean))[0]
            found = clean.take(pa.array(changed)).to_pylist()
            parts = dict(zip(rows[changed].tolist(), found, strict=True))
            text = _with(text, parts)
        number = len(parts)
        for pattern in self.texts:
            clean = pc.replace_substring_regex(text, pattern, MARK)
            number += int(_differ(text, clean).sum())
            text = clean
        return text, number


def _differ(one: Array, other: Array) -> NDArray[np.bool_]:
    told: NDArray[np.bool_] = pc.fill_null(pc.not_equal(one, other), False).to_numpy(
        zero_copy_only=False
    )
    return told


def _suspects(text: Array) -> NDArray[np.int64]:
    """Return the rows that may hold a secret by their form: found by a search for a few bytes."""
    if text.null_count == len(text):
        return np.empty(0, np.int64)
    offsets = np.frombuffer(text.buffers()[1], np.int32)[text.offset :][: len(text) + 1]
    data = text.buffers()[2]
    raw = memoryview(data)[offsets[0] : offsets[-1]] if data else memoryview(b"")
    seen = np.frombuffer(raw, np.uint8)
    some = np.nonzero(np.diff(offsets) > len(MARK))[0]
    first = seen[offsets[some] - offsets[0]]
    suspect = np.zeros(len(text), bool)
    suspect[some[(first == ord("{")) | (first == ord("["))]] = True
    whole = bytes(raw)
    for needle in _NEEDLES:
        if whole.find(needle) >= 0:
            hit = pc.fill_null(pc.match_substring(text, needle.decode()), False)
            suspect |= hit.to_numpy(zero_copy_only=False)
    return np.nonzero(suspect)[0]


def _with(text: Array, parts: dict[int, str | None]) -> Array:
    """Return *text* with *parts* in their rows."""
    if not parts:
        return text
    mask = np.zeros(len(text), bool)
    rows = sorted(parts)
    mask[rows] = True
    return pc.replace_with_mask(
        text, pa.array(mask), pa.array([parts[at] for at in rows], pa.string())
    )
