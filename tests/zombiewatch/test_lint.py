"""`zombiewatch lint`: declared limits against declared times, by the detector's own rules."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import _lattice as lattice
from detectors._kit import load as load_detectors
from detectors._lattice import PAIRS, THRESHOLDS, Pair
from tests.detectors.harness import judged
from zombiewatch.declared import Declared, DeclaredError, load
from zombiewatch.lint import Misfit, judge

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parents[2] / "docs" / "lint.md"
DETECTOR = next(one for one in load_detectors() if one.name == "timeout_lattice")


def found(**declared: Any) -> list[str]:
    return [one.subject for one in judge(Declared.model_validate(declared)).misfits]


def task(**said: Any) -> list[str]:
    return found(tasks={"sync": said})


def call(**said: Any) -> list[str]:
    return found(calls=[{"caller": "agent", "callee": "oxr", "purpose": "report", **said}])


def queue(**said: Any) -> list[str]:
    return found(queues={"mail": said})


# The five published cases, and each pair at its edge

CASES = {
    "S001": {"run_s": 180, "heartbeat_interval_s": 30, "timeout_s": 120},
    "S002": {"run_s": 650, "heartbeat_interval_s": 60, "timeout_s": 600},
    "S003": {"run_s": 90, "timeout_s": 100},
    "S004": {"run_s": 200, "heartbeat_interval_s": 30, "timeout_s": 180},
    "S005": {"run_s": 75, "heartbeat_interval_s": 20, "timeout_s": 60},
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_called_failed_though_it_exited_0_is_seen_beforehand(case: str) -> None:
    """The declared figures alone say what the detector says when it has seen the run."""
    (expected,) = (one.finds for one in DETECTOR.cases if one.title == case)
    assert task(**CASES[case]) == list(expected)


RUN, CLOSE, FEW, NEVER = (
    f"sync: {pair.misfit}"
    for pair in (
        lattice.RUN, lattice.RUN_WITHOUT_BEATS, lattice.BEAT, lattice.BEAT_THAT_NEVER_COMES,
    )
)  # fmt: skip
ANSWER, RETRIES = (f"agent to oxr, report: {pair.misfit}" for pair in (lattice.CALL, lattice.RETRY))
HOLD = f"mail: {lattice.VISIBILITY.misfit}"


@pytest.mark.parametrize(
    ("of", "said", "expected"),
    [
        (task, {"timeout_s": 100, "run_s": 100, "heartbeat_interval_s": 9}, []),
        (task, {"timeout_s": 99.9, "run_s": 100, "heartbeat_interval_s": 9}, [RUN]),
        (task, {"timeout_s": 125, "run_s": 100}, []),
        (task, {"timeout_s": 124.9, "run_s": 100}, [CLOSE]),
        (task, {"timeout_s": 100, "run_s": 100}, [CLOSE]),
        (task, {"timeout_s": 99.9, "run_s": 100}, [RUN]),
        (task, {"heartbeat_timeout_s": 30, "heartbeat_interval_s": 10}, []),
        (task, {"heartbeat_timeout_s": 29.9, "heartbeat_interval_s": 10}, [FEW]),
        (task, {"heartbeat_timeout_s": 0.3, "heartbeat_interval_s": 0.1}, []),
        (task, {"heartbeat_timeout_s": 300, "run_s": 100}, []),
        (task, {"heartbeat_timeout_s": 299.9, "run_s": 100}, [NEVER]),
        (task, {"timeout_s": 110, "heartbeat_timeout_s": 300, "run_s": 100}, []),
        (call, {"timeout_s": 5, "answer_s": 5}, []),
        (call, {"timeout_s": 4.9, "answer_s": 5}, [ANSWER]),
        (call, {"retry_window_s": 5, "answer_s": 5}, []),
        (call, {"retry_window_s": 4.9, "answer_s": 5}, [RETRIES]),
        (call, {"timeout_s": 1, "retry_window_s": 1, "answer_s": 5}, [ANSWER, RETRIES]),
        (queue, {"visibility_timeout_s": 100, "run_s": 100}, []),
        (queue, {"visibility_timeout_s": 99.9, "run_s": 100}, [HOLD]),
        (queue, {"visibility_timeout_s": 120, "run_s": 100, "prefetch_wait_s": 20}, []),
        (queue, {"visibility_timeout_s": 119.9, "run_s": 100, "prefetch_wait_s": 20}, [HOLD]),
        (queue, {"visibility_timeout_s": 400, "run_s": 100, "eta_s": 300}, []),
        (queue, {"visibility_timeout_s": 399.9, "run_s": 100, "eta_s": 300}, [HOLD]),
        (queue, {"visibility_timeout_s": 299.9, "eta_s": 300}, [HOLD]),
    ],
)  # fmt: skip
def test_each_pair_has_its_edge(
    of: Callable[..., list[str]], said: dict[str, Any], expected: list[str]
) -> None:
    """At the limit it fits; a tenth of a second below, it does not."""
    assert of(**said) == expected


@pytest.mark.parametrize(
    ("run_s", "expected"),
    [
        ({"p50": 9, "p99": 180}, [RUN]),
        ({"p50": 180}, [RUN]),
        ([9] * 19 + [1800], [RUN]),
        ([9] * 18 + [1800], []),
        ([130, 180], [RUN]),
    ],
)
def test_percentiles_count_as_they_do_for_the_detector(run_s: Any, expected: list[str]) -> None:
    """Declared ones as they are; of measured times the 99th percentile only where 20 are there."""
    assert task(timeout_s=120, heartbeat_interval_s=9, run_s=run_s) == expected


def test_a_queue_holds_its_longest_task() -> None:
    """The run is that of the tasks that name the queue, unless the queue says it."""
    tasks = {"short": {"queue": "mail", "run_s": 5}, "long": {"queue": "mail", "run_s": 50}}
    assert found(tasks=tasks, queues={"mail": {"visibility_timeout_s": 49}}) == [HOLD]
    assert found(tasks=tasks, queues={"mail": {"visibility_timeout_s": 50}}) == []
    assert found(tasks=tasks, queues={"mail": {"visibility_timeout_s": 9, "run_s": 9}}) == []


# One rule, stated once: lint and the detector agree

seconds = st.integers(1, 4000).map(lambda n: n / 4)


@given(pair=st.sampled_from(PAIRS), limit=seconds, p50=seconds, p99=seconds, n=st.integers(1, 40))
def test_the_rule_means_the_same_in_sql_and_in_python(
    pair: Pair, limit: float, p50: float, p99: float, n: int
) -> None:
    """What is needed, whether it misfits, and what is proposed, of whatever figures."""
    needed, wrong, better = (
        lattice.sql_case("needs").format(**THRESHOLDS),
        lattice.sql_case("misfits").format(**THRESHOLDS),
        lattice.sql_case("proposed").format(**THRESHOLDS),
    )
    row = f"""SELECT *, {needed} AS needs_s FROM (
        SELECT $pair AS pair, $limit::DOUBLE AS limit_s, $p50 AS beat_s, $n AS n,
          $p50 * 1e6 AS p50_us, $p99 * 1e6 AS p99_us, $p99 * 1e6 AS top_us) a"""
    given_ = {"pair": pair.name, "limit": limit, "p50": p50, "p99": p99, "n": n}
    with duckdb.connect() as engine:
        asked = f"SELECT a.needs_s, {wrong}, {better} FROM ({row}) a"
        told = engine.execute(asked, given_).fetchone()
    needs = pair.needs_s(THRESHOLDS, samples=n, p50_s=p50, p99_s=p99, beat_s=p50)
    assert needs is not None
    proposed = pair.proposed_s(limit, needs, p99, THRESHOLDS)
    assert told == (needs, pair.misfits(limit, needs, THRESHOLDS), pytest.approx(proposed))


EXACT = st.integers(20, 27).map(lambda power: 2**power / 1e6)
"""Times that are bounds of the histogram's buckets: measured, they are what they were."""
near = st.builds(lambda time, by: round(time * by, 3), EXACT, st.sampled_from([0.5, 0.9, 1.1, 2.7]))


