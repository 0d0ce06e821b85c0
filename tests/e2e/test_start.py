"""What keeps a sidecar from starting: one clear line, and an exit status that is not 0."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e._sidecar import call, eventually, zombiewatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e._sidecar import Running
    from tests.e2e.conftest import Disk


def refusal(data: Path, *words: str) -> str:
    """Run a sidecar that must not start, and return the one line that it says instead."""
    ports = [word for name in ("http", "otlp", "grpc") for word in ("--set", f"{name}.port=0")]
    free = (*ports, "--data-dir", str(data))
    done = zombiewatch("run", *free, *words)
    assert done.returncode not in {0, -9}, done
    assert done.stdout == ""
    said = done.stderr.splitlines()
    assert [line[:13] for line in said] == ["zombiewatch: "], done.stderr[-2000:]
    return said[0].removeprefix("zombiewatch: ")


def preset(folder: Path, text: str) -> tuple[str, str]:
    """Return the words that name a preset of *text*."""
    path = folder / "mine.yaml"
    path.write_text(text)
    return "--preset", str(path)


# The configuration


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("htp.port=1", "htp is not a setting; did you mean http?"),
        ("http.prot=1", "http.prot is not a setting; did you mean http.port?"),
        ("max_age=7d", "max_age is not a setting; did you mean retention.max_age_s?"),
        (
            "detectors.zombi_task.enabled=true",
            "there is no detector zombi_task; did you mean detectors.zombie_task?",
        ),
        ("detectors.zombie_task.grace=1", "detectors.zombie_task.grace is not a setting"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest(
    tmp_path: Path, setting: str, why: str
) -> None:
    """It is a slip of the pen: the message knows which, and that it was made in the command."""
    assert refusal(tmp_path / "data", "--set", setting).startswith(f"command line: {why}")


def test_an_unknown_setting_in_a_file_is_named_by_its_line(tmp_path: Path) -> None:
    """Whoever wrote the file is led to the place."""
    path = tmp_path / "zombiewatch.yaml"
    path.write_text("namespace: mine\nhttp:\n  prot: 1\n")
    said = refusal(tmp_path / "data", "--config", str(path))
    assert said.startswith(f"{path}:3: http.prot is not a setting; did you mean http.port?")


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("http.port=99999", "http.port is 99999; it must be at most 65535"),
        ("http.port=many", "http.port is 'many'; it must be a whole number"),
        ("evaluate_every_s=0", "evaluate_every_s is 0.0; it must be at least 0.2"),
        ("log.level=loud", "log.level is 'loud'; it must be 'debug', 'info'"),
        ("http.host=0.0.0.0", "no token is set"),
        ("http", "write name=value"),
    ],
)
def test_a_wrong_value_is_refused_with_what_it_must_be(
    tmp_path: Path, setting: str, why: str
) -> None:
    """The message says what, where and how to mend it."""
    assert why in refusal(tmp_path / "data", "--set", setting)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A configuration that was asked for and is not there is no reason to take the defaults."""
    path = tmp_path / "none.yaml"
    assert f"{path}: there is no such file" in refusal(tmp_path / "data", "--config", str(path))


# Presets and rules


def test_a_preset_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With those that are there, so that a misspelt one is found."""
    assert "there is no preset 'airfow'" in refusal(tmp_path / "data", "--preset", "airfow")


def test_a_preset_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A preset in a file is looked for where it was said to be, and nowhere else."""
    path = tmp_path / "none.yaml"
    assert f"preset {path} cannot be read" in refusal(tmp_path / "data", "--preset", str(path))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name: mine\nruls: []\n", "ruls is not a key of a preset (keys here: name, sides"),
        (
            "name: mine\nrules:\n  - {evnt: x, phase: started}\n",
            "rules.0.evnt is not a key of a preset (keys here: service, event",
        ),
        ("name: mine\nrules: [{phase: begun}]\n", "'begun' is not a phase; phases are enqueued"),
        ("name: mine\nrules: [{set: {taks: x}}]\n", "'taks' is not a field; fields are"),
        ("name: mine\nsides: {api: boss}\n", "sides.api"),
        ("name: mine\nrules: [{body: 'task ('}]\n", "rules.0.body: not a pattern that RE2 takes"),
        ("name: mine\nrules: [{body: 'a(?=b)'}]\n", "rules.0.body: not a pattern that RE2 takes"),
        ("rules: []\n", "name"),
        ("", "mine.yaml"),
        ("- a list\n", "mine.yaml"),
        ("name: [unclosed\n", "cannot be read"),
        ("name: mine\nsettings: {http: {prot: 1}}\n", "http.prot is not a setting"),
    ],
    ids=[
        "unknown key",
        "unknown key of a rule",
        "unknown phase",
        "unknown field",
        "unknown side",
        "bad pattern",
        "pattern of another dialect",
        "no name",
        "nothing",
        "a list",
        "no YAML",
        "unknown setting",
    ],
)
def test_a_preset_that_is_wrong_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """One line says which file, where in it, and what is wrong."""
    words = preset(tmp_path, text)
    said = refusal(tmp_path / "data", *words)
    assert words[1] in said
    assert why in said


def test_a_rule_of_ones_own_with_a_bad_pattern_is_refused(tmp_path: Path) -> None:
    """Rules in the configuration are checked as those of presets are."""
    said = refusal(tmp_path / "data", "--set", "rules=[{body: 'task [', phase: started}]")
    assert "rules[0].body" in said
    assert "RE2" in said


