"""A clock that is stepped by hours, short form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import clock
from tests.crash._launch import Zygote

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_or_doubled_by_a_stepped_clock(tmp_path: Path) -> None:
    """Forwards and backwards, while it runs and between its starts, with kills in between."""
    with Zygote() as zygote:
        result = clock.run(zygote, tmp_path, rounds=10, seed=1, say=print)
    assert result["problems"] == []
    assert result["while_running"] > 0
    assert result["between_starts"] > 0


@pytest.mark.slow
def test_checkpoints_go_on_after_a_step_back(tmp_path: Path) -> None:
    """They do not wait until the clock is where it was, which may be hours."""
    with Zygote() as zygote:
        assert clock.step_back(zygote, tmp_path)["problems"] == []
