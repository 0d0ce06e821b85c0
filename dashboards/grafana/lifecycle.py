"""How tasks go from the queue to their record, and which of them stand still."""

from __future__ import annotations

from typing import Final

from dashboards.grafana._board import Board, Row
from dashboards.grafana._panel import BY_DETECTOR, Panel, Query
from dashboards.grafana._query import QUEUE, found, most, of, only, or_0, quantile, rate, top

_TASK: Final = 'task_name=~"$task"'
_CHOSEN: Final = (QUEUE, _TASK)
_TOTAL: Final = "zombiewatch_tasks_total"
_RUN: Final = "zombiewatch_task_run_seconds"
_WAIT: Final = "zombiewatch_task_wait_seconds"

BOARD: Final = Board(
    "task life cycle",
    [
        Row(
            "On their way",
            [
                Panel(
                    "Phases",
                    "How many attempts a second come to each phase. In the long run all of"
                    " them go equally fast: where one falls behind, tasks are held or lost.",
                    "ops",
                    [Query(rate(_TOTAL, *_CHOSEN, by=("phase",)), "{{phase}}")],
                    width=12,
                ),
                Panel(
                    "Open, by state",
                    "Attempts that have not ended, by what they wait for.",
                    "none",
                    [Query(most(of("zombiewatch_tasks_open", *_CHOSEN), "state"), "{{state}}")],
                    width=12,
                    stacked=True,
                ),
                Panel(
                    "The oldest, by state",
                    "How long the oldest attempt has been in that state.",
                    "s",
                    [
                        Query(
                            top(of("zombiewatch_tasks_oldest_age_seconds", *_CHOSEN), "state"),
                            "{{state}}",
                        )
                    ],
                    width=12,
                ),
                Panel(
                    "Open, by task",
                    "Attempts that have not ended, by the task's name.",
                    "none",
                    [
                        Query(
                            most(of("zombiewatch_tasks_open", *_CHOSEN), "task_name"),
                            "{{task_name}}",
                        )
                    ],
                    width=12,
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Their ends",
            [
                Panel(
                    "What agents say",
                    "Runs that ended, by the outcome that the agent told.",
                    "ops",
                    [
                        Query(
                            rate(_TOTAL, only(phase="finished"), *_CHOSEN, by=("outcome",)),
                            "{{outcome}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "What is recorded",
                    "Final states that the dispatcher stored. Where they differ from what agents"
                    " say, somebody is wrong.",
                    "ops",
                    [
                        Query(
                            rate(_TOTAL, only(phase="recorded"), *_CHOSEN, by=("outcome",)),
                            "{{outcome}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Given back, given up",
                    "Attempts that were put back into their queue, or among the dead letters.",
                    "ops",
                    [
                        Query(
                            or_0(
                                rate(
                                    _TOTAL,
                                    'phase=~"requeued|dead_lettered"',
                                    *_CHOSEN,
                                    by=("phase",),
                                )
                            ),
                            "{{phase}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "How long it takes",
            [
                Panel(
                    "Runs",
                    "From a run's start to its end. The dots, if Prometheus keeps them, are the"
                    " slowest runs: they lead to their traces.",
                    "s",
                    [
                        Query(quantile(share, _RUN, *_CHOSEN), legend, exemplars=True)
                        for share, legend in ((0.5, "half"), (0.95, "95%"), (0.99, "99%"))
                    ],
                ),
                Panel(
                    "Runs, by task",
                    "What 99% of the runs of a task do not exceed.",
                    "s",
                    [
                        Query(
                            quantile(0.99, _RUN, *_CHOSEN, by=("task_name",)),
                            "{{task_name}}",
                            exemplars=True,
                        )
                    ],
                ),
                Panel(
                    "In the queue",
                    "From the moment at which a task may run to its being handed out.",
                    "s",
                    [
                        Query(quantile(share, _WAIT, *_CHOSEN), legend, exemplars=True)
                        for share, legend in ((0.5, "half"), (0.95, "95%"), (0.99, "99%"))
                    ],
                ),
            ],
        ),
        Row(
            "Where it went wrong",
            [
                Panel(
                    "Found on the way",
                    "Tasks that nobody runs, or that are silent, late or stuck.",
                    "none",
                    [
                        Query(
                            found(
                                "zombie_task",
                                "silent_task",
                                "overdue_task",
                                "stuck_in_queue",
                                "missed_run",
                                by=("detector",),
                            ),
                            "{{detector}}",
                        )
                    ],
                    width=12,
                    series_links=BY_DETECTOR,
                ),
                Panel(
                    "Found at the end",
                    "Tasks that ran twice, failed, gave way to the dead letters, or went where no"
                    " task may go.",
                    "none",
                    [
                        Query(
                            found(
                                "duplicate_run",
                                "failed_run",
                                "dead_letters",
                                "illegal_transition",
                                by=("detector",),
                            ),
                            "{{detector}}",
                        )
                    ],
                    width=12,
                    series_links=BY_DETECTOR,
                ),
            ],
        ),
    ],
)