@settings(max_examples=25)
@given(
    run=EXACT,
    timeout=st.none() | near,
    beat_timeout=st.none() | near,
    beat=st.none() | st.sampled_from([1.0, 7.0, 40.0]),
)
def test_the_detector_finds_in_signals_what_lint_finds_in_figures(
    run: float, timeout: float | None, beat_timeout: float | None, beat: float | None
) -> None:
    """The same limits and one run of that length, told by both sides of a scheduler."""
    limits = {"timeout_s": timeout, "beat_timeout_s": beat_timeout}
    same = {"task": "t", "task_name": "sync"}
    dispatcher = {"side": "dispatcher", "service": "oxr", **same}
    agent = {"side": "agent", "service": "agent", "instance": "a", **same}
    signals: list[dict[str, Any]] = [
        {"side": "agent", "service": "agent", "instance": "a", "t": -1, "phase": "heartbeat"},
        {**dispatcher, "t": -1000, "phase": "dispatched", **limits},
        {**agent, "t": -999, "phase": "accepted", "beat_s": beat},
        {**agent, "t": run - 999, "phase": "finished", "outcome": "success"},
    ]
    seen = [one.subject for one in judged(DETECTOR, signals)]
    told = task(
        timeout_s=timeout, heartbeat_timeout_s=beat_timeout, heartbeat_interval_s=beat, run_s=run
    )
    assert seen == sorted(told)


