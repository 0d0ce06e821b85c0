"""What people, programs and Prometheus are answered over HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.e2e._otlp import log, logs
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, call, eventually
from tests.needs import need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT = "text/plain;version=0.0.4"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sidecar that has seen much: every way in, errors, and findings of every verdict."""
    folder = tmp_path_factory.mktemp("lived")
    path = folder / "logs" / "app.log"
    path.parent.mkdir()
    path.write_text('{"task.id": "in-a-file"}\nnot JSON\n{"timestamp": 5}\n')
    with Running(folder, {**QUICK, "labels_max": 3, "follow": [{"path": str(path)}]}) as sidecar:
        for number in range(6):
            scheduler = Scheduler(sidecar, queue=f"q-{number}", dispatcher=f"api-{number}")
            scheduler.loses(f"lost-{number}")
            sidecar.get("/metrics")  # what was scraped once is remembered
        for number in (0, 4):
            scheduler = Scheduler(sidecar, queue=f"q-{number}", dispatcher=f"api-{number}")
            scheduler.settles(f"lost-{number}")
        sidecar.otlp("logs", b"\xff\xff")
        sidecar.otlp("traces", b"{}", Content_Type="text/plain")
        sidecar.beat({"task_id": "beating"})
        gives_up(sidecar, "late", service='odd "name"\n\\')
        eventually(3, lambda: sidecar.signals(way="file"))
        yield sidecar
        assert sidecar.stop() == 0, sidecar.log


def gives_up(sidecar: Running, request: str, service: str) -> None:
    """Let a caller give up on a call that *service* commits a second later."""
    now = time.time_ns()
    story = [
        ("caller", "call.sent", -3),
        ("caller", "call.gave_up", -2),
        (service, "call.received", -3),
        (service, "call.committed", -1),
    ]
    records = [
        log(
            {"service.name": who, "event.name": event, "request.id": request, "host.name": "h"},
            time_unix_nano=now + after_s * 10**9,
        )
        for who, event, after_s in story
    ]
    assert sidecar.otlp("logs", logs(records)).status == 200
    eventually(1, lambda: len(given_up(sidecar, request)))


def given_up(sidecar: Running, request: str) -> list[dict[str, Any]]:
    found = sidecar.findings("open", detector="gave_up_but_committed")
    return [one for one in found if one["request_id"] == request]


# Metrics


def test_prometheus_finds_nothing_to_complain_of(lived: Running) -> None:
    """`promtool check metrics` takes all metrics, and has no advice."""
    promtool = need("promtool", "apt-get install prometheus")
    text = lived.get("/metrics").body
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (0, "", "")


@pytest.mark.parametrize(
    ("accept", "said"),
    [("", TEXT), (TEXT, TEXT), ("*/*", TEXT), (f"{OPENMETRICS},*/*;q=0.1", OPENMETRICS)],
)
def test_metrics_come_in_the_form_that_is_asked_for(lived: Running, accept: str, said: str) -> None:
    """Classic text where nothing is said; OpenMetrics to those who take it. Both say the same."""
    answer = lived.get("/metrics", headers={"Accept": accept})
    assert said == answer.headers["content-type"].replace(" ", "").partition(";charset")[0]
    parse = parse_openmetrics if said == OPENMETRICS else parse_text
    families = {family.name: family for family in parse(answer.body.decode())}
    samples = families["zombiewatch_signals"].samples
    assert sum(one.value for one in samples if one.labels.get("way") == "file") == 3


def test_prometheus_own_way_of_asking_is_understood(lived: Running) -> None:
    """What a Prometheus server sends as Accept is answered in one of the forms that it names."""
    accept = (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    )
    answer = lived.get("/metrics", headers={"Accept": accept, "Accept-Encoding": "gzip"})
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert list(parse_openmetrics(answer.body.decode())) != []


def test_every_metric_is_ours_and_explained(lived: Running) -> None:
    """Each begins with our name, has a unit or `_total` where it should, and a sentence of help."""
    families = list(parse_text(lived.get("/metrics").body.decode()))
    assert [one.name for one in families if not one.name.startswith("zombiewatch_")] == []
    assert [one.name for one in families if not re.fullmatch(r"[A-Z].*\.", one.documentation)] == []
    names = [one.name for one in families]
    assert len(set(names)) == len(names)


