"""The page: our own, and safe under the strictest content security policy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.web import page
from dashboards.web.charts import limit_bar, share_bar, spark

FOLDER: Final = Path(page.__file__).parent
TEMPLATES: Final = {one.name: one.read_text() for one in FOLDER.glob("templates/*.html")}
STATIC: Final = {one.name: one.read_text() for one in FOLDER.glob("static/*")}


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_nothing_is_inline_and_all_is_escaped(name: str) -> None:
    """No style, no handler, no script but the one that is loaded; nothing is called safe."""
    text = TEMPLATES[name]
    assert "<style" not in text
    assert not re.search(r"\s(style|on\w+)=", text)
    assert not re.search(r"\|\s*safe|autoescape|Markup", text)
    assert re.findall(r"<script[^>]*>", text) == (
        ['<script type="module" src="/static/page.js">'] if name == "base.html" else []
    )


@pytest.mark.parametrize("name", sorted(TEMPLATES | STATIC))
def test_nothing_comes_from_elsewhere(name: str) -> None:
    """No file names another machine, so that the page works without a network."""
    text = (TEMPLATES | STATIC)[name].replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|url\(|@import", text)


@pytest.mark.parametrize(
    "word",
    ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function",
     "srcdoc", "setHTML", ".style.", '"style"', "createContextualFragment", "localStorage",
     "javascript:"],
)  # fmt: skip
def test_the_script_makes_no_markup(word: str) -> None:
    """What is shown was rendered, and escaped, by the server."""
    assert word not in STATIC["page.js"]


def test_every_element_that_the_script_asks_for_is_there() -> None:
    """IDs in the script and in the templates agree, and none stands twice in one of them."""
    for name, text in TEMPLATES.items():
        there = re.findall(r'\sid="([\w-]+)"', text)
        assert len(there) == len(set(there)), name
    every = set(re.findall(r'\sid="([\w-]+)"', "".join(TEMPLATES.values())))
    asked = set(re.findall(r'byId\("([\w-]+)"\)', STATIC["page.js"]))
    assert asked
    assert asked <= every


def test_states_have_their_looks() -> None:
    """Each state of the overview looks like none of the others; dark, still and narrow, too."""
    style = STATIC["page.css"]
    for state in ("calm", "trouble", "doubt", "blind"):
        assert f'#state[data-state="{state}"]' in style
    for query in ("prefers-color-scheme: dark", "prefers-reduced-motion", "max-width"):
        assert query in style


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../page.py", "page.py", "/etc/passwd", "static/page.js", "page.JS"]
)
def test_no_other_file_is_handed_out(name: str) -> None:
    """A name that is none of the assets finds nothing, wherever it points."""
    assert page.asset(name) is None


def test_content_types_are_said() -> None:
    """Scripts and styles have the types that browsers insist upon with `nosniff`."""
    types = [found[1] for name in ("page.css", "page.js") if (found := page.asset(name))]
    assert types == ["text/css; charset=utf-8", "text/javascript; charset=utf-8"]


def test_what_others_have_said_is_text() -> None:
    """Whatever it is."""
    base: dict[str, Any] = {
        "now": "2026-11-28T12:00:00Z", "now_us": 0, "view": "/", "live": "no", "error": "<b>",
        "who": {"name": "<i>"}, "may": {"change": False, "how": "none", "here": "/"},
    }  # fmt: skip
    made = page.render("error", {**base, "title": "<u>", "text": "</p>\u202e\u0000"}).decode()
    for tag in ("<b>", "<i>", "<u>", "\u202e", "\u0000"):
        assert tag not in made
    assert "&lt;/p&gt;" in made


_FIGURES: Final = st.floats(0, 1e12, allow_nan=False)


@given(st.lists(st.none() | _FIGURES, max_size=50), st.text(max_size=30))
def test_a_trend_stays_within_its_picture(points: list[float | None], label: str) -> None:
    """Gaps, one point, large ones and small ones; whatever it is called."""
    drawn = spark(points, label.encode("ascii", "replace").decode().replace("\x00", ""))
    if sum(one is not None for one in points) < 2:
        assert drawn == ""
        return
    path = re.search(r' d="([^"]+)"', drawn)
    assert path is not None
    for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path[1]):
        assert 0 <= float(x) <= 120
        assert 0 <= float(y) <= 24


@given(st.fixed_dictionaries({
    "limit_s": st.floats(0.001, 1e9), "p50_s": st.none() | _FIGURES, "p95_s": st.none() | _FIGURES,
    "p99_s": st.none() | _FIGURES, "beat_s": st.none() | _FIGURES,
    "verdict": st.sampled_from(["ok", "tight", "broken"]),
}))  # fmt: skip
def test_a_limit_stays_within_its_picture(one: dict[str, Any]) -> None:
    """The line, the bar and its marks."""
    drawn = ET.fromstring(str(limit_bar(one)))  # noqa: S314 - our own
    at = [float(each) for each in re.findall(r'd="M([\d.-]+) ', str(limit_bar(one)))]
    assert drawn.tag == "svg"
    assert all(0 <= each <= 220 for each in at)


@pytest.mark.parametrize(("share", "wide"), [(-1.0, "0.0"), (0.5, "40.0"), (2.0, "80.0")])
def test_a_share_fills_its_part(share: float, wide: str) -> None:
    assert f'class="part" width="{wide}"' in share_bar(share)
