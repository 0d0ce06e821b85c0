"""What has come in is judged by the next evaluation, however long little is gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e._sidecar import Running


def test_an_evaluation_does_not_wait_until_enough_is_gathered(run: Callable[..., Running]) -> None:
    """A zombie is found long before that."""
    sidecar = run({**QUICK, "apply_every_s": 10 * PATIENCE_S})
    Scheduler(sidecar).loses("lost")
    assert sidecar.stop() == 0, sidecar.log
