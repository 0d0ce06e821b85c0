"""The job as a child: started, given our signals, waited for.

Where we are killed, the kernel sends the job SIGTERM: nobody would know of it any more.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from zombiewatch.exec.output import Ends, Pump, is_open

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PASSED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""Signals that the job gets when we do."""

_WATCHED: Final = (*PASSED, signal.SIGCHLD)
_PR_SET_PDEATHSIG: Final = 1
_LINGER_S: Final = 1.0
"""How long we wait for the rest of the output when the job has ended."""

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
"""Exit codes of commands that cannot be started, as shells have them."""

_BY_SIGNAL: Final = 128


class NotStartedError(Exception):
    """The command cannot be started; `code` is the exit code for it."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


@dataclass(slots=True)
class Child:
    """A job that runs. Its output is None where it is not kept."""

    process: subprocess.Popen[bytes]
    output: dict[str, Ends]
    pumps: Sequence[Pump]

    @classmethod
    def start(cls, command: Sequence[str], keep: int) -> Self:
        """Start *command*; keep *keep* bytes of both ends of both outputs (0: do not touch them).

        From here on signals to us wait until `wait` reads them. Threads are to be started after.

        Raises NotStartedError.
        """
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who started us may have ignored it
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        kept = [one for one in (1, 2) if keep and is_open(one)]
        pipe = {one: subprocess.PIPE if one in kept else None for one in (1, 2)}
        try:
            process = subprocess.Popen(  # noqa: S603 - what the user asks to be run
                command,
                stdout=pipe[1],
                stderr=pipe[2],
                bufsize=0,
                preexec_fn=_prepare(before),  # noqa: PLW1509 - there is one thread as yet
            )
        except FileNotFoundError:
            raise NotStartedError(f"{command[0]}: command not found", NOT_FOUND) from None
        except OSError as error:
            raise NotStartedError(f"{command[0]}: {error.strerror}", NOT_EXECUTABLE) from None
        output, pumps = {}, []
        for one, name, stream in ((1, "stdout", process.stdout), (2, "stderr", process.stderr)):
            if stream is not None:
                output[name] = Ends(keep)
                pumps.append(Pump(os.dup(stream.fileno()), one, output[name]))
                stream.close()
        for pump in pumps:
            pump.start()
        return cls(process, output, pumps)

    def wait(self, on_signal: Callable[[signal.Signals], None]) -> int:
        """Pass signals on until the job has ended; return its exit code as a shell would.

        *on_signal* is told of each.
        """
        while self.process.poll() is None:
            told = signal.sigwaitinfo(_WATCHED)
            if told.si_signo == signal.SIGCHLD:
                continue
            number = signal.Signals(told.si_signo)
            # What the terminal's keys send, the kernel sends to the job as well.
            if told.si_code <= 0:
                self.process.send_signal(number)
            on_signal(number)
        until = time.monotonic() + _LINGER_S
        for pump in self.pumps:
            pump.join(until - time.monotonic())
        code = self.process.returncode
        return code if code >= 0 else _BY_SIGNAL - code


def signal_of(code: int) -> str | None:
    """Return the name of the signal that an exit code above 128 stands for, if there is one."""
    try:
        return signal.Signals(code - _BY_SIGNAL).name
    except ValueError:
        return None


def _prepare(mask: set[int | signal.Signals]) -> Callable[[], None]:
    """Return what the child does before it becomes the job."""
    parent = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def prepare() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it was killed before it was said so
                os.kill(os.getpid(), signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return prepare
