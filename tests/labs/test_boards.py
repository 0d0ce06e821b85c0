"""Which dashboards are asked beside which lab: by `Boards`, in the tests of three of them."""

from __future__ import annotations

from tests.labs._boards import LACKS, QUERIES, unanswerable


def test_each_query_is_answered_beside_a_lab() -> None:
    """No query of any panel may be without an answer beside all of them."""
    assert set.intersection(*(unanswerable(lab) for lab in LACKS)) == set()


def test_what_a_lab_lacks_is_asked_for() -> None:
    """What no query names any more is no excuse."""
    for lacked in LACKS.values():
        assert [one for one in lacked if not any(one in expr for expr in QUERIES.values())] == []
