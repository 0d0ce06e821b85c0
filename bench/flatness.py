"""Whether what a process takes grows while it works the same: by samples over its run."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Flatness(NamedTuple):
    """Medians of the first and of the last third of a run, and its growth from the second on.

    The growth is the slope of a straight line, in the samples' unit a minute. It leaves out the
    first third, in which what is kept from then on is taken for the first time.
    """

    first: float
    last: float
    per_min: float


def flatness(samples: Sequence[tuple[float, float]]) -> Flatness:
    """Return how flat *samples* (when, in seconds and rising; how much) are.

    Thirds are of the time, not of the samples: a busy machine takes fewer. Raises ValueError where
    there is no sample.
    """
    if not samples:
        msg = "nothing was sampled"
        raise ValueError(msg)
    begun, ended = samples[0][0], samples[-1][0]
    third_s = (ended - begun) / 3
    first = [value for at, value in samples if at <= begun + third_s]
    last = [value for at, value in samples if at >= ended - third_s]
    rest = [(at, value) for at, value in samples if at >= begun + third_s]
    times = [at for at, _ in rest]
    slope = 0.0
    if len(set(times)) > 1:
        slope = statistics.linear_regression(times, [value for _, value in rest]).slope
    return Flatness(statistics.median(first), statistics.median(last), 60 * slope)
