"""An agent dies with work in its hands: silently, with a last word, or to come back anew."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from bench.quality.cell import AGENT, DISPATCHER
from bench.quality.failures.lost_report import GRACE_S as RECORD_S
from bench.quality.failures.overdue_task import besides
from bench.quality.kit import Failure
from bench.quality.process import BEAT_S
from bench.quality.tasks import KINDS

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt

_SILENCE_S = max(60.0, 3 * BEAT_S)
_WORD_S = 15.0
"""So long after its last word, what it said before has come."""
_NEEDS_S, _APART_S = 260.0, 330.0


class Dies(Failure):
    """In one way after another while there is time; its tasks are taken back later."""

    def begin(self, cell: Cell) -> None:
        """Let one agent after the other die."""
        ways = ["silent", "said", "back"]
        cell.rng.shuffle(ways)
        room_s = cell.ends_s - cell.clock.now - _NEEDS_S
        died: set[str] = set()
        for number, way in enumerate(ways[: 1 + max(0, int(room_s / _APART_S))]):
            cell.clock.after(number * _APART_S, partial(self._load, cell, way, died))

    def _load(self, cell: Cell, way: str, died: set[str]) -> None:
        """See that there is work in its hands: long runs."""
        for _ in range(4):
            cell.submit(KINDS[1])
        cell.clock.after(8.0, partial(self._die, cell, way, died))

    def _die(self, cell: Cell, way: str, died: set[str]) -> None:
        """Let one die; what happens to it again within a quarter of an hour is told once."""
        able = [one for one in cell.agents if one.taking and one.instance not in died
                and self._begun(cell, one)]  # fmt: skip
        if not able or len(cell.agents) < 3:  # noqa: PLR2004 - two of three would be a path
            cell.join(f"y-{cell.rng.randrange(1 << 20)}")
            cell.clock.after(10.0, partial(self._load, cell, way, died))
            return
        agent = cell.rng.choice(able)
        died.add(agent.instance)
        held = cell.kill(agent)
        for one in held:
            if one.began_heard_s < math.inf:
                besides(cell, one, self)
        heard_s = agent.heard_s
        if way == "said":
            heard_s = agent.say(
                "instance.stopped", cell.clock.now, instance__clean=False
            ).first_s  # fmt: skip
        since_s, name = cell.clock.now, agent.instance
        subject = f"{AGENT}/{name}"
        if way == "back":
            made = cell.join(name)
            true_s = made.first_heard_s
        else:
            true_s = heard_s + (_WORD_S if way == "said" else _SILENCE_S)
            for _, back_s in cell.path.absences:
                if way == "silent" and heard_s < back_s < true_s:
                    true_s = back_s + _SILENCE_S
            cell.join(f"{name}b")
        # what was said before we were away says nothing of what was said meanwhile
        since_s = min(since_s, max(one.sign_said_s for one in held))
        told = true_s < math.inf  # where its first words are lost, others show it sooner or later
        true_s = true_s if told else cell.clock.now
        truth = cell.truth(subject, true_s, since_s=since_s, word=(name, true_s + RECORD_S),
                           also_of=DISPATCHER, must=told)  # fmt: skip

        def free() -> None:
            for one in (one for one in held if one.number in cell.running):
                truth.until_s = cell.requeue(one, agent)

        cell.clock.after(cell.rng.uniform(130, 220), free)

    @staticmethod
    def _begun(cell: Cell, agent: Process) -> list[Attempt]:
        """Return the attempts that it has begun, and that do not end at once."""
        running = [cell.running[number][0] for number in agent.runs if number > 0]
        return [one for one in running if one.kind.name == "train" and one.failure is None
                and one.began_heard_s < cell.clock.now and not one.over]  # fmt: skip


FAILURE = Dies(needs_s=_NEEDS_S, absence=True)
