"""What each detector still finds with what one preset lets be heard.

    python -m tests.detectors.heard

Each firing case of each detector is played with only those phases and fields that the preset's
rules make; what the case says of nothing else is left out. Writes docs/presets.md.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from collector.presets import Preset, load, names
from detectors._judge import Judge
from detectors._kit import load as all_detectors
from model.phases import TASK
from tests.detectors.harness import NOW_US, Memory, hot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from detectors._kit import Detector

Heard = dict[tuple[str | None, str | None], set[str]]

PAGE: Final = Path(__file__).parents[2] / "docs/presets.md"
_ALWAYS: Final = {
    *("t", "end", "arrived", "kind", "way", "namespace", "side", "phase", "name", "service"),
    *("instance", "host", "attempt", "severity"),
}
"""Every record has them, or may have them."""

_OF_TASKS: Final = {"task", "task_name"}

_SPANS: Final = {"dispatcher": ("enqueued",), "agent": ("started", "finished")}
"""A span whose rule names no phase keeps its own: that of a producer, or of a consumer."""

_OF_SPANS: Final = {"outcome", "error"}
"""A span that has ended tells how."""

_STANDS_FOR: Final = {"enqueued": "dispatched", "dispatched": "enqueued"}
"""Where one of the two is not heard, the other one is what says that there is a task."""

_RECEIVED: Final[dict[str, Heard]] = {
    "celery": {
        (None, "queue.sampled"): {
            *("queue", "depth", "oldest_age_s", "consumers", "in_flight", "visibility_s"),
        },
        (None, "export.failed"): {"lost", "from", "to"},
    },
}
"""What the preset's receiver says in our own words, past all rules."""

_BOOTS: Final = {"celery"}
"""Of these a worker's lives are told apart."""

_INTRODUCTION: Final = (
    "Each detector has cases in which it fires. They were played with only those words that a"
    " preset understands: *m of n* is how many of a detector's cases are found then; where nothing"
    " stands, none is. What your own services say beside it (spans, logs, heartbeats in [our"
    " words](vocabulary.md)) adds to it.\n"
)

_TITLES: Final = {
    "celery": "its events, queues and results",
    "celery-logs": "its workers' lines only",
    "celery-otel": "its spans only",
}


def heard(preset: Preset) -> Heard:
    """Return by side and phase which fields the rules of *preset* can fill."""
    found: Heard = defaultdict(
        set, {key: set(of) for key, of in _RECEIVED.get(preset.name, {}).items()}
    )
    for rule in preset.rules:
        side = rule.set.get("side") or preset.sides.get(rule.service)
        phases = (rule.phase,) if rule.phase else _SPANS[str(side)]
        for phase in phases:
            found[side, phase] |= {one.removesuffix("_us") for one in rule.fields}
            if phase in TASK and phase != "heartbeat":  # a beat is a worker's, unless it says more
                found[side, phase] |= _OF_TASKS
            if rule.phase is None:
                found[side, phase] |= _OF_SPANS
            if preset.name in _BOOTS:
                found[side, phase].add("boot")
    return dict(found)


def _said(signals: Any, can: Heard) -> Iterator[dict[str, Any]]:
    """Yield of *signals* what is heard."""
    for signal in signals:
        phase = signal.get("phase")
        side = signal.get("side")
        key = next((one for one in ((side, phase), (None, phase)) if one in can), None)
        if key is None and phase in _STANDS_FOR and (side, _STANDS_FOR[phase]) in can:
            key = (side, _STANDS_FOR[phase])
        if key is None:
            continue
        kept = {name: value for name, value in signal.items() if name in _ALWAYS | can[key]}
        yield kept | {"phase": key[1]}


def seen(preset: Preset, detectors: tuple[Detector, ...]) -> dict[str, tuple[int, int]]:
    """Return by detector how many of its firing cases are confirmed still, and how many there are.

    Cases whose verdict is not *confirmed* even when all is heard are left out.
    """
    can = heard(preset)
    rows: list[Mapping[str, Any]] = []
    cases: Counter[str] = Counter()
    for detector in detectors:
        for number, case in enumerate(detector.cases):
            if case.finds and case.verdict in (None, "confirmed"):
                cases[detector.name] += 1
                space = f"{detector.name}-{number}"
                rows += [one | {"namespace": space} for one in _said(case.signals, can)]
    judge = Judge(list(detectors), Memory(), settings={})
    with hot(rows) as reader:
        report = judge.evaluate(reader, NOW_US, heard_us=NOW_US)
    assert not report.failed, report.failed
    found = {
        (one.detector, one.namespace) for one in judge.open.values()
        if one.verdict == "confirmed" and one.namespace.rpartition("-")[0] == one.detector
    }  # fmt: skip
    still = Counter(detector for detector, _ in found)
    return {one.name: (still[one.name], cases[one.name]) for one in detectors}


def page() -> str:
    """Return the page."""
    detectors = tuple(all_detectors())
    presets = [load(name) for name in names()]
    columns = [seen(one, detectors) for one in presets]
    heads = [f"`{one.name}`: {_TITLES.get(one.name, '')}".rstrip(": ") for one in presets]
    rows = [
        f"| [{one.name}](runbooks/{one.name}.md) | "
        + " | ".join(_cell(*column[one.name]) for column in columns)
        + " |"
        for one in detectors
    ]
    phases = [
        f"| {phase} | "
        + " | ".join("yes" if any(phase == key[1] for key in heard(one)) else "" for one in presets)
        + " |"
        for phase in TASK
    ]
    return "\n".join(
        (
            "<!-- Written by `make generate` from the presets and the detectors' cases. -->\n",
            "# What is seen with which preset\n",
            _INTRODUCTION,
            f"| detector | {' | '.join(heads)} |",
            f"|---|{'---|' * len(presets)}",
            *rows,
            "\nPhases of a task that are heard:\n",
            f"| phase | {' | '.join(f'`{one.name}`' for one in presets)} |",
            f"|---|{'---|' * len(presets)}",
            *phases,
            "",
        )
    )


def _cell(found: int, cases: int) -> str:
    return "" if not found else "all" if found == cases else f"{found} of {cases}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
