"""The service level: the share of tasks that end with the verdict that they deserve.

Wrong is what the record says of a task that nobody runs, or whose end it does not know or has
wrong. How fast the budget burns is looked at over two windows at once, the long one for what it
means and the short one so that it stops when the burning does; with a floor on the number of tasks,
as the ratios of few jump about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.rules.rule import Alert, Case, Group, Record, Text

if TYPE_CHECKING:
    from alerts.rules.links import Links

WRONG: Final = ("duplicate_run", "lost_report", "verdict_mismatch", "zombie_task")
"""Detectors whose findings are tasks of which the record is wrong."""

FLOOR: Final = 100
"""So many tasks must have ended within the long window."""

_A_STEP: Final = 100_000
"""So many tasks end from one sample of a test to the next."""

_WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
_BURNS: Final = (
    ("1h", "5m", 14.4, "critical"),
    ("6h", "30m", 6.0, "critical"),
    ("1d", "2h", 3.0, "warning"),
    ("3d", "6h", 1.0, "warning"),
)
"""Long window, short window, how many times as fast as the budget allows, who is told."""

_STEPS: Final = {"1h": 1, "6h": 5, "1d": 30, "3d": 30}
"""By long window: minutes between two samples of a test."""

_MINUTES: Final = {"1h": 60, "6h": 360, "1d": 1440, "3d": 4320}


def recorded() -> Group:
    """Return the recording rules: what ended, and the wrong share of it, by window."""
    wrong = f'detector=~"{"|".join(WRONG)}", verdict="confirmed"'
    rules = []
    for window in _WINDOWS:
        ended = f'sum by (job) (increase(zombiewatch_tasks_total{{phase="recorded"}}[{window}]))'
        bad = f"sum by (job) (increase(zombiewatch_verdicts_total{{{wrong}}}[{window}]))"
        rules.append(Record(f"job:zombiewatch_tasks_recorded:increase{window}", ended))
        rules.append(
            Record(
                f"job:zombiewatch_tasks_wrong:ratio{window}",
                f"{bad} / (job:zombiewatch_tasks_recorded:increase{window} + {bad})",
            )
        )
    return Group("zombiewatch-level-recorded", rules)


def burning(links: Links, objective: float) -> Group:
    """Return the alerts on how fast the budget burns that *objective* (0.999, say) leaves."""
    budget = 1 - objective
    alerts = []
    for long, short, times, severity in _BURNS:
        limit = f"{times * budget:.6g}"
        expr = (
            f"job:zombiewatch_tasks_wrong:ratio{long} > {limit}\n"
            f"and job:zombiewatch_tasks_wrong:ratio{short} > {limit}\n"
            f"and job:zombiewatch_tasks_recorded:increase{long} >= {FLOOR}"
        )
        name = f"TasksEndWrong{long}"
        texts = {
            "summary": Text("Too many tasks end with a verdict that they do not deserve."),
            "description": Text(
                f"Over the last {long}, and over the last {short}, tasks of <job> had a wrong"
                f" record {times:g} times as often as {objective:.4%} of good ones allow."
            ),
            **links.of(name, "level", service=False),
        }
        labels = {"degradable": "true", "long": long, "short": short}
        alerts.append(
            Alert(
                name, expr, severity, texts,
                _cases(long, times * budget), labels=labels,
            )
        )  # fmt: skip
    return Group("zombiewatch-level", alerts)


def _cases(long: str, limit: float) -> list[Case]:
    """Return: it burns; nearly; it has stopped; there were few tasks."""
    of = 'job="zombiewatch", instance="z:9797"'
    tasks = f'zombiewatch_tasks_total{{{of}, phase="recorded", task_name="sync"}}'
    bad = f'zombiewatch_verdicts_total{{{of}, detector="zombie_task", verdict="confirmed"}}'
    step = _STEPS[long]
    whole = _MINUTES[long] // step
    at, end = whole + 2, 2 * whole
    good = f"0+{_A_STEP}x{end}"
    wrong = round(_A_STEP * limit / (1 - limit))
    over, under = round(wrong * 1.3), round(wrong * 0.7)
    stop = whole // 2
    few = FLOOR / (2 * whole)

    def case(tasks_are: str, bad_are: str, *alerts: dict[str, str]) -> Case:
        series = {tasks: tasks_are, bad: bad_are}
        return Case(series, f"{at * step}m", alerts, f"{step}m")

    return [
        case(good, f"0+{over}x{end}", {"job": "zombiewatch"}),
        case(good, f"0+{under}x{end}"),
        case(good, f"0+{10 * over}x{at - stop} {10 * over * (at - stop)}x{end}"),
        case(f"0+{few:.4f}x{end}", f"0+{few:.4f}x{end}"),
    ]
