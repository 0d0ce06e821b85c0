"""What `zombiewatch exec` is made of: both ends of a stream, the spool, what it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zombiewatch.exec.asked import AskedError, beat_of, seconds
from zombiewatch.exec.output import Ends
from zombiewatch.exec.spool import Spool
from zombiewatch.exec.words import Call, Report

if TYPE_CHECKING:
    from pathlib import Path


@given(st.integers(1, 20), st.lists(st.binary(max_size=30), max_size=8))
def test_both_ends_of_a_stream_are_kept(keep: int, parts: list[bytes]) -> None:
    """Whole where it is short; else the first and last bytes, and how many are not there."""
    ends = Ends(keep)
    for part in parts:
        ends.add(part)
    whole = b"".join(parts)
    expected = whole.decode(errors="replace")
    if left := max(0, len(whole) - 2 * keep):
        first, last = (part.decode(errors="replace") for part in (whole[:keep], whole[-keep:]))
        expected = f"{first}\n[… {left} bytes …]\n{last}"
    assert (expected, len(whole)) == (ends.text(), ends.size)


class Sidecar:
    """Takes whatever is delivered, or nothing."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.got: list[Report] = []

    def __call__(self, report: Report) -> bool:
        self.got.append(report)
        return self.takes


def test_a_spool_keeps_the_last_word_only(tmp_path: Path) -> None:
    """A newer report takes the place of the older, and is not forgotten with it."""
    first, second = (Report({"n": n}, Call("/x", "", "")) for n in (1, 2))
    spool, others, sidecar = Spool(tmp_path, "a"), Spool(tmp_path, "b"), Sidecar()
    spool.put(first)
    spool.put(second)
    spool.taken(first)
    others.deliver_others(sidecar)
    assert sidecar.got == []  # its run lives
    spool.close()
    others.deliver_others(sidecar)
    assert sidecar.got == [second]
    assert not list(tmp_path.iterdir())


def test_nothing_is_forgotten_that_nobody_took(tmp_path: Path) -> None:
    """Who does not take one is not asked to take the next."""
    for name in "ab":
        dead = Spool(tmp_path, name)
        dead.put(Report({"n": name}, None))
        dead.close()
    away = Sidecar(takes=False)
    Spool(tmp_path, "c").deliver_others(away)
    assert (len(away.got), len(list(tmp_path.iterdir()))) == (1, 2)


def test_a_damaged_report_is_set_aside(tmp_path: Path) -> None:
    """It stops nobody else's."""
    (tmp_path / "a.json").write_text("{")
    dead, sidecar = Spool(tmp_path, "b"), Sidecar()
    dead.put(Report({"n": 1}, None))
    dead.close()
    Spool(tmp_path, "c").deliver_others(sidecar)
    assert sidecar.got == [Report({"n": 1}, None)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.damaged"]


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90.0), ("1.5m", 90.0), ("1h30m", 5400.0), ("250ms", 0.25)]
)
def test_lengths_of_time_are_written_as_elsewhere(text: str, expected: float) -> None:
    """Seconds, or with units."""
    assert expected == seconds(text, "--timeout")


@pytest.mark.parametrize("text", ["", "soon", "-5", "0", "5 minutes"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    """With how to write one."""
    with pytest.raises(AskedError, match=r"--timeout .*: "):
        seconds(text, "--timeout")


@pytest.mark.parametrize(
    ("timeout", "expected"), [(None, 30.0), (5.0, 1.0), (300.0, 30.0), (7200.0, 60.0)]
)
def test_beats_follow_from_the_time_out(timeout: float | None, expected: float) -> None:
    """A tenth of it, within what makes sense."""
    assert expected == beat_of(timeout)
