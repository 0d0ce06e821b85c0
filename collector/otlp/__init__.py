"""OTLP, of either encoding → Arrow → columns, without a loop over records.

Both encodings are decoded into one nested Arrow shape (`messages.py`), so that there is one way
from there to signals for each of logs, traces and metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collector.limits import RecordLimits
from collector.otlp import from_json, protobuf
from collector.otlp.messages import ROOTS as _SIGNALS
from collector.otlp.metrics import flatten_metrics
from collector.otlp.records import flatten_records
from collector.scrub import Scrub

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from collector.batch import Batch

_JSON: Final = "+json"

ROOTS: Final = {
    **_SIGNALS,
    **{signal + _JSON: message for signal, message in _SIGNALS.items()},
}
"""Kind of journal record → message: the signal as in the URL path, `+json` where it is JSON."""

_PLAIN: Final = Scrub()
_USUAL: Final = RecordLimits()


def decode(kind: str, bodies: Sequence[bytes]) -> pa.RecordBatch:
    """Decode *bodies*, export requests of one *kind* (see `ROOTS`), a row each.

    Raises ValueError where one of them is not such a message.
    """
    if kind.endswith(_JSON):
        return from_json.decode(kind.removesuffix(_JSON), bodies)
    return protobuf.decode(kind, bodies)


def check(kind: str, body: bytes) -> None:
    """Raise ValueError where *body* is no export request of that *kind* (see `ROOTS`).

    It costs a fraction of decoding, which is done later, with others, and once.
    """
    if kind.endswith(_JSON):
        from_json.check(kind.removesuffix(_JSON), body)
    else:
        protobuf.check(kind, body)


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
