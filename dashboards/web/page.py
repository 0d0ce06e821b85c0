"""The page: views rendered on the server, and the few files that they load, all of it our own."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from dashboards.web.charts import limit_bar, share_bar, spark
from model.plain import plain
from model.units import SECOND_US, parse_time, span_text

if TYPE_CHECKING:
    from collections.abc import Mapping

VIEWS: Final = (
    ("/", "Overview"),
    ("/findings", "Findings"),
    ("/queues", "Queues"),
    ("/timeouts", "Time-outs"),
    ("/sources", "Sources"),
    ("/switches", "Switches"),
)

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
MEDIA: Final = tuple(kind.partition(";")[0] for kind in _TYPES.values())
"""What an asset may be."""

_KIB: Final = 1024
_FEW: Final = 10
_SHORT_S: Final = 0.1


def render(name: str, said: Mapping[str, Any]) -> bytes:
    """Return the view *name* with what is *said* in it, as HTML in UTF-8."""
    return _templates().get_template(f"{name}.html").render(views=VIEWS, **said).encode()


def warm() -> None:
    """Make all views ready, so that whoever comes first does not wait for that."""
    for name in _templates().list_templates(extensions=["html"]):
        _templates().get_template(name)


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


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("dashboards.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "plain": plain,
        "words": lambda name: plain(name, 80).replace("_", " "),
        "span": _span,
        "ago": lambda moment, now: _span(_between(moment, now)),
        "later": lambda moment, first: _later(_between(first, moment)),
        "ago_us": lambda at_us, now_us: _span(max(0, now_us - at_us) / SECOND_US),
        "after": lambda seconds: f"+{seconds:.3f}",
        "number": _number,
        "rate": lambda value: "" if value is None else f"{value:,.2f}",
        "bytes": _bytes,
        "tile": _tile,
        "drains": _drains,
        "spark": spark,
        "limit_bar": limit_bar,
        "share_bar": share_bar,
        "urlencode": lambda text: quote(str(text), safe=""),
    }
    return made


def _span(seconds: float | None) -> str:
    if seconds is not None and 0 < seconds < _SHORT_S:
        return f"{1000 * seconds:.0f} ms"
    return "" if seconds is None else span_text(max(0.0, seconds))


def _between(first: str, then: str) -> float:
    return ((parse_time(then) or 0) - (parse_time(first) or 0)) / SECOND_US


def _later(seconds: float) -> str:
    return f"{span_text(seconds)} later" if seconds > 0 else ""


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _FEW * _KIB or unit == "GiB":
            return f"{value:,.0f} {unit}"
        value /= _KIB
    raise AssertionError


def _tile(one: Mapping[str, Any]) -> str:
    """Return the figure of a tile as people read it."""
    if one["unit"] == "%":
        return f"{100 * one['value']:.1f}%"
    if one["value"] is None:
        return str(one["text"])
    return _span(one["value"]) if one["unit"] == "s" else _number(one["value"])


def _drains(queue: Mapping[str, Any]) -> str:
    """Return when *queue* is empty, if it goes on so."""
    if queue["drains"] == "drains":
        return f"empty in {_span(queue['drains_s'])}"
    return str(queue["drains"])
