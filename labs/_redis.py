"""A real Redis of a lab's own: Debian's, on a free port, keeping nothing."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

from labs._kit import Command, LabProcessError

if TYPE_CHECKING:
    from pathlib import Path


def redis(name: str, work: Path) -> Command:
    """Return it as the process *name*: `{name.port}` is where it listens.

    Raises:
        LabProcessError: there is no Redis on this machine.
    """
    if shutil.which("redis-server") is None:
        msg = "this lab needs redis-server: apt-get install redis-server"
        raise LabProcessError(msg)
    with socket.socket() as held:  # Redis does not say which port it chose
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
    work.mkdir(parents=True, exist_ok=True)
    # It takes no notice of a leash (see labs._runner): Linux ends it when its starter has died.
    leash = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()
    return Command(
        name,
        (
            *leash,
            *("redis-server", "--bind", "127.0.0.1", "--port", str(port)),
            *("--save", "", "--appendonly", "no", "--dir", str(work)),
        ),
        port=port,
    )
