"""Has the switches of another sidecar: one of the two sets them, so that they never disagree."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from alerts.degrade.lease import LEVELS, Lease
from model.units import parse_time
from zombiewatch._attempts import Attempts
from zombiewatch._regularly import Regularly
from zombiewatch.client import AskError, ask_with

if TYPE_CHECKING:
    from model.clock import Clock
    from zombiewatch.switches import Switches

_LOG: Final = logging.getLogger("zombiewatch.degrade")


class Following:
    """Makes *switches* those of the sidecar at *base*, every *every_s*.

    While that does not answer, what it last said holds until its leases end.
    """

    def __init__(
        self, base: str, token: str | None, switches: Switches, clock: Clock, *, every_s: float
    ) -> None:
        self._base = base
        self._token = token
        self._switches = switches
        self._clock = clock
        self.attempts = Attempts("the switches that are followed", AskError, _LOG)
        self._looking = Regularly("follow", every_s, lambda: self.attempts.make(self.look))

    def start(self) -> None:
        """Begin to follow."""
        self._looking.start()

    def stop(self) -> None:
        """Follow no more."""
        self._looking.stop()

    def look(self) -> None:
        """Look once, now. Raises AskError."""
        try:
            said = ask_with(self._token, self._base, "/api/v1/switches")
            leases = [_lease(one) for one in said["switches"]]
        except (AskError, LookupError, TypeError, ValueError) as error:
            msg = f"the switches of {self._base} cannot be followed: {error}"
            raise AskError(msg) from None
        self._switches.adopt(leases, self._base, self._clock())


def _lease(said: dict[str, Any]) -> Lease:
    """Return a switch as it was before it was shown. Raises LookupError, TypeError, ValueError."""
    set_at_us, expires_us = parse_time(said["set_at"]), parse_time(said["expires_at"])
    if set_at_us is None or expires_us is None:
        raise ValueError("a switch without times")
    return Lease(
        said["service"],
        LEVELS.index(said["level"]),
        said["mode"],
        said["reason"],
        said["set_by"],
        set_at_us,
        expires_us,
        dry_run=said["dry_run"],
        generation=said["generation"],
    )
