"""The bench measures what it says, and its tables and page hold nothing but what it measured."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench import population, report
from bench.aims import AIMS
from bench.flatness import flatness
from bench.machine import ROOT
from bench.measures import load
from bench.ratios import growths, ratios
from bench.traffic import KINDS, RECORD_KINDS, requests
from collector.pipeline import Pipeline, Record
from collector.store import fold
from detectors import _kit as detectors
from detectors._judge import Judge
from model.clock import system_clock
from tests.detectors.harness import NOW_US, Memory

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 300.0

POSTED = {
    "records", "bytes_per_record", "acknowledged_per_s", "applied_per_s", "ack_p50_ms",
    "ack_p99_ms", "behind_s", "cpu_s_per_million", "generator_cpu_s_per_million", "peak_rss_mb",
}  # fmt: skip
FLAT = {"rss_first_third_mb", "rss_last_third_mb", "rss_growth_mb_per_min"}
STAGES = {
    "pipeline_per_s",
    "inserted_per_s",
    "folded_per_s",
    "pipeline_then_fold_per_s",
    "together_per_s",
}
ON_DISK = {f"{what}_by_{size}_per_s" for what in ("synced", "journal") for size in (1, 16)}
OTLP = {"decoded_per_s", "flattened_per_s", "received_per_s", "received_gzip_per_s"}
EVALUATED = {"total_ms", "first_ms", "whole_ms", "findings", "engine_mb", "built_per_s"}
DETECTORS = {f"{one.name}_ms" for one in detectors.load()}

FIGURES = {
    "spans": POSTED,
    "logs": POSTED,
    "lines": {"records", "bytes_per_record", "applied_per_s", "cpu_s_per_million", "peak_rss_mb"},
    "beats": POSTED,
    "flags": {"per_s", "p50_ms", "p99_ms"},
    "limits": ON_DISK | STAGES,
    "eval": EVALUATED | DETECTORS,
    "settled": {
        "total_ms", "first_ms", "findings", "lookup_unknown_ms", "lookup_one_ms",
        "lookup_thousand_ms", "lookup_spread_ms", "applied_new_ms", "applied_agent_ms",
        "indexed_us", "index_bytes_per_row", "opened_s", "history_mb",
    },
    "visible": {
        "posted", "call_p50_s", "call_max_s", "zombie_p50_s", "zombie_max_s", "visible_max_s",
        "intervals", "files_first_third", "files_last_third", *FLAT,
    },
    "history": {
        "files", "signals", "ready_s", "first_page_ms", "page_ms", "idle_cpu_percent",
        "idle_rss_mb",
    },
    "start": {"ready_s", "idle_cpu_percent", "idle_rss_mb"},
    "recovery": {"records", "ready_s", "replayed_per_s", "kept_share", "rss_mb"},
}  # fmt: skip


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a whole run with tiny numbers wrote, and what it printed, under `printed` and `page`."""
    folder = tmp_path_factory.mktemp("bench")
    words = ["--quick", "--size", "0.01", "--json", str(folder / "b.json")]
    printed = run(*words, "--page", str(folder / "page.md"))
    page = (folder / "page.md").read_text()
    return {**json.loads((folder / "b.json").read_text()), "printed": printed, "page": page}


