"""What a lab is, and that its processes are started, watched and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labs._kit import Command, LabProcessError, Runner, find_labs
from tests.needs import need

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = Path(__file__).resolve().parents[2]

_SERVE = """
import asyncio
from labs._process import say_ready, stop_event
async def main():
    stop = stop_event()
    say_ready(url="http://here:1", pid=__import__("os").getpid())
    await stop.wait()
    print("ended well", flush=True)
asyncio.run(main())
"""

_DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""

_DIE = """
import sys
print("ready", flush=True)
sys.exit("the disk is on fire")
"""


def python(name: str, code: str, *arguments: str) -> Command:
    return Command(name, (sys.executable, "-c", code, *arguments))


def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until *holds*, or fail after *seconds*."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to hold in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_labs_are_found_by_their_folder() -> None:
    """Each lab bears its folder's name and has a preset beside it."""
    labs = find_labs()
    assert "bruin" in labs
    assert all(lab.name == name and lab.preset.is_file() for name, lab in labs.items())


def test_bugs_are_chosen_by_name() -> None:
    """A person says all, none, or names; a wrong name is answered with the right ones."""
    lab = find_labs()["bruin"]
    assert frozenset(lab.bugs) == lab.choose("all")
    assert frozenset() == lab.choose("none")
    assert frozenset({"missing_index"}) == lab.choose("missing_index")
    with pytest.raises(ValueError, match=r"no bug 'misindex'; it has wrong_context, "):
        lab.choose("misindex")


def test_facts_reach_those_who_need_them(tmp_path: Path) -> None:
    """A command whose line names another's fact starts after it, and is told the fact."""
    repeat = "import sys, time; print('ready', 'got=' + sys.argv[1], flush=True); time.sleep(600)"
    commands = [python("agent", repeat, "{server.url}"), python("server", _SERVE)]
    with Runner(commands, tmp_path, grace_s=1) as runner:
        assert runner.facts["agent"] == {"got": "http://here:1"}


def test_a_need_that_nobody_meets_is_refused(tmp_path: Path) -> None:
    """A misspelt name of a process is an error before anything starts."""
    with pytest.raises(ValueError, match="agent needs facts of sever, which never becomes ready"):
        Runner([python("agent", "", "{sever.url}")], tmp_path)


def test_processes_end_with_the_block(tmp_path: Path) -> None:
    """They get SIGTERM and may end well; who is deaf to it is killed; none is left."""
    with Runner([python("good", _SERVE), python("deaf", _DEAF)], tmp_path, grace_s=0.5) as runner:
        pids = runner.pids
        assert all(alive(pid) for pid in pids.values())
    assert not any(alive(pid) for pid in pids.values())
    assert "ended well" in (tmp_path / "good.out").read_text()


def test_an_error_in_the_block_ends_them_too(tmp_path: Path) -> None:
    """An interrupt of the one who watches leaves nobody behind."""
    runner = Runner([python("good", _SERVE)], tmp_path)
    with pytest.raises(KeyboardInterrupt), runner:
        raise KeyboardInterrupt
    assert [alive(pid) for pid in runner.pids.values()] == [False]


def test_an_early_death_is_told_with_last_words(tmp_path: Path) -> None:
    """Who died, how, and what it wrote to stderr."""
    with (
        pytest.raises(LabProcessError, match=r"db ended early \(exit code 1\).*\n.*on fire"),
        Runner([python("db", _DIE), python("good", _SERVE)], tmp_path) as runner,
    ):
        for _ in runner.watch(20, every_s=0.05):
            pass


def test_one_that_never_starts_ends_the_others(tmp_path: Path) -> None:
    """A failed start is an error that names the process; those already started are stopped."""
    commands = [python("good", _SERVE), python("agent", "import sys; sys.exit(3)", "{good.url}")]
    runner = Runner(commands, tmp_path)
    with pytest.raises(LabProcessError, match=r"agent ended early \(exit code 3\)"), runner:
        pass
    assert not any(alive(pid) for pid in runner.pids.values())


def test_a_slow_start_is_given_up(tmp_path: Path) -> None:
    """A process that says nothing is not waited for forever."""
    silent = python("silent", "import time; time.sleep(600)")
    runner = Runner([silent], tmp_path, start_s=0.2, grace_s=1)
    with pytest.raises(LabProcessError, match=r"silent was not ready within 0.2 s"), runner:
        pass


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(f"Command('good', (sys.executable, '-c', {_SERVE!r}))", id="ours"),
        pytest.param("redis('good', Path(sys.argv[1]))", id="redis"),
    ],
)
def test_none_outlives_a_parent_that_was_killed(tmp_path: Path, command: str) -> None:
    """SIGKILL lets nobody tidy up: the children notice by themselves, or the system does."""
    if command.startswith("redis"):
        need("redis-server", "apt-get install redis-server")
    parent = (
        "import sys, time; from pathlib import Path; from labs._kit import Command, Runner\n"
        "from labs._redis import redis\n"
        f"serve = {command}\n"
        "with Runner([serve], Path(sys.argv[1])) as runner:\n"
        "    print(runner.pids['good'], flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent, str(tmp_path)], cwd=_ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert alive(child)
        process.send_signal(signal.SIGKILL)
    until(lambda: not alive(child))
