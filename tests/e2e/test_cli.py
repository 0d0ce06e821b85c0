"""The command line, as a person at a terminal has it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e._otlp import log, logs
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, named, zombiewatch

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = (
    "run",
    "demo",
    "lab",
    "top",
    "findings",
    "findings ack",
    "findings dismiss",
    "findings undo",
    "incidents",
    "switch",
    "switch set",
    "switch clear",
    "switch list",
    "switch history",
    "rules",
    "dashboards",
    "alertmanager",
    "alerts",
    "alerts test",
    "sql",
    "replay",
    "exec",
    "lint",
    "explain",
    "config",
    "config check",
)
NOBODY = ("--url", "http://127.0.0.1:9")  # the discard port: nobody listens on it


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sidecar that has found one zombie."""
    with Running(tmp_path_factory.mktemp("found"), QUICK) as sidecar:
        Scheduler(sidecar, queue="default").loses("lost")
        yield sidecar
        assert sidecar.stop() == 0, sidecar.log


def at(sidecar: Running, *words: str) -> tuple[int, str, str]:
    done = zombiewatch(*words, "--url", sidecar.url())
    return done.returncode, done.stdout, done.stderr


# Help


def test_the_version_is_that_of_the_project() -> None:
    """`--version` says name and version, and nothing else."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    version = tomllib.loads(project.read_text())["project"]["version"]
    done = zombiewatch("--version")
    # run from the source tree, it is not installed and does not know
    assert done.stdout in {f"zombiewatch {version}\n", "zombiewatch unknown\n"}
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(command: str) -> None:
    """`--help` says how it is used, and each of its options has a sentence."""
    done = zombiewatch(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"zombiewatch {command}".strip() in done.stdout
    plain = [line.strip("│ ") for line in done.stdout.splitlines()]
    bare = [line for line in plain if re.fullmatch(r"(\*\s+)?--[\w-]+(\s+-\w)?(\s+\S+)?", line)]
    assert bare == []


def test_the_commands_are_those_that_are_tested_here() -> None:
    """A new command is added to this test, too."""
    listed = zombiewatch("--help").stdout.partition("Commands")[2]
    assert {command.split()[0] for command in COMMANDS} == set(
        re.findall(r"^│ (\w+) ", listed, re.MULTILINE)
    )


def test_nothing_said_shows_the_help() -> None:
    """Who types only the name is shown what there is, and where to begin."""
    done = zombiewatch()
    assert "zombiewatch demo" in done.stdout + done.stderr


@pytest.mark.parametrize("words", [["rnu"], ["findings", "--stat", "open"], ["explain"]])
def test_what_is_no_command_is_refused(words: list[str]) -> None:
    """With exit status 2, and a word on it on standard error."""
    done = zombiewatch(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


# The configuration


def test_a_sound_configuration_is_said_to_be_sound(tmp_path: Path) -> None:
    """`config check` names what would be run."""
    path = tmp_path / "zombiewatch.yaml"
    path.write_text("namespace: mine\ndata_dir: /nowhere/data\nfollow: [{path: /var/log/x.log}]\n")
    done = zombiewatch("config", "check", "--config", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        (
            "The configuration is sound: namespace mine, data in /nowhere/data, 0 rules, 1 patterns"
            " followed, 0 schedules.\n"
        ),
        "",
    )


def test_no_configuration_is_sound_too(tmp_path: Path) -> None:
    """Every setting has a default that works."""
    del tmp_path
    done = zombiewatch("config", "check")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unsound_configuration_is_refused_with_all_that_is_wrong(tmp_path: Path) -> None:
    """Each problem has its line in the file, and the way to mend it; exit status 2."""
    path = tmp_path / "zombiewatch.yaml"
    path.write_text("htp: {}\nnamespace: a b\nstore:\n  hot_rows: many\n")
    done = zombiewatch("config", "check", "--config", str(path), "--set", "labels_max=0")
    assert (done.returncode, done.stdout) == (2, "")
    expected = [
        "zombiewatch: The configuration has 4 problems:",
        f"  {path}:1: htp is not a setting; did you mean http?",
        f"  {path}:2: namespace is 'a b'; it must be 1 to 64 letters, digits, dots, dashes or",
        f"  {path}:4: store.hot_rows is 'many'; it must be a whole number",
        "  command line: labels_max is 0; it must be at least 1",
    ]
    lines = sorted(done.stderr.splitlines())
    for wanted, line in zip(sorted(expected), lines, strict=True):
        assert line.startswith(wanted), (wanted, line)


# Findings


def test_findings_are_shown_in_a_table(found: Running) -> None:
    """Which detector, which task, how bad, and what to do."""
    code, said, errors = at(found, "findings")
    assert (code, errors) == (0, "")
    for word in ("zombie_task", "lost", "confirmed"):
        assert word in said


def test_findings_for_programs_are_json(found: Running) -> None:
    """Just what the API answers."""
    code, said, errors = at(found, "findings", "--json", "--state", "all")
    assert (code, errors) == (0, "")
    answer = found.get("/api/v1/findings", {"state": "all"}).json()
    told = json.loads(said)
    assert list(answer) == list(told)
    assert [one["key"] for one in answer["findings"]] == [one["key"] for one in told["findings"]]


def test_filters_reach_the_sidecar(found: Running) -> None:
    """What no finding has finds none, and that is said."""
    assert at(found, "findings", "--detector", "lost_report") == (0, "Nothing found (open).\n", "")
    assert at(found, "findings", "--state", "closed") == (0, "Nothing found (closed).\n", "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--state", "ajar"], "state is 'ajar': one of open, dismissed, closed, all"),
        (["--limit", "0"], "limit is '0': a number from 1 to 10000"),
        (["--severity", "awful"], "severity is 'awful': one of info, warning, critical"),
    ],
)
def test_a_wrong_filter_is_one_clear_line(found: Running, words: list[str], told: str) -> None:
    """The sidecar's own words, and exit status 1."""
    assert (1, "", f"zombiewatch: {told}\n") == at(found, "findings", *words)


