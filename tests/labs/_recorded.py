"""Where recordings of labs are, and by which settings they are judged."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from zombiewatch.parts import pipeline_of
from zombiewatch.replay import replay
from zombiewatch.settings import Settings, gather

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.pipeline import Pipeline
    from labs._kit import Lab
    from zombiewatch.replay import Outcome

RECORDED: Final = Path(__file__).with_name("recordings")

_EVERY_S: Final = 2.0


def settings(lab: Lab) -> Settings:
    """Return what a sidecar beside *lab* goes by."""
    return gather(None, {"namespace": lab.name, "presets": [str(lab.preset)]}, {})


@contextmanager
def pipeline(lab: Lab) -> Iterator[Pipeline]:
    """Yield what turns the lab's words into signals."""
    of = settings(lab)
    made = pipeline_of(of.config, of.rules)
    try:
        yield made
    finally:
        made.close()


def judged(lab: Lab, path: Path) -> Outcome:
    """Return what comes of the recording at *path*, looked at every two seconds of it."""
    return replay([path], settings(lab), every_s=_EVERY_S)
