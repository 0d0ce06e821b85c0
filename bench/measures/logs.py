"""OTLP/HTTP logs into the real sidecar.

Ten attributes a record; six of ten are events of a task's life, the rest are lines of text, half
of them with a request ID in it. Otherwise as for spans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.load import Plan
from bench.measures._posted import posted

if TYPE_CHECKING:
    from bench.results import Cases, Say
    from bench.scale import Scale

GROUP: Final = "ingest"
ORDER: Final = 2


def run(scale: Scale, say: Say) -> Cases:
    """Measure plain and gzip, by each number of connections."""
    plans = [
        Plan("logs", scale.logs, connections, compressed)
        for compressed in (False, True)
        for connections in scale.log_connections
    ]
    return posted(plans, say)