def run(*words: str, status: int = 0) -> str:
    """Run the bench in a process group of its own, none of which outlives this."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert status == process.returncode, err
    return out if status == 0 else err


@pytest.mark.slow
def test_every_figure_is_measured_and_positive(said: dict[str, Any]) -> None:
    """Nothing that the bench is to measure is missing, and nothing is zero."""
    assert {one.name for one in load()} == FIGURES.keys() == said["measured"].keys()
    for measure, cases in said["measured"].items():
        assert cases
        for case, figures in cases.items():
            more = OTLP if measure == "limits" and case in {"spans", "logs"} else set()
            more = FLAT if case.endswith("half load") else more
            assert FIGURES[measure] | more == figures.keys()
            positive = {name: value for name, value in figures.items() if "growth" not in name}
            assert [name for name, value in positive.items() if value <= 0] == []


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_the_kill(said: dict[str, Any]) -> None:
    """What was acknowledged before SIGKILL is in the relations after the restart, once."""
    assert [case["kept_share"] for case in said["measured"]["recovery"].values()] == [1.0]


@pytest.mark.slow
def test_the_table_and_the_page_show_every_figure(said: dict[str, Any]) -> None:
    """Each number of the JSON file is in the printed table and in the page."""
    for text in (said["printed"], said["page"]):
        for cases in said["measured"].values():
            for figures in cases.values():
                for name, value in figures.items():
                    assert report.heading(name) in text
                    assert report.number(value) in text
        assert all(f"{one.ratio:.3f}" in text for one in ratios(said["measured"]))
        assert all(f"{one.ratio:.3f}" in text for one in growths(said["measured"]))
        assert all(aim.what in text for aim in AIMS)


@pytest.mark.slow
def test_the_page_is_made_from_the_file_alone(said: dict[str, Any], tmp_path: Path) -> None:
    """The same file gives the same page, whenever; other numbers in it give another page."""
    plain = {name: value for name, value in said.items() if name not in {"printed", "page"}}
    (tmp_path / "b.json").write_text(json.dumps(plain))
    words = ["--from", str(tmp_path / "b.json"), "--page", str(tmp_path / "page.md")]
    assert said["printed"] == run(*words)
    assert said["page"] == (tmp_path / "page.md").read_text()


@pytest.mark.slow
def test_a_measurement_that_is_none_is_refused() -> None:
    """The message names those that there are."""
    assert "'spam' is none of beats, eval, flags, history, ingest" in run("spam", status=2)


def test_what_stays_the_same_is_flat() -> None:
    """Between two values, too: medians and a line are not moved by what comes and goes."""
    assert flatness([(at, 100.0) for at in range(60)]) == (100, 100, 0)
    first, last, per_min = flatness([(at, 100.0 + at % 2) for at in range(60)])
    assert (first, last, abs(per_min) < 0.2) == (100.5, 100.5, True)


def test_a_growth_is_by_the_minute_and_by_the_clock() -> None:
    """A busy machine takes fewer samples: of the first twenty seconds there are four times as many.

    1 MB a second from 0 on: the median of the first third is at 10 s, of the last at 50 s.
    """
    often = [(at / 4, at / 4) for at in range(80)] + [
        (float(at), float(at)) for at in range(20, 61)
    ]
    assert flatness(often) == pytest.approx((10, 50, 60))


def test_a_beginning_that_fills_what_is_kept_is_no_growth() -> None:
    """It shows in the medians, and not in the slope."""
    filled = [(at, min(at, 20.0)) for at in range(61)]
    assert flatness(filled) == pytest.approx((10, 20, 0))


def test_one_sample_is_flat_and_none_is_an_error() -> None:
    """A run too short to be sampled says nothing."""
    assert flatness([(1.0, 5.0)]) == (5, 5, 0)
    with pytest.raises(ValueError, match="nothing was sampled"):
        flatness([])


def test_no_number_of_the_page_is_typed_by_hand() -> None:
    """A result in which every number is the same makes a page that holds no other number.

    Save for those that say what is measured: aims, and the sizes in names and descriptions.
    """
    cases = {one.name: {"a case": dict.fromkeys(FIGURES[one.name], 7777.0)} for one in load()}
    said = {
        "mode": "full", "size": 1, "began": "7777", "took_s": 7777, "others_share": 77.77,
        "machine": {"cores": 7777, "packages": {"duckdb": "7777"}}, "measured": cases,
    }  # fmt: skip
    page = report.page(said)
    described = " ".join([*(one.doc for one in load()), *(aim.told + aim.what for aim in AIMS)])
    known = set(_numbers(described)) | set(_numbers(" ".join(map(report.heading, ON_DISK))))
    p_numbers = {"50", "99"}
    assert {"7,777", "7777", "7777.0%"} == set(_numbers(page)) - known - p_numbers


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d[\d,.]*\d%?|\d", text)


@pytest.mark.parametrize("kind", KINDS)
def test_the_traffic_is_understood_to_the_last_record(kind: str) -> None:
    """Each body holds as many records as it says, tasks have both ends, nothing is odd."""
    made = requests(kind, 2_000 if kind != "beats" else 5)
    pipeline = Pipeline(namespace="test", sides={}, rules=())
    bodies = [
        one.body.replace(b"{", b'{"ts_us":1,', 1) if kind == "beats" else one.body for one in made
    ]
    records = [
        Record(number, RECORD_KINDS[kind], system_clock(), {}, body)
        for number, body in enumerate(bodies, 1)
    ]
    signals, odd = pipeline.signals(records)
    pipeline.close()
    assert sum(one.records for one in made) == signals.num_rows
    assert ({} if kind != "beats" else {"implausible_times": 5}) == odd  # stamped with 1 µs
    tasks = set(signals["task"].to_pylist()) - {None}
    assert len(tasks) == (signals.num_rows // 10 if kind != "beats" else signals.num_rows)


def test_spans_are_as_big_and_rich_as_the_aims_say() -> None:
    """Ten attributes each, some 400 bytes, 500 to 1,000 of them in a request."""
    for one in requests("spans", 4_000):
        [told] = ExportTraceServiceRequest.FromString(one.body).resource_spans
        spans = told.scope_spans[0].spans
        assert {len(span.attributes) for span in spans} == {10}
        assert 350 < len(one.body) / len(spans) < 450
        assert 500 <= len(spans) == one.records <= 1_000


def test_the_population_has_the_troubles_that_it_is_to_have() -> None:
    """As many attempts as asked are open and closed, and each trouble is found as often as made."""
    connection = fold.connect(1 << 30)
    fold.create(connection)
    folding = fold.Fold(connection, bin_us=60_000_000, settle_us=3_600_000_000)
    for batches in (population.closed(0, 300, NOW_US), population.opened(300, 400, NOW_US)):
        for batch in batches:
            folding.apply(batch)
    counts = [
        connection.execute(f"SELECT count(*) FROM attempts WHERE {which}").fetchone()
        for which in ("NOT closed", "closed")
    ]
    judge = Judge(detectors.load(), Memory())
    judge.evaluate(connection, NOW_US, heard_us=NOW_US)
    connection.close()
    found = Counter(one.detector for one in judge.open.values() if one.verdict == "confirmed")
    made = population.FAULTS
    assert counts == [(400,), (300,)]
    once = ("zombie_task", "silent_task", "swallowed_error", "gave_up_but_committed")
    wanted = {**dict.fromkeys(once, made), "lost_report": 2 * made}
    assert wanted == found
