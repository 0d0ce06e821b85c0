"""The page and what it loads, as bytes: all of it our own, none of it made at run time."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
MEDIA: Final = tuple(kind.partition(";")[0] for kind in _TYPES.values())
"""What an asset may be."""


def index_html() -> bytes:
    """Return the page that is served at `/`: UTF-8 HTML, which loads `static/…` beside it."""
    return _static()["index.html"]


def asset(name: str) -> tuple[bytes, str] | None:
    """Return the file *name* of `static/` and its content type, or None if there is none."""
    body = _static().get(name)
    return (body, _TYPES[name.rpartition(".")[2]]) if body is not None else None


@cache
def _static() -> dict[str, bytes]:
    """Return all files by name: a name from outside is looked up here, never opened as a path."""
    folder = files(__package__).joinpath("static")
    return {
        one.name: one.read_bytes()
        for one in folder.iterdir()
        if one.name.rpartition(".")[2] in _TYPES
    }