@given(
    limit=seconds, took=seconds, pair=st.sampled_from(PAIRS), by=st.sampled_from([1.0, 3.7, 1e-3])
)
def test_what_is_proposed_is_sound(limit: float, took: float, pair: Pair, by: float) -> None:
    """Set as it is shown, in three digits, the value fits: nobody is told twice."""
    limit, took = round(limit * by, 6), round(took * by, 6)
    word, other, of = {
        "run": ("timeout_s", {"run_s": took, "heartbeat_interval_s": 1e-6}, "tasks"),
        "run without beats": ("timeout_s", {"run_s": took}, "tasks"),
        "beat that never comes": ("heartbeat_timeout_s", {"run_s": took}, "tasks"),
        "beat": ("heartbeat_timeout_s", {"heartbeat_interval_s": took}, "tasks"),
        "call": ("timeout_s", {"answer_s": took}, "calls"),
        "retry": ("retry_window_s", {"answer_s": took}, "calls"),
        "visibility": ("visibility_timeout_s", {"run_s": took}, "queues"),
    }[pair.name]

    def misfits(**said: float) -> list[Misfit]:
        each = {word: limit, **other, **said}
        declared = (
            {"calls": [{"caller": "a", "callee": "b", **each}]}
            if of == "calls"
            else {of: {"x": each}}
        )
        report = judge(Declared.model_validate(declared))
        return [one for one in report.misfits if one.found.pair is pair]

    for one in misfits():
        beats = pair.base == "limit_s"
        mended = {"heartbeat_interval_s" if beats else word: one.shown_s}
        assert misfits(**mended) == []
        if beats:
            assert task(**{word: limit, **other, **mended}) == []


