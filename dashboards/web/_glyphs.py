"""How each phase looks: a shape of its own, told apart without colours, and a word."""

from __future__ import annotations

from typing import Final

from dashboards.web._svg import element

_RING: Final = "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0Z"
_DISC: Final = "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0Z"
_SQUARE: Final = "M-5-5H5V5H-5Z"
_DIAMOND: Final = "M0-6.5L6.5 0L0 6.5L-6.5 0Z"
_RIGHT: Final = "M-4.5-6L6.5 0L-4.5 6Z"
_UP: Final = "M-6.2 4.8L0-6L6.2 4.8Z"
_OCTAGON: Final = "M-2.7-6.5H2.7L6.5-2.7V2.7L2.7 6.5H-2.7L-6.5 2.7V-2.7Z"
_CROSS: Final = "M-2.6-2.6L2.6 2.6M2.6-2.6L-2.6 2.6"
_CHECK: Final = "M-3 .2L-.9 2.5L3.1-2.4"

_FULL, _HOLLOW, _INNER = "tl-full", "tl-hollow", "tl-inner"
_Drawn = tuple[tuple[str, str], ...]

_SHAPES: Final[dict[str, _Drawn]] = {
    "enqueued": ((_RING, _HOLLOW),),
    "dispatched": ((_RIGHT, _FULL),),
    "accepted": ((_DIAMOND, _HOLLOW),),
    "started": ((_DIAMOND, _FULL),),
    "heartbeat": (("M-6 0H-3L-1-5.5L1.5 5L3 0H6", "tl-stroke"),),
    "finished": ((_SQUARE, _FULL),),
    "reported": ((_UP, _FULL),),
    "recorded": ((_SQUARE, _FULL), (_CHECK, _INNER)),
    "requeued": (("M4.6-2.6A5.2 5.2 0 1 0 5.2 1.2M5.2-6V-2H1.2", "tl-stroke"),),
    "dead_lettered": ((_SQUARE, _FULL), (_CROSS, _INNER)),
    "call.sent": ((_RING, _HOLLOW), ("M-1.2-2.2L1.6 0L-1.2 2.2", "tl-stroke")),
    "call.ok": ((_RING, _HOLLOW), ("M-2 .2L-.5 1.8L2.2-1.6", "tl-stroke")),
    "call.failed": ((_RING, _HOLLOW), ("M-2-2L2 2M2-2L-2 2", "tl-stroke")),
    "call.gave_up": ((_OCTAGON, _FULL), (_CROSS, _INNER)),
    "call.received": (("M-5-4.5H5M0-4.5V3M-3.4-.2L0 4L3.4-.2", "tl-stroke"),),
    "call.committed": ((_DISC, _FULL), (_CHECK, _INNER)),
    "call.errored": ((_DISC, _FULL), (_CROSS, _INNER)),
    "instance.started": (("M-3-6.5V6.5M-3 0H5M2-3L5 0L2 3", "tl-stroke"),),
    "instance.stopped": (("M3-6.5V6.5M3 0H-5", "tl-stroke"),),
}
_OTHER: Final[_Drawn] = (("M0-3L3 0L0 3L-3 0Z", _FULL),)
_TICK: Final[_Drawn] = (("M0-5V5", "tl-stroke"),)
_ALARM: Final[_Drawn] = (("M0-7L7 5.5H-7Z", _FULL), ("M0-2.8V1.4M0 3.4V3.6", _INNER))

WEIGHTY: Final = frozenset(
    {"dispatched", "started", "finished", "recorded", "requeued", "dead_lettered", "call.gave_up",
     "call.committed", "call.errored", "call.failed"}
)  # fmt: skip
"""What is named first where there is not room for all names."""

BAD: Final = frozenset({"call.gave_up", "call.failed", "call.errored", "dead_lettered"})
"""What went wrong, however calmly it is said."""


def glyph(phase: str | None, *, alarming: bool) -> str:
    """Return the shape of *phase* around the origin; without one a tick, or a sign of warning."""
    drawn = _SHAPES.get(phase, _OTHER) if phase else _ALARM if alarming else _TICK
    return "".join(element("path", d=path, cls=cls) for path, cls in drawn)


def word(phase: str) -> str:
    """Return what *phase* is called in the drawing."""
    return phase.rpartition(".")[2].replace("_", " ")
