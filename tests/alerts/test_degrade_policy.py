"""The policy engine: whatever is read, in whatever order, it never flaps, jumps or outlives."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from alerts.degrade.policy import Policy, Reading, Rung, State, step

S: Final = 1_000_000
START: Final = 1_700_000_000 * S

PLAIN: Final = Policy(
    service="orders",
    rungs=(
        Rung(1, enter=0.95, leave=0.80, for_us=300 * S),
        Rung(2, enter=0.10, leave=0.05, samples_min=10),
    ),
    dwell_us=60 * S,
    hold_off_us=600 * S,
    step_us=10 * S,
    probe_us=120 * S,
    lease_us=30 * S,
)
"""The levels L1 (a processor's load) and L2 (the core path's error rate) of a real incident."""

CALM: Final = (Reading(0.2), Reading(0.0, 100))
BROKEN: Final = (Reading(0.2), Reading(0.5, 100))
BUSY: Final = (Reading(0.97), Reading(0.0, 100))
DARK: Final = (Reading(), Reading())


def run(
    policy: Policy,
    *told: tuple[int, tuple[Reading, ...]],
    every: int = 5,
    state: State | None = None,
) -> list[tuple[int, int]]:
    """Return when the level changed, in seconds, and to what: readings hold for so many seconds."""
    changes, now, state = [], 0, state or State()
    for seconds, readings in told:
        until = now + seconds
        while now < until:
            after = step(policy, state, readings, START + now * S)
            if after.level != state.level:
                changes.append((now, after.level))
            state, now = after, now + every
    return changes


def test_nothing_is_raised_where_all_is_well() -> None:
    """A calm service stays at 0."""
    assert run(PLAIN, (3600, CALM)) == []


def test_levels_are_raised_and_lowered_one_at_a_time() -> None:
    """L2 is wanted at once: L1 first, L2 a step later; and down again after their dwell."""
    assert run(PLAIN, (100, BROKEN), (300, CALM)) == [(0, 1), (10, 2), (100, 1), (160, 0)]


def test_a_level_must_be_wanted_for_its_time() -> None:
    """L1 is raised after five minutes above its threshold, not sooner, and not if one was below."""
    assert run(PLAIN, (290, BUSY), (5, CALM), (295, BUSY), (60, CALM)) == []
    assert run(PLAIN, (305, BUSY)) == [(300, 1)]


def test_what_lies_between_the_thresholds_changes_nothing() -> None:
    """Neither raises what is not raised, nor lowers what is."""
    between = (Reading(0.2), Reading(0.07, 100))
    assert run(PLAIN, (600, between)) == []
    assert run(PLAIN, (20, BROKEN), (600, between)) == [(0, 1), (10, 2)]


def test_too_few_samples_say_nothing() -> None:
    """One failure of two requests is not half of the traffic."""
    few = (Reading(0.2), Reading(0.5, 9))
    assert run(PLAIN, (600, few)) == []
    assert run(PLAIN, (600, (Reading(0.2), Reading(math.nan, 100)))) == []


def test_it_is_not_raised_again_before_the_hold_off() -> None:
    """Trouble that comes back at once waits until ten minutes after the last lowering."""
    changes = run(PLAIN, (5, BROKEN), (60, CALM), (900, BROKEN))
    assert changes[:2] == [(0, 1), (60, 0)]
    assert changes[2] == (660, 1)


def test_what_is_not_known_holds_a_level_until_the_probing_deadline() -> None:
    """Where no reading comes any more, the level is left all the same: nobody waits for ever."""
    assert run(PLAIN, (20, BROKEN), (600, DARK)) == [(0, 1), (10, 2), (140, 1), (200, 0)]


def test_what_is_not_known_raises_nothing() -> None:
    """Nor does an hour of silence count as an hour above the threshold."""
    assert run(PLAIN, (280, BUSY), (3600, DARK), (295, BUSY)) == []


def test_a_level_ends_with_its_lease_where_nobody_steps() -> None:
    """A sidecar that hung for longer than the lease finds the level gone, and begins below."""
    raised = step(PLAIN, State(), BROKEN, START)
    assert raised.level == 1
    assert raised.expires_us == START + 30 * S
    late = step(PLAIN, raised, BROKEN, START + 31 * S)
    assert late.level == 0
    assert late.lowered_us == START + 30 * S


def test_the_highest_automatic_level_is_not_passed() -> None:
    """A policy that may go up to L1 stays there, whatever L2 says."""
    assert run(replace(PLAIN, level_max=1), (100, BROKEN)) == [(0, 1)]


def test_a_policy_that_was_changed_keeps_the_level_and_goes_by_its_new_rungs() -> None:
    """Two rungs before, one now."""
    state = step(PLAIN, State(), BROKEN, START)
    one = replace(PLAIN, rungs=PLAIN.rungs[1:])
    assert step(one, state, BROKEN[1:], START + S).level == 1


def test_a_clock_that_is_set_back_does_not_hold_a_level() -> None:
    """An hour back: the level is lowered after its dwell by the new clock."""
    state = step(PLAIN, State(), BROKEN, START)
    back = START - 3600 * S
    for second in range(0, 61, 5):
        state = step(PLAIN, state, CALM, back + second * S)
        assert state.expires_us <= back + second * S + PLAIN.lease_us
    assert state.level == 0


# Whatever comes


READINGS: Final = st.builds(
    Reading,
    st.one_of(st.none(), st.sampled_from((0.0, 0.05, 0.07, 0.1, 0.5, 0.85, 0.97, math.nan))),
    st.sampled_from((0.0, 9.0, 10.0, 100.0)),
)
RUNGS: Final = st.lists(
    st.builds(
        lambda level, leave, more, for_s, least: Rung(level, leave + more, leave, for_s * S, least),
        st.integers(1, 3),
        st.sampled_from((0.05, 0.5)),
        st.sampled_from((0.0, 0.05, 0.4)),
        st.sampled_from((0, 10, 60)),
        st.sampled_from((0.0, 10.0)),
    ),
    min_size=1,
    max_size=3,
)
LENGTHS: Final = st.integers(1, 120).map(lambda seconds: seconds * S)
POLICIES: Final = st.builds(
    Policy,
    st.just("orders"),
    RUNGS.map(tuple),
    dwell_us=LENGTHS,
    hold_off_us=LENGTHS,
    step_us=LENGTHS,
    probe_us=LENGTHS,
    lease_us=LENGTHS,
    level_max=st.integers(1, 3),
)
STEPS: Final = st.lists(
    st.tuples(st.sampled_from((1, 5, 30, 200)), st.lists(READINGS, min_size=3, max_size=3)),
    min_size=1,
    max_size=60,
)


@given(POLICIES, STEPS)
def test_no_sequence_of_readings_makes_it_flap_jump_or_outlive(
    policy: Policy, steps: list[tuple[int, list[Reading]]]
) -> None:
    """One level at a time, each for its dwell, none raised within the hold-off, none unrenewed."""
    now, state = START, State()
    levels = [(now, 0)]
    for seconds, readings in steps:
        now += seconds * S
        after = step(policy, state, readings[: len(policy.rungs)], now)
        lapsed = state.level > 0 and now >= state.expires_us
        if lapsed:
            levels.append((state.expires_us, 0))
        before = 0 if lapsed else state.level
        assert abs(after.level - before) <= 1
        assert after.level <= policy.level_max
        if after.level:
            assert now + policy.lease_us // 2 <= after.expires_us <= now + policy.lease_us
        if after.level > before:
            highest = max(rung.level for rung in policy.rungs)
            assert after.level <= highest
        if after.level < before:
            assert now - levels[-1][0] >= policy.dwell_us
        if after.level != before:
            levels.append((now, after.level))
        state = after
    lowered = None
    for (_, one), (at, other) in pairwise(levels):
        if other < one:
            lowered = at
        elif other > one and lowered is not None:
            assert at - lowered >= policy.hold_off_us


@given(POLICIES, STEPS)
def test_what_is_never_known_raises_nothing(
    policy: Policy, steps: list[tuple[int, list[Reading]]]
) -> None:
    """However long, and however the rungs are set."""
    now, state = START, State()
    for seconds, _ in steps:
        now += seconds * S
        state = step(policy, state, [Reading()] * len(policy.rungs), now)
        assert state.level == 0
