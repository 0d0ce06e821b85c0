"""OTLP/HTTP spans into the real sidecar.

Ten attributes a span; four of ten spans are ends of calls, six of ten bear a task ID, four of
ten are inner work. 500 to 1,000 spans a request. *Acknowledged* is after the sync of the journal,
*applied* is when the relations have it all, from the first byte sent; *behind* is how long after
the last acknowledgement that was. Evaluations and checkpoints run as they do by default. *Half
load* is half of what the relations kept up with; there, latency counts from when a request was due,
and memory is shown as it was in the first and in the last third of the run (medians), with its
growth over the rest from the first third on: of seconds, in which much is filled once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.load import Plan
from bench.measures._posted import at_half_load, posted

if TYPE_CHECKING:
    from bench.results import Cases, Say
    from bench.scale import Scale

GROUP: Final = "ingest"
ORDER: Final = 1


def run(scale: Scale, say: Say) -> Cases:
    """Measure plain and gzip, by each number of connections; then at half load."""
    plans = [
        Plan("spans", scale.spans, connections, compressed)
        for compressed in (False, True)
        for connections in scale.span_connections
    ]
    cases = posted(plans, say)
    return cases | at_half_load(cases, Plan("spans", 0, 16), scale.paced_s, say)
