"""Looks over PromQL for what a parser takes and people regret.

Rules of alerting that were learned elsewhere: an `absent` that one missed scrape sets off, a rate
over fewer than two scrapes, `topk` (whose series change), an aggregation that drops a label which
the texts speak of, the same rule twice.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import promql_parser as promql

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SCRAPE: Final = timedelta(minutes=1)
"""The longest time between two scrapes for which the rules are made."""

_RATES: Final = {"rate", "increase", "irate", "delta", "deriv", "changes"}
_FRAGILE: Final = {"topk", "bottomk"}
_LABEL: Final = re.compile(r"\$labels\.(\w+)")
_GIVEN: Final = {"alertname", "severity", "degradable", "detector", "long", "short", "level"}


def metrics(expr: str) -> set[str]:
    """Return the names of all metrics in *expr*."""
    return {
        str(one.name) for one in _all(promql.parse(expr)) if isinstance(one, promql.VectorSelector)
    }


def faults(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is to be regretted in *rules*, as they stand in a rule file."""
    found, seen = [], set()
    for rule in rules:
        name, expr = rule.get("alert") or rule["record"], promql.parse(rule["expr"])
        key = (name, rule["expr"])
        found += [f"{name}: twice"] if key in seen else []
        seen.add(key)
        found += [f"{name}: {one}" for one in _of(expr, rule)]
    return found


def _of(expr: Any, rule: Mapping[str, Any]) -> Iterator[str]:
    for one in _all(expr):
        called = one.func.name if isinstance(one, promql.Call) else None
        lasts = promql.parse_duration(rule["for"]) if "for" in rule else timedelta()
        if called == "absent" and lasts < 2 * SCRAPE:
            yield "absent without a `for` of two scrapes"
        if called in _RATES:
            inner = one.args[0]
            if isinstance(inner, promql.MatrixSelector) and inner.range < 2 * SCRAPE:
                yield f"{called} over less than two scrapes"
        if isinstance(one, promql.AggregateExpr) and str(one.op) in _FRAGILE:
            yield f"{one.op} changes its series from one look to the next"
    kept = _kept(expr)
    texts = " ".join((*rule.get("annotations", {}).values(), *rule.get("labels", {}).values()))
    for label in sorted(set(_LABEL.findall(texts))):
        if kept is not None and label not in kept | _GIVEN:
            yield f"its texts speak of {label}, which its expression drops"


def _kept(expr: Any) -> set[str] | None:
    """Return the labels that *expr* leaves; None where it leaves all."""
    if isinstance(expr, promql.ParenExpr):
        return _kept(expr.expr)
    if isinstance(expr, promql.AggregateExpr):
        by = expr.modifier
        if by is None:
            return set()
        named = set(by.labels)
        return named if by.type == promql.AggModifierType.By else None
    if isinstance(expr, promql.BinaryExpr):
        return _kept(expr.lhs)
    if isinstance(expr, promql.Call) and expr.func.name in {"vector", "absent", "scalar"}:
        return set()
    return None


def _all(expr: Any) -> Iterator[Any]:
    yield expr
    for name in ("expr", "lhs", "rhs", "param"):
        inner = getattr(expr, name, None)
        if inner is not None:
            yield from _all(inner)
    for inner in getattr(expr, "args", ()):
        yield from _all(inner)
    if isinstance(expr, promql.MatrixSelector):
        yield from _all(expr.vector_selector)
