"""The dashboards beside a lab: a real Prometheus scrapes its sidecar, and each query is asked."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from alerts.rules.links import Links
from alerts.rules.write import rules
from detectors._kit import load
from tests.dashboards._asking import INTERVAL, answers
from tests.dashboards._boards import BOARDS, queries
from tests.e2e._prometheus import prometheus, scraping, soon

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from zombiewatch.child import Sidecar

QUERIES: Final = {
    where: expr for board in BOARDS.values() for where, expr in queries(board, INTERVAL)
}

_SWITCHES: Final = (
    "max by (service) (zombiewatch_degrade_level",
    "changes(zombiewatch_degrade_level",
)
_RUNS: Final = 'limit="run"', 'limit="heartbeat"', 'measure="beat"', 'limit="retries"'
_TAKERS: Final = "zombiewatch_queue_consumers", "zombiewatch_queue_in_flight", 'limit="visibility"'

LACKS: Final[Mapping[str, tuple[str, ...]]] = {
    "bruin": (*_SWITCHES, *_RUNS, *_TAKERS),
    "mismatch": (
        *(*_SWITCHES, *_TAKERS, 'limit="call"'),
        "zombiewatch_queue_depth",  # runs are handed out as they come: none waits in a queue
        "zombiewatch_queue_oldest_age_seconds",
        "zombiewatch_verdicts_total",  # where there is no bug nothing is found
        'detector) (zombiewatch_findings{job=~".+", instance=~".+", service=',
    ),
    "backlog": (
        *(*_RUNS, 'limit="call"'),
        "zombiewatch_task_wait_seconds",  # a worker begins at once what it takes
        'phase="recorded"',  # what becomes of a message is written down nowhere
        'measure="record"',
    ),
}
"""Lab → what it has none of: a query that names it cannot be answered there."""


def unanswerable(lab: str) -> set[str]:
    """Return which queries *lab* has no answer to."""
    return {where for where, expr in QUERIES.items() if any(one in expr for one in LACKS[lab])}


class Boards:
    """Asks what was not answered yet each second: `with Boards(folder) as boards`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self._url = ""
        self.unanswered = dict(QUERIES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def look(self, _gone: float, sidecar: Sidecar) -> None:
        """Ask; the first time let Prometheus begin."""
        if not self._url:
            self._folder.mkdir()
            path = self._folder / "rules.yml"
            path.write_text(soon(rules(load(), Links(), "latest", objective=0.999)))
            config = scraping(sidecar.urls["http"], path)
            self._url, _ = self._running.enter_context(
                prometheus(self._folder / "prometheus", config)
            )
        self.unanswered = {
            where: expr for where, expr in self.unanswered.items() if not answers(self._url, expr)
        }

    def all_is_shown(self, lab: str) -> None:
        """Assert that all is answered that *lab* has an answer to."""
        missed = self.unanswered.keys() - unanswerable(lab)
        assert not missed, {where: self.unanswered[where] for where in missed}
