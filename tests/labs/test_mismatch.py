"""The mismatch lab: limits that do not fit are told before they fail, and why it failed after."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from datetime import datetime
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from labs._logs import lines
from labs.mismatch import LAB, expected
from labs.mismatch.table import JOBS, LIMITS_AT_S
from tests.labs._boards import Boards
from tests.labs._words import heard
from zombiewatch.session import Session, run_lab

if TYPE_CHECKING:
    from pathlib import Path

    from labs.mismatch.table import Job
    from zombiewatch.child import Sidecar

BUGS = sorted(LAB.bugs)


# What is expected


def test_expectations_of_several_bugs_are_the_union() -> None:
    """Each bug adds its own findings, and what must be found is not merely allowed."""
    for size in range(len(BUGS) + 1):
        for chosen in combinations(BUGS, size):
            together = expected(frozenset(chosen))
            alone = [expected(frozenset({bug})) for bug in chosen]
            assert together.must == frozenset().union(*(one.must for one in alone))
            assert together.must | together.may == frozenset().union(
                *(one.must | one.may for one in alone)
            )
            assert not together.must & together.may


def test_each_bug_must_be_found() -> None:
    """No switch is without its finding."""
    assert all(expected(frozenset({bug})).must for bug in BUGS)


# The table


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.case)
def test_a_job_fits_its_limits_unless_they_are_short(job: Job) -> None:
    """As somebody chose them, all but one are below the run; S003 has no room, and no heartbeat."""
    fit, short = job.limits(short=False), job.limits(short=True)
    assert fit.timeout_s > 3 * job.takes_s
    assert short.timeout_s < job.takes_s or (job.case == "S003" and job.beat_s is None)
    assert fit.beat_timeout_s is None or fit.beat_timeout_s > 5 * (job.beat_s or 0)


def test_the_first_run_of_each_job_has_no_limits_and_the_last_one_has() -> None:
    """How long they take is known before they are limited."""
    for job in JOBS:
        assert job.at_s[0] < LIMITS_AT_S < job.at_s[-1]


# A machine with a wrong clock


def test_a_machine_has_its_own_name_and_clock() -> None:
    """All that a module reads of the time of day is off, and how fast it passes is not.

    So are the times of spans: nothing of the lab loads the SDK before.
    """
    code = (
        "import time, socket; from datetime import datetime; from time import time_ns;"
        "from opentelemetry.sdk.trace import TracerProvider;"
        "span = TracerProvider().get_tracer('test').start_span('test');"
        "print(socket.gethostname(), time.time(), time_ns(), span.start_time, time.monotonic())"
    )
    argv = [
        sys.executable,
        "-c",
        f"from labs.mismatch.machine import become; become('n', 60.0); {code}",
    ]
    before_s, monotonic_s = time.time(), time.monotonic()
    said = subprocess.run(argv, check=True, capture_output=True, text=True)
    host, now_s, now_ns, span_ns, passed_s = said.stdout.split()
    assert host == "n"
    for at_s in (float(now_s), int(now_ns) / 1e9, int(span_ns) / 1e9):
        assert 60 <= at_s - before_s < 60 + time.time() - before_s
    assert monotonic_s <= float(passed_s) <= time.monotonic()


# What the processes say


_SILENT = re.compile(r"^(executor \S+ registered$|callback of run \S+ of \S+ ignored: )")
"""Messages that need no rule."""

_LIMITS = "limits"
"""What a line is that has no phase, and says a job's limits."""

_CALM = {"enqueued", "dispatched", "accepted", "started", "heartbeat", "finished", "reported"} | {
    "recorded",
    "instance.stopped",
    _LIMITS,
}
"""What is said in every run, whatever the bugs."""


def phases_of(logs: Path) -> set[str]:
    """Return the phases of all lines; each line has one, or is known to need none."""
    return {rule.get("phase", _LIMITS) for rule in heard(LAB, lines(logs), _SILENT)}


# The whole lab, beside a sidecar


def ran(
    bugs: str, kept: Path, boards: Boards | None = None
) -> tuple[list[dict[str, Any]], dict[str, float | int]]:
    """Run the lab with *bugs* beside a sidecar; return what it found last, and the truth."""
    found: list[dict[str, Any]] = []

    def look(gone: float, sidecar: Sidecar) -> None:
        if boards:
            boards.look(gone, sidecar)
        found[:] = sidecar.findings()["findings"] or found

    console = Console(file=io.StringIO(), width=160)
    session = Session(lab=LAB.name, bugs=bugs, keep=kept, console=console, each_second=look)
    status = run_lab(session)
    assert isinstance(console.file, io.StringIO)
    assert status == 0, console.file.getvalue()
    return found, LAB.truth(kept / "logs", kept / "work")


@pytest.mark.slow
def test_without_bugs_all_is_recorded_as_it_was(tmp_path: Path) -> None:
    """Limits that fit, signs of life, callbacks that come through: nothing to find."""
    with Boards(tmp_path / "boards") as boards:
        _, truth = ran("none", tmp_path, boards)
    boards.all_is_shown(LAB.name)
    assert phases_of(tmp_path / "logs") == _CALM
    assert truth["runs"] == truth["ended_well"] == truth["recorded_success"] == 11
    assert (truth["recorded_failed"], truth["lost_callbacks"]) == (0, 0)


@pytest.mark.slow
def test_limits_that_do_not_fit_are_told_before_the_first_run_fails(tmp_path: Path) -> None:
    """With all bugs in: each of the five cases is told of before, and fails, with exit code 0."""
    found, truth = ran("all", tmp_path)
    assert truth["mismatched"] == len(JOBS)
    assert truth["lost_callbacks"] >= 1
    told = [one for one in found if one["detector"] == "timeout_lattice" and one["confirmed_at"]]
    assert {one["name"] for one in told} == {job.name for job in JOBS}
    for one in told:
        confirmed_at = datetime.fromisoformat(one["confirmed_at"]).timestamp()
        assert confirmed_at < truth["first_failed_at"], one
    assert phases_of(tmp_path / "logs") == _CALM
