"""Files that are followed: whatever is in them, and whatever happens meanwhile, line by line."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self

import pytest

from tests.e2e._sidecar import eventually, named, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e._sidecar import Running

MIB: Final = 1 << 20


def following(*patterns: Path | str, **more: object) -> dict[str, Any]:
    """Return the settings by which files are followed, and memory is written down often."""
    return {
        "follow": [{"path": str(pattern), **more} for pattern in patterns],
        "follow_every_s": 0.05,
        "store": {"checkpoint_every_s": 1},
    }


def bodies(sidecar: Running) -> list[str]:
    """Stop the sidecar, and return the texts of all that it has stored, in order."""
    assert sidecar.stop() == 0, sidecar.log
    return [body for (body,) in stored(sidecar.data, "body")]


# What is in the files


def test_lines_that_are_not_json_are_kept_as_text(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """Each line becomes a signal whose text it is, and the metrics count it."""
    lines = ["plain words", "{half of a JSON", '"a text"', "[1, 2]", "null", "\tindented", "7"]
    (tmp_path / "app.log").write_text("".join(f"{line}\n" for line in lines))
    sidecar = run(following(tmp_path / "app.log"))
    eventually(len(lines), sidecar.signals)
    kind = "lines_not_json"
    assert len(lines) == sidecar.metric("zombiewatch_input_oddities_total", kind=kind)
    assert lines == bodies(sidecar)


def test_lines_between_json_are_in_their_place(run: Callable[..., Running], tmp_path: Path) -> None:
    """A traceback between two JSON lines disturbs neither; empty lines are nothing."""
    said = [json.dumps({"message": "one", "task.id": "t"}), "Traceback:", "", "  File", "Error: x"]
    said += ["\r", json.dumps({"msg": "two", "task.id": "t"})]
    (tmp_path / "app.log").write_text("".join(f"{line}\n" for line in said))
    sidecar = run(following(tmp_path / "app.log"))
    eventually(5, sidecar.signals)
    assert [one["body"] for one in sidecar.task("t")] == ["one", "two"]
    assert bodies(sidecar) == ["one", "Traceback:", "  File", "Error: x", "two"]


def test_odd_json_does_not_harm_its_neighbours(run: Callable[..., Running], tmp_path: Path) -> None:
    """Keys twice, no keys, deep nests and half characters stay with the line that has them."""
    odd = [
        '{"task.id": "twice", "a": 1, "a": 2, "b": 3}',
        "{}",
        '{"task.id": "nest", "n": ' + "[" * 500 + "]" * 500 + "}",
        '{"task.id": "half", "x": "\\ud800"}',
        '{"task.id": "nul", "x": "a\\u0000b"}',
        '{"task.id": "mark", "\\u001f": "\\u001e"}',
        '{"task.id": "deepest", "n": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"task.id": "number", "n": ' + "9" * 5000 + "}",
        '{"task.id": {"not": "a text"}}',
    ]
    sound = [json.dumps({"task.id": f"sound-{number}"}) for number in range(len(odd) + 1)]
    mixed = [line for pair in zip(sound, odd, strict=False) for line in pair] + [sound[-1]]
    (tmp_path / "app.log").write_text("".join(f"{line}\n" for line in mixed))
    sidecar = run(following(tmp_path / "app.log"))
    eventually(len(mixed), sidecar.signals)
    assert {"task.id": "twice", "b": "3"}.items() <= sidecar.task("twice")[0]["raw"].items()
    assert sidecar.metric("zombiewatch_records_left_out_total") == 0
    assert sidecar.stop() == 0
    tasks = [task for (task,) in stored(sidecar.data, "task")]
    assert [f"sound-{number}" for number in range(len(odd) + 1)] == tasks[::2]


@pytest.mark.parametrize(
    "junk",
    [bytes(range(256)) * 4000, os.urandom(MIB), bytes(MIB), b"\xff\xfe" * 5000, b"\n" * MIB],
    ids=["all bytes", "random", "zeros", "no UTF-8", "empty lines"],
)
def test_a_binary_file_harms_nothing(
    run: Callable[..., Running], tmp_path: Path, junk: bytes
) -> None:
    """What a pattern matches by mistake is read as text, as well as can be; the rest goes on."""
    (tmp_path / "a.log").write_bytes(junk + b"\n" + b'{"task.id": "after"}\n')
    (tmp_path / "b.log").write_text('{"task.id": "beside"}\n')
    sidecar = run(following(tmp_path / "*.log"))
    for task in ("after", "beside"):
        sidecar.hears(task)
    assert sidecar.metric("zombiewatch_records_left_out_total") == 0
    lines = [line for line in junk.split(b"\n") if line.strip(b"\t\n\v\f\r ")]
    assert len(lines) + 2 == len(bodies(sidecar))


@pytest.mark.slow
def test_a_line_without_end_neither_blocks_nor_fills_the_memory(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """Of 1 GiB in one line the beginning is kept; the lines before and after are read."""
    path = tmp_path / "app.log"
    path.write_text('{"task.id": "before"}\n')
    sidecar = run(following(path))
    sidecar.hears("before")
    before = peak = sidecar.memory_bytes
    with path.open("ab") as file:
        for _ in range(1024):
            file.write(b"x" * MIB)
            file.flush()
            peak = max(peak, sidecar.memory_bytes)
        file.write(b'\n{"task.id": "after"}\n')

    def found() -> int:
        nonlocal peak
        peak = max(peak, sidecar.memory_bytes)
        return len(sidecar.task("after"))

    eventually(1, found, within_s=120)
    assert peak - before < 100 * MIB
    eventually(3, sidecar.signals)
    before, line, after = (len(body) for body in bodies(sidecar))
    assert (before, after) == (0, 0)
    assert 0 < line - 64 * 1024 < 100  # and a mark that more was there


def test_what_is_cut_short_is_said_so(run: Callable[..., Running], tmp_path: Path) -> None:
    """A line that is longer than is kept is counted as an oddity: its rest is gone."""
    (tmp_path / "app.log").write_bytes(b"x" * (2 * MIB) + b"\nshort\n")
    sidecar = run(following(tmp_path / "app.log"))
    eventually(2, sidecar.signals)
    assert sidecar.metric("zombiewatch_input_oddities_total", kind="lines_cut") == 1


def test_lines_take_service_and_side_from_their_file(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """A plain program's log belongs to whom the configuration says."""
    request = named("req")
    (tmp_path / "app.log").write_text(f"request_id={request} done\n")
    sidecar = run(following(tmp_path / "app.log", service="api", side="dispatcher"))
    sidecar.hears(request=request)
    entry = sidecar.request(request)[0]
    assert ("api", "dispatcher", str(tmp_path / "app.log")) == (
        entry["lane"],
        entry["side"],
        entry["source"],
    )


