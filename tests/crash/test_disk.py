"""A disk that is full and free again, short form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import disk
from tests.crash._launch import Zygote

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_or_doubled_by_a_full_disk(tmp_path: Path) -> None:
    """It fills while records come in, with kills in between; with room again, it takes more."""
    with Zygote() as zygote:
        try:
            result = disk.run(zygote, tmp_path, rounds=8, seed=1, say=print)
        except disk.CannotMountError as error:
            pytest.skip(f"a file system cannot be mounted here: {error}")
    assert result["problems"] == []
    assert result["refused"] > 0
    assert result["kills"] > 0
