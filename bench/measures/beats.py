"""Heartbeats over HTTP into the real sidecar, one a request.

Each is of another task. A heartbeat is acknowledged when it is on disk, like everything else, so
one connection can send no more than the disk can sync.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.load import Plan
from bench.measures._posted import posted

if TYPE_CHECKING:
    from bench.results import Cases, Say
    from bench.scale import Scale

GROUP: Final = "ingest"
ORDER: Final = 4


def run(scale: Scale, say: Say) -> Cases:
    """Measure each number of connections."""
    return posted([Plan("beats", scale.beats, number) for number in scale.span_connections], say)
