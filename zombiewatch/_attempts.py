"""Something that is tried again and again: that it fails is said once, and once that it is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable


class Attempts:
    """Attempts at something that raises *expected* where it fails; *log* has the first word of it.

    *of* is what they are called there.
    """

    def __init__(self, of: str, expected: type[Exception], log: logging.Logger) -> None:
        self._of = of
        self._expected = expected
        self._log = log
        self.well = True
        """Whether the last one was."""
        self.good = 0
        self.failed = 0
        """How many there were of each."""

    def make(self, do: Callable[[], None]) -> None:
        """Make one. Raises what *do* raises and was not expected."""
        try:
            do()
        except self._expected as error:
            self.failed += 1
            if self.well:
                self._log.warning("%s; trying on", error)
            self.well = False
        else:
            self.good += 1
            if not self.well:
                self._log.warning("%s: all is well again", self._of)
            self.well = True
