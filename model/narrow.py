"""Statements narrowed to the columns that they name.

An engine binds every column of a view that is read, wanted or not, at 25 µs each; the widest
relation has 75, a detector reads several, and what it finds is seldom dear to compute. So a
relation is read as what it is made of: a SELECT of those columns that the statement names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from model.relations import RELATIONS

if TYPE_CHECKING:
    from model.relation import Relation


def _columns(relation: Relation) -> dict[str, str]:
    """Return each column as readers see it, and how it is made."""
    return {
        **{key: key for key in relation.keys},
        **{column.name: column.shown() for column in relation.columns},
        **{flag: flag for flag in (*relation.flags, "closed")},
        **{name: f"{value} AS {name}" for name, value in relation.derived},
    }


_SHOWN: Final = {
    name: (_columns(relation), f"{relation.rows}{where}")
    for relation in RELATIONS
    for name, where in ((relation.name, ""), (f"open_{relation.name}", " WHERE NOT closed"))
}
_READ: Final = re.compile(rf"\b(FROM|JOIN) ({'|'.join(_SHOWN)})\b")
_NAMED: Final = re.compile(r"\b(\w+) AS (?:NOT )?(?:MATERIALIZED )?\(")
_WORD: Final = re.compile(r"\w+")
_ALL: Final = re.compile(r"\s*SELECT (?:\w+\.)?\*")

_SCOPED: Final = frozenset({"service", "queue", "name"})
"""What a threshold is overridden by: named where one is filled in later."""


def narrowed(statement: str) -> str:
    """Return the SELECT *statement*, reading what hot relations are made of, and no more of it.

    As it is where it shows all columns of a relation, or gives a relation's name to something else.
    """
    if _ALL.match(statement):
        return statement
    words = _SCOPED.union(_WORD.findall(statement))
    others = set(_NAMED.findall(statement))

    def read(found: re.Match[str]) -> str:
        word, name = found.groups()
        if name in others:
            return found[0]
        columns, rows = _SHOWN[name]
        wanted = [made for column, made in columns.items() if column in words]
        return f"{word} (SELECT {', '.join(wanted) or 'namespace'} FROM {rows})"

    return _READ.sub(read, statement)
