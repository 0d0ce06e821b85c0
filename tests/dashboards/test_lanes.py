"""The swim lanes: time in order, all within the picture, whole whatever is written in them."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.web import _glyphs, lanes
from dashboards.web._axis import Axis, length, relative
from dashboards.web._rows import Rows
from dashboards.web._svg import clipped, width
from model.phases import PHASES
from tests.dashboards._timelines import Heard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T0 = 1_790_000_000_000_000
D, A, B = "oxr/d-1", "agent/a-1", "agent/a-2"
SVG = "{http://www.w3.org/2000/svg}"
OPEN = [{"verdict": "confirmed", "ended_at": None}]
HOSTILE = [
    '<script>alert("x")</script>',
    "\"' onload='x' style=\"y\"",
    "]]>&amp;<!--",
    "x" * 10_000,
    "a\u202etxt.exe\u2066x",
    "\x00\x08\x1b[31m\x7f\x9b",
    "one\ntwo\r\nthree\u2028",
    "\ufffe\uffff\U0001ffff",
    "\ud800 alone",
    "Z" + "\u0303" * 500,
    "العربية 漢字 🎉",
    "",
]


def entry(
    seq: int, at_s: float, lane: str, phase: str | None = None, **more: Any
) -> dict[str, Any]:
    """Return one record, *at_s* after zero; with `end_s`, a span."""
    end_s = more.pop("end_s", None)
    said: dict[str, Any] = {
        "seq": seq, "at_us": T0 + round(at_s * 1e6), "lane": lane, "phase": phase, "name": None,
        "end_us": None if end_s is None else T0 + round(end_s * 1e6), "severity": 9, "body": "",
        "kind": "log" if end_s is None else "span", "side": None, "outcome": None, "state": None,
        "task": "t", "attempt": 1, "request_id": None, "trace_id": None, "span_id": None,
        "parent_id": None,
    }  # fmt: skip
    return said | more


def timeline(*entries: dict[str, Any], clocks: Any = None, **more: Any) -> dict[str, Any]:
    """Return a timeline of *entries*; *clocks* are offset and uncertainty in seconds, by lane."""
    ids = dict.fromkeys(one["lane"] for one in entries)
    made = []
    for one in ids:
        service, _, instance = one.partition("/")
        off, unsure = (clocks or {}).get(one, (None, None))
        made.append(
            {"id": one, "side": {"oxr": "dispatcher", "agent": "agent"}.get(service),
             "service": service, "instance": instance or None,
             "offset_us": None if off is None else round(off * 1e6),
             "uncertainty_us": None if unsure is None else round(unsure * 1e6)}
        )  # fmt: skip
    said = {"query": {"task": "t"}, "lanes": made, "entries": list(entries), "parts": [],
            "findings": []}  # fmt: skip
    return said | more


def part(at_s: float, lane: str | None, text: str) -> dict[str, Any]:
    return {"at_us": T0 + round(at_s * 1e6), "lane": lane, "text": text, "finding": "x"}


def drawn(said: Mapping[str, Any], now_s: float = 0.0) -> ET.Element:
    """Return the picture, parsed: what cannot be parsed is no picture."""
    return parsed(lanes.draw(said, now_us=T0 + round(now_s * 1e6)))


def parsed(svg: str) -> ET.Element:
    """Return the picture as elements, none of which has a style or does anything."""
    picture = ET.fromstring(svg)  # noqa: S314 - our own, and well-formed or the test fails
    assert not [
        key for one in picture.iter() for key in one.attrib if key.startswith(("on", "style"))
    ]
    assert not [one for one in picture.iter() if one.tag in {f"{SVG}script", f"{SVG}style"}]
    return picture


def of(picture: ET.Element, cls: str) -> list[ET.Element]:
    """Return the elements of a class."""
    return [one for one in picture.iter() if cls in (one.get("class") or "").split()]


def text(picture: ET.Element) -> list[str]:
    """Return what is written in it, tooltips left out."""
    every = picture.iter(f"{SVG}text")
    return [
        "".join(each.text or "" for each in one.iter() if each.tag != f"{SVG}title")
        for one in every
    ]


def place(picture: ET.Element, seq: int) -> float:
    """Return where the last glyph of a record is."""
    (mark,) = [one for one in of(picture, "tl-mark") if one.get("data-seq") == str(seq)]
    last = [one for one in mark if one.get("transform")][-1]
    found = re.match(r"translate\(([\d.-]+) ", last.get("transform") or "")
    assert found
    return float(found[1])


def xs(picture: ET.Element) -> Iterator[tuple[float, float]]:
    """Yield the points of all that is drawn but words, of a glyph where it is."""
    glyphs = {id(one) for each in picture.iter() if each.get("transform") for one in each}
    for one in picture.iter():
        if id(one) in glyphs:
            continue
        if one.tag == f"{SVG}rect":
            x, y = float(one.get("x") or 0), float(one.get("y") or 0)
            yield x, y
            yield x + float(one.get("width") or 0), y + float(one.get("height") or 0)
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", one.get("d") or ""):
            yield float(x), float(y)
        for x, y in re.findall(r"\((-?[\d.]+) (-?[\d.]+)\)", one.get("transform") or ""):
            yield float(x), float(y)


# ---------------------------------------------------------------- time


moments = st.lists(st.integers(0, 10**13), min_size=1, max_size=60)


@given(moments, st.lists(st.integers(-(10**6), 10**13 + 10**6), min_size=2, max_size=60))
def test_time_never_runs_backwards_and_stays_within(known: list[int], asked: list[int]) -> None:
    """Also across breaks, and for times that the axis does not know."""
    axis = Axis(known, 200.0, 1000.0)
    places = [axis.x(one) for one in sorted([*known, *asked])]
    assert all(a <= b + 1e-9 for a, b in pairwise(places))
    assert min(places) >= 200.0
    assert max(places) <= 1000.0 + 1e-6


@given(moments)
def test_what_is_not_cut_has_one_scale(known: list[int]) -> None:
    """A second is as long before a break as after it."""
    axis = Axis(known, 200.0, 1000.0)
    cut = {(one.from_us, one.to_us) for one in axis.breaks}
    rates = [
        (axis.x(b) - axis.x(a)) / (b - a)
        for a, b in pairwise(axis._times)
        if (a, b) not in cut
    ]  # fmt: skip
    assert all(rate == pytest.approx(rates[0], rel=1e-6, abs=1e-12) for rate in rates)


@given(moments)
def test_ticks_are_in_order_and_apart(known: list[int]) -> None:
    """Their words do not run into each other, nor into the length of a break."""
    axis = Axis(known, 200.0, 1000.0)
    taken = sorted(
        [(one.x - 30, one.x + 30) for one in axis.ticks()]
        + [(one.left + 4, one.right - 4) for one in axis.breaks]
    )
    assert all(a[1] <= b[0] + 0.01 for a, b in pairwise(taken))


def test_a_long_silence_is_cut_and_milliseconds_are_readable() -> None:
    """Ten minutes of nothing after 30 ms of talk: the talk has most of the axis."""
    known = [0, 10_000, 20_000, 30_000, 600_000_000]
    axis = Axis(known, 200.0, 1000.0)
    assert [(one.from_us, one.to_us, one.text) for one in axis.breaks] == [
        (30_000, 600_000_000, "10.0 min")
    ]
    assert axis.x(10_000) - axis.x(0) > 200


def test_what_is_even_is_not_cut() -> None:
    """Heartbeats every ten seconds are to scale."""
    assert Axis(range(0, 600_000_000, 10_000_000), 200.0, 1000.0).breaks == []


@pytest.mark.parametrize(
    ("us", "step", "said"),
    [
        (0, 1, "0 s"),
        (1_003_000, 1000, "+1.003 s"),
        (500_000, 100_000, "+0.5 s"),
        (-20_000, 1000, "-0.020 s"),
        (200, 100, "+0.000200 s"),
        (750_500_000, 1000, "+0:12:30.500"),
        (720_000_000, 60_000_000, "+12 min"),
        (7_200_000_000, 3_600_000_000, "+2 h"),
    ],
)
def test_times_as_they_are_written(us: int, step: int, said: str) -> None:
    """As exact as they have to be, and no more."""
    assert relative(us, step) == said


def test_lengths_as_they_are_written() -> None:
    """From milliseconds to hours."""
    said = [length(us) for us in (1300, 81_000, 3_600_000, 49_000_000, 780_000_000)]
    assert said == ["1.3 ms", "81 ms", "3.60 s", "49 s", "13 min"]


# ---------------------------------------------------------------- whatever is written


phases = st.sampled_from([*PHASES, None, "unheard.of"])
words = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40))


@st.composite
def timelines(draw: st.DrawFn) -> dict[str, Any]:
    """Return any timeline."""
    names = draw(st.lists(words.map(lambda one: f"oxr/{one}"), min_size=1, max_size=3, unique=True))
    names += draw(st.lists(words, max_size=2, unique=True))
    made = []
    for seq in range(draw(st.integers(1, 12))):
        at = draw(st.floats(-1e3, 1e6))
        end = draw(st.none() | st.floats(at, at + 100))
        made.append(
            entry(
                seq, at, draw(st.sampled_from(names)), draw(phases), end_s=end,
                severity=draw(st.sampled_from([None, 9, 13, 17])), body=draw(words),
                side=draw(st.sampled_from(["dispatcher", "agent", None])), outcome=draw(words),
                request_id=draw(st.sampled_from(["r", None])), name=draw(words),
            )
        )  # fmt: skip
    unsure = st.tuples(st.floats(-1e3, 1e3), st.floats(0, 1e3))
    return timeline(
        *made,
        clocks={one: draw(st.just((None, None)) | unsure) for one in names},
        query={"task": draw(words)},
        parts=[part(draw(st.floats(0, 1e6)), draw(st.sampled_from([*names, None])), draw(words))
               for _ in range(draw(st.integers(0, 8)))],
        findings=draw(st.sampled_from([[], OPEN])),
    )  # fmt: skip


@settings(deadline=None)
@given(timelines(), st.floats(0, 1e6))
def test_any_timeline_is_a_picture_within_its_frame(said: dict[str, Any], now_s: float) -> None:
    """Well-formed, without styles and scripts, and nothing of it is cut off."""
    picture = drawn(said, now_s)
    _, _, wide, high = map(float, (picture.get("viewBox") or "").split())
    for x, y in xs(picture):
        assert -1 <= x <= wide + 1
        assert -1 <= y <= high + 1
    for one in picture.iter(f"{SVG}text"):
        assert 0 <= float(one.get("x") or -1) <= wide
        assert 0 <= float(one.get("y") or -1) <= high


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_does_no_harm(name: str) -> None:
    """It is a name, wherever it stands, short in the drawing and whole beside it."""
    lane = f"oxr/{name}"
    said = timeline(
        entry(1, 0, lane, "dispatched", body=name, name=name),
        entry(2, 1, A, name or None, outcome=name, severity=17),
        query={"task": name}, parts=[part(1, lane, name)], findings=OPEN,
    )  # fmt: skip
    svg = lanes.draw(said, now_us=T0 + 90_000_000)
    picture = parsed(svg)
    assert "<script" not in svg
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", svg)
    assert len(svg) < 20_000
    assert all(width(one) < 1100 for one in text(picture))


def test_long_names_keep_both_ends() -> None:
    """Pods differ in their last letters."""
    short = clipped("scheduler-worker-deployment-7d9f8b6c5-x2x9z", 120)
    assert short.startswith("scheduler")
    assert short.endswith("x9z")
    assert width(short) <= 120


# ---------------------------------------------------------------- lanes, marks, words


def test_dispatchers_are_on_top() -> None:
    """Whoever spoke first."""
    picture = drawn(timeline(entry(1, 0, A, "started"), entry(2, 1, D, "recorded")))
    assert [one.get("data-lane") for one in of(picture, "tl-lane")] == [D, A]


def test_each_record_has_its_mark_with_its_number_and_words() -> None:
    """By which the page finds its row."""
    said = timeline(
        entry(7, 0, D, "dispatched", body="handed over"), entry(9, 1, A, None, body="hm")
    )
    marks = of(drawn(said), "tl-mark")
    assert {one.get("data-seq"): one.findtext(f"{SVG}title") for one in marks} == {
        "7": "0 s  dispatched  handed over  (oxr/d-1)",
        "9": "+1.000 s  log  hm  (agent/a-1)",
    }


def test_phases_differ_in_shape() -> None:
    """Not by their colours alone."""
    shapes = {phase: _glyphs.glyph(phase, alarming=False) for phase in _glyphs._SHAPES}
    assert len(set(shapes.values())) == len(shapes)


def test_an_error_without_a_phase_is_seen() -> None:
    """A tick becomes a sign of warning."""
    picture = drawn(timeline(entry(1, 0, D, None, severity=17), entry(2, 1, D, None)))
    bad, tick = sorted(of(picture, "tl-mark"), key=lambda one: one.get("data-seq") or "")
    assert of(bad, "tl-bad")
    assert not of(tick, "tl-bad")
    assert "tl-dim" in (tick.get("class") or "")


def test_words_do_not_cover_each_other() -> None:
    """Twenty marks at nearly the same place: what has no room is left to the tooltips."""
    made = [entry(at, at / 1000, D, "dispatched" if at % 2 else "enqueued") for at in range(20)]
    picture = drawn(timeline(*made, entry(99, 60, D, "recorded")))
    boxes = []
    for one in of(picture, "tl-word"):
        wide, x, y = width(one.text or ""), float(one.get("x") or 0), float(one.get("y") or 0)
        cls = (one.get("class") or "").split()
        x -= wide / 2 if "tl-middle" in cls else wide if "tl-end" in cls else 0
        boxes.append((y, x, x + wide))
    assert len(boxes) > 2
    for (y, _, end), (other_y, start, _) in pairwise(sorted(boxes)):
        assert y != other_y or end <= start


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(1, 200)), max_size=40))
def test_rows_never_cover(wanted: list[tuple[float, float]]) -> None:
    """Nor does the way from a word to its mark lead through another word."""
    rows = Rows(0.0, 1000.0, 4)
    made = [(x, wide, place) for x, wide in wanted if (place := rows.place(x, wide))]
    for at, (x, wide, (row, start)) in enumerate(made):
        assert 0 <= start <= start + wide <= 1000
        for other_x, other_wide, (other_row, other) in made[:at]:
            if row == other_row:
                assert start >= other + other_wide or other >= start + wide
            elif row < other_row:
                assert not start < other_x < start + wide
            else:
                assert not other < x < other + other_wide


def test_very_many_records_are_capped_and_counted() -> None:
    """What says most stays."""
    made = [entry(at, at, A, "heartbeat") for at in range(1, 900)]
    picture = drawn(timeline(entry(0, 0, D, "dispatched"), *made, entry(1000, 900, A, "finished")))
    assert {one.get("data-seq") for one in of(picture, "tl-mark")} == {"0", "1000"}
    assert "not drawn: 899 records that say less" in text(picture)
    picture = drawn(timeline(*(entry(at, at, A, "started") for at in range(1000))))
    assert len(of(picture, "tl-mark")) == 400
    assert "not drawn: 600 records that say less" in text(picture)


def test_very_many_lanes_are_capped_and_counted() -> None:
    """The records of the others are not drawn either."""
    picture = drawn(timeline(*(entry(at, at, f"agent/{at}", "started") for at in range(60))))
    assert len(of(picture, "tl-lane")) == 41  # and that no dispatcher was heard of
    assert "not drawn: 20 lanes" in text(picture)


def test_of_nothing_it_says_so() -> None:
    """A task that nobody knows."""
    picture = drawn({"query": {"task": "t-1"}, "found": False, "entries": [], "lanes": []})
    assert text(picture) == ["Nothing is known of task t-1."]


# ---------------------------------------------------------------- calls


def call(request: str = "r", *, gave_up: bool = False, log: bool = False) -> list[dict[str, Any]]:
    """Return a call from the agent to the dispatcher, as spans or as logs."""
    named = {"request_id": request}
    verdict = "call.gave_up" if gave_up else "call.ok"
    ended = 1.0 if gave_up else 3.0
    if log:
        return [
            entry(1, 0, A, "call.sent", **named), entry(2, 0.5, D, "call.received", **named),
            entry(3, 2.5, D, "call.committed", **named), entry(4, ended, A, verdict, **named),
        ]  # fmt: skip
    mine = {"trace_id": "t", "span_id": "1"}
    yours = {"trace_id": "t", "span_id": "2", "parent_id": "1"}
    return [entry(1, 0, A, verdict, end_s=ended, **mine),
            entry(2, 0.5, D, "call.committed", end_s=2.5, **yours)]  # fmt: skip


@pytest.mark.parametrize("log", [True, False])
def test_an_answered_call_is_two_whole_arrows(log: bool) -> None:  # noqa: FBT001
    """There and back, by spans or by one request ID."""
    picture = drawn(timeline(*call(log=log)))
    assert len(of(picture, "tl-request")) == len(of(picture, "tl-answer")) == 1
    assert not of(picture, "tl-broken")


@pytest.mark.parametrize("log", [True, False])
def test_an_answer_that_reached_nobody_is_broken_off(log: bool) -> None:  # noqa: FBT001
    """Its caller had given up: dashed, ending in a cross."""
    picture = drawn(timeline(*call(log=log, gave_up=True)))
    assert len(of(picture, "tl-request")) == 1
    assert len(of(picture, "tl-answer")) == len(of(picture, "tl-broken")) == 1
    assert len(of(picture, "tl-cross")) == 1


def test_what_is_told_by_a_span_and_a_log_is_one_call() -> None:
    """The log is a tick beside it."""
    named = {"trace_id": "t", "span_id": "1"}
    again = entry(5, 3.001, A, "call.ok", **named)
    picture = drawn(timeline(*call(), again))
    assert len(of(picture, "tl-answer")) == 1
    (tick,) = [one for one in of(picture, "tl-mark") if one.get("data-seq") == "5"]
    assert "tl-dim" in (tick.get("class") or "")


def test_tries_under_one_request_id_are_paired_in_order() -> None:
    """Where there are as many of the one end as of the other."""
    one = call(log=True)
    two = [{**each, "seq": each["seq"] + 10, "at_us": each["at_us"] + 9_000_000} for each in one]
    assert len(of(drawn(timeline(*one, *two)), "tl-request")) == 2


def test_an_ambiguous_pair_has_no_arrow() -> None:
    """Two callers were waiting, one call was received: from whom is not known."""
    named = {"request_id": "r"}
    picture = drawn(timeline(
        entry(1, 0, A, "call.sent", **named), entry(2, 0.1, B, "call.sent", **named),
        entry(3, 0.5, D, "call.received", **named),
    ))  # fmt: skip
    assert not of(picture, "tl-request")


def test_ends_of_different_traces_are_no_call() -> None:
    """Whatever their request IDs say."""
    picture = drawn(timeline(
        entry(1, 0, A, "call.sent", request_id="r", trace_id="a"),
        entry(2, 0.5, D, "call.received", request_id="r", trace_id="b"),
    ))  # fmt: skip
    assert not of(picture, "tl-request")


# ---------------------------------------------------------------- clocks


def test_a_clock_that_is_unsure_has_whiskers() -> None:
    """And its lane says by how much."""
    made = [entry(1, 0, D, "dispatched"), entry(2, 1, A, "started"), entry(3, 2, D, "recorded")]
    picture = drawn(timeline(*made, clocks={D: (0, 0), A: (0.0, 0.4)}))
    (whisker,) = of(picture, "tl-whisker")
    found = re.match(r"M([\d.]+) .*H([\d.]+)m", whisker.get("d") or "")
    assert found
    assert (float(found[1]) + float(found[2])) / 2 == pytest.approx(place(picture, 2), abs=0.2)
    assert "clock ±400 ms" in text(picture)


def test_an_uncertainty_too_small_to_be_seen_has_none() -> None:
    """Of 0.4 ms in a minute nothing can be drawn."""
    made = [entry(1, 0, D, "dispatched"), entry(2, 30, A, "started"), entry(3, 60, D, "recorded")]
    picture = drawn(timeline(*made, clocks={D: (0, 0), A: (0.0, 0.0004)}))
    assert not of(picture, "tl-whisker")
    assert not [one for one in text(picture) if one.startswith("clock")]


def test_a_clock_that_is_off_for_certain_is_set_right() -> None:
    """What it did comes after its cause, and its lane says that its clock is behind."""
    made = [entry(1, 0, D, "dispatched"), entry(2, -2.5, A, "started"), entry(3, 2, D, "recorded")]
    said = timeline(*made, clocks={D: (0, 0), A: (-3.0, 0.01)}, parts=[part(-2.5, A, "here")])
    picture = drawn(said)
    assert place(picture, 1) < place(picture, 2) < place(picture, 3)
    assert "clock 3.00 s behind" in text(picture)
    assert "by its own clock -2.500 s" in ET.tostring(picture, "unicode")
    (line,) = of(picture, "tl-part")
    assert (line.get("d") or "").startswith(f"M{place(picture, 2):g} ")


# ---------------------------------------------------------------- where the stories part


@cache
def bruin() -> Mapping[str, Any]:
    """Return the timeline of the first zombie of Bruin's lab, from its recording."""
    return Heard("bruin", "all").first("zombie_task")


