"""What the machine and each stage could do, alone.

The same bodies, one stage after another, with nothing beside it, the best of a few times: written
to a file and *synced*, or appended to the *journal*, by 1 and by 16 bodies (as many as there are
connections); *decoded* one by one; then in batches as the store makes them: decoded and
*flattened*, through the whole *pipeline*, *inserted* into a table in memory, *folded* into the
relations, and pipeline and fold one after the other, which the sidecar does side by side. The same
*together* is done in a process for each core at once: it is the most that this machine could do.
*Received* is the real receiver with nothing behind it, by 16 connections.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from bench.bare import Bare
from bench.load import Load, Plan
from bench.measures._together import together
from bench.traffic import KINDS, RECORD_KINDS, requests
from collector import otlp
from collector.pipeline import Pipeline, Record
from collector.store import fold
from collector.store.backlog import ROWS
from collector.store.journal import Entry, Journal
from collector.store.limits import Limits
from model.clock import system_clock
from model.signals import SCHEMA
from model.units import us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import duckdb
    import pyarrow as pa

    from bench.results import Cases, Say
    from bench.scale import Scale
    from bench.traffic import Request

GROUP: Final = "ingest"
ORDER: Final = 5

GROUPS: Final = (1, 16)
"""Bodies that are synced together."""

_BEATS: Final = 20
"""One heartbeat is a body of its own: so many times fewer are taken, as each group is a sync."""


def run(scale: Scale, say: Say) -> Cases:
    """Measure all stages for each kind of traffic."""
    cases: Cases = {}
    for kind in KINDS:
        records = scale.limits // _BEATS if kind == "beats" else scale.limits
        made = requests(kind, max(1, records))
        stages = _Stages(kind, made, scale.repeats)
        cases[kind] = {**stages.written(), **stages.decoded(), **stages.applied()}
        if RECORD_KINDS[kind] in otlp.ROOTS:
            for compressed in (False, True):
                name = "received_gzip_per_s" if compressed else "received_per_s"
                cases[kind][name] = _received(Plan(kind, scale.limits * 2, 16, compressed))
        say(
            f"limits, {kind}: {cases[kind]['pipeline_then_fold_per_s']:,.0f}/s by pipeline and fold"
        )
    return cases


@dataclass(frozen=True, slots=True)
class _Stages:
    """The stages that one kind of traffic goes through; each is done *repeats* times."""

    kind: str
    made: Sequence[Request]
    repeats: int

    def _rate(self, prepare: Callable[[], Callable[[], object]]) -> float:
        """Return records per second, at best, of what *prepare* returns: it does all once."""
        took = []
        for _ in range(self.repeats):
            work = prepare()
            begun = time.perf_counter()
            work()
            took.append(time.perf_counter() - begun)
        return sum(one.records for one in self.made) / min(took)

    def written(self) -> dict[str, float]:
        """Return the rates at which bodies go to disk, by groups of each size."""
        figures = {}
        for size in GROUPS:
            groups = [self.made[at : at + size] for at in range(0, len(self.made), size)]
            with tempfile.TemporaryDirectory() as name:
                for figure, work in (("synced", _write), ("journal", _append)):
                    once = partial(work, Path(name), groups)
                    figures[f"{figure}_by_{size}_per_s"] = self._rate(partial(_ready, once))
        return figures

    def decoded(self) -> dict[str, float]:
        """Return the rates of decoding OTLP; nothing for other kinds."""
        root = RECORD_KINDS[self.kind]
        if root not in otlp.ROOTS:
            return {}
        batches = [[one.body for one in batch] for batch in self.batches()]

        def one_by_one() -> None:
            for one in self.made:
                otlp.decode(root, [one.body])

        def flattened() -> None:
            for bodies in batches:
                otlp.flatten(root, otlp.decode(root, bodies), np.zeros(len(bodies), np.int64))

        one_by_one()  # what is made once, at the first, is made
        return {
            "decoded_per_s": self._rate(partial(_ready, one_by_one)),
            "flattened_per_s": self._rate(partial(_ready, flattened)),
        }

    def applied(self) -> dict[str, float]:
        """Return the rates of what the sidecar's applying thread does."""
        pipeline = Pipeline(namespace="bench", sides={}, rules=())
        batches = list(self.batches())
        try:
            tables = [pipeline.signals(one)[0] for one in batches]
            piped = self._rate(lambda: lambda: [pipeline.signals(one) for one in batches])
        finally:
            pipeline.close()
        inserted = self._rate(lambda: _on_engine(tables, _insert))
        folded = self._rate(lambda: _on_engine(tables, _fold))
        return {
            "pipeline_per_s": piped,
            "inserted_per_s": inserted,
            "folded_per_s": folded,
            "pipeline_then_fold_per_s": 1 / (1 / piped + 1 / folded),
            "together_per_s": self._together(),
        }

    def _together(self) -> float:
        took_s = together(partial(_whole, self), self.repeats)
        cores = len(os.sched_getaffinity(0))
        return cores * sum(one.records for one in self.made) / took_s

    def batches(self) -> Iterator[list[Record]]:
        """Yield the bodies as journal records, in batches as the store makes them."""
        kind = RECORD_KINDS[self.kind]
        batch: list[Record] = []
        rows = 0
        for number, one in enumerate(self.made, 1):
            batch.append(Record(number, kind, system_clock(), {}, self._body(one)))
            rows += one.records
            if rows >= ROWS:
                yield batch
                batch, rows = [], 0
        if batch:
            yield batch

    def _body(self, one: Request) -> bytes:
        """Return the body as it is in the journal: the receiver adds its time to a heartbeat."""
        if self.kind != "beats":
            return one.body
        return one.body.replace(b"{", b'{"ts_us":%d,' % system_clock(), 1)


