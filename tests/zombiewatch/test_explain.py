"""The two stories in a terminal: in order, side by side, parted, and harmless."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from model.plain import plain
from model.units import iso
from zombiewatch.explain import render, render_findings

if TYPE_CHECKING:
    from rich.console import RenderableType

T0 = 1_790_000_000_000_000
D, A = "oxr/d-1", "agent/a-1"
HOSTILE = [
    "\x1b[2J\x1b[31mred",
    "\x9b31m",
    "[bold red]markup[/] [/nothing]",
    "a\u202etxt.exe\u2066x",
    "\r\x08\x00\x7f",
    "one\ntwo\u2028three\r\nfour",
    "\ud800 alone",
    "Z\u0300\u0301\u0302" + "\u0303" * 500,
    "x" * 10_000,
    "\U000e0041\ufeff\u200b",
    "<script>alert(1)</script>",
]


def drawn(what: RenderableType, width: int) -> str:
    """Return *what* as it stands in a plain file of *width* columns."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, highlight=False).print(what)
    return out.getvalue()


def entry(at_s: float, lane: str, phase: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one record of a timeline, *at_s* seconds after its zero."""
    at = T0 + round(at_s * 1e6)
    side = {D: "dispatcher", A: "agent"}.get(lane)
    said: dict[str, Any] = {
        "seq": 1, "at": iso(at), "at_us": at, "arrived_us": at, "lane": lane, "side": side,
        "kind": "log", "phase": phase, "name": phase, "severity": 9, "body": "",
        "attempt": 1, "end_us": None, "outcome": None, "raw": {},
    }  # fmt: skip
    return said | more


def finding(**more: Any) -> dict[str, Any]:
    """Return one finding as the API shows it."""
    said = {
        "id": 1, "detector": "zombie_task", "subject": "t-17/1", "name": "sync", "service": "oxr",
        "severity": "warning", "verdict": "confirmed", "summary": "No agent showed a sign.",
        "fix": "Requeue t-17.", "since": iso(T0), "ended_at": None,
        "evidence": {"silent_s": 73.2, "not_known": None},
    }  # fmt: skip
    return said | more


def timeline(entries: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the answer of the API that holds *entries*."""
    lanes = [{"id": one, "side": None} for one in dict.fromkeys(e["lane"] for e in entries)]
    said = {"query": {"task": "t-17"}, "found": bool(entries), "lanes": lanes, "entries": entries,
            "parts": [], "findings": []}  # fmt: skip
    return said | more


ZOMBIE = timeline(
    [
        entry(0, A, "call.gave_up", name="POST /pull", end_us=T0 + 2_000_000, body="deadline"),
        entry(0.1, D, "call.committed", name="POST /pull", end_us=T0 + 2_600_000),
        entry(2.5, D, "dispatched", body="state=running"),
    ],
    parts=[
        {"at_us": T0 + 2_000_000, "lane": A, "text": "gave up; committed 0.6 s later",
         "finding": "gave_up_but_committed"},
    ],
    findings=[finding()],
)  # fmt: skip


class TestSideBySide:
    def test_the_whole_story(self) -> None:
        """Two columns, one axis, the parting between, and the findings at the end."""
        lines = [line.rstrip() for line in drawn(render(ZOMBIE, 90), 90).splitlines()]

        assert (
            "\n".join(lines)
            == """\
task t-17  from 2026-09-21T14:13:20.000000Z, over 2.6 s

    seconds  DISPATCHER                            AGENTS
     +0.000  │                                     call.sent  POST /pull  agent/a-1
     +0.100  call.received  POST /pull  oxr/d-1    │
     +2.000  │                                     call.gave_up  after 2.0 s  deadline
                                                   agent/a-1
━━━━━━━━━━━━━ +2.000  gave up; committed 0.6 s later  gave_up_but_committed ━━━━━━━━━━━━━━
     +2.500  dispatched  state=running  oxr/d-1    │
     +2.600  call.committed  after 2.5 s  oxr/d-1  │

 ! confirmed  zombie_task  t-17/1
   No agent showed a sign.
   Do: Requeue t-17.
   silent_s=73.2"""
        )

    def test_a_side_that_said_nothing_is_named(self) -> None:
        """Of a zombie, the empty column is the point."""
        text = drawn(render(timeline([entry(0, D, "dispatched")]), 100), 100)

        assert "AGENTS  nothing heard" in text
        assert "DISPATCHER  nothing" not in text

    def test_lanes_without_a_side_go_where_their_words_belong(self) -> None:
        """Who does not say its side is judged by its phases; nobody's records go to the left."""
        said = timeline([entry(0, "x", "started"), entry(1, "x"), entry(2, "proxy", name="502")])
        lines = drawn(render(said, 100), 100).splitlines()

        assert [line.index("│") < 20 for line in lines if "│" in line] == [True, True, False]

    def test_heartbeats_in_a_row_are_one_line(self) -> None:
        """Twelve heartbeats say no more than that there were twelve."""
        beats = [entry(5 * i, A, "heartbeat") for i in range(12)]
        text = drawn(render(timeline([*beats, entry(60, A, "finished")]), 100), 100)

        assert text.count("heartbeat") == 1
        assert "heartbeat  12 times in 55 s" in text

    def test_what_arrived_late_says_so(self) -> None:
        """A record that came long after it was made is marked."""
        late = entry(0, A, "finished", arrived_us=T0 + 90_000_000, outcome="success", attempt=2)

        text = drawn(render(timeline([late]), 200), 200)

        assert "finished  attempt 2  → success  (arrived 90 s later)  agent/a-1" in text

    def test_nothing_known_says_what_to_try(self) -> None:
        """An unknown ID is no error; the answer helps to find the right one."""
        said = timeline([], query={"request_id": "r-1"})

        assert "Nothing is known of request r-1: neither side" in drawn(render(said, 80), 80)

    def test_thousands_of_records_keep_what_tells_most(self) -> None:
        """Of too many records those of a phase are kept, and the number left out is said."""
        chatter = [entry(i / 1000, D, name=f"chatter-{i}") for i in range(3000)]
        text = drawn(render(timeline([*chatter, entry(4, D, "dispatched")]), 100), 100)

        assert "3,000 records that say less are left out" in text
        assert "dispatched" in text
        assert "chatter" not in text


class TestNarrow:
    @pytest.mark.parametrize("width", [20, 40, 75])
    def test_narrow_terminals_get_one_column(self, width: int) -> None:
        """Each line says whose it is, and none is wider than the terminal."""
        lines = drawn(render(ZOMBIE, width), width).splitlines()

        assert max(map(len, lines)) <= width
        assert any(line.startswith("+0.000 A call.sent") for line in lines)
        assert any(line.startswith("+2.500 D dispatched") for line in lines)

    @pytest.mark.parametrize("width", [76, 80, 100, 200])
    def test_wide_ones_get_two(self, width: int) -> None:
        """No line is wider than the terminal."""
        text = drawn(render(ZOMBIE, width), width)

        assert "DISPATCHER" in text
        assert max(map(len, text.splitlines())) <= width


class TestHostileText:
    @pytest.mark.parametrize("text", HOSTILE)
    @pytest.mark.parametrize("width", [40, 120])
    def test_nothing_written_by_others_reaches_the_terminal(self, text: str, width: int) -> None:
        """Escapes, controls, overrides and markup are shown, not obeyed, wherever they stand."""
        bad = entry(0, text, text, name=text, body=text, outcome=text, kind=text)
        part = {"at_us": T0, "lane": text, "text": text, "finding": text}
        evil = finding(summary=text, fix=text, detector=text, subject=text, name=text,
                       service=text, verdict=text, severity=text, reason=text,
                       evidence={text: text})  # fmt: skip
        said = timeline([bad], query={"task": text}, parts=[part], findings=[evil])
        payload = {"now": text, "findings": [evil | {"since": text}], "totals": {}}

        for shown in (
            drawn(render(said, width), width),
            drawn(render_findings(payload, width), width),
        ):
            assert not [char for char in shown if not char.isprintable() and char != "\n"]
            assert len(shown) < 20_000

    def test_markup_is_left_as_it_stands(self) -> None:
        """Square brackets are text."""
        shown = drawn(render(timeline([entry(0, D, body="[bold]x[/bold]")]), 100), 100)

        assert "[bold]x[/bold]" in shown

    def test_length_is_cut_and_said(self) -> None:
        """What is too long ends with how much is missing."""
        assert plain("x" * 10_000, 10) == "xxxxxxxxxx … (and 9,990 more characters)"

    @given(st.text(st.characters()))
    def test_what_is_plain_is_one_printable_line(self, text: str) -> None:
        """Whatever characters there are, none of them moves anything."""
        assert plain(text).isprintable()

    @given(st.text(st.characters(categories=["L", "N", "P"], max_codepoint=0x2FF)))
    def test_ordinary_text_stays(self, text: str) -> None:
        """Letters, digits and punctuation are not touched."""
        assert plain(text) == text


class TestFindings:
    PAYLOAD: dict[str, Any] = {  # noqa: RUF012 - a constant
        "now": iso(T0 + 73_000_000),
        "findings": [
            finding(id=1, verdict="resolved", ended_at=iso(T0 + 7_200_000_000)),
            finding(id=2, verdict="suspected", severity="info", subject="t-2/1"),
            finding(id=3, severity="critical", subject="t-3/1"),
            finding(id=4, subject="t-4/1"),
        ],
        "totals": {"retracted": 1, "confirmed": 1234, "unknown": 0},
    }

    def test_the_worst_come_first(self) -> None:
        """By verdict, then severity; and never by colour alone."""
        lines = drawn(render_findings(self.PAYLOAD), 130).splitlines()
        rows = [line.split()[:5] for line in lines if "zombie_task" in line]

        assert rows == [
            ["3", "!!", "confirmed", "zombie_task", "t-3/1"],
            ["4", "!", "confirmed", "zombie_task", "t-4/1"],
            ["2", "·", "suspected", "zombie_task", "t-2/1"],
            ["1", "!", "resolved", "zombie_task", "t-17/1"],
        ]

    def test_who_is_not_told_and_why_is_said(self) -> None:
        """What is quiet stays on the list, with who made it so."""
        muted = finding(id=5, muted="acknowledged", muted_why="on it (ann)")
        payload = {**self.PAYLOAD, "findings": [muted]}

        assert "acknowledged: on it (ann)" in " ".join(drawn(render_findings(payload), 150).split())

    def test_ages_are_until_now_or_until_the_end(self) -> None:
        """What is open ages; what has ended lasted."""
        text = drawn(render_findings(self.PAYLOAD), 130)

        assert text.count(" 73 s ") == 3
        assert text.count(" 2.0 h ") == 1

    def test_totals_are_said(self) -> None:
        """How often we were right and wrong stands below."""
        shown = drawn(render_findings(self.PAYLOAD), 130)

        assert "ever: 1,234 confirmed · 1 retracted" in shown

    def test_none_is_good_news(self) -> None:
        """An empty table says what that means."""
        shown = drawn(render_findings({"now": iso(T0), "findings": [], "totals": {}}), 100)

        assert "No findings: both sides tell the same story." in shown

    @pytest.mark.parametrize("width", [60, 80, 115])
    def test_narrow_tables_leave_name_and_service_out(self, width: int) -> None:
        """What happened is worth more than where."""
        shown = drawn(render_findings(self.PAYLOAD, width), width)

        assert "service" not in shown
        assert "showed" in shown
        assert max(map(len, shown.splitlines())) <= width
