"""What waits, for how long, and when it will be done: by queue."""

from __future__ import annotations

from typing import Final

from dashboards.grafana._board import Board, Row
from dashboards.grafana._panel import BY_DETECTOR, Link, Panel, Query
from dashboards.grafana._query import QUEUE, found, most, of, only, or_0, rate, top

_DEPTH: Final = of("zombiewatch_queue_depth", QUEUE)
_WAITS: Final = only(state="waiting")
_TASKS: Final = of("zombiewatch_tasks_open", _WAITS, QUEUE)
_WINDOW: Final = "[10m]"

WAITING: Final = f"({top(_DEPTH, 'queue')} or {most(_TASKS, 'queue')})"
"""What waits, by queue: as the queue says itself, else the tasks that were heard of."""

_GROWS: Final = (
    f"({most(f'deriv({_DEPTH}{_WINDOW})', 'queue')}"
    f" or {most(f'deriv({_TASKS}{_WINDOW})', 'queue')})"
)
DRAIN: Final = f"{WAITING} / -({_GROWS} < 0) or ({WAITING} > 0) * Inf or {WAITING}"
"""When it will be empty, by queue: what grows, or stands still, never."""

_OLDEST: Final = (
    f"({top(of('zombiewatch_queue_oldest_age_seconds', QUEUE), 'queue')}"
    f" or {top(of('zombiewatch_tasks_oldest_age_seconds', _WAITS, QUEUE), 'queue')})"
)


def _flow(counted: str, phase: str) -> str:
    """Return how fast work goes by: as the queue counts it, else the tasks that were heard of."""
    heard = rate("zombiewatch_tasks_total", only(phase=phase), QUEUE, by=("queue",))
    return f"{rate(counted, QUEUE, by=('queue',))} or {heard}"


_ARRIVALS: Final = _flow("zombiewatch_queue_enqueued_total", "enqueued")
_COMPLETIONS: Final = _flow("zombiewatch_queue_completed_total", "finished")

BOARD: Final = Board(
    "backlog",
    [
        Row(
            "Verdict",
            [
                Panel(
                    "Waiting",
                    "What waits in all queues together.",
                    "none",
                    [Query(f"sum({WAITING})", "waiting")],
                    kind="stat", width=6, height=5, links=[Link("Queues", "/queues")],
                ),
                Panel(
                    "Oldest",
                    "How long the oldest entry of any queue has waited: the age is what hurts, not"
                    " the number.",
                    "s",
                    [Query(f"max({_OLDEST})", "oldest")],
                    kind="stat", width=6, height=5, steps=((300, "orange"), (3600, "red")),
                ),
                Panel(
                    "Time to drain",
                    "When the queue that takes longest will be empty, if it goes on as in the last"
                    " ten minutes; infinite if it does not get shorter.",
                    "s",
                    [Query(f"max({DRAIN})", "to drain")],
                    kind="stat", width=6, height=5, steps=((900, "orange"), (3600, "red")),
                ),
                Panel(
                    "Paused queues",
                    "Queues from which nothing is taken, because somebody said so.",
                    "none",
                    [
                        Query(
                            or_0(f"sum({top(of('zombiewatch_queue_paused', QUEUE), 'queue')})"),
                            "paused",
                        )
                    ],
                    kind="stat", width=6, height=5, steps=((1, "purple"),),
                ),
            ],
        ),
        Row(
            "What waits",
            [
                Panel(
                    "Depth",
                    "What waits in each queue: as the queue was sampled, else the tasks that were"
                    " heard of and that nobody has been handed.",
                    "none",
                    [Query(WAITING, "{{queue}}")],
                    width=12,
                ),
                Panel(
                    "Oldest, by queue",
                    "How long the oldest entry has waited.",
                    "s",
                    [Query(_OLDEST, "{{queue}}")],
                    width=12,
                ),
            ],
        ),
        Row(
            "Arrivals against completions",
            [
                Panel(
                    "Arrivals",
                    "What comes into each queue.",
                    "ops",
                    [Query(_ARRIVALS, "{{queue}}")],
                ),
                Panel(
                    "Completions",
                    "What is done of each queue.",
                    "ops",
                    [Query(_COMPLETIONS, "{{queue}}")],
                ),
                Panel(
                    "Both",
                    "All queues together: while arrivals are above completions, it grows.",
                    "ops",
                    [
                        Query(f"sum({_ARRIVALS})", "arrivals"),
                        Query(f"sum({_COMPLETIONS})", "completions"),
                    ],
                ),
            ],
        ),
        Row(
            "Forecast",
            [
                Panel(
                    "Time to drain, by queue",
                    "Depth over how fast it falls, over the last ten minutes; what does not fall is"
                    " infinite, and leaves the picture.",
                    "s",
                    [Query(DRAIN, "{{queue}}")],
                ),
                Panel(
                    "In an hour",
                    "What will wait in an hour, if it goes on as in the last ten minutes.",
                    "none",
                    [Query(f"clamp_min({WAITING} + 3600 * {_GROWS}, 0)", "{{queue}}")],
                ),
                Panel(
                    "Who takes it",
                    "Consumers of a queue, and what they have in hand, as it was sampled.",
                    "none",
                    [
                        Query(
                            top(of("zombiewatch_queue_consumers", QUEUE), "queue"),
                            "{{queue}}: consumers",
                        ),
                        Query(
                            top(of("zombiewatch_queue_in_flight", QUEUE), "queue"),
                            "{{queue}}: in hand",
                        ),
                    ],
                ),
                Panel(
                    "What was found",
                    "Queues that are behind, tasks that are stuck in them, and what makes both.",
                    "none",
                    [
                        Query(
                            found(
                                "backlog_spike",
                                "stuck_in_queue",
                                "dispatcher_stalled",
                                "retry_storm",
                                "rate_limited",
                                by=("detector",),
                                where=(QUEUE,),
                            ),
                            "{{detector}}",
                        )
                    ],
                    width=24,
                    series_links=BY_DETECTOR,
                ),
            ],
        ),
    ],
)  # fmt: skip