def test_the_real_zombie() -> None:
    """The agent gave up, half a second later the server committed, and it was never heard of."""
    said = bruin()
    last = max(one["end_us"] or one["at_us"] for one in said["entries"])
    picture = parsed(lanes.draw(said, now_us=last + 49_000_000))
    shown = text(picture)
    assert "its caller gave up here" in shown
    assert [one for one in shown if re.fullmatch(r"committed here, 0\.\d\d s after its .*", one)]
    assert "last sign of life" in shown
    assert [one for one in shown if one.startswith("no one has heard of it since")]
    assert len(of(picture, "tl-request")) == 1
    assert len(of(picture, "tl-broken")) == 1
    assert len(of(picture, "tl-rift")) == 1
    assert len(of(picture, "tl-silence")) == 1
    assert "49 s" in shown  # the silence is cut
    assert {one.get("data-seq") for one in of(picture, "tl-mark")} == {
        str(one["seq"]) for one in said["entries"]
    }
    told = picture.findtext(f"{SVG}desc") or ""
    assert told.startswith(
        f"task {said['query']['task']}, as told by oxr-dispatcher/dispatcher-1 and"
    )
    assert ": its caller gave up here. At +" in told
    assert told.endswith("; no one has heard of it since.")


def test_a_task_that_no_agent_knows_has_an_empty_lane() -> None:
    """Of a zombie the silence is the point."""
    said = timeline(entry(1, 0, D, "dispatched"), findings=OPEN)
    picture = drawn(said, 600)
    assert "no agent" in text(picture)
    assert "nothing heard" in text(picture)
    assert len(of(picture, "tl-silence")) == 1


