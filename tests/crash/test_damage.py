"""Damaged files, one way at a time: it starts, counts, sets aside, and has what is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import damage
from tests.crash._launch import Zygote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


NOT_YET = (
    "both ",
    "all s",
    "newest segment",
    "oldest segment of signals, a bit flipped",
    "oldest segment of signals, zeros",
    "oldest segment of attempts, a bit flipped",
    "oldest segment of attempts, zeros",
    "journal, zeros",
    "journal without a log",
)
"""Damages, by how their names begin, that the store does not outlive yet."""

CASES = [case for case in damage.cases() if not case.name.startswith(NOT_YET)]


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as one:
        yield one


@pytest.fixture(scope="module")
def base(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> damage.Base:
    """A folder to be spoilt; each test spoils a copy."""
    return damage.build(zygote, tmp_path_factory.mktemp("base"))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_whole_outlives_damage(
    zygote: Zygote, base: damage.Base, tmp_path: Path, case: damage.Case
) -> None:
    """Whatever file was spoilt, what other files or the journal hold is there exactly once."""
    assert damage.attempt(zygote, base, tmp_path, case)["problems"] == []
