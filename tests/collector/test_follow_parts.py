"""The parts of following files that are functions of bytes."""

import google_crc32c
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.receivers._follow_lines import take
from collector.receivers._follow_mark import HEAD_BYTES, Mark, crc32c

_TEXT = st.lists(st.sampled_from([b"\n", b"a", b"bb", b"\r\n", b"\x00"])).map(b"".join)


@given(st.binary(), st.binary())
def test_crc32c(before: bytes, after: bytes) -> None:
    """The checksum is CRC-32C, and can go on where it was."""
    assert crc32c(after, crc32c(before)) == google_crc32c.value(before + after)


@given(_TEXT, st.integers(1, 6))
def test_take(buffer: bytes, line_bytes: int) -> None:
    """What is taken is what splitting line by line and cutting each line gives."""
    *whole, last = buffer.split(b"\n")
    expected = [line[:line_bytes] + b"\n" for line in whole]
    cut = sum(len(line) > line_bytes for line in whole)
    skipping = len(last) > line_bytes
    if skipping:
        expected.append(last[:line_bytes] + b"\n")
    taken = take(buffer, line_bytes)
    assert taken.data == b"".join(expected)
    assert taken.used == len(buffer) - (0 if skipping else len(last))
    assert (taken.cut, taken.skipping) == (cut + skipping, skipping)


@given(st.builds(Mark, st.integers(0, HEAD_BYTES), st.integers(0, 2**32 - 1), st.booleans()))
@example(Mark())
def test_mark_is_stored(mark: Mark) -> None:
    """A mark comes back from storage as it went."""
    assert Mark.parse(str(mark)) == mark


@pytest.mark.parametrize("text", ["", "1:2", "1025:00000000", "x:00000000", "1:00000000++"])
def test_bad_mark(text: str) -> None:
    """What is no mark is refused."""
    with pytest.raises(ValueError, match="is no mark of a followed file"):
        Mark.parse(text)


@given(st.binary(max_size=64), st.binary(max_size=8))
def test_mark_fits(head: bytes, more: bytes) -> None:
    """A mark fits a file that has grown, and not one that is shorter or starts otherwise."""
    mark = Mark(len(head), crc32c(head))
    assert mark.fits(head + more)
    if head:
        assert not mark.fits(head[:-1])
        assert not mark.fits(bytes([head[0] ^ 1]) + head[1:] + more)