def test_too_many_values_of_a_label_become_one(lived: Running) -> None:
    """Beyond `labels_max`, services and queues are `__other__`, and nothing is lost of the sum."""
    seen: dict[str, set[str]] = {}
    for family in parse_text(lived.get("/metrics").body.decode()):
        for label in ("service", "queue"):
            # each metric keeps the first ones that it comes by
            values = {one.labels[label] for one in family.samples if label in one.labels}
            assert len(values) <= 4, (family.name, values)
            seen[label] = seen.get(label, set()) | values
    assert all("__other__" in values for values in seen.values())
    assert len(seen["service"]) == 4, seen
    zombies = lived.findings("open", detector="zombie_task")
    assert len(zombies) == 4
    assert lived.metric("zombiewatch_findings", detector="zombie_task") == 4


def test_a_gauge_falls_to_zero_instead_of_vanishing(lived: Running) -> None:
    """A finding that ended leaves a 0, so that an alert resolves and does not go stale."""
    labels = {"detector": "zombie_task", "service": "api-0", "queue": "q-0"}
    text = lived.get("/metrics").body.decode()
    values = [
        one.value
        for family in parse_text(text)
        for one in family.samples
        if one.name == "zombiewatch_findings" and labels.items() <= one.labels.items()
    ]
    assert values == [0]


def test_what_was_concluded_is_counted(lived: Running) -> None:
    """Confirmations and ends are counters, with the delay of each detection."""
    name = "zombiewatch_verdicts_total"
    zombies = {"detector": "zombie_task"}
    assert lived.metric(name, verdict="confirmed", **zombies) == 6
    ended = lived.metric(name, verdict="resolved", **zombies)
    assert ended + lived.metric(name, verdict="retracted", **zombies) == 2
    assert lived.metric("zombiewatch_detection_delay_seconds_count", **zombies) == 6


def test_what_came_in_is_counted_by_its_way(lived: Running) -> None:
    """Signals by way and kind, requests by code, and oddities by kind."""
    assert {"otlp", "file", "heartbeat"} == {
        one.labels["way"]
        for family in parse_text(lived.get("/metrics").body.decode())
        for one in family.samples
        if one.name == "zombiewatch_signals_total"
    }
    assert [
        lived.metric("zombiewatch_otlp_requests_total", code=code) for code in ("400", "415")
    ] == [1, 1]
    assert lived.metric("zombiewatch_input_oddities_total", kind="lines_not_json") == 1


# Health


def test_a_sidecar_says_that_it_lives_and_is_ready(lived: Running) -> None:
    """As plain text, for orchestrators."""
    assert [(answer.status, answer.body) for answer in map(lived.get, ("/healthz", "/readyz"))] == [
        (200, b"ok\n"),
        (200, b"ready\n"),
    ]
    assert lived.metric("zombiewatch_ready") == 1


@pytest.mark.parametrize("path", ["/nothing", "/static/nothing.js", "/static/..%2fpage.py"])
def test_what_is_not_there_is_404(lived: Running, path: str) -> None:
    """Also what is there, but not to be had."""
    assert lived.get(path).status == 404


def test_what_the_api_has_not_is_404_in_json(lived: Running) -> None:
    """Programs are told in their own form."""
    answer = lived.get("/api/v1/nothing")
    assert (answer.status, list(answer.json())) == (404, ["error"])


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/metrics", "/api/v1/findings", "/api/v1/nothing", "/nothing"]
)
def test_a_browser_is_told_to_run_nothing_of_others(lived: Running, path: str) -> None:
    """Whatever the answer, an error page too."""
    headers = lived.get(path).headers
    assert "default-src 'none'" in headers.get("content-security-policy", "")
    assert headers.get("x-content-type-options") == "nosniff"


def test_nothing_is_changed_by_asking(lived: Running) -> None:
    """There is no way to delete or to put anything."""
    for method in ("POST", "PUT", "DELETE"):
        assert call(method, f"{lived.url()}/api/v1/findings").status == 405