def _ready(work: Callable[[], object]) -> Callable[[], object]:
    """Return *work*, for which nothing is to be prepared."""
    return work


def _write(folder: Path, groups: Sequence[Sequence[Request]]) -> None:
    with (folder / "plain").open("wb", buffering=0) as file:
        for group in groups:
            for one in group:
                file.write(one.body)
            os.fsync(file.fileno())


def _append(folder: Path, groups: Sequence[Sequence[Request]]) -> None:
    journal = Journal(folder / "journal.sqlite")
    for group in groups:
        journal.append([Entry("bytes", 0, one.body) for one in group])
    journal.close()


_Apply: TypeAlias = "Callable[[pa.Table], None]"


def _on_engine(
    tables: Sequence[pa.Table], make: Callable[[duckdb.DuckDBPyConnection], _Apply]
) -> Callable[[], None]:
    """Return what applies *tables* to an engine that is made here, before the clock starts."""
    connection = fold.connect(4 * Limits().memory_bytes)
    fold.create(connection)
    apply = make(connection)

    def work() -> None:
        for table in tables:
            apply(table)

    return work


def _whole(stages: _Stages) -> Callable[[], None]:
    """Return what takes bodies through the pipeline into relations, both made here."""
    pipeline = Pipeline(namespace="bench", sides={}, rules=())
    batches = list(stages.batches())

    def work() -> None:
        engine = fold.connect(4 * Limits().memory_bytes)
        fold.create(engine)
        apply = _fold(engine)
        for one in batches:
            apply(pipeline.signals(one)[0])
        engine.close()

    return work


def _insert(db: duckdb.DuckDBPyConnection) -> _Apply:
    """Return what inserts into a table of signals, and does nothing else."""
    db.register("batch_arrow", SCHEMA.empty_table())
    db.execute("CREATE TABLE signals AS SELECT * FROM batch_arrow")
    db.unregister("batch_arrow")

    def apply(signals: pa.Table) -> None:
        db.register("batch_arrow", signals)
        db.execute("INSERT INTO signals SELECT * FROM batch_arrow")
        db.unregister("batch_arrow")

    return apply


def _fold(db: duckdb.DuckDBPyConnection) -> _Apply:
    limits = Limits()
    return fold.Fold(db, bin_us=us(limits.bin_s), settle_us=us(limits.settle_s)).apply


def _received(plan: Plan) -> float:
    with Bare() as url, Load(plan) as load:
        load.prepare()
        sent = load.send(url)
    return sent.records / sent.took_s
