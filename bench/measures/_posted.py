"""What spans, logs and heartbeats have in common: posted by the load generator to a sidecar."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.load import TARGETS, Load, Plan
from bench.sidecar import Probe, Sidecar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.results import Cases, Say


def case(connections: int, *, compressed: bool = False, paced: bool = False) -> str:
    """Return the name of a case, as tables show it."""
    noun = "connection" if connections == 1 else "connections"
    pace = ", half load" if paced else ""
    return f"{'gzip' if compressed else 'plain'}, {connections} {noun}{pace}"


def posted(plans: Sequence[Plan], say: Say) -> Cases:
    """Measure each of *plans* on a fresh sidecar."""
    cases: Cases = {}
    for plan in plans:
        name = case(plan.connections, compressed=plan.compressed, paced=plan.per_s > 0)
        cases[name] = _one(plan)
        rates = cases[name]
        say(
            f"{plan.kind}, {name}: {rates['acknowledged_per_s']:,.0f}/s acknowledged,"
            f" {rates['applied_per_s']:,.0f}/s applied"
        )
    return cases


def at_half_load(full: Cases, plan: Plan, seconds: float, say: Say) -> Cases:
    """Measure *plan* again at half the pace at which the relations kept up with it in *full*."""
    pace = full[case(plan.connections, compressed=plan.compressed)]["applied_per_s"] / 2
    return posted([replace(plan, per_s=pace, records=max(1, round(pace * seconds)))], say)


def _one(plan: Plan) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Load(plan) as load,
        Sidecar(Path(folder)) as sidecar,
    ):
        load.prepare()
        with Probe(sidecar.pid) as probe:
            sent = load.send(sidecar.urls[TARGETS[plan.kind][0]])
            applied = sidecar.wait_applied(sent.records)
    # as fast as it goes, memory is still being filled when all is over
    flat = probe.flat() if plan.per_s else {}
    return {
        "records": sent.records,
        "bytes_per_record": sent.sent_bytes / sent.records,
        "acknowledged_per_s": sent.records / sent.took_s,
        "applied_per_s": sent.records / (applied - sent.began),
        "ack_p50_ms": sent.p50_ms,
        "ack_p99_ms": sent.p99_ms,
        "behind_s": applied - sent.ended,
        "cpu_s_per_million": probe.cpu_s / sent.records * 1e6,
        "generator_cpu_s_per_million": sent.cpu_s / sent.records * 1e6,
        "peak_rss_mb": probe.peak_mb,
        **flat,
    }
