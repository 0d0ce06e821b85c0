"""Tells Alertmanager what fires, again and again while it does, and once that it is over."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from model.units import us
from zombiewatch._alertmanager_api import AlertmanagerError, post
from zombiewatch._attempts import Attempts
from zombiewatch._regularly import Regularly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from alerts.push import Labels, Pushed
    from model.clock import Clock

_LOG: Final = logging.getLogger("zombiewatch.push")


class Pushing:
    """Tells the Alertmanager at *base* every *every_s*.

    *firing* returns what fires now, and which detectors' word counts: what one had found that does
    not look any more is not over. An alert that is not told again is over after *lasts_s*.
    """

    def __init__(
        self,
        base: str,
        firing: Callable[[], tuple[Iterable[Pushed], frozenset[str]]],
        clock: Clock,
        *,
        every_s: float,
        lasts_s: float,
    ) -> None:
        self._base = base
        self._firing = firing
        self._clock = clock
        self._lasts_us = us(lasts_s)
        self._told: dict[Labels, Pushed] = {}
        self.attempts = Attempts("push", AlertmanagerError, _LOG)
        self._telling = Regularly("push", every_s, lambda: self.attempts.make(self.tell))

    def start(self) -> None:
        """Begin to tell."""
        self._telling.start()

    def stop(self) -> None:
        """Tell no more: what was told last is over when its time has passed."""
        self._telling.stop()

    def tell(self) -> None:
        """Tell once, now. Raises AlertmanagerError; what is over is told the next time, then."""
        now_us = self._clock()
        found, judged = self._firing()
        fires = {one.labels: one for one in found}
        for labels, one in self._told.items():
            detector = dict(labels).get("detector")
            if labels not in fires and detector is not None and detector not in judged:
                fires[labels] = one
        over = [one for labels, one in self._told.items() if labels not in fires]
        said = [one.as_json(now_us + self._lasts_us) for one in fires.values()]
        said += [one.as_json(now_us) for one in over]
        if said:
            post(self._base, said)
        self._told = fires
