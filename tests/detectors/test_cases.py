"""Every detector's own cases, through the real fold and judge."""

import pytest

from detectors._kit import UNKNOWN, Case, Detector, load
from tests.detectors.harness import judged

CASES = [
    pytest.param(detector, case, id=f"{detector.name}: {case.title}")
    for detector in load()
    for case in detector.cases
]


@pytest.mark.parametrize(("detector", "case"), CASES)
def test_a_case_finds_what_it_says(detector: Detector, case: Case) -> None:
    """The subjects found, and their verdict, are the case's."""
    found = judged(detector, case.signals)
    assert [one.subject for one in found] == list(case.finds)
    if case.verdict:
        assert {one.verdict for one in found} == {case.verdict}


@pytest.mark.parametrize("detector", load(), ids=lambda one: one.name)
def test_a_detector_has_a_firing_and_a_quiet_case(detector: Detector) -> None:
    """No detector without a case that fires, one that stays quiet, and a whole runbook."""
    assert any(case.finds for case in detector.cases)
    assert any(not case.finds for case in detector.cases)
    assert all(len(text) > 40 for text in detector.runbook.values())
    assert detector.summary.endswith(".")


@pytest.mark.parametrize("detector", load(), ids=lambda one: one.name)
def test_the_fix_sentence_is_filled_from_the_evidence(detector: Detector) -> None:
    """Every word in braces of the sentence is a column that the SELECT returns."""
    firing = next(case for case in detector.cases if case.finds)
    for one in judged(detector, firing.signals):
        assert "{" not in one.fix
        assert f"{UNKNOWN} s" not in one.fix
