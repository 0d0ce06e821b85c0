"""The reference of all settings, as Markdown, made from the models in `zombiewatch.config`."""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import annotated_types
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from zombiewatch._nearest import section_of
from zombiewatch._values import DAY_S, GIB, KIB, MIB
from zombiewatch.config import Config
from zombiewatch.sources import variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

_UNITS: Final = {"_s": "seconds", "_ms": "milliseconds", "_bytes": "bytes", "_rows": "rows"}
_KINDS: Final = {
    bool: "true or false", str: "text", Path: "path", SecretStr: "text", int: "number",
    float: "number",
}  # fmt: skip
_BOUNDS: Final = (
    (annotated_types.Ge, "ge", "at least"),
    (annotated_types.Gt, "gt", "more than"),
    (annotated_types.Le, "le", "at most"),
)
_LENGTHS: Final = {"d": DAY_S, "h": 3600.0, "m": 60.0, "s": 1.0}
_SIZES: Final = {"GiB": GIB, "MiB": MIB, "KiB": KIB}

_INTRODUCTION: Final = """\
# Configuration

*Made from `zombiewatch/config.py`; do not edit.*

One YAML file, then environment variables, then the command line: the later wins. Every setting
has a default that works, and a name that is no setting is refused with the nearest one named.

- **Lengths of time** are numbers of seconds, or text: `500ms`, `30s`, `10m`, `2h`, `7d`, `1d12h`.
- **Sizes** are numbers of bytes, or text: `512MiB`, `10GiB` (steps of 1024), `10GB` (of 1000).
- **Variables** are read as YAML (`ZOMBIEWATCH_PRESETS='[celery]'`), texts as they are. One that
  is empty counts as not set. Thresholds have theirs:
  `ZOMBIEWATCH_DETECTORS__<DETECTOR>__<THRESHOLD>`.
"""


def markdown() -> str:
    """Return the reference: for each section a table of settings, defaults, units, variables."""
    return "\n".join([_INTRODUCTION, *_section(Config, ()), ""])


def shown(name: str, value: object) -> str:
    """Return *value* as one would write it for the setting *name*: `7d`, `600MiB`, `info`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return _amount(name, value)
    if isinstance(value, Path):
        return value.as_posix() if value.is_absolute() else f"./{value.as_posix()}"
    if isinstance(value, tuple) and value:
        return json.dumps(value)  # YAML on one line
    return str(value) if value else "none"


def _amount(name: str, value: float) -> str:
    units = _LENGTHS if name.endswith("_s") else _SIZES if name.endswith("_bytes") else {}
    for unit, factor in units.items():
        if value and value % factor == 0:
            return f"{value / factor:.0f}{unit}"
    if name.endswith("_s"):
        return f"{value:.15g}s"
    return f"{value:_}" if name.endswith("_rows") else f"{value:.15g}"


def _section(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    title = ".".join(path) or "At the top"
    yield f"## {title}\n"
    yield f"{' '.join((model.__doc__ or '').split())}\n"
    yield "| setting | default | unit | variable | what it says |"
    yield "|---|---|---|---|---|"
    sections = []
    for field, info in model.model_fields.items():
        name = info.alias or field
        inner = section_of(info.annotation)
        if inner:
            sections.append((inner, name))
        if inner is None or inner is not info.annotation:
            yield _row(name, info, path)
    yield ""
    for inner, name in sections:
        is_list = model.model_fields[name].annotation is not inner
        yield from _section(inner, (*path, f"{name}[]" if is_list else name))


def _row(name: str, info: FieldInfo, path: tuple[str, ...]) -> str:
    default = info.get_default(call_default_factory=True, validated_data={})
    text = "(needed)" if default is PydanticUndefined else f"`{shown(name, default)}`"
    lists = [at for at, part in enumerate(path, 1) if part.endswith("[]")]
    env = f"`{variable((*path, name))}`"
    if lists:
        env = f"in `{variable(path[: lists[0]]).removesuffix('[]')}`"
    dotted = ".".join((*path, name))
    said = (info.description or "").rstrip(".")
    return f"| `{dotted}` | {text} | {_unit(name, info)} | {env} | {said[:1].upper()}{said[1:]}. |"


def _unit(name: str, info: FieldInfo) -> str:
    unit = next((text for end, text in _UNITS.items() if name.endswith(end)), "")
    bounds = [
        f"{word} {shown(name, getattr(bound, attribute))}"
        for kind, attribute, word in _BOUNDS
        for bound in info.metadata
        if isinstance(bound, kind)
    ]
    return ", ".join([unit or _kind(info.annotation), *bounds])


def _kind(annotation: object) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        return _kind(inner[0])
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is tuple:
        return "list"
    if origin is dict:
        return "mapping"
    return _KINDS[annotation] if isinstance(annotation, type) else "text"
