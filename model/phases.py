"""The lifecycle phases: the one vocabulary that all schedulers are translated into.

A signal that a rule or a native name recognises carries one of these; all others are
kept for the timeline only. `side` says who speaks.
"""

from typing import Final, Literal

Side = Literal["dispatcher", "agent"]

TASK: Final = {
    "enqueued": "dispatcher",
    "dispatched": "dispatcher",
    "accepted": "agent",
    "started": "agent",
    "heartbeat": "agent",
    "finished": "agent",
    "reported": "agent",
    "recorded": "dispatcher",
    "requeued": "dispatcher",
    "dead_lettered": "dispatcher",
}
"""Phases of one attempt, and the side that speaks them (`task.<phase>` natively)."""

CALLER: Final = ("call.sent", "call.ok", "call.failed", "call.gave_up")
"""One hop of one request, seen by who calls."""

CALLEE: Final = ("call.received", "call.committed", "call.errored")
"""The same hop, seen from the other end."""

OTHER: Final = (
    "queue.sampled",
    "instance.started",
    "instance.stopped",
    "schedule.expected",
    "schedule.fired",
    "export.failed",
)

PHASES: Final = (*TASK, *CALLER, *CALLEE, *OTHER)
"""Every phase there is."""

SIGNS: Final = ("accepted", "started", "heartbeat", "finished", "reported")
"""What an agent says of a task: any of these shows that it has, or had, the work."""

NATIVE: Final = {
    **{f"task.{phase}": phase for phase in TASK},
    **{phase: phase for phase in (*CALLER, *CALLEE, *OTHER)},
}
"""`event.name` → phase, for records that speak our language already."""

OUTCOMES: Final = ("success", "failure", "timeout", "canceled", "yielded", "unknown")

FINAL: Final = ("success", "failure", "timeout", "canceled", "unknown")
"""Outcomes that end an attempt (`yielded` ends the run, not the attempt)."""

PURPOSES: Final = ("dispatch", "report", "heartbeat", "other")
"""What a call is for."""

ERROR_SEVERITY: Final = 17
"""Severity numbers from here on are errors (OpenTelemetry logs data model)."""
