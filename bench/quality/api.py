"""An outside service that answers with a status of another kind for some minutes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from bench.quality import shares
from bench.quality.cell import AGENT, API

if TYPE_CHECKING:
    from bench.quality.cell import Cell

_LEAST: Final = 20
_LASTS_S: Final = 420.0


def refuse(cell: Cell, status: int, share: float) -> None:
    """Let it answer with *status*, and write down when over *share* of the calls are such."""
    cell.api_status = status
    made = cell.truth(f"{AGENT} to {API}", math.inf, early_s=shares.EARLY_S)

    def mend() -> None:
        cell.api_status = 200

    cell.clock.after(_LASTS_S, mend)
    shares.watch(
        cell, made, lambda: ((at_s, said == status) for at_s, said in cell.account.asked),
        least=_LEAST, share=share,
    )  # fmt: skip
