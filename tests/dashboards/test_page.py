"""The page: whole, our own, and safe under the strictest content security policy."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

import pytest

from dashboards.web import page

VOID: Final = {"meta", "link", "input", "br"}


class Reader(HTMLParser):
    """Notes elements, and what stands open at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and its attributes."""
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that what is closed is what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note what stands within a script or style element."""
        if self.open and self.open[-1] in ("script", "style") and data.strip():
            self.inline.append(data)


@pytest.fixture
def html() -> Reader:
    """Return the page, read."""
    reader = Reader()
    reader.feed(page.index_html().decode())
    assert reader.open == []
    return reader


def text(name: str) -> str:
    """Return an asset as text."""
    found = page.asset(name)
    assert found is not None
    return found[0].decode()


def test_the_page_loads_only_what_is_there(html: Reader) -> None:
    """Every script, style and picture that the page names is an asset beside it."""
    named = [
        value
        for _, attributes in html.found
        for name, value in attributes.items()
        if name in ("src", "href") and value and not value.startswith("#")
    ]

    assert sorted(named) == ["static/page.css", "static/page.js"]
    for path in named:
        assert page.asset(path.removeprefix("static/")) is not None


def test_nothing_is_inline(html: Reader) -> None:
    """No script, style or handler stands in the page: `default-src 'self'` is enough for it."""
    assert html.inline == []
    for tag, attributes in html.found:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag


@pytest.mark.parametrize("name", ["index.html", "page.css", "page.js"])
def test_nothing_comes_from_elsewhere(name: str) -> None:
    """No file names another machine, so that the page works without a network."""
    assert not re.search(r"https?:|url\(|@import|(?<![:/])//\w+\.\w", text(name))


@pytest.mark.parametrize(
    "word",
    ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function",
     "srcdoc", "DOMParser", "setHTML", ".style.", '"style"', "createContextualFragment",
     "localStorage", "javascript:"],
)  # fmt: skip
def test_text_never_becomes_markup(word: str) -> None:
    """What the watched have written reaches the page as text only."""
    assert word not in text("page.js")


def test_every_element_that_the_script_asks_for_is_there(html: Reader) -> None:
    """IDs in the script and in the page agree, and none stands twice."""
    there = [attributes["id"] for _, attributes in html.found if "id" in attributes]
    asked = set(re.findall(r'byId\("([\w-]+)"\)', text("page.js")))

    assert len(there) == len(set(there))
    assert asked
    assert asked <= set(there)


def test_classes_have_their_looks(html: Reader) -> None:
    """Each class that page or script gives has a rule, and each state one of its own."""
    style, script = text("page.css"), text("page.js")
    given = {one for _, attributes in html.found for one in (attributes.get("class") or "").split()}
    given |= {one for names in re.findall(r'class: "([\w ]+)"', script) for one in names.split()}

    assert {one for one in given if f".{one}" not in style} <= {"headline"}
    for state in ("calm", "bad", "doubt", "lost"):
        assert f'"{state}"' in script
        assert f'#state[data-state="{state}"]' in style


def test_people_are_thought_of(html: Reader) -> None:
    """Language, labels, live region, skip link, dark, narrow and still are provided for."""
    found = dict(html.found)
    labels = {attributes.get("for") for tag, attributes in html.found if tag == "label"}
    inputs = {attributes.get("id") for tag, attributes in html.found if tag == "input"}

    assert found["html"]["lang"] == "en"
    assert inputs == labels
    assert any(attributes.get("aria-live") == "polite" for _, attributes in html.found)
    assert any(attributes.get("class") == "skip" for _, attributes in html.found)
    for query in ("prefers-color-scheme: dark", "prefers-reduced-motion", "max-width"):
        assert query in text("page.css")


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
