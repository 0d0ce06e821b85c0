"""Each incident again, in seconds: what a sidecar heard of a lab is judged as it was then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collector.rules import Rule
from labs._kit import find_labs
from tests.labs import pages
from tests.labs._recorded import RECORDED, judged
from tests.labs._words import rules
from zombiewatch.outcome import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from labs._kit import Lab

LABS = find_labs()
FILES = sorted(RECORDED.glob("*/*.jsonl.gz"))


def name(path: Path) -> str:
    return f"{path.parent.name}-{path.name.partition('.')[0]}"


def test_every_lab_is_recorded_with_no_bug_with_each_and_with_all() -> None:
    """A new bug, or a new lab, is recorded too: `python -m tests.labs.record`."""
    wanted = {f"{lab.name}-{bugs}" for lab in LABS.values() for bugs in ("none", *lab.bugs, "all")}
    assert {name(path) for path in FILES} == wanted


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_recorded_incident_is_found_again(path: Path) -> None:
    """What had to be found is, with the lab's own settings, and nothing else."""
    lab = LABS[path.parent.name]
    outcome = judged(lab, path)
    assert outcome.failed == {}
    bugs = path.name.partition(".")[0]
    expected = lab.expected(lab.choose(bugs))
    found = Outcome.of(
        expected,
        [dict(one.as_json()) for one in outcome.findings],
        [dict(one) for one in outcome.switched],
    )
    assert (found.missing, found.surprising) == (frozenset(), frozenset())
    if bugs == "all":
        made = pages.files(lab, outcome)
        assert {file: file.read_text() for file in made} == made, "python -m tests.labs.pages"


def test_the_list_of_incidents_is_whole() -> None:
    """As `python -m tests.labs.pages` writes it."""
    assert (pages.PAGES / "README.md").read_text() == pages.index(LABS.values())


@pytest.mark.parametrize("lab", LABS.values(), ids=LABS)
def test_a_preset_holds_sound_rules(lab: Lab) -> None:
    """Every rule is one that the collector takes."""
    assert [Rule(**rule) for rule in rules(lab)]


def test_each_bug_of_a_lab_has_what_mends_it() -> None:
    """And each lab its story: both stand in docs/incidents."""
    for lab in LABS.values():
        assert lab.story
        assert lab.fixes.keys() == lab.bugs.keys()