def test_who_has_finished_is_not_silent() -> None:
    """Nothing more was to be heard of it, whatever else is open."""
    made = [entry(1, 0, D, "dispatched"), entry(2, 1, A, "started"), entry(3, 2, A, "finished")]
    picture = drawn(timeline(*made, findings=OPEN), 600)
    assert not of(picture, "tl-silence")
    assert "last sign of life" not in text(picture)


def test_who_was_followed_by_another_is_not_what_is_missed() -> None:
    """The task ran elsewhere since."""
    made = [entry(1, 0, A, "started"), entry(2, 9, B, "started"), entry(3, 12, B, "finished")]
    picture = drawn(timeline(*made, findings=OPEN), 600)
    assert not of(picture, "tl-silence")
    assert "last sign of life" in text(picture)


def test_what_is_over_ends_with_its_last_record() -> None:
    """Only while something is open does it go on to now."""
    ended = [{"verdict": "resolved", "ended_at": "2026-01-01T00:00:00Z"}]
    picture = drawn(
        timeline(entry(1, 0, A, "started"), entry(2, 9, A, "heartbeat"), findings=ended), 60
    )
    assert "now" not in text(picture)
    assert not of(picture, "tl-silence")


def test_each_class_has_its_look() -> None:
    """What is drawn without a rule of its own would be black on black."""
    css = files("dashboards.web").joinpath("static/lanes.css").read_text()
    svg = lanes.draw(bruin(), now_us=T0 * 2) + lanes.draw(
        timeline(entry(1, 0, D, "dispatched", severity=13), *call(), clocks={D: (0, 0), A: (9, 1)},
                 findings=OPEN), now_us=T0 + 10**9,
    )  # fmt: skip
    used = {one for said in re.findall(r'class="([^"]*)"', svg) for one in said.split()}
    plain = {"tl-lane", "tl-request"}  # for the page's script, or as all text
    assert {one for one in used - plain if not re.search(rf"\.{one}\b", css)} == set()


@pytest.mark.parametrize("dark", [False, True])
def test_words_are_readable_on_what_lies_beneath(dark: bool) -> None:  # noqa: FBT001
    """By WCAG's measure: 4.5 to 1, in the light and in the dark."""
    css = files("dashboards.web").joinpath("static/lanes.css").read_text()
    light, _, rest = css.partition("@media")
    colours = dict(re.findall(r"--tl-(\w+(?:-tint)?): (#\w{6})", rest if dark else light))
    inks = ("ink", "dim", "dispatcher", "agent", "other", "bad", "warn")
    for ink in inks:
        for ground in ("ground", "faint", "bad-tint"):
            low, high = sorted(_luminance(colours[one]) for one in (ink, ground))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