# Findings


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"state": "ajar"}, "state is 'ajar': one of open, dismissed, closed, all"),
        ({"state": ""}, "state is ''"),
        ({"limit": "0"}, "limit is '0': a number from 1 to 10000"),
        ({"limit": "10001"}, "limit is '10001'"),
        ({"limit": "-1"}, "limit is '-1'"),
        ({"limit": "many"}, "limit is 'many'"),
        ({"limit": "²"}, "limit is '²'"),
        ({"limit": ""}, "limit is ''"),
        ({"servce": "x"}, "'servce' is not a filter: filters are state, limit, detector"),
        ({"severity": "awful"}, "severity is 'awful': one of info, warning, critical"),
        ({"verdict": "guilty"}, "verdict is 'guilty': one of suspected, confirmed, unknown"),
    ],
)
def test_a_wrong_filter_is_refused(lived: Running, query: dict[str, str], told: str) -> None:
    """An answer to another question than was asked would be believed."""
    answer = lived.get("/api/v1/findings", query)
    assert answer.status == 400
    assert answer.error.startswith(told)


def test_filters_leave_only_what_they_say(lived: Running) -> None:
    """Each alone, and all together; open and ended findings alike."""
    everything = lived.findings("all")
    for name in ("detector", "service", "severity", "verdict"):
        for value in {one[name] for one in everything}:
            wanted = [one["id"] for one in everything if one[name] == value]
            assert wanted == [one["id"] for one in lived.findings("all", **{name: value})]
    all_four = {"detector": "zombie_task", "service": "api-1", "severity": "warning"}
    found = lived.findings("open", **all_four, verdict="confirmed")
    assert [one["task"] for one in found] == ["lost-1"]
    assert lived.findings("closed", **all_four) == []


def test_states_part_what_is_open_from_what_has_ended(lived: Running) -> None:
    """`all` is both; what is open has no end."""
    opened, closed = lived.findings("open"), lived.findings("closed")
    assert {None} == {one["ended_at"] for one in opened}
    assert None not in {one["ended_at"] for one in closed}
    assert [one["task"] for one in closed] == ["lost-0", "lost-4"]
    key = "id"
    assert sorted(one[key] for one in [*opened, *closed]) == sorted(
        one[key] for one in lived.findings("all")
    )


def test_the_newest_are_kept_by_a_limit(lived: Running) -> None:
    """The limit cuts the oldest off, by ID."""
    newest = sorted(one["id"] for one in lived.findings("all"))[-2:]
    assert newest == [one["id"] for one in lived.findings("all", limit="2")]


def test_a_finding_has_the_same_keys_always(lived: Running) -> None:
    """Programs can rely on the form: keys in one order, times in ISO 8601, evidence flat."""
    expected = [
        "id", "key", "detector", "namespace", "subject", "task", "attempt", "request_id", "name",
        "service", "queue", "severity", "verdict", "reason", "team", "muted", "muted_why",
        "summary", "fix", "since", "suspected_at", "confirmed_at", "ended_at", "evidence",
    ]  # fmt: skip
    answer = lived.get("/api/v1/findings", {"state": "all"}).json()
    assert list(answer) == ["now", "findings", "totals"]
    for one in answer["findings"]:
        assert expected == list(one)
        for name in ("since", "suspected_at", "confirmed_at", "ended_at"):
            assert one[name] is None or re.fullmatch(
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", one[name]
            )
        assert {str, int, float, bool, type(None)} >= {
            type(value) for value in one["evidence"].values()
        }


def test_findings_come_in_one_order(lived: Running) -> None:
    """The oldest first, whatever their state, the same at each asking."""
    first = [one["id"] for one in lived.findings("all")]
    assert sorted(first) == first
    for _ in range(5):
        assert first == [one["id"] for one in lived.findings("all")]


@pytest.mark.slow
def test_no_half_made_finding_is_ever_shown(run: Callable[..., Running]) -> None:
    """Whoever asks while detectors run sees each finding whole, with its ID."""
    sidecar, done = run(), threading.Event()
    seen: list[dict[str, Any]] = []

    def asking() -> None:
        while not done.is_set():
            seen.extend(sidecar.findings("open"))

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(asking)
        for number in range(5):
            gives_up(sidecar, f"late-{number}", service="api")
        done.set()
    asked.result()
    assert [one for one in seen if not one["id"] or not one["subject"] or not one["fix"]] == []


