"""A dispatcher that heeds degrade switches: it asks now and then whether it is to pause."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from labs._process import pause
from labs._runner import FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE: Final = "degrade.pause_dispatch"

_ASK_EVERY_S: Final = 0.5
_ANSWER_WITHIN_S: Final = 1.0
"""Sooner than the SDK would give up: a pause must not outlast whoever ordered it."""


@dataclass(slots=True)
class Dispatch:
    """Whether a service is to hand out nothing new, as *asks* answered last."""

    asks: Callable[[], bool] | None = None
    paused: bool = False

    async def heed(self, stop: asyncio.Event) -> None:
        """Go on asking until *stop*; where there is nobody to ask that is over at once."""
        while self.asks and not await pause(_ASK_EVERY_S, stop):
            # The SDK is synchronous: on this thread it would hold up the work.
            self.paused = await asyncio.to_thread(self.asks)


def switch(service: str) -> Callable[[], bool] | None:
    """Return what asks whether the dispatch of *service* is paused; None where nobody is to ask.

    Whoever does not answer pauses nothing: work goes on. Ends the program where OpenFeature is
    not installed.
    """
    url = os.environ.get(FLAGS)
    if not url:
        return None
    try:
        # Only those who heed switches need it.
        from openfeature import api  # noqa: PLC0415
        from openfeature.contrib.provider.ofrep import OFREPProvider  # noqa: PLC0415
        from openfeature.evaluation_context import EvaluationContext  # noqa: PLC0415
    except ImportError as error:
        sys.exit(
            f"a dispatcher that heeds switches needs OpenFeature ({error}):"
            " pip install openfeature-sdk openfeature-provider-ofrep"
        )
    api.set_provider(OFREPProvider(url, timeout=_ANSWER_WITHIN_S))
    client, who = api.get_client(), EvaluationContext(service)
    return lambda: client.get_boolean_value(PAUSE, default_value=False, evaluation_context=who)
