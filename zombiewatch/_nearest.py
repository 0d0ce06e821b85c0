"""Which setting was meant, and where it was written: what a refusal needs to be of use."""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterable

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]
"""The way to a value: `("follow", 0, "path")`."""
Setting = tuple[str, ...]
"""The way to a setting: `("retention", "max_age_s")`."""

_MERGE: Final = "tag:yaml.org,2002:merge"
_TEXT: Final = "tag:yaml.org,2002:str"

_MENDS: Final = {
    "greater_than": "it must be more than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than_equal": "it must be at most {le}",
    "finite_number": "it must be a finite number",
    "int_type": "it must be a whole number",
    "bool_type": "it must be true or false",
    "bool_parsing": "it must be true or false",
    "string_type": "it must be text; put it in quotes",
    "path_type": "it must be text; put it in quotes",
    "string_too_short": "it must not be empty",
    "literal_error": "it must be {expected}",
    "model_type": "it must be a mapping: names with values, one to a line",
    "dict_type": "it must be a mapping: names with values, one to a line",
    "tuple_type": "it must be a list: one item to a line, each after a dash",
    "list_type": "it must be a list: one item to a line, each after a dash",
}
"""How to mend what pydantic found, by its name for it; `refuse` speaks for itself."""


class RefusedError(ValueError):
    """Settings are refused; the text, for the user, says what, where and how to mend it."""

    def __init__(self, problems: list[str], what: str = "The configuration") -> None:
        head = f"{what} has {len(problems)} problems:\n  " if len(problems) > 1 else ""
        super().__init__(head + "\n  ".join(problems))
        self.problems = tuple(problems)


class DocumentError(ValueError):
    """A text is not the YAML that it should be; `line` counts from 1, None where not known."""

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what)
        self.line = line


@dataclass
class Document:
    """What a YAML text holds, and where."""

    data: object = None
    lines: dict[Path, int] = field(default_factory=dict)
    """The line, from 1, on which each part stands."""
    twice: list[tuple[Path, int, int]] = field(default_factory=list)
    """Keys that stand twice in one mapping (YAML would keep the last): first and second line."""

    def line_of(self, path: Path) -> int | None:
        """Return the line of *path*, or of the nearest part around it that has one."""
        parts = (path[:length] for length in range(len(path), 0, -1))
        return next((self.lines[part] for part in parts if part in self.lines), None)


def refuse(mend: str, *, at: str = "", what: str = "") -> PydanticCustomError:
    """Return the error by which a validator refuses a value.

    *mend* says how to mend it. *what* says what is wrong ("{path} is <value>"), and *at* names
    the setting of this section that is at fault, where the validator looks at several.
    """
    return PydanticCustomError("refused", "{mend}", {"mend": mend, "at": at, "what": what})


