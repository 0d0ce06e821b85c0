"""Runs the service under a real supervisor that gives up, and deploys a new release of it.

The supervisor is supervisord of Debian's package `supervisor`, with a configuration of its own in
the work folder. It has no socket: a deployment rewrites the configuration and sends SIGHUP.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from labs._figures import shown
from labs._options import Options, parser
from labs._process import pause, say_ready, stop_event
from labs.webinstall.options import BUGS, PROGRESS, SERVICE, SUPERVISOR_LOG

if TYPE_CHECKING:
    from collections.abc import Sequence

RETRIES: Final = 5
_QUICK_S: Final = 30
"""Who ends within so many seconds of its start has failed to start."""

_DEPLOY_AFTER: Final = 8
"""So many jobs the first release has done when the second is deployed."""

_STOP_S: Final = 3
_POLL_S: Final = 0.3
_PR_SET_PDEATHSIG: Final = 1

_CONFIG: Final = """\
[supervisord]
nodaemon = true
user = {user}
logfile = {log}
logfile_maxbytes = 0
loglevel = info
pidfile = {work}/supervisord.pid
childlogdir = {work}

[program:{service}]
command = {command}
directory = {work}
autorestart = true
startsecs = {quick_s}
startretries = {retries}
stopwaitsecs = {stop_s}
stdout_logfile = {work}/{service}.out
stderr_logfile = {work}/{service}.err
stdout_logfile_maxbytes = 0
stderr_logfile_maxbytes = 0
"""


def configuration(given: Options, command: Sequence[str]) -> str:
    """Return supervisord's configuration, by which it runs *command*."""
    return _CONFIG.format(
        user=os.getuid(),
        log=_escaped(str(given.logs / SUPERVISOR_LOG)),
        work=_escaped(str(given.work)),
        service=SERVICE,
        command=_escaped(" ".join(_quoted(word) for word in command)),
        quick_s=_QUICK_S,
        retries=RETRIES,
        stop_s=_STOP_S,
    )


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\"'\"'") + "'"


def _escaped(text: str) -> str:
    """Return *text* as supervisord's configuration takes it, in which % begins a variable."""
    return text.replace("%", "%%")


def _die_with_us() -> None:
    """Have the kernel send SIGTERM to this process when its parent ends, however that ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def serve(given: Options, service: Sequence[str]) -> None:
    """Run supervisord until SIGTERM; deploy the second release once the first has done some."""
    stop = stop_event()
    program = shutil.which("supervisord")
    if program is None:
        sys.stderr.write(
            "The lab webinstall needs supervisord: apt-get install supervisor"
            " (or pip install supervisor).\n"
        )
        raise SystemExit(1)
    path = given.work / "supervisord.conf"
    path.write_text(configuration(given, [*service, "--release", "1"]))
    process = await asyncio.create_subprocess_exec(
        *(program, "--configuration", str(path)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        # Only Linux has it, and Debian's supervisor.
        preexec_fn=_die_with_us,
    )
    ended = asyncio.ensure_future(process.wait())
    ended.add_done_callback(lambda _: stop.set())
    say_ready()
    deployed = False
    while not await pause(_POLL_S, stop):
        if not deployed and shown(given.work / PROGRESS).get("recorded", 0) >= _DEPLOY_AFTER:
            path.write_text(configuration(given, [*service, "--release", "2"]))
            process.send_signal(signal.SIGHUP)
            deployed = True
    with suppress(ProcessLookupError):
        process.terminate()
    if code := await ended:
        sys.stderr.write(f"supervisord ended with {code}\n")
        raise SystemExit(1)


def main() -> None:
    """Run the program."""
    arguments = parser("labs.webinstall.supervisor", __doc__ or "", BUGS)
    arguments.add_argument("--dispatcher", required=True, help="base URL of the dispatcher")
    arguments.add_argument("--upstream", required=True, help="base URL of the upstream")
    given = Options.of(arguments.parse_args())
    service = [sys.executable, "-m", "labs.webinstall.service", *sys.argv[1:]]
    asyncio.run(serve(given, service))


if __name__ == "__main__":
    main()
