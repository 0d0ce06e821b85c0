"""Keeps Alertmanager's silences as the switches are: made, prolonged and ended with them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from alerts.degrade.lease import MUTES
from alerts.rules.rule import SOURCE
from alerts.silences import Silence, changes, ours
from model.units import us
from zombiewatch._alertmanager_api import AlertmanagerError, told
from zombiewatch._attempts import Attempts
from zombiewatch._regularly import Regularly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from alerts.degrade.lease import Lease
    from model.clock import Clock

_LOG: Final = logging.getLogger("zombiewatch.silences")

_OURS: Final = quote(f'source="{SOURCE}"')
_LOOK_S: Final = 0.5
"""So soon a switch is seen that was set or lifted; nothing is asked for that."""


class Silencing:
    """Makes silences at the Alertmanager at *base* of the leases that are *in_force*.

    What somebody else changed there is set right every *every_s*. *identity* is the sidecar's:
    it ends no other one's silences, and knows its own again when it was started anew.
    """

    def __init__(
        self,
        base: str,
        in_force: Callable[[], Iterable[Lease]],
        identity: str,
        clock: Clock,
        *,
        every_s: float,
    ) -> None:
        self._base = base
        self._in_force = in_force
        self._identity = identity
        self._clock = clock
        self._every_us = us(every_s)
        self._arranged: list[tuple[str, int, int]] | None = None
        self._next_us = 0
        self.attempts = Attempts("silences", AlertmanagerError, _LOG)
        self._looking = Regularly("silences", _LOOK_S, self._look)
        self.silences = 0
        """How many of ours there are, as far as we know."""

    def start(self) -> None:
        """Begin to look."""
        self._looking.start()

    def stop(self) -> None:
        """Look no more. A silence stays until its end: so does the lease."""
        self._looking.stop()

    def arrange(self, leases: list[Lease]) -> None:
        """Make Alertmanager's silences those of *leases*. Raises AlertmanagerError."""
        now_us = self._clock()
        try:
            said = told(self._base, "GET", f"silences?filter={_OURS}")
            known = list(ours(said, self._identity))
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{self._base} lists silences in a form that is not known: {error!r}"
            raise AlertmanagerError(msg) from None
        wanted = [Silence.of(one, now_us) for one in leases]
        posted, ended = changes(wanted, known, now_us)
        for one in posted:
            told(self._base, "POST", "silences", one.as_json(self._identity))
        for number in ended:
            told(self._base, "DELETE", f"silence/{number}")
        self.silences = len(wanted)

    def _look(self) -> None:
        leases = [one for one in self._in_force() if MUTES[one.level]]
        # a policy prolongs its own at each look: that may wait
        state = sorted(
            (one.service, one.level, 0 if one.mode == "auto" else one.expires_us) for one in leases
        )
        if state == self._arranged and self._clock() < self._next_us:
            return
        self._next_us = self._clock() + self._every_us
        self._arranged = state
        self.attempts.make(lambda: self.arrange(leases))
