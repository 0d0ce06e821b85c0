"""The command line of `zombiewatch exec`, by what costs a job the least."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from zombiewatch.exec import asked as of
from zombiewatch.exec.wrapper import wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

URL: Final = "ZOMBIEWATCH_URL"
OTLP_URL: Final = "ZOMBIEWATCH_OTLP_URL"
SPOOL: Final = "ZOMBIEWATCH_SPOOL"
"""Variables that say what no option says."""

_KEEP: Final = 2048
_KEEP_MOST: Final = 65_536

_DESCRIPTION: Final = """\
Run a job, and tell the sidecar of its start, its life and its end.

Its outputs and signals are passed through, and its exit status (128+N by signal N).
A sidecar that is away neither fails nor delays it: a later run tells what was missed.
"""

_EXAMPLES: Final = """\
In a crontab:
  30 2 * * *  zombiewatch exec --name backup --timeout 2h -- /usr/local/bin/backup.sh

A task that a scheduler has handed out:
  zombiewatch exec --task-id t-17 --attempt 2 --service workers -- python train.py
"""


def main(words: Sequence[str]) -> int:
    """Do what *words* ask for; return the exit status."""
    try:
        asked = _asked(_parser().parse_args(words))
    except of.AskedError as error:
        sys.stderr.write(f"zombiewatch: {error}\n")
        return 2
    return wrap(asked)


def _asked(given: argparse.Namespace) -> of.Asked:
    """Return what was parsed, checked. Raises AskedError."""
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    if not command:
        raise of.AskedError("no command: write it at the end, as in zombiewatch exec -- sleep 3")
    if not 0 <= given.keep <= _KEEP_MOST:
        raise of.AskedError(f"--keep {given.keep}: it must be from 0 to {_KEEP_MOST} bytes")
    if given.attempt < 0:
        raise of.AskedError(f"--attempt {given.attempt}: it must be 0 or more")
    timeout_s = of.seconds(given.timeout, "--timeout") if given.timeout is not None else None
    beat_s = of.seconds(given.beat, "--beat") if given.beat is not None else of.beat_of(timeout_s)
    return of.Asked(
        command,
        name=of.checked_name(of.name_of(command) if given.name is None else given.name),
        task_id=of.checked_id(given.task_id, "--task-id"),
        attempt=given.attempt,
        queue=given.queue,
        service=given.service,
        timeout_s=timeout_s,
        beat_s=beat_s,
        keep=given.keep,
        url=of.checked_url(given.url, "--url"),
        otlp=of.checked_url(given.otlp, "--otlp"),
        spool=given.spool or of.default_spool(),
    )


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="zombiewatch exec",
        usage="zombiewatch exec [OPTIONS] [--] COMMAND...",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=32
        ),
        allow_abbrev=False,
    )
    # by the environment, and if that says nothing
    env = os.environ
    url, otlp = env.get(URL, "http://127.0.0.1:9797"), env.get(OTLP_URL, "http://127.0.0.1:4318")
    spool = Path(env[SPOOL]) if env.get(SPOOL) else None
    add = made.add_argument
    add("--name", help="what the job is called (as its program is)")
    add("--task-id", metavar="ID", help="the scheduler's ID of the task (else NAME/RUN)")
    add("--attempt", metavar="N", type=int, default=1, help="which try of the task it is (1)")
    add("--queue", help="the queue that it came from")
    add("--service", default="jobs", help="the service that runs such jobs (%(default)s)")
    add("--timeout", metavar="TIME", help="how long it may run (90s, 10m, 2h): told, not enforced")
    add("--beat", metavar="TIME", help="how often it beats (a tenth of --timeout, else 30s)")
    add(
        "--keep",
        metavar="BYTES",
        type=int,
        default=_KEEP,
        help="bytes of both ends of both outputs that are told (%(default)s); 0: outputs are left"
        " alone",
    )
    add("--url", default=url, help=f"the sidecar's API, '' for none ({URL}, else port 9797 here)")
    add(
        "--otlp",
        metavar="URL",
        default=otlp,
        help=f"the sidecar's OTLP/HTTP, '' for none ({OTLP_URL}, else port 4318 here)",
    )
    add(
        "--spool",
        metavar="FOLDER",
        type=Path,
        default=spool,
        help=f"where reports wait that nobody took ({SPOOL}, else"
        " ~/.local/state/zombiewatch/spool)",
    )
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the job and its arguments")
    return made
