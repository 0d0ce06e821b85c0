"""The overview in a terminal: what it says, and what it does not let through."""

from __future__ import annotations

import io
from typing import Any, Final

import pytest
from rich.console import Console

from zombiewatch import top
from zombiewatch.client import AskError

NOW: Final = "2026-11-28T12:00:10.000000Z"
EVIL: Final = "\x1b[31m\u202e<b>[red]" + "x" * 300


def overview(**more: Any) -> dict[str, Any]:
    tile = {
        "name": "zombies", "label": "zombies", "value": 3.0, "unit": "", "text": "",
        "state": "trouble", "trend": [0.0, None, 1.0, 3.0],
    }  # fmt: skip
    link = {"detector": "zombie_task", "service": EVIL, "subjects": [EVIL, "t-1"]}
    said: dict[str, Any] = {
        "now": NOW, "state": "trouble", "mark": "3", "headline": "3 disagreements confirmed",
        "detail": EVIL,
        "tiles": [
            tile,
            {**tile, "label": "until empty", "value": None, "unit": "s", "text": "never"},
            {**tile, "label": "oldest", "value": 90.0, "unit": "s"},
            {**tile, "label": "false alarms", "value": 0.015, "unit": "%"},
        ],
        "incidents": [
            {"severity": "critical", "since": "2026-11-28T12:00:00.000000Z", "count": 3,
             "head": link, "chain": [link, {**link, "detector": "lost_report"}]},
        ],
        "queues": [
            {"queue": EVIL, "depth": 12.0, "depths": [1.0, 12.0], "oldest_age_s": 4.0,
             "arrivals_per_s": 2.0, "completions_per_s": None, "drains": "never",
             "drains_s": None},
        ],
        "itself": {"can_see": False, "evaluated_at": NOW, "behind_s": 1.0, "failing": ["x"]},
    }  # fmt: skip
    return {**said, **more}


SWITCH: Final = {
    "service": EVIL, "level": "L2", "set_by": EVIL, "reason": EVIL, "remaining_s": 90.0,
    "hides": [1, 2], "in_force": True,
}  # fmt: skip


def drawn(width: int, said: dict[str, Any], switches: list[dict[str, Any]]) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(top.render(said, switches))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_it_says_how_it_stands() -> None:
    """Figures, incidents with what followed, queues, switches, and itself."""
    text = drawn(160, overview(), [SWITCH, {**SWITCH, "in_force": False, "level": "L1"}])
    for word in (
        "3 disagreements confirmed", "3 zombies", "never until empty", "90 s oldest",
        "1.5% false alarms", "zombie_task", "lost_report", "10 s", "L2", "x fails",
        "cannot see all", "2.00",
    ):  # fmt: skip
        assert word in text, word
    assert "L1" not in text
    assert "▃" in text


@pytest.mark.parametrize("width", [20, 60, 200])
def test_nothing_that_others_have_said_moves_the_terminal(width: int) -> None:
    """No escape, no direction override, no markup; and no line that is too long."""
    text = drawn(width, overview(), [SWITCH])
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert all(len(line) <= width for line in text.splitlines())


def test_all_well_is_short() -> None:
    """No empty tables."""
    calm = overview(state="calm", incidents=[], queues=[], detail="Both sides tell the same story")
    text = drawn(100, calm, [])
    assert "incident" not in text
    assert "queue " not in text


def test_it_is_kept_up_to_date_and_says_when_nobody_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until Ctrl-C; what was known last stays below."""
    answers: list[Any] = [overview(), AskError("nobody there"), overview(headline="well again")]
    shown: list[str] = []

    def asked(_url: str, path: str) -> dict[str, Any]:
        if path == "/api/v1/switches":
            return {"switches": []}
        one = answers.pop(0)
        if isinstance(one, AskError):
            raise one
        return dict(one)

    console = Console(file=io.StringIO(), width=120, force_terminal=True)

    def pause(_seconds: float) -> None:
        assert isinstance(console.file, io.StringIO)
        shown.append(console.file.getvalue())
        if not answers:
            raise KeyboardInterrupt

    monkeypatch.setattr(top, "ask", asked)
    with pytest.raises(KeyboardInterrupt):
        top.run("http://x", every_s=1.0, once=False, console=console, pause=pause)
    assert "nobody there" in shown[1]
    assert "12:00:10 UTC" in shown[1]
    assert "well again" in shown[2]
