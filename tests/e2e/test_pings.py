"""`/ping/<name>`: the sign of a job that any crontab can send, and schedules that wait for it."""

from __future__ import annotations

import subprocess
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e._sidecar import Running, call, eventually, named, stored, zombiewatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e._sidecar import Answer


def ping(sidecar: Running, path: str, body: bytes | None = None, **query: str) -> Answer:
    """Send a ping; a POST where it has a body."""
    asked = f"?{urllib.parse.urlencode(query)}" if query else ""
    return call("POST" if body else "GET", f"{sidecar.url()}/ping/{path}{asked}", body)


def told(sidecar: Running, task: str, number: int) -> list[dict[str, Any]]:
    """Return the entries of a task's timeline, once there are so many."""
    eventually(number, lambda: len(sidecar.task(task)))
    return sidecar.task(task)


def test_one_line_in_a_crontab_is_all_it_takes(shared: Running) -> None:
    """`curl -fsS` prints nothing, so that cron mails nothing; the job is there as a task."""
    name = named("backup")
    done = subprocess.run(
        ["curl", "-fsS", "-D", "-", f"{shared.url()}/ping/{name}"], capture_output=True, check=True
    )
    head, _, body = done.stdout.decode().partition("\r\n\r\n")
    assert body == ""
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    entries = told(shared, headers["Zombiewatch-Task"], 2)
    assert sorted(one["phase"] for one in entries) == ["finished", "schedule.fired"]
    assert {(one["kind"], one["way"], one["outcome"], one["lane"]) for one in entries} == {
        ("ping", "ping", "success", "ping")
    }


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_any_method_will_do(shared: Running, method: str) -> None:
    """What wget, curl and a cloud's scheduler send by default."""
    name = named("job")
    answer = call(method, f"{shared.url()}/ping/{name}")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["zombiewatch-task"].startswith(f"{name}/20")


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("", "success"),
        ("/", "success"),
        ("/fail", "failure"),
        ("/0", "success"),
        ("/1", "failure"),
        ("/255", "failure"),
    ],
)
def test_how_it_ended_is_said_by_a_word_or_an_exit_code(
    shared: Running, word: str, outcome: str
) -> None:
    """`/ping/backup/$?` is enough; any code but 0 is a failure."""
    name, rid = named("job"), named("run")
    assert ping(shared, f"{name}{word}", rid=rid).status == 200
    (ended,) = (one for one in told(shared, f"{name}/{rid}", 2) if one["phase"] == "finished")
    assert (ended["outcome"], ended["severity"] >= 17) == (outcome, outcome == "failure")


def test_runs_that_overlap_are_told_apart_by_their_id(shared: Running) -> None:
    """Each run ID is a run of its own, with its own beginning and end."""
    name, first, second = named("job"), named("run"), named("run")
    for path, rid in (("start", first), ("start", second), ("", first), ("1", second)):
        assert ping(shared, f"{name}/{path}", rid=rid).status == 200
    for rid, outcome in ((first, "success"), (second, "failure")):
        phases = [
            (one["phase"], one["outcome"])
            for one in told(shared, f"{name}/{rid}", 4)
            if one["phase"] != "schedule.fired"
        ]
        assert phases == [("started", None), ("finished", outcome)]
        assert {one["request_id"] for one in shared.task(f"{name}/{rid}")} == {rid}


def test_without_an_id_an_end_is_that_of_the_run_that_began(shared: Running) -> None:
    """A second one that begins ends the first: nothing more will be heard of it."""
    name = named("job")
    first = ping(shared, f"{name}/start").headers["zombiewatch-task"]
    second = ping(shared, f"{name}/start").headers["zombiewatch-task"]
    assert first != second
    assert ping(shared, name).headers["zombiewatch-task"] == second
    assert [one["outcome"] for one in told(shared, first, 4)] == [None, None, "unknown", "unknown"]
    assert [one["outcome"] for one in told(shared, second, 4)] == [None, None, "success", "success"]


def test_the_body_is_kept_as_its_message_without_its_secrets(shared: Running) -> None:
    """The last 10,000 bytes, where a job says why it failed."""
    name, rid = named("job"), named("run")
    noise = b"line of output\n" * 40_000
    text = noise + b"Authorization: Bearer abcdefghijklmnop1234\nno space left \xff on device\0"
    assert ping(shared, f"{name}/1", text, rid=rid).status == 200
    bodies = [one["body"] for one in told(shared, f"{name}/{rid}", 2) if one["body"]]
    assert len(bodies) == 1
    assert bodies[0].endswith("no space left \N{REPLACEMENT CHARACTER} on device")
    assert bodies[0].startswith("\N{HORIZONTAL ELLIPSIS}")
    assert len(bodies[0]) <= 10_001
    assert "abcdefghijklmnop1234" not in bodies[0]


