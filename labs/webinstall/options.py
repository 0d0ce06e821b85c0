"""What the programs of the lab are told on their command lines."""

from __future__ import annotations

from typing import Final

BUGS: Final = {
    "header_typo": (
        "The release that is deployed misspells a word in its Authorization header: to the"
        " upstream each of its calls is anonymous."
    ),
    "fatal_rejection": (
        "Nobody handles the error of an upstream that turns a call away: it ends the task group,"
        " and with it the process."
    ),
    "refresh_on_start": (
        "At its start the service refreshes packages from the upstream, and does not start"
        " without them."
    ),
}

FIXES: Final = {
    "header_typo": "The word is spelt right, as the upstream's own name for it.",
    "fatal_rejection": "A call that is turned away fails its job, and nothing else.",
    "refresh_on_start": "It starts with what it has, and refreshes its packages beside its work.",
}

TOKEN: Final = "wi-3f9c1d77"  # noqa: S105 - opens nothing but this lab
"""What the service may call the upstream with."""

PROGRESS: Final = "progress.json"
UPSTREAM: Final = "upstream.json"
SUPERVISOR_LOG: Final = "supervisord.log"
"""Files: of dispatcher and upstream in the work folder, of the supervisor among the logs."""

SERVICE: Final = "webinstall"
INSTANCE: Final = "webinstall-1"
