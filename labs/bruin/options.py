"""What both programs of the lab are told on their command lines."""

from __future__ import annotations

from typing import Final

BUGS: Final = {
    "wrong_context": (
        "The dispatch handler works in the application's context instead of the request's: the"
        " caller gives up, the task is set running all the same."
    ),
    "swallow_errors": (
        "The agent ignores the error that its report call returned: nobody logs it, nobody"
        " tries again."
    ),
    "missing_index": (
        "The report handler looks tasks up by a column without index, in a table that keeps"
        " growing: the same call takes longer every second."
    ),
}

FIXES: Final = {
    "wrong_context": (
        "The handler works in the request's own context: when the caller leaves, its transaction"
        " is rolled back, and the task stays in the queue."
    ),
    "swallow_errors": "A report that failed is logged and tried again, with growing pauses.",
    "missing_index": "The column by which reports look their task up has an index.",
}

DATABASE: Final = "oxr.db"
PROGRESS: Final = "progress.json"
"""Files of the control plane in its folder."""
