"""The Bruin lab fails for mechanical reasons, each by its own switch, and not without."""

from __future__ import annotations

import json
import re
import socket
from contextlib import closing
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from labs import _telemetry
from labs.__main__ import TRUTH, run
from labs._logs import lines
from labs.bruin import LAB, expected
from tests.labs._words import heard

if TYPE_CHECKING:
    from pathlib import Path

BUGS = sorted(LAB.bugs)


# What is expected


def test_without_bugs_nothing_is_expected() -> None:
    """The fixed system is silent."""
    found = expected(frozenset())
    assert (frozenset(), frozenset()) == (found.must, found.may)


def test_expectations_of_several_bugs_are_the_union() -> None:
    """Each bug adds its own findings, and what must be found is not merely allowed."""
    for size in range(1, len(BUGS) + 1):
        for chosen in combinations(BUGS, size):
            together = expected(frozenset(chosen))
            alone = [expected(frozenset({bug})) for bug in chosen]
            assert together.must == frozenset().union(*(one.must for one in alone))
            assert together.must | together.may == frozenset().union(
                *(one.must | one.may for one in alone)
            )
            assert not together.must & together.may
            assert {"timeout_lattice", "overdue_task"} <= together.may


# What the processes say


def test_a_log_line_is_one_json_object(tmp_path: Path) -> None:
    """Time in microseconds UTC, who speaks, and the fields of the call; with the span's IDs."""
    with closing(closed_port()) as port:
        telemetry = _telemetry.set_up(
            "svc", "svc-1", otlp=url_of(port), logs=tmp_path, logger="labtest"
        )
        with telemetry.tracer.start_as_current_span("work"):
            telemetry.log.getChild("api").info(
                "task %s", "t-1", extra=_telemetry.fields(request_id="r-1", limit_s=None)
            )
        telemetry.close()
    (line,) = map(json.loads, (tmp_path / "svc-1.jsonl").read_text().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("ts"))
    assert re.fullmatch("[0-9a-f]{32}", line.pop("trace_id"))
    assert re.fullmatch("[0-9a-f]{16}", line.pop("span_id"))
    assert line == {
        "level": "INFO",
        "service": "svc",
        "instance": "svc-1",
        "logger": "labtest.api",
        "message": "task t-1",
        "request_id": "r-1",
    }


# The whole lab


def closed_port() -> socket.socket:
    """Return a socket whose port is ours, and at which nobody listens."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


def url_of(held: socket.socket) -> str:
    return f"http://127.0.0.1:{held.getsockname()[1]}"


_CALM = {
    ("enqueued", ""),
    ("call.received", "dispatch"),
    ("call.committed", "dispatch"),
    ("call.errored", "dispatch"),
    ("call.received", "report"),
    ("call.committed", "report"),
    ("recorded", ""),
    ("call.sent", "dispatch"),
    ("call.ok", "dispatch"),
    ("call.sent", "report"),
    ("call.ok", "report"),
    ("accepted", ""),
    ("started", ""),
    ("finished", ""),
    ("heartbeat", ""),
}
"""What is said in every run, whatever the bugs: by log lines alone."""

_SILENT = re.compile("^billing rolled up |^no work for .*: nothing is due$")
"""Messages that need no rule."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "bugs",
    [(), *((bug,) for bug in BUGS), tuple(BUGS)],
    ids=lambda bugs: "+".join(bugs) or "none",
)
def test_the_lab_does_what_its_bugs_say(tmp_path: Path, bugs: tuple[str, ...]) -> None:
    """Each bug leaves its own damage; the other damages need their own bug; none, no damage."""
    logs = tmp_path / "logs"
    with closing(closed_port()) as port:
        truth = run(
            LAB, otlp=url_of(port), logs=logs, work=tmp_path, bugs=frozenset(bugs), seconds=20.0
        )
    for file in tmp_path.glob("oxr.db*"):
        file.unlink()  # pytest keeps its folders, and this is 300 MB
    assert truth == json.loads((tmp_path / TRUTH).read_text())
    assert truth["tasks"] == 25
    assert truth["waiting"] == truth["unfinished"] == 0

    handed_wrong = truth["zombies"], truth["committed_after_give_up"]
    if "wrong_context" in bugs:
        assert min(handed_wrong) >= 1
    else:
        assert handed_wrong == (0, 0)
    if "swallow_errors" in bugs:
        assert truth["lost_reports"] >= 1
    elif "missing_index" not in bugs:
        assert truth["lost_reports"] == 0
        assert truth["slowest_delivery_s"] < 10
    if "missing_index" in bugs:
        assert truth["scan_first_s"] > 0.005
        assert truth["scan_last_s"] > 4 * truth["scan_first_s"]
    else:
        assert truth["scan_last_s"] < 0.01

    said = {
        (rule["phase"], rule.get("set", {}).get("purpose", ""))
        for rule in heard(LAB, lines(logs), _SILENT)
    }
    assert _CALM - {("call.errored", "dispatch")} <= said
    if "wrong_context" in bugs:
        assert ("call.gave_up", "dispatch") in said
    lost = {("call.failed", "report"), ("call.gave_up", "report")}
    assert not ("swallow_errors" in bugs and lost & said)