# Where the files are, and when


def test_a_folder_may_appear_later(run: Callable[..., Running], tmp_path: Path) -> None:
    """What is not there yet is no error: it is found when it comes."""
    folder = tmp_path / "later" / "deep"
    sidecar = run(following(folder / "*.log"))
    assert sidecar.metric("zombiewatch_follow_files") == 0
    folder.mkdir(parents=True)
    (folder / "app.log").write_text('{"task.id": "late"}\n')
    sidecar.hears("late")
    assert sidecar.metric("zombiewatch_follow_files") == 1


def test_a_folder_that_goes_and_comes_back_is_followed_again(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """A volume that is mounted anew is read on."""
    folder = tmp_path / "logs"
    sidecar = run(following(folder / "*.log"))
    for number in range(3):
        folder.mkdir()
        (folder / "app.log").write_text(f'{{"task.id": "t-{number}"}}\n')
        sidecar.hears(f"t-{number}")
        (folder / "app.log").unlink()
        folder.rmdir()
    assert len(bodies(sidecar)) == 3


def test_a_line_counts_when_it_has_ended(run: Callable[..., Running], tmp_path: Path) -> None:
    """Half a line is waited for; it is one line, when its end comes."""
    path = tmp_path / "app.log"
    with path.open("w") as file:
        file.write('{"task.id": "first"}\n{"task.id": "sec')
        file.flush()
        sidecar = run(following(path))
        sidecar.hears("first")
        file.write('ond"}\n')
    sidecar.hears("second")
    assert len(bodies(sidecar)) == 2


def test_two_patterns_that_match_one_file_are_told_apart(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """Each pattern reads the file on its own, and goes on where it was after a restart."""
    path = tmp_path / "app.log"
    path.write_text("one\n")
    sidecar = run(following(path, tmp_path / "*.log"))
    eventually(2, sidecar.signals)
    sidecar.stop()
    path.write_text("one\ntwo\n")
    sidecar.start()
    eventually(2, sidecar.signals)
    assert bodies(sidecar) == ["one", "one", "two", "two"]


def test_nothing_to_follow_is_nothing_to_complain_of(run: Callable[..., Running]) -> None:
    """A sidecar without followed files says only that it is ready."""
    sidecar = run()
    assert sidecar.stop() == 0
    assert [line[:21] for line in sidecar.log.splitlines()] == ["zombiewatch is ready."]


# Restarts


class Writer:
    """A program that logs numbered lines steadily and rotates its log every few of them.

    Its lines are `n-0`, `n-1` … as task IDs; some are long, so that chunks end anywhere.
    """

    def __init__(self, path: Path, *, every: int) -> None:
        self.written = 0
        self._path = path
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def goes_on(self, lines: int) -> None:
        """Wait until it has written so many more."""
        until = self.written + lines
        eventually(True, lambda: self.written > until)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._path.open("a") as file:
                for _ in range(self._every):
                    said = {"task.id": f"n-{self.written}", "pad": "x" * (self.written % 700)}
                    file.write(json.dumps(said) + "\n")
                    file.flush()
                    self.written += 1
                    if self._stop.wait(0.0005):
                        return
            self._path.rename(f"{self._path}.{self.written}")


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_each_line_is_there_once_whatever_happens(
    run: Callable[..., Running], tmp_path: Path, end: str
) -> None:
    """Ends in the middle of writing and rotating, by SIGTERM or SIGKILL, lose and repeat none."""
    settings = {**following(tmp_path / "app.log*"), "follow_every_s": 0.01}
    sidecar = run(settings)
    with Writer(tmp_path / "app.log", every=300) as writer:
        for _ in range(6):
            writer.goes_on(700)
            getattr(sidecar, end)()
            writer.goes_on(100)
            sidecar.start()
    last = f"n-{writer.written - 1}"
    sidecar.hears(last)
    eventually(0.0, lambda: sidecar.metric("zombiewatch_follow_behind_bytes"))
    assert sidecar.stop() == 0, sidecar.log
    found = Counter(task for (task,) in stored(sidecar.data, "task"))
    expected = Counter(f"n-{number}" for number in range(writer.written))
    assert (Counter(), Counter()) == (expected - found, found - expected)
    assert "ERROR" not in sidecar.log


@pytest.mark.slow
def test_lines_of_one_file_stay_in_order(run: Callable[..., Running], tmp_path: Path) -> None:
    """Through kills, what was written later is stored later."""
    path = tmp_path / "app.log"
    sidecar = run(following(path))
    with Writer(path, every=10**9) as writer:
        for _ in range(3):
            writer.goes_on(300)
            sidecar.kill()
            sidecar.start()
    sidecar.hears(f"n-{writer.written - 1}")
    assert sidecar.stop() == 0
    tasks = [task for (task,) in stored(sidecar.data, "task")]
    assert [f"n-{number}" for number in range(writer.written)] == tasks
