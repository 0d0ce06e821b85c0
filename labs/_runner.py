"""Starts a lab's processes, notices when one dies, and leaves none behind."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from labs._kit import Command

READY: Final = "ready"
"""First word of the line on stdout by which a process says that it can be used."""

LEASH: Final = "LAB_LEASH"
"""Set in a child's environment: its stdin is a pipe that closes when whoever started it dies."""

FLAGS: Final = "LAB_FLAGS"
"""Set in the environment of those who are to heed degrade switches: the sidecar's base URL."""

_PLACE: Final = re.compile(r"\{([\w-]+)\.(\w+)\}")
_POLL_S: Final = 0.02
_TAIL_LINES: Final = 20
_ROOT: Final = str(Path(__file__).resolve().parent.parent)


class LabProcessError(RuntimeError):
    """A process of the lab ended, or did not become ready; says which, and its last words."""


@dataclass(slots=True)
class _Child:
    command: Command
    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    facts: dict[str, str] | None = None

    def ready(self) -> bool:
        """Return whether the process can be used; keeps the facts that it told."""
        if self.facts is None and self.command.port is not None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.command.port), 0.2):
                self.facts = {"port": str(self.command.port)}
        elif self.facts is None:
            for line in self.out.read_text(errors="replace").splitlines(keepends=True):
                words = line.split()
                if line.endswith("\n") and words[:1] == [READY]:
                    self.facts = dict(word.split("=", 1) for word in words[1:] if "=" in word)
                    break
        return self.facts is not None

    def check(self) -> None:
        code = self.process.poll()
        if code is not None:
            raise LabProcessError(f"{self.command.name} ended early ({_how(code)}){self.words()}")

    def words(self) -> str:
        lines = self.err.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        if not lines:
            return "; it wrote nothing to stderr"
        return "; its stderr ends:\n" + "\n".join(f"    {line}" for line in lines)


class Runner:
    """Runs *commands* as children: `with Runner(commands, work) as runner: …`.

    On entry it starts them, each after those whose facts it needs, and waits for all to be
    ready. On exit it stops those started last first: SIGTERM, *grace_s* seconds, SIGKILL.
    What they write to stdout and stderr lies in *work*. A child sees its stdin close when this
    process dies, however it dies (see `labs._process`).

    Raises:
        LabProcessError: a process died, or was not ready within *start_s* seconds.
        ValueError: a command needs facts of one that is not in the list.
    """

    def __init__(
        self,
        commands: Sequence[Command],
        work: Path,
        *,
        start_s: float = 60.0,
        grace_s: float = 5.0,
    ) -> None:
        self._waves = _waves(commands)
        self._work = work
        self._start_s = start_s
        self._grace_s = grace_s
        self._started: list[list[_Child]] = []

    def __enter__(self) -> Self:
        self._work.mkdir(parents=True, exist_ok=True)
        try:
            for wave in self._waves:
                self._started.append([])
                for command in wave:
                    self._started[-1].append(self._start(command))
                self._await_ready(self._started[-1])
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def facts(self) -> dict[str, dict[str, str]]:
        """What each process said when it became ready, by its name."""
        return {child.command.name: child.facts or {} for child in self._children()}

    @property
    def pids(self) -> dict[str, int]:
        """Process ID of each process, by its name."""
        return {child.command.name: child.process.pid for child in self._children()}

    def check(self) -> None:
        """Raise `LabProcessError` if a process has ended."""
        for child in self._children():
            child.check()

    def watch(self, seconds: float, every_s: float = 1.0) -> Iterator[float]:
        """Yield the seconds gone by, about each *every_s*, until *seconds* have.

        Raises:
            LabProcessError: a process ended meanwhile.
        """
        start = time.monotonic()
        while (gone := time.monotonic() - start) < seconds:
            self.check()
            yield gone
            rest = max(0.0, min(every_s, start + seconds - time.monotonic()))
            time.sleep(rest)  # a lab runs in real time: this is its length
        self.check()

    def _children(self) -> Iterator[_Child]:
        for wave in self._started:
            yield from wave

    def _start(self, command: Command) -> _Child:
        facts = self.facts
        argv = [
            _PLACE.sub(lambda place: facts[place[1]].get(place[2], place[0]), argument)
            for argument in command.argv
        ]
        path = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
        env = {**os.environ, "PYTHONPATH": path, **command.env, LEASH: "stdin"}
        out, err = (self._work / f"{command.name}.{end}" for end in ("out", "err"))
        stdout: IO[bytes]
        stderr: IO[bytes]
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 - the lab's own command lines
                argv,
                env=env,
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                # Ctrl-C is for us alone: we then stop them in order.
                start_new_session=True,
            )
        return _Child(command, process, out, err)

    def _await_ready(self, wave: Sequence[_Child]) -> None:
        until = time.monotonic() + self._start_s
        for child in wave:
            while not child.ready():
                child.check()
                if time.monotonic() > until:
                    raise LabProcessError(
                        f"{child.command.name} was not ready within {self._start_s:g} s"
                        f"{child.words()}"
                    )
                time.sleep(_POLL_S)  # a poll, bounded by `until`

    def _stop(self) -> None:
        try:
            for wave in reversed(self._started):
                for child in wave:
                    child.process.terminate()
                until = time.monotonic() + self._grace_s
                for child in wave:
                    with suppress(subprocess.TimeoutExpired):
                        child.process.wait(max(0.0, until - time.monotonic()))
        finally:
            # also when a second Ctrl-C interrupts the patience above
            for child in self._children():
                child.process.kill()
            for child in self._children():
                child.process.wait()
                if child.process.stdin is not None:
                    child.process.stdin.close()


def _waves(commands: Sequence[Command]) -> list[list[Command]]:
    """Return *commands* in groups, each of which needs facts of earlier groups only."""
    waves: list[list[Command]] = []
    done: set[str] = set()
    left = list(commands)
    while left:
        wave = [command for command in left if _needs(command) <= done]
        if not wave:
            names = ", ".join(sorted(_needs(left[0]) - done))
            raise ValueError(f"{left[0].name} needs facts of {names}, which never becomes ready")
        waves.append(wave)
        done |= {command.name for command in wave}
        left = [command for command in left if command not in wave]
    return waves


def _needs(command: Command) -> set[str]:
    return {place[1] for argument in command.argv for place in _PLACE.finditer(argument)}


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