@pytest.mark.slow
def test_one_task_that_is_taken_up_late_ends_no_finding_of_another(
    run: Callable[..., Running],
) -> None:
    """A zombie is found once: what is learned of others does not end it and find it anew."""
    sidecar = run(QUICK)
    scheduler = Scheduler(sidecar)
    scheduler.loses("late", "lost")
    scheduler.reports("task.accepted", "late")
    ended = lambda: [one["task"] for one in sidecar.findings("closed")]  # noqa: E731
    eventually(["late"], ended)
    scheduler.loses("lost, too")
    assert ended() == ["late"]


# Sources and timelines


def test_sources_say_what_is_heard_and_which_files_are_read(lived: Running) -> None:
    """Each service by each way in, and each file with how far it was read."""
    answer = lived.get("/api/v1/sources").json()
    assert {"otlp", "file", "heartbeat"} == {one["way"] for one in answer["sources"]}
    path = lived.folder / "logs" / "app.log"
    assert [(str(path), path.stat().st_size, 0, None)] == [
        (one["path"], one["offset"], one["behind_bytes"], one["error"]) for one in answer["files"]
    ]


@pytest.mark.parametrize("kind", ["tasks", "requests"])
def test_a_timeline_of_nothing_is_empty(lived: Running, kind: str) -> None:
    """Nobody has heard of it: that is an answer, not an error."""
    answer = lived.get(f"/api/v1/{kind}/unheard-of")
    assert (answer.status, answer.json()["found"], answer.json()["entries"]) == (200, False, [])


def test_a_timeline_bears_its_findings(lived: Running) -> None:
    """What was found of a task stands in its timeline, and where the stories part."""
    answer = lived.get("/api/v1/tasks/lost-1").json()
    assert [one["detector"] for one in answer["findings"]] == ["zombie_task"]
    assert [one["finding"] for one in answer["parts"]] == ["zombie_task"]
    assert json.loads(json.dumps(answer)) == answer


def test_no_name_passes_for_a_line_of_the_sidecars_own_log(lived: Running) -> None:
    """A service may be called anything, line ends and escapes included: each message is a line."""
    begins = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ |zombiewatch is ready\. "
    assert [line for line in lived.log.splitlines() if not re.match(begins, line)] == []
    assert r'odd "name"\n' in lived.log


# Who may ask


TOKEN = "correct-horse-battery"  # noqa: S105 - of this test alone


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sidecar that takes and tells nothing without a token."""
    settings = {"http": {"token": TOKEN}, "otlp": {"token": TOKEN}}
    with Running(tmp_path_factory.mktemp("guarded"), settings) as sidecar:
        yield sidecar


@pytest.mark.parametrize("sent", [None, "Bearer wrong-horse-battery", TOKEN, "Basic Og=="])
def test_nothing_is_told_without_the_token(guarded: Running, sent: str | None) -> None:
    """With a token set, whoever does not send it is answered 401, on both ports."""
    headers = {"Authorization": sent} if sent else {}
    protobuf = {"Content-Type": "application/x-protobuf"}
    assert [
        guarded.get("/api/v1/findings", headers=headers).status,
        guarded.get("/metrics", headers=headers).status,
        call("POST", f"{guarded.url()}/api/v1/heartbeat", b'{"task_id": "t"}', headers).status,
        call("POST", f"{guarded.url('otlp')}/v1/logs", b"", {**protobuf, **headers}).status,
    ] == [401, 401, 401, 401]


def test_all_is_told_with_the_token(guarded: Running) -> None:
    """As `Authorization: Bearer …`."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    protobuf = {"Content-Type": "application/x-protobuf"}
    assert [
        guarded.get("/api/v1/findings", headers=headers).status,
        guarded.get("/metrics", headers=headers).status,
        call("POST", f"{guarded.url('otlp')}/v1/logs", b"", {**protobuf, **headers}).status,
    ] == [200, 200, 200]