# What is wrong with a file is said with its line


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("tasks:\n  sync:\n    timeot_s: 3s\n", 3, "did you mean tasks.sync.timeout_s?"),
        ("tasks:\n  run_s: {run: 3s}\n", 2, "did you mean tasks.run_s.run_s?"),
        ("taks: {}\n", 1, "did you mean tasks?"),
        ("tasks:\n  sync: {timeout_s: soon}\n", 2, "tasks.sync.timeout_s is 'soon'; it must be a"),
        ("tasks:\n  sync:\n    timeout_s: 0\n", 3, "it must be more than 0"),
        ("tasks:\n  sync: 7\n", 2, "tasks.sync is 7; it must be a mapping"),
        ("tasks:\n\n  a: {run_s: [1s, fast]}\n", 3, "is 'fast'; it must be a number of seconds"),
        ("tasks:\n  a: {run_s: []}\n", 2, "give at least one"),
        ("tasks:\n  a: {run_s: {}}\n", 2, "give a length of time, p50, p99"),
        ("tasks:\n  a: {run_s: {p50: 9, p99: 8}}\n", 2, "p50 must not be more than p99"),
        ("tasks:\n  a: {run_s: {p50: 9, samples: [8]}}\n", 2, "not both"),
        ("tasks:\n  a: {queue: mial}\nqueues:\n  mail: {}\n", 2, "did you mean mail?"),
        ("calls:\n  - {caller: a}\n", 2, "calls[0].callee is missing"),
        ("thresholds: {margin: 0.5}\n", 1, "it must be at least 1"),
        ("tasks: {}\ntasks: {}\n", 2, "is set twice, first in line 1"),
        ("tasks:\n\tsync: {}\n", 2, "indent with spaces"),
        ("- a\n", 1, "holds no settings"),
    ],
)
def test_a_refusal_says_where_and_how_to_mend_it(
    tmp_path: Path, text: str, line: int, told: str
) -> None:
    """File, line, what is wrong, and the nearest that may have been meant."""
    path = tmp_path / "limits.yaml"
    path.write_text(text)
    with pytest.raises(DeclaredError) as refused:
        load(path)
    (problem,) = refused.value.problems
    assert problem.startswith(f"{path}:{line}: ")
    assert told in problem


# The command


def lint(folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "limits.yaml").write_text(text)
    command = [sys.executable, "-m", "zombiewatch", "lint", "limits.yaml", *words]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(DOCS.parents[1]), "PATH": ""},
    )  # fmt: skip


def test_the_documented_example_is_what_happens(tmp_path: Path) -> None:
    """docs/lint.md: its file, its output, its exit status; then its mended file."""
    blocks = re.findall(r"```(?:yaml|text)\n(.*?)```", DOCS.read_text(), re.DOTALL)
    wrong, said, mended, sound = blocks[:4]
    done = lint(tmp_path, wrong)
    assert (done.returncode, done.stdout, done.stderr) == (1, said, "")
    done = lint(tmp_path, mended)
    assert (done.returncode, done.stdout, done.stderr) == (0, sound, "")


def test_programs_get_json(tmp_path: Path) -> None:
    """Each misfit with its place and its numbers; and the limits that nothing stands beside."""
    text = "tasks:\n  sync: {timeout_s: 2m, heartbeat_interval_s: 30s, run_s: [3m, 200s]}\n"
    done = lint(tmp_path, f"{text}  other:\n    timeout_s: 1s\n", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout) == {
        "file": "limits.yaml",
        "sound": False,
        "compared": 1,
        "misfits": [
            {
                "subject": "sync: time-out below the run",
                "pair": "run",
                "limit": "tasks.sync.timeout_s",
                "line": 2,
                "limit_s": 120.0,
                "needs_s": 190.0,
                "proposed_s": pytest.approx(1.25 * 199.8),
                "samples": 2,
                "fix": "Raise the time-out to 250 s: the limit is 120 s, and the run takes 190 s or"
                " more (2 measured).",
            }
        ],
        "not_compared": [{"limit": "tasks.other.timeout_s", "line": 4}],
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tasks: {sync: {timeot_s: 3s}}\n", "zombiewatch: limits.yaml:1: tasks.sync.timeot_s is"),
        ("tasks: {sync: {timeout_s: 3s}}\n", "zombiewatch: limits.yaml: no limit stands beside"),
        ("", "zombiewatch: limits.yaml: no limit stands beside"),
    ],
)
def test_what_proves_nothing_does_not_pass(tmp_path: Path, text: str, told: str) -> None:
    """Exit status 2: a check that compares nothing would always be green."""
    done = lint(tmp_path, text)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(told)


def test_it_starts_without_an_engine(tmp_path: Path) -> None:
    """Neither DuckDB nor Arrow is loaded: it is quick, and small, in CI."""
    path = tmp_path / "limits.yaml"
    path.write_text("tasks: {sync: {timeout_s: 3s, run_s: 5s}}\n")
    script = (
        "import sys\n"
        "from zombiewatch.cli import app\n"
        f"code = app(['lint', {str(path)!r}], standalone_mode=False)\n"
        "print(code, sorted({'duckdb', 'pyarrow', 'pandas', 'aiohttp'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "1 []", done.stderr
