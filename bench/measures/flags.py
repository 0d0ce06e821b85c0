"""Degrade flags, read over OFREP by dispatchers and agents.

Each request is one evaluation, as OpenFeature's provider makes it, with a switch in force. Beside
spans: while so many of these come in as are said, at a fixed pace of evaluations. Answers are made
from memory; what is measured is from the request's first byte to the answer's last.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.load import TARGETS, Load, Plan
from bench.sidecar import Sidecar
from zombiewatch.client import tell

if TYPE_CHECKING:
    from bench.load import Outcome
    from bench.results import Cases, Say
    from bench.scale import Scale

GROUP: Final = "flags"
ORDER: Final = 12

PACE: Final = 200.0
"""Evaluations per second beside spans: a dispatcher that asks before each hand-out."""

SPANS: Final = 20_000.0
"""Spans per second beside them."""

_SWITCH: Final = {
    "service": "orders", "level": "L2", "until": "1h", "by": "bench", "reason": "a measurement",
}  # fmt: skip


def run(scale: Scale, say: Say) -> Cases:
    """Measure evaluations alone, and beside spans."""
    cases: Cases = {}
    for connections in (1, 16):
        noun = "connection" if connections == 1 else "connections"
        cases[f"{connections} {noun}"] = _measured(Plan("flags", scale.flags, connections))
    asked = Plan("flags", max(1, round(PACE * scale.paced_s)), 1, per_s=PACE)
    spans = Plan("spans", max(1, round(SPANS * scale.paced_s)), 4, per_s=SPANS)
    cases[f"{PACE:g}/s beside {SPANS:,.0f} spans/s"] = _measured(asked, spans)
    for name, one in cases.items():
        say(f"flags, {name}: p50 {one['p50_ms']:.2f} ms, p99 {one['p99_ms']:.2f} ms")
    return cases


def _measured(plan: Plan, beside: Plan | None = None) -> dict[str, float]:
    plans = [plan] if beside is None else [plan, beside]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        loads = [stack.enter_context(Load(one)) for one in plans]
        sidecar = stack.enter_context(Sidecar(folder))
        pool = stack.enter_context(ThreadPoolExecutor(len(plans)))
        tell(sidecar.urls["http"], "/api/v1/switches/set", _SWITCH)
        for load in loads:
            load.prepare()

        def send(at: int) -> Outcome:
            return loads[at].send(sidecar.urls[TARGETS[plans[at].kind][0]])

        sent, *_ = pool.map(send, range(len(plans)))
    return {
        "per_s": sent.records / sent.took_s,
        "p50_ms": sent.p50_ms,
        "p99_ms": sent.p99_ms,
    }
