"""OTLP, of either encoding → Arrow → columns, without a loop over records.

Both encodings are decoded into one nested Arrow shape (`messages.py`), so that there is one way
from there to signals for each of logs, traces and metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from collector.limits import RecordLimits
from collector.otlp import from_json, protobuf
from collector.otlp.messages import ROOTS as _SIGNALS
from collector.otlp.metrics import flatten_metrics
from collector.otlp.records import flatten_records
from collector.scrub import Scrub

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from collector.batch import Batch

_JSON: Final = "+json"

ROOTS: Final = {
    **_SIGNALS,
    **{signal + _JSON: message for signal, message in _SIGNALS.items()},
}
"""Kind of journal record → message: the signal as in the URL path, `+json` where it is JSON."""

_SMALL_JSON: Final = 64 << 10
"""Bytes of JSON below which what it costs to begin decoding is more than decoding."""

_SMALL: Final = 16 << 10
"""Bytes of protobuf below which decoding again, with others, costs less than joining."""

_PLAIN: Final = Scrub()
_USUAL: Final = RecordLimits()


def decode(kind: str, bodies: Sequence[bytes]) -> pa.RecordBatch:
    """Decode *bodies*, export requests of one *kind* (see `ROOTS`), a row each.

    Raises ValueError where one of them is not such a message.
    """
    if kind.endswith(_JSON):
        return from_json.decode(kind.removesuffix(_JSON), bodies)
    return protobuf.decode(kind, bodies)


def checked(kind: str, body: bytes) -> pa.RecordBatch | None:
    """Decode one body; None where it is sound, and is decoded more cheaply with others later.

    Raises ValueError where it is no export request of that *kind*.
    """
    if kind.endswith(_JSON) and len(body) < _SMALL_JSON:
        from_json.check(kind.removesuffix(_JSON), body)
        return None
    decoded = decode(kind, [body])
    return decoded if len(body) >= _SMALL else None


def decoded_all(
    kind: str, bodies: Sequence[bytes], ready: Sequence[pa.RecordBatch | None]
) -> pa.RecordBatch:
    """Return *bodies* decoded, a row each, from what is *ready* of them and what is not."""
    missing = [at for at, one in enumerate(ready) if one is None]
    if len(missing) == len(bodies):
        return decode(kind, bodies)
    whole = list(ready)
    if missing:
        late = decode(kind, [bodies[at] for at in missing])
        for row, at in enumerate(missing):
            whole[at] = late.slice(row, 1)
    return pa.concat_batches(whole) if len(whole) > 1 else whole[0]


def flatten(
    kind: str,
    decoded: pa.RecordBatch,
    arrived_us: NDArray[np.int64],
    scrub: Scrub = _PLAIN,
    limits: RecordLimits = _USUAL,
) -> Batch:
    """Return the records of *decoded* as one batch, in their order.

    `arrived_us[i]` is when request *i* came. The batch has a column `request` (which
    request each record came in) beside those of the model.
    """
    signal = kind.removesuffix(_JSON)
    if signal == "metrics":
        return flatten_metrics(decoded, arrived_us, scrub, limits)
    return flatten_records(signal, decoded, arrived_us, scrub, limits)
