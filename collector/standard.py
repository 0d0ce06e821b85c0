"""Standard forms that need no rule: OpenTelemetry's CI/CD and messaging conventions, outcomes.

Names are those of the semantic conventions 1.4x (`cicd.*`, `messaging.*`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collector.batch import Array, Batch

CLIENT, SERVER, PRODUCER, CONSUMER = 3, 2, 4, 5
"""Span kinds as numbered in opentelemetry-proto."""

_WORDS: Final = {
    "ok": "success",
    "succeeded": "success",
    "successful": "success",
    "failed": "failure",
    "error": "failure",
    "cancelled": "canceled",
    "cancellation": "canceled",
    "skip": "canceled",
    "timed_out": "timeout",
    "timedout": "timeout",
}
"""Other words for an outcome → ours."""


def task_ids(batch: Batch) -> None:
    """Key a CI/CD task run by its pipeline run too: alone it is unique only within that."""
    task_run = batch.attribute("cicd.pipeline.task.run.id")
    run = batch.attribute("cicd.pipeline.run.id")
    if task_run is not None and run is not None:
        both = pc.binary_join_element_wise(run, task_run, "/")  # null where either is
        batch.columns["task"] = pc.coalesce(both, batch.get("task"))


def outcomes(batch: Batch) -> None:
    """Say outcomes and states in our words, whatever the case; unknown words stay as they are."""
    for name in ("outcome", "state"):
        column = batch.columns.get(name)
        if column is None:
            continue
        coded = pc.dictionary_encode(column)
        said = [(word or "").strip().lower() for word in coded.dictionary.to_pylist()]
        ours = pa.array([_WORDS.get(word, word) for word in said], pa.string())
        batch.columns[name] = ours.take(coded.indices)


def task_spans(batch: Batch, kind: Array, error: Array) -> None:
    """Give spans of a task's life their phase: published, or run from start to end.

    A producer span that names a message enqueues it; a consumer span that processes one, and a
    span with a CI/CD task run, are a run: they begin and finish it.
    """
    published = pc.and_(pc.equal(kind, PRODUCER), batch.get("task").is_valid())
    operation = batch.attribute("messaging.operation.type")
    processed = pc.and_(pc.equal(kind, CONSUMER), batch.get("task").is_valid())
    if operation is not None:
        operation = pc.fill_null(operation, "process")
        processed = pc.and_(processed, pc.is_in(operation, pa.array(["process", "deliver"])))
    task_run = batch.attribute("cicd.pipeline.task.run.id")
    run = processed if task_run is None else pc.or_(processed, task_run.is_valid())
    if not pc.any(pc.or_(published, run)).as_py():
        return
    phase = pc.if_else(published, "enqueued", batch.get("phase"))
    batch.columns["phase"] = pc.if_else(run, "finished", phase)
    outcome = pc.if_else(error, "failure", "success")
    given = batch.get("outcome")
    batch.columns["outcome"] = pc.if_else(run, pc.coalesce(given, outcome), given)
    side = pc.if_else(run, "agent", pa.scalar(None, pa.string()))
    batch.columns["side"] = pc.coalesce(batch.get("side"), side)
