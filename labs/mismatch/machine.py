"""A machine of its own for one process: it has a host name, and a clock that may be wrong.

    python -m labs.mismatch.machine HOST SECONDS MODULE [ARGUMENT …]

Whatever the module reads of the time of day is so many seconds ahead of what it is, as it would be
on a machine with a wrong clock. How fast time passes is not changed.
"""

from __future__ import annotations

import runpy
import socket
import sys
import time


def become(host: str, ahead_s: float) -> None:
    """Give this process the name *host*, and a clock that is *ahead_s* seconds ahead.

    Whoever takes these functions from their modules later gets ours: it has to be done first.

    Raises:
        RuntimeError: the SDK is loaded already: its spans would keep the right time.
    """
    if "opentelemetry.sdk.trace" in sys.modules:
        raise RuntimeError("labs.mismatch loads the SDK before its machine's clock is set")
    right_ns = time.time_ns
    ahead_ns = round(ahead_s * 1e9)
    time.time_ns = lambda: right_ns() + ahead_ns
    time.time = lambda: time.time_ns() / 1e9
    socket.gethostname = lambda: host


def main() -> None:
    """Run the module that the command line names."""
    host, ahead_s, module, *arguments = sys.argv[1:]
    become(host, float(ahead_s))
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
