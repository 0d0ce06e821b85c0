"""The HTTP API is what its OpenAPI document says: a real sidecar is asked all manner of things."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e._otlp import log, logs
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, call, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCUMENT = "/api/v1/openapi.json"
JSON = {"Content-Type": "application/json"}

SETTINGS = """
seed = 20261125

[warnings]
# An operation of which the fuzz never came to the bottom was not tested.
fail-on = true

[checks]
# 413: what is longer than it may be can be too long to be read at all
negative_data_rejection.expected-statuses = [400, 401, 404, 405, 413, 415]

[dictionaries]
findings.values = {findings}
told.values = ["lost-1", "lost-2", "in-a-file"]
assets.values = ["page.js", "page.css"]
queries.values = ["SELECT 1", "SELECT * FROM attempts"]
lengths.values = ["90s", "30m", "2h", "1h30m"]
services.values = ["orders"]
runbooks.values = ["zombie_task", "sidecar"]
queues.values = ["night"]
flags.values = ["degrade.level", "degrade.shed"]

[[operations]]
include-path-regex = "/(findings|incidents)/"
parameters = {{ "path.id" = {{ dictionary = "findings" }} }}

[[operations]]
include-path-regex = "/(tasks|requests|traces)/"
parameters = {{ "path.id" = {{ dictionary = "told" }} }}

[[operations]]
include-operation-id = "static"
parameters = {{ "path.name" = {{ dictionary = "assets" }} }}

[[operations]]
include-operation-id = "runbook"
parameters = {{ "path.name" = {{ dictionary = "runbooks" }} }}

[[operations]]
include-operation-id = "sql"
parameters = {{ "body.query" = {{ dictionary = "queries" }} }}
# Few texts are a SELECT.
checks.positive_data_acceptance.expected-statuses = [200, 400]

[[operations]]
include-path-regex = "^/ping/"
# A name is of printable characters, which no pattern can say.
checks.positive_data_acceptance.expected-statuses = [200, 400, 404]

[[operations]]
include-operation-id = ["say", "undo"]
# A finding may have ended, an end may lie in the past, and there may be nothing to take back.
checks.positive_data_acceptance.expected-statuses = [200, 400, 404]

[[operations]]
include-operation-id = "scale"
parameters = {{ "path.queue" = {{ dictionary = "queues" }} }}

[[operations]]
include-operation-id = "flag"
parameters = {{ "path.key" = {{ dictionary = "flags" }} }}

[[operations]]
include-operation-id = "switch_set"
parameters."body.until".dictionary = "lengths"
parameters."body.service".dictionary = "services"
# An end may lie in the past or too far ahead, and another change may have come before.
checks.positive_data_acceptance.expected-statuses = [200, 400, 409]

[[operations]]
include-operation-id = "switch_clear"
parameters."body.service".dictionary = "services"
# Another change may have come before, and mostly there is nothing to clear.
checks.positive_data_acceptance.expected-statuses = [200, 400, 409]
warnings = false
"""


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sidecar with findings, an incident with a suspect, tasks, sources and a followed file."""
    folder = tmp_path_factory.mktemp("lived")
    path = folder / "app.log"
    path.write_text('{"task.id": "in-a-file"}\n')
    with Running(folder, {**QUICK, "follow": [{"path": str(path)}]}) as sidecar:
        scheduler = Scheduler(sidecar, queue="night")
        scheduler.loses("lost-1", "lost-2")
        scheduler.settles("lost-2")
        error = log({"service.name": "api", "task.id": "lost-1"}, "boom", severity_number=17)
        assert sidecar.otlp("logs", logs([error])).status == 200
        eventually(True, lambda: bool(incidents(sidecar)[0]["suspects"]))
        eventually(1, lambda: sidecar.signals(way="file"))
        yield sidecar
        assert sidecar.stop() == 0, sidecar.log


def incidents(sidecar: Running) -> list[dict[str, Any]]:
    found = sidecar.get("/api/v1/incidents").json()["incidents"]
    return [sidecar.get(f"/api/v1/incidents/{one['id']}").json() for one in found]


def fuzz(
    folder: Path, sidecar: Running, *words: str, document: str = ""
) -> tuple[int, str, dict[str, Any]]:
    """Let schemathesis ask *sidecar*; return its status, what it says, and its report."""
    settings, report = folder / "schemathesis.toml", folder / "report.json"
    findings = [one["id"] for one in sidecar.findings()] if document == "" else [1]
    settings.write_text(SETTINGS.format(findings=findings))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--no-color"),
            *("--config-file", str(settings), "run", document or sidecar.url() + DOCUMENT),
            *("--url", sidecar.url(), "--report=json", f"--report-json-path={report}"),
            *("--generation-database=none", *words),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, json.loads(report.read_text())


