"""Damaged files, one way at a time: it starts, counts, sets aside, and has what is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import damage
from tests.crash._launch import Zygote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as one:
        yield one


@pytest.fixture(scope="module")
def base(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> damage.Base:
    """A folder to be spoilt; each test spoils a copy."""
    return damage.build(zygote, tmp_path_factory.mktemp("base"))


@pytest.mark.slow
@pytest.mark.parametrize("case", damage.cases(), ids=lambda case: case.name)
def test_what_is_whole_outlives_damage(
    zygote: Zygote, base: damage.Base, tmp_path: Path, case: damage.Case
) -> None:
    """Whatever file was spoilt, what other files or the journal hold is there exactly once."""
    assert damage.attempt(zygote, base, tmp_path, case)["problems"] == []
