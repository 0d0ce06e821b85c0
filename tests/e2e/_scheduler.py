"""A scheduler that speaks the native form to a sidecar: what it tells becomes findings, or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.e2e._otlp import log, logs
from tests.e2e._sidecar import eventually, named

if TYPE_CHECKING:
    from tests.e2e._sidecar import Running

QUICK: Final = {"detectors": {"zombie_task": {"start_grace_s": 0.5}}}
"""Settings of a sidecar that takes a task for a zombie after half a second."""


@dataclass(frozen=True, slots=True)
class Scheduler:
    """A dispatcher and its agent; times are those at which it speaks."""

    sidecar: Running
    queue: str | None = None
    dispatcher: str = "api"
    agent: str = "agent"

    def says(self, event: str, task: str | None = None, **more: object) -> None:
        """Let the dispatcher log *event*; in names of *more*, `__` stands for a dot."""
        self._say("dispatcher", self.dispatcher, event, task, more)

    def reports(self, event: str, task: str | None = None, **more: object) -> None:
        """Let the agent log *event*."""
        self._say("agent", self.agent, event, task, more)

    def works(self, task: str) -> None:
        """Tell of *task* from beginning to end: all is well, and each side was heard."""
        self.says("task.dispatched", task)
        self.reports("task.accepted", task)
        self.reports("task.started", task)
        self.reports("task.finished", task, task__outcome="success")
        self.says("task.recorded", task, task__state="success")

    def loses(self, *tasks: str) -> None:
        """Hand *tasks* out and let no agent ever show them; return when all are confirmed."""
        self.works(named("covered"))
        for task in tasks:
            self.says("task.dispatched", task)

        def found() -> list[str]:
            self.reports("task.heartbeat")  # the agent lives: its silence about the tasks counts
            zombies = self.sidecar.findings("open", detector="zombie_task", verdict="confirmed")
            return sorted(one["task"] for one in zombies if one["task"] in tasks)

        eventually(sorted(tasks), found)

    def settles(self, *tasks: str) -> None:
        """Record *tasks* as failed after all; return when none is open as a zombie."""
        for task in tasks:
            self.says("task.recorded", task, task__state="failure")

        def still() -> list[str]:
            zombies = self.sidecar.findings("open", detector="zombie_task")
            return sorted(one["task"] for one in zombies if one["task"] in tasks)

        none: list[str] = []
        eventually(none, still)

    def _say(
        self, side: str, service: str, event: str, task: str | None, more: dict[str, object]
    ) -> None:
        said: dict[str, object] = {
            "event.name": event,
            "zombiewatch.side": side,
            "service.name": service,
            "service.instance.id": f"{service}-1",
            "task.id": task,
            "task.name": "sync" if task else None,
            "task.queue": self.queue,
            **{name.replace("__", "."): value for name, value in more.items()},
        }
        known = {name: value for name, value in said.items() if value is not None}
        at_s = known.pop("ts", None)  # when it is said, if not now
        when = {} if at_s is None else {"time_unix_nano": round(float(str(at_s)) * 1e9)}
        answer = self.sidecar.otlp("logs", logs([log(known, **when)]))
        assert answer.status == 200, answer