def dotted(path: Path) -> str:
    """Return *path* as people write it: `follow[0].path`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)[1:]


def distance(one: str, other: str) -> int:
    """Return how many edits (add, drop, change, swap neighbours) make *other* of *one*."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        above, before_that, before = row, before, row
        row = [i]
        for j, right in enumerate(other, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                cost = min(cost, before_that[j - 2] + 1)
            row.append(cost)
    return row[-1]


def nearest(word: str, choices: Iterable[str]) -> list[str]:
    """Return those *choices* that *word* most probably stands for: none, one, or several as near.

    Case and `-` for `_` do not count; a name without its unit (`max_age`) is as good as one edit.
    """
    said = word[:100].lower().replace("-", "_")
    found: list[tuple[int, str]] = []
    for choice in choices:
        name = choice.lower()
        edits = 1 if said and name.startswith(f"{said}_") else distance(said, name)
        if edits <= max(1, (len(name) + 1) // 3):
            found.append((edits, choice))
    least = min(found, default=(0, ""))[0]
    return sorted({choice for edits, choice in found if edits == least})


def did_you_mean(word: str, choices: Iterable[str], *, prefix: str = "") -> str:
    """Return `; did you mean …?` for an unknown *word*, or nothing if no choice comes near."""
    meant = [prefix + choice for choice in nearest(word, choices)]
    return f"; did you mean {' or '.join(meant)}?" if meant else ""


def refusals(
    error: ValidationError, root: type[BaseModel], where: Callable[[Path], str]
) -> list[str]:
    """Return one line for each problem of *error*: where, what, how to mend it.

    *root* is the model that refused, and *where* says who set a path.
    """
    problems = []
    for detail in error.errors(include_url=False):
        path, context = detail["loc"], detail.get("ctx", {})
        path = (*path, context["at"]) if context.get("at") else path
        if detail["type"] in ("extra_forbidden", "missing"):
            text = _unknown(path, root) if detail["type"] != "missing" else _missing(path)
        else:
            what = context.get("what") or f"{{path}} is {_shown(detail['input'], path)}"
            text = f"{what.replace('{path}', dotted(path))}; {_mend(detail)}"
        problems.append(f"{where(path)}: {text}")
    return problems


def _unknown(path: Path, root: type[BaseModel]) -> str:
    section, word = dotted(path[:-1]), str(path[-1])
    names = _names(root, path[:-1])
    prefix = f"{section}." if section else ""
    meant = did_you_mean(word, names, prefix=prefix)
    if not meant:
        elsewhere = [dotted(one) for one in leaves(root) if one[-1] in nearest(word, [one[-1]])]
        meant = f"; did you mean {' or '.join(elsewhere)}?" if elsewhere else "; remove it"
    of = f"settings of {section}" if section else "settings"
    return f"{prefix}{word} is not a setting{meant} ({of}: {', '.join(names)})"


def _missing(path: Path) -> str:
    return f"{dotted(path)} is missing; add it: it has no default"


def _mend(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    said = detail["msg"].removeprefix("Value error, ").replace("Input should", "it must")
    template = _MENDS.get(detail["type"], said)
    mend = template if detail["type"] not in _MENDS else template.format(**context)
    if detail["type"] == "literal_error" and isinstance(detail["input"], str):
        mend += did_you_mean(detail["input"], re.findall(r"'([^']*)'", context["expected"]))
    return mend


def _shown(value: object, path: Path) -> str:
    if path[-1] == "token":
        return "not usable"
    text = repr(value) if isinstance(value, str | dict | list) else str(value)
    text = {"True": "true", "False": "false", "None": "empty"}.get(text, text)
    return text if len(text) <= 60 else f"{text[:59]}…"  # noqa: PLR2004 - fits in a line


def _names(root: type[BaseModel], path: Path) -> list[str]:
    """Return the names of the settings of the section at *path*."""
    model, given = root, False
    for part in path:
        if given or isinstance(part, int):  # a name of the user's own, or a place in a list
            given = False
            continue
        fields = {info.alias or name: info for name, info in model.model_fields.items()}
        annotation = fields[part].annotation
        given = typing.get_origin(annotation) is dict
        model = section_of(annotation) or model
    return [info.alias or name for name, info in model.model_fields.items()]


def section_of(annotation: object) -> type[BaseModel] | None:
    """Return the model within *annotation*, itself or an item of a list, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (section_of(one) for one in typing.get_args(annotation))
    return next((one for one in inner if one), None)


def leaves(root: type[BaseModel], path: Setting = ()) -> dict[Setting, object]:
    """Return every setting of *root* that is no section itself, and its type; lists are one."""
    found: dict[Setting, object] = {}
    for name, info in root.model_fields.items():
        here = (*path, info.alias or name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found |= leaves(info.annotation, here)
        else:
            found[here] = info.annotation
    return found


def read_file(path: pathlib.Path, problems: list[str], missing: str) -> Document:
    """Return the settings in the YAML file at *path*; what is wrong with it goes to *problems*.

    *missing* says what to do where there is no such file.
    """
    document = Document(data={})
    try:
        document = read_yaml(path.read_text(encoding="utf-8-sig"))
    except DocumentError as error:
        problems.append(f"{path}:{error.line}: {error}" if error.line else f"{path}: {error}")
    except UnicodeDecodeError:
        problems.append(f"{path}: is not text in UTF-8; save it as such")
    except FileNotFoundError:
        problems.append(f"{path}: there is no such file; {missing}")
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror}); see to its owner and mode")
    for at, first, second in document.twice:
        what = f"{dotted(at)} is set twice, first in line {first}; keep one of the two"
        problems.append(f"{path}:{second}: {what}")
    if document.data is None:
        document.data = {}
    if not isinstance(document.data, dict):
        problems.append(f"{path}:1: holds no settings; write a name, a colon and a value to a line")
        document.data = {}
    return document


def read_yaml(text: str) -> Document:
    """Return the plain data in *text*, with lines.

    Keys are always text, so that `on:` stays "on". Raises `DocumentError` for what is not YAML.
    """
    try:
        return _read(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DocumentError(_syntax(error), mark.line + 1 if mark else None) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = "holds a character that YAML does not allow; write it as an escape in double quotes"
        raise DocumentError(what, line) from error
    except RecursionError as error:
        what = "is nested too deeply; no setting needs more than a few levels"
        raise DocumentError(what) from error
    except DocumentError:
        raise
    except ValueError as error:
        what = f"holds a date or number that is none ({error}); put it in quotes"
        raise DocumentError(what) from error


def _read(text: str) -> Document:
    loader = yaml.SafeLoader(text)
    document = Document()
    try:
        root = loader.get_single_node()
        if root is not None:
            _locate(root, (), document, set())
            document.data = loader.construct_document(root)
    finally:
        loader.dispose()
    return document


def _locate(node: yaml.Node, path: Path, document: Document, seen: set[int]) -> None:
    """Note the line of *node* and all under it, and make every key a text."""
    document.lines.setdefault(path, node.start_mark.line + 1)
    if id(node) in seen:  # an alias: the same node again, perhaps within itself
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _locate(item, (*path, index), document, seen)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            what = "has a list or mapping as the name of a setting; quote it if it is one name"
            raise DocumentError(what, line)
        if key.tag == _MERGE:
            continue
        key.tag = _TEXT
        here = (*path, key.value)
        if here in document.lines:
            document.twice.append((here, document.lines[here], line))
        document.lines[here] = line
        _locate(value, here, document, seen)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    """Say what the parser stumbled on, and for the commonest causes how to mend it."""
    problem = error.problem or "cannot be read"
    context = f" ({error.context})" if error.context else ""
    mend = "check the indentation, colons and quotes around here"
    if "'\\t'" in problem:
        mend = "indent with spaces, not tabs"
    elif "expected a single document" in (error.context or ""):
        mend = "keep one document: remove the second ---"
    return f"is not valid YAML: {problem}{context}; {mend}"
