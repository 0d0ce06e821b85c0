"""When a policy raises and lowers a service's degrade level: a pure step from state to state.

A rung is wanted from its `enter` on and until its reading falls below `leave`. A level is left no
sooner than after `dwell`, entered again no sooner than `hold_off` after one was left, and moved
one at a time. What is not known raises nothing, and holds a level for `probe` at most: where a
switch keeps away the very traffic that would tell of recovery, no reading ever comes. A level
that nobody renews ends with its lease.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Rung:
    """What a level (1 to 3) is for: a reading of at least `enter`, for `for_us`.

    A reading of fewer than `samples_min` samples is none.
    """

    level: int
    enter: float
    leave: float
    for_us: int = 0
    samples_min: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """By what a service's level goes. Lengths of time are microseconds."""

    service: str
    rungs: tuple[Rung, ...]
    dwell_us: int
    hold_off_us: int
    step_us: int
    probe_us: int
    lease_us: int
    level_max: int = 2


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rung's input says: None or NaN where that is not known; of how many samples."""

    value: float | None = None
    samples: float = math.inf


@dataclass(frozen=True, slots=True)
class Held:
    """A rung's memory: whether it is wanted, since when that is known, since when nothing is."""

    wanted: bool = False
    since_us: int | None = None
    unknown_us: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A policy's memory; all of it may be written down and read again."""

    level: int = 0
    changed_us: int | None = None
    lowered_us: int | None = None
    expires_us: int = 0
    rungs: tuple[Held, ...] = field(default=())


def step(policy: Policy, state: State, readings: Sequence[Reading], now_us: int) -> State:
    """Return the state that follows at *now_us* from one reading per rung of *policy*.

    Raises:
        ValueError: there are not as many readings as rungs.
    """
    was = _sound(policy, state, now_us)
    rungs = tuple(
        _look(rung, held, reading, now_us)
        for rung, held, reading in zip(policy.rungs, was.rungs, readings, strict=True)
    )
    called_for = [
        rung.level
        for rung, held in zip(policy.rungs, rungs, strict=True)
        if _counts(policy, rung, held, was.level, now_us)
    ]
    wanted = min(max(called_for, default=0), policy.level_max)
    level, lowered_us = was.level, was.lowered_us
    if (
        wanted > level
        and _passed(was.changed_us, policy.step_us, now_us)
        and _passed(lowered_us, policy.hold_off_us, now_us)
    ):
        level += 1
    elif wanted < level and _passed(was.changed_us, policy.dwell_us, now_us):
        level, lowered_us = level - 1, now_us
    changed_us = was.changed_us if level == was.level else now_us
    return State(level, changed_us, lowered_us, _expires(policy, was, level, now_us), rungs)


def _expires(policy: Policy, was: State, level: int, now_us: int) -> int:
    """Return when *level* ends unless renewed: it is, once half of its lease has gone."""
    if not level:
        return 0
    left_us = was.expires_us - now_us
    if level == was.level and policy.lease_us // 2 < left_us <= policy.lease_us:
        return was.expires_us
    return now_us + policy.lease_us


def _sound(policy: Policy, state: State, now_us: int) -> State:
    """Return *state* without what has expired, is not ours, or lies ahead of a clock set back.

    A policy with other rungs than before forgets what these wanted, and keeps the level.
    """
    held = state.rungs
    if len(held) != len(policy.rungs):
        held = (Held(),) * len(policy.rungs)
    level, changed_us, lowered_us = state.level, state.changed_us, state.lowered_us
    if level and now_us >= state.expires_us:
        level, changed_us, lowered_us = 0, state.expires_us, state.expires_us
        held = (Held(),) * len(policy.rungs)

    def past(at_us: int | None) -> int | None:
        return None if at_us is None else min(at_us, now_us)

    held = tuple(
        replace(one, since_us=past(one.since_us), unknown_us=past(one.unknown_us)) for one in held
    )
    return State(level, past(changed_us), past(lowered_us), state.expires_us, held)


def _look(rung: Rung, was: Held, reading: Reading, now_us: int) -> Held:
    value = math.nan if reading.value is None else reading.value
    if math.isnan(value) or not reading.samples >= rung.samples_min:
        unknown_us = now_us if was.unknown_us is None else was.unknown_us
        return Held(was.wanted, None, unknown_us)
    wanted = value >= rung.enter or (was.wanted and value >= rung.leave)
    if not wanted:
        return Held()
    return Held(True, now_us if was.since_us is None else was.since_us, None)


def _counts(policy: Policy, rung: Rung, held: Held, level: int, now_us: int) -> bool:
    """Say whether *rung* speaks for its level, *level* being that which is in force."""
    if not held.wanted:
        return False
    if rung.level <= level:
        return held.unknown_us is None or now_us - held.unknown_us < policy.probe_us
    return held.since_us is not None and now_us - held.since_us >= rung.for_us


def _passed(at_us: int | None, length_us: int, now_us: int) -> bool:
    return at_us is None or now_us - at_us >= length_us