# Ports


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("name", ["http", "otlp", "grpc"])
def test_a_port_in_use_is_named(tmp_path: Path, taken: int, name: str) -> None:
    """Which of the two, which number, and how to mend it; nothing stays behind that listens."""
    data = tmp_path / "data"
    said = refusal(data, "--set", f"{name}.port={taken}")
    assert said.startswith(f"{name} cannot listen on 127.0.0.1:{taken}: ")
    assert said.endswith(f"set {name}.port to another (0 takes a free one)")
    assert not (data / "address.json").exists()


def test_a_start_that_failed_harms_no_later_one(run: Callable[..., Running], taken: int) -> None:
    """The data folder of a sidecar that found its port in use is as good as new."""
    sidecar = run(start=False)
    refusal(sidecar.data, "--set", f"otlp.port={taken}")
    sidecar.start()
    assert sidecar.get("/readyz").status == 200


# The data folder

RUBBISH = b"not a database at all\n" * 1000


def test_a_folder_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    """What a newer zombiewatch wrote is not touched by an older one."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "format.json").write_text(json.dumps({"format": 99}))
    said = refusal(data)
    assert f"{data} was written by a newer zombiewatch (format 99; this one reads up to" in said
    assert json.loads((data / "format.json").read_text()) == {"format": 99}
    assert sorted(path.name for path in data.iterdir()) == ["format.json", "lock"]


def test_a_journal_of_a_newer_version_is_left_alone(run: Callable[..., Running]) -> None:
    """The journal has a version of its own, and the folder is let go."""
    sidecar = run()
    sidecar.stop()
    with closing(sqlite3.connect(sidecar.data / "journal.sqlite")) as journal:
        journal.execute("PRAGMA user_version = 99")
    assert "journal.sqlite has format 99" in refusal(sidecar.data)


def test_one_folder_is_one_sidecars(run: Callable[..., Running]) -> None:
    """A second one on the same folder says so, and the first goes on undisturbed."""
    sidecar = run()
    said = refusal(sidecar.data)
    assert f"{sidecar.data} is in use by another zombiewatch; stop that one" in said
    assert sidecar.url() == json.loads((sidecar.data / "address.json").read_text())["http"]
    assert call("GET", f"{sidecar.url()}/readyz").status == 200


@pytest.mark.parametrize(
    "name", [".", "segments", "snapshots", "journal.sqlite", "findings.sqlite", "lock"]
)
def test_something_in_the_way_is_named(tmp_path: Path, name: str) -> None:
    """A file where a folder has to be, or the other way round, is one line, not a traceback."""
    data = tmp_path / "data"
    in_the_way = data / name
    if name == "." or ("." not in name and name != "lock"):
        in_the_way.parent.mkdir(exist_ok=True)
        in_the_way.write_text("in the way")
    else:
        in_the_way.mkdir(parents=True)
    assert str(data) in refusal(data)


def test_a_disk_that_cannot_be_written_is_named(disk: Disk) -> None:
    """A volume that was mounted read-only is told from one that is another sidecar's."""
    disk.lock()
    said = refusal(disk.path / "data")
    assert f"{disk.path}" in said
    assert "Read-only file system" in said


@pytest.mark.parametrize("name", ["journal.sqlite", "findings.sqlite"])
def test_a_database_that_is_damaged_is_set_aside(run: Callable[..., Running], name: str) -> None:
    """There is no database file that could refuse to open: it is kept, counted, and begun anew."""
    sidecar = run(start=False)
    sidecar.data.mkdir()
    (sidecar.data / name).write_bytes(RUBBISH)
    sidecar.start()
    assert sidecar.metric("zombiewatch_damaged_total") == 1
    assert [path.read_bytes() for path in (sidecar.data / "damaged").iterdir()] == [RUBBISH]
    assert sidecar.beat({"task_id": "t"}).status == 200


def test_what_is_wrong_is_said_at_once_and_all_of_it(tmp_path: Path) -> None:
    """Three mistakes are three lines of one message, not three attempts."""
    wrong: list[Any] = ["--set", "htp.port=1", "--set", "namespace=a b", "--set", "labels_max=0"]
    done = zombiewatch("run", "--data-dir", str(tmp_path / "data"), *wrong)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 4), done.stderr


# What starts


def test_a_sidecar_is_told_all_it_needs_on_its_command_line(tmp_path: Path) -> None:
    """Settings, a preset and a file to follow, without any configuration file."""
    log, data = tmp_path / "app.log", tmp_path / "data"
    log.write_text("job 17 was taken up\n")
    words = preset(
        tmp_path, "name: mine\nrules: [{body: 'job (?<task>[0-9]+)', phase: accepted}]\n"
    )
    ports = {f"{name}.port": 0 for name in ("http", "otlp", "grpc")}
    settings = {"data_dir": data, "namespace": "mine", **ports}
    said = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "zombiewatch", "run", *words, "--follow", str(log), *said]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            (urls,) = re.findall(
                r"Page and API: (\S+)  OTLP: \S+  OTLP/gRPC: \S+  Data: ", process.stderr.readline()
            )
            eventually(["accepted"], lambda: phases(urls, "17"))
        finally:
            process.terminate()
    assert process.returncode == 0


def phases(url: str, task: str) -> list[str]:
    entries = call("GET", f"{url}/api/v1/tasks/{task}").json()["entries"]
    return [one["phase"] for one in entries]