def test_a_log_is_a_line_in_the_timeline_and_no_more(shared: Running) -> None:
    """With a run ID it is that run's; without, that of the one which runs."""
    name, rid = named("job"), named("run")
    assert ping(shared, f"{name}/log", b"half way", rid=rid).status == 200
    (one,) = told(shared, f"{name}/{rid}", 1)
    assert (one["phase"], one["body"]) == (None, "half way")
    task = ping(shared, f"{name}/start").headers["zombiewatch-task"]
    assert ping(shared, f"{name}/log", b"on").headers["zombiewatch-task"] == task
    assert ping(shared, f"{named('other')}/log", b"x").status == 200


def test_a_text_that_names_a_request_does_not_become_another_run(shared: Running) -> None:
    """What a job prints is not who it is."""
    name = named("job")
    task = ping(shared, f"{name}/start").headers["zombiewatch-task"]
    assert ping(shared, name, b"request_id=r-12345").headers["zombiewatch-task"] == task
    fired = [one for one in told(shared, task, 4) if one["phase"] == "schedule.fired"]
    assert [one["request_id"] for one in fired] == [None, None]


ODD = ["a b", "Büro-世界", "50%25", "a?b#c", "..x", "'; DROP TABLE signals; --", '"', "x" * 180]


@pytest.mark.parametrize("name", ODD)
def test_a_job_may_be_called_anything(shared: Running, name: str) -> None:
    """Characters that mean something in an address or a query mean nothing in a name."""
    rid = named("run")
    assert ping(shared, f"{urllib.parse.quote(name, safe='')}/start", rid=rid).status == 200
    eventually({f"{name}/{rid}"}, lambda: {one["task"] for one in shared.request(rid)})


REFUSED = [
    ("job/stop", 404, "'stop' is nothing to say of job: /start, /fail, /log, an exit code"),
    ("job/256", 404, "from 0 to 255"),
    ("job/-1", 404, "from 0 to 255"),
    ("job/0000", 404, "from 0 to 255"),
    ("job/start/x", 404, "'start/x'"),
    ("a%2Fb", 400, "without /"),
    ("a%0Ab", 400, "printable"),
    ("%20", 400, "printable"),
    ("x" * 201, 400, "1 to 200"),
    ("job?rid=", 400, "rid is given once"),
    ("job?rid=" + "x" * 201, 400, "1 to 200"),
    ("job?rid=a%0Ab", 400, "rid is given once"),
    ("job?rid=a&rid=b", 400, "rid is given once"),
    ("job?run=7", 400, "'run' is not a parameter: the one there is is rid"),
]


@pytest.mark.parametrize(("path", "status", "said"), REFUSED)
def test_a_wrong_ping_is_refused_in_plain_words(
    shared: Running, path: str, status: int, said: str
) -> None:
    """Whoever sets it up sees at once what is wrong with it."""
    answer = call("GET", f"{shared.url()}/ping/{path}")
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (
        status,
        "text/plain",
    )
    assert said in answer.body.decode()


def test_a_body_beyond_all_bounds_is_refused(shared: Running) -> None:
    """In chunks, so that nobody knows beforehand how much it is."""
    answer = call("POST", f"{shared.url()}/ping/job", iter([b"x" * (1 << 20)] * 17))
    assert (answer.status, b"send its end" in answer.body) == (413, True)


def test_a_token_is_asked_for_here_too(run: Callable[..., Running]) -> None:
    """Who may not read the page may not say that a backup ran."""
    sidecar = run({"http": {"token": "0123456789abcdef"}})
    url = f"{sidecar.url()}/ping/backup"
    assert call("GET", url).status == 401
    assert call("GET", url, headers={"Authorization": "Bearer 0123456789abcdef"}).status == 200


def test_only_declared_names_are_taken_where_that_is_wanted(run: Callable[..., Running]) -> None:
    """A misspelt name is answered with the one that was meant."""
    sidecar = run({"pings": "declared-only", "schedules": [{"name": "backup", "every_s": "1h"}]})
    assert ping(sidecar, "backup").status == 200
    answer = ping(sidecar, "bakcup/start")
    assert answer.status == 404
    assert answer.body.decode() == (
        "no schedule is called 'bakcup' (is 'backup' meant?): declare it under `schedules`, or set"
        " `pings: any` to take pings of every name\n"
    )


def test_a_ping_is_on_disk_when_it_is_answered(run: Callable[..., Running]) -> None:
    """A kill right after the answer loses none, and the run that was open is remembered."""
    sidecar = run()
    tasks = [ping(sidecar, f"job-{n}/start").headers["zombiewatch-task"] for n in range(20)]
    sidecar.kill()
    sidecar.start()
    assert [ping(sidecar, f"job-{n}").headers["zombiewatch-task"] for n in range(20)] == tasks
    assert sidecar.stop() == 0
    kept = stored(sidecar.data, "task, phase")
    assert {task for task, phase in kept if phase == "finished"} == set(tasks)


def test_an_exit_code_is_kept(run: Callable[..., Running]) -> None:
    """As the job said it, beside the outcome that it means."""
    sidecar = run()
    for code in ("0", "3"):
        assert ping(sidecar, f"job/{code}", rid=code).status == 200
    assert sidecar.stop() == 0
    kept = stored(sidecar.data, "task, exit_code, outcome, phase")
    assert [one[:3] for one in kept if one[3] == "finished"] == [
        ("job/0", 0, "success"),
        ("job/3", 3, "failure"),
    ]