@pytest.mark.slow
def test_whatever_is_asked_the_answer_is_what_the_document_says(
    lived: Running, tmp_path: Path
) -> None:
    """Sound and unsound requests, alone and in sequence: status, form and content are declared."""
    code, said, report = fuzz(tmp_path, lived, "--max-examples=20", "--continue-on-failure")
    assert code == 0, said
    described = lived.get(DOCUMENT).json()["paths"]
    # the document itself is left out by schemathesis; there may be nothing to take back or clear
    rest = {f"{verb.upper()} {path}" for path, verbs in described.items() for verb in verbs}
    rest -= {f"GET {DOCUMENT}", "POST /api/v1/findings/{id}/undo"}
    rest -= {"POST /api/v1/switches/clear"}
    reached = {
        name
        for name, phases in report["valid_rates"].items()
        if any(phase["accepted"] for phase in phases.values())
    }
    assert rest - reached == set()


def test_an_answer_that_is_not_as_described_is_found(lived: Running, tmp_path: Path) -> None:
    """The check can fail: of a document that is wrong in one type, and in nothing else."""
    document = lived.get(DOCUMENT).json()
    fields = document["components"]["schemas"]["OneFindingJson"]["properties"]
    fields["id"] = {"type": "string"}
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(document))
    code, said, report = fuzz(
        tmp_path, lived, "--include-operation-id=finding", "--phases=fuzzing", "--max-examples=5",
        document=str(path),
    )  # fmt: skip
    assert (code, [one["code"] for one in report["failures"]]) == (1, ["ST108"]), said


@pytest.mark.slow
def test_with_a_token_whatever_is_not_open_asks_for_it(tmp_path: Path) -> None:
    """The document says which is which, and schemathesis tries each without it."""
    token = "correct-horse-battery"  # noqa: S105 - of this test alone
    with Running(tmp_path / "guarded", {"http": {"token": token}}) as sidecar:
        assert sidecar.get(DOCUMENT).status == 401
        asks = {"Authorization": f"Bearer {token}"}
        document = sidecar.get(DOCUMENT, headers=asks).json()
        free = {
            path
            for path, verbs in document["paths"].items()
            for said in verbs.values()
            if not said["security"]
        }
        assert free == {"/static/{name}", "/healthz", "/readyz"}
        path = tmp_path / "document.json"
        path.write_text(json.dumps(document))
        code, said, _ = fuzz(
            tmp_path, sidecar, f"--header=Authorization: Bearer {token}", "--phases=coverage",
            "--checks=ignored_auth,status_code_conformance,response_schema_conformance",
            "--warnings=off", document=str(path),
        )  # fmt: skip
        assert code == 0, said
        document["paths"]["/healthz"]["get"]["security"] = [{"bearer": []}]
        path.write_text(json.dumps(document))
        code, said, report = fuzz(
            tmp_path, sidecar, f"--header=Authorization: Bearer {token}", "--phases=coverage",
            "--checks=ignored_auth", "--include-path=/healthz", document=str(path),
        )  # fmt: skip
        assert (code, len(report["failures"])) == (1, 1), said


# What schemathesis cannot ask, or found once


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/findings/x", 404),
        ("GET", "/api/v1/findings?limit=1&limit=2", 400),
        ("PUT", "/api/v1/findings", 405),
        ("GET", "/api/v1/sql", 405),
    ],
)
def test_every_error_of_the_api_is_json(
    lived: Running, method: str, path: str, status: int
) -> None:
    """One key, `error`; a method that is not taken is told with those that are."""
    answer = call(method, lived.url() + path)
    assert (answer.status, list(answer.json())) == (status, ["error"])
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/api/v1/heartbeat", "/api/v1/sql"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_is_not_packed_as_it_says_is_the_senders_error(
    lived: Running, path: str, encoding: str
) -> None:
    """400, not 500."""
    headers = {**JSON, "Content-Encoding": encoding}
    answer = call("POST", lived.url() + path, b'{"task_id": "t"}', headers)
    assert (answer.status, list(answer.json())) == (400, ["error"])


@pytest.mark.parametrize("until", ["99999999w", "9" * 40 + "w", "1" + "0" * 300])
def test_an_end_beyond_all_calendars_is_refused(lived: Running, until: str) -> None:
    """It cannot be kept, and nobody means it."""
    one = lived.findings("open", detector="zombie_task")[0]["id"]
    body = json.dumps({"by": "ann", "reason": "x", "until": until}).encode()
    answer = call("POST", f"{lived.url()}/api/v1/findings/{one}/ack", body, JSON)
    assert (answer.status, "write a length like" in answer.error) == (400, True)


def test_nobody_takes_anything_back_namelessly(lived: Running) -> None:
    """Who acknowledged is kept, and so is who took it back."""
    one = lived.findings("open", detector="zombie_task")[0]["id"]
    url = f"{lived.url()}/api/v1/findings/{one}"
    assert call("POST", f"{url}/ack", b'{"by": "ann", "reason": "x"}', JSON).status == 200
    answer = call("POST", f"{url}/undo", b'{"by": " "}', JSON)
    assert (answer.status, answer.error[:15]) == (400, "say who you are")
    assert call("POST", f"{url}/undo", b'{"by": "ann"}', JSON).status == 200
