"""Starts sidecars without their imports: a process that has imported all, and forks.

Reads one JSON object a line on standard input and answers each with one on standard output:

    {"do": "start", "config": PATH, "log": PATH, "clock": PATH or null}      → {"pid": N}
    {"do": "wait", "pid": N, "within_s": SECONDS}     → {"status": N or null}

A status is an exit status, or minus the signal that ended it. A child is not reaped before it is
waited for, so that its ID means nobody else. When standard input ends, all children are told to
stop by their leash. Where a clock is named, that file says by how many seconds the sidecar's clock
is off: in all of the project, one clock is asked for the time, and it is handed to the service.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

from detectors._kit import load
from model.clock import system_clock
from zombiewatch import running
from zombiewatch.service import Service

_leashes: dict[int, int] = {}


def _clock(said: str) -> int:
    return system_clock() + 1_000_000 * int(Path(said).read_text())


def _start(config: str, log: str, clock: str | None) -> int:
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(read)
        _leashes[pid] = write
        return pid
    status = 70
    try:
        os.setsid()
        for other in (write, *_leashes.values()):
            os.close(other)
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for taken, at in ((read, 0), (said, 1), (said, 2)):
            os.dup2(taken, at)
        if clock:
            vars(running)["Service"] = partial(Service, clock=partial(_clock, clock))
        status = running.run_service(Path(config), {}, leash=True)
    finally:
        os._exit(status)


def _wait(pid: int, within_s: float) -> int | None:
    until = time.monotonic() + within_s
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            os.close(_leashes.pop(pid))
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.001)  # a poll, bounded by within_s


def main() -> None:
    """Serve until standard input ends."""
    load()
    gc.freeze()  # what the children share is not touched by their collectors
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "start":
            answer: dict[str, int | None] = {
                "pid": _start(asked["config"], asked["log"], asked["clock"])
            }
        else:
            answer = {"status": _wait(asked["pid"], asked["within_s"])}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
    os._exit(0)  # what was forked from is not torn down: its modules complain of that at length