# The two stories


def test_a_task_is_explained(found: Running) -> None:
    """Both sides' records of it, and what was found."""
    code, said, errors = at(found, "explain", "lost")
    assert (code, errors) == (0, "")
    for word in ("lost", "dispatched", "zombie_task"):
        assert word in said


def test_a_request_is_explained(found: Running) -> None:
    """An ID that is no task's is looked for among the requests."""
    request = named("req")
    found.otlp("logs", logs([log({"X-Request-Id": request}, "all well")]))
    found.hears(request=request)
    code, said, _ = at(found, "explain", request)
    assert (code, "all well" in said) == (0, True)


def test_an_incident_is_shown_by_any_of_its_findings(found: Running) -> None:
    """Alone or among all; a number that is none of them is one clear line."""
    zombie = found.findings(detector="zombie_task")[0]["id"]
    code, said, errors = at(found, "incidents")
    assert (code, errors) == (0, "")
    assert "zombie_task" in said
    code, said, errors = at(found, "incidents", str(zombie), "--json")
    assert (code, errors) == (0, "")
    assert [zombie in link["findings"] for one in json.loads(said) for link in one["chain"]]
    expected = "zombiewatch: no open incident has the finding 999\n"
    assert (1, "", expected) == at(found, "incidents", "999")


def test_an_explanation_for_programs_is_json(found: Running) -> None:
    """Just what the API answers."""
    code, said, errors = at(found, "explain", "lost", "--json")
    assert (code, errors) == (0, "")
    assert found.task("lost") == json.loads(said)["entries"]


def test_an_unknown_id_is_one_clear_line(found: Running) -> None:
    """And exit status 1, so that scripts see it."""
    expected = "zombiewatch: nothing is known of a task or request 'unheard-of'\n"
    assert (1, "", expected) == at(found, "explain", "unheard-of")


@pytest.mark.parametrize("odd", ["a/b", "50%", "a?b=c#d", "..", "ü 世界", "'\"\\"])
def test_an_odd_id_is_explained(found: Running, odd: str) -> None:
    """Whatever is in an ID reaches the sidecar as it is."""
    task = f"{named('odd')}{odd}"
    found.beat({"task_id": task})
    found.hears(task)
    code, said, errors = at(found, "explain", task, "--json")
    assert (code, errors) == (0, "")
    assert {"task": task} == json.loads(said)["query"]


def test_what_was_logged_cannot_act_on_the_terminal(found: Running) -> None:
    """Escapes in a log line are shown, not obeyed."""
    task = named("task")
    found.otlp("logs", logs([log({"task.id": task}, "\x1b[2J\x07\x9b31m\rred [bold]x[/bold]")]))
    found.hears(task)
    code, said, _ = at(found, "explain", task)
    assert code == 0
    assert [char for char in said if not char.isprintable() and char != "\n"] == []
    assert "[bold]x[/bold]" in said


# Nobody there


@pytest.mark.parametrize("words", [["findings"], ["explain", "t"], ["findings", "--json"]])
def test_no_sidecar_is_one_clear_line(words: list[str]) -> None:
    """Where it was looked for, and how one is started; exit status 1."""
    done = zombiewatch(*words, *NOBODY)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"zombiewatch: no zombiewatch answers at {NOBODY[1]} (")
    assert line.endswith("start one with `zombiewatch run`, or say --url")


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://127.0.0.1", "http://", "http://[::", "http://127.0.0.1:99999"]
)
def test_what_is_no_address_is_one_clear_line(url: str) -> None:
    """Not a traceback."""
    done = zombiewatch("findings", "--url", url)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stderr
    assert url in done.stderr


def test_something_else_that_answers_is_one_clear_line(found: Running) -> None:
    """The OTLP port is not the one to ask."""
    done = zombiewatch("findings", "--url", found.url("otlp"))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stderr