def test_a_job_that_stops_pinging_is_found_and_is_let_go_when_it_pings(
    run: Callable[..., Running],
) -> None:
    """The dead man's switch, from the first ping to the end of the alarm, over a clean restart."""
    settings = {
        "schedules": [{"name": "backup", "every_s": 1, "start_grace_s": 0.5, "service": "db"}],
        "detectors": {"missed_run": {"early_s": 0.1}},
    }
    sidecar = run(settings)

    def found() -> list[Any]:
        return [
            (one["subject"], one["service"], one["verdict"])
            for one in sidecar.findings("open", detector="missed_run")
        ]

    assert ping(sidecar, "backup").status == 200
    eventually([("backup", "db", "confirmed")], found)
    assert sidecar.stop() == 0
    sidecar.start()
    assert found() == [("backup", "db", "confirmed")]
    until = time.monotonic() + 30

    def after_a_ping() -> list[Any]:
        assert ping(sidecar, "backup").status == 200
        return found()

    eventually([], after_a_ping, until - time.monotonic())


def test_a_run_that_hangs_is_found_though_a_later_one_ended(run: Callable[..., Running]) -> None:
    """By its run ID; overlap hides nothing. Ended by hand, it is let go."""
    sidecar = run({"schedules": [{"name": "sync", "every_s": "1h", "run_grace_s": 1}]})
    for path, rid in (("sync", "r0"), ("sync/start", "r1"), ("sync/start", "r2"), ("sync", "r2")):
        assert ping(sidecar, path, rid=rid).status == 200

    def found() -> list[Any]:
        return [
            (one["verdict"], one["evidence"]["way"], one["evidence"]["run"])
            for one in sidecar.findings("open", detector="missed_run")
        ]

    eventually([("confirmed", "no end", "r1")], found)
    assert ping(sidecar, "sync/fail", rid="r1").status == 200
    eventually([], found)


def test_a_declared_job_that_fails_is_found_until_it_succeeds(run: Callable[..., Running]) -> None:
    """With its exit code and its run; a name that no schedule has is not judged."""
    sidecar = run({"schedules": [{"name": "backup", "every_s": "1h", "service": "db"}]})

    def found() -> list[Any]:
        return [
            (one["subject"], one["service"], one["verdict"], one["task"], one["evidence"]["how"])
            for one in sidecar.findings("open", detector="failed_run")
        ]

    for path, rid in (("other/fail", "r0"), ("backup", "r0"), ("backup/7", "r1")):
        assert ping(sidecar, path, rid=rid).status == 200
    expected = [("backup", "db", "confirmed", "backup/r1", "exit code 7")]
    eventually(expected, found)
    assert ping(sidecar, "backup/start", rid="r2").status == 200
    assert sidecar.stop() == 0
    sidecar.start()
    assert found() == expected
    assert ping(sidecar, "backup", rid="r2").status == 200
    eventually([], found)


def test_the_wrapper_in_the_documentation_says_all_of_it(shared: Running, tmp_path: Path) -> None:
    """As it stands there: a beginning, an end with output and exit code, and the job's status."""
    text = Path("docs/pings.md").read_text()
    lines = text[text.index("    #!/bin/sh") :].split("\n\n")[0].splitlines()
    name, rid = named("job"), named("run")
    (tmp_path / "uuid").write_text(rid)
    script = "\n".join(line.removeprefix("    ") for line in lines)
    for there, here in (
        ("http://127.0.0.1:9797", shared.url()),
        ("/proc/sys/kernel/random/uuid", str(tmp_path / "uuid")),
    ):
        assert there in script
        script = script.replace(there, here)
    (tmp_path / "pinged").write_text(script)
    job = ["sh", "-c", "echo no space left; exit 7"]
    done = subprocess.run(["sh", str(tmp_path / "pinged"), name, *job], check=False)
    assert done.returncode == 7
    entries = [one for one in told(shared, f"{name}/{rid}", 4) if one["phase"] != "schedule.fired"]
    assert [(one["phase"], one["outcome"], one["body"]) for one in entries] == [
        ("started", None, None),
        ("finished", "failure", "no space left"),
    ]


def test_a_check_of_the_configuration_counts_schedules(tmp_path: Path) -> None:
    """And refuses what cron would not understand, with the line."""
    path = tmp_path / "zombiewatch.yaml"
    path.write_text("schedules:\n  - {name: backup, cron: '0 3 * * *', time_zone: Europe/Berlin}\n")
    assert "1 schedules" in zombiewatch("config", "check", "--config", str(path)).stdout
    path.write_text("schedules:\n  - {name: backup, cron: '0 25 * * *'}\n")
    done = zombiewatch("config", "check", "--config", str(path))
    assert done.returncode == 2
    assert "schedules[0].cron is '0 25 * * *'; cron does not understand it: Bad hour" in done.stderr
