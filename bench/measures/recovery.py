"""Starting again after SIGKILL, with everything still in the journal.

No checkpoint was written: the worst case that settings allow. *Kept* is what is in the relations
afterwards, as a share of what was acknowledged: it has to be 1.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.load import Load, Plan
from bench.sidecar import Probe, Sidecar

if TYPE_CHECKING:
    from bench.results import Cases, Say
    from bench.scale import Scale

GROUP: Final = "start"
ORDER: Final = 8

_NO_CHECKPOINT: Final = {"store.checkpoint_every_s": "1d", "store.segment_rows": 1_000_000_000}


def run(scale: Scale, say: Say) -> Cases:
    """Measure one recovery."""
    plan = Plan("spans", scale.recovered, connections=16)
    with (
        tempfile.TemporaryDirectory() as folder,
        Load(plan) as load,
        Sidecar(Path(folder), _NO_CHECKPOINT) as sidecar,
    ):
        load.prepare()
        sent = load.send(sidecar.urls["otlp"])
        sidecar.kill()
        sidecar.start()
        with Probe(sidecar.pid) as probe:
            kept = sidecar.applied()
    say(f"recovery: {sent.records:,} spans in {sidecar.ready_s:.1f} s")
    return {
        "spans in the journal": {
            "records": sent.records,
            "ready_s": sidecar.ready_s,
            "replayed_per_s": sent.records / sidecar.ready_s,
            "kept_share": kept / sent.records,
            "rss_mb": probe.peak_mb,
        }
    }
