"""Kill rounds, short form: what was acknowledged is there exactly once, after hundreds of kills."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash._launch import Zygote
from tests.crash.kill import kill_rounds

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS, AT_MOST_S = 300, 150.0


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_or_doubled_by_kills(tmp_path: Path) -> None:
    """Spans, logs, heartbeats and followed lines; every start after a kill succeeds."""
    with Zygote() as zygote:
        tally = kill_rounds(zygote, tmp_path, rounds=ROUNDS, seed=1, seconds=AT_MOST_S, say=print)
    assert tally.problems == []
    assert (tally.lost, tally.doubled, tally.wrong, tally.refused_to_start) == (0, 0, 0, 0)
    assert tally.rounds > 20  # on a machine so busy that fewer fit, this shows nothing
    assert tally.acknowledged > 1000
