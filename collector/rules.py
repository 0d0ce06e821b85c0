"""Rules: how a scheduler's own words become phases. Written in YAML, applied in columns.

A rule is chosen by service and event or span name first, over the few distinct pairs that a
batch has; only then is its pattern run, and only over the rows of those pairs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from collector.batch import Array, Batch, constant, typed
from model.phases import NATIVE, PHASES
from model.signals import COLUMNS, SETTABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Rule(BaseModel):
    """One rule. The first that matches a record decides it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: Annotated[str, Field(description="glob on `service.name`")] = "*"
    event: Annotated[str | None, Field(description="glob on the event name")] = None
    span: Annotated[str | None, Field(description="glob on the span name; only spans match")] = None
    body: Annotated[
        str | None, Field(description="RE2 pattern searched in the text; named groups fill fields")
    ] = None
    attributes: Annotated[
        dict[str, str], Field(description="attribute → glob, all must match")
    ] = {}
    phase: Annotated[
        str | None, Field(description="the phase; without one, a span keeps its own")
    ] = None
    set: Annotated[dict[str, Any], Field(description="field → constant")] = {}
    take: Annotated[dict[str, str], Field(description="field ← attribute of that name")] = {}

    @property
    def fields(self) -> frozenset[str]:
        """The fields that it fills."""
        return frozenset((*self.set, *self.take, *(_groups(self.body) if self.body else ())))

    @field_validator("phase")
    @classmethod
    def _known_phase(cls, value: str | None) -> str | None:
        if value is not None and value not in PHASES:
            msg = f"{value!r} is not a phase; phases are {', '.join(PHASES)}"
            raise ValueError(msg)
        return value

    @field_validator("body")
    @classmethod
    def _sound_pattern(cls, value: str | None) -> str | None:
        if value is None:
            return value
        try:
            pc.match_substring_regex(pa.array([""]), value)
        except pa.ArrowInvalid as error:
            msg = f"not a pattern that RE2 takes: {error}"
            raise ValueError(msg) from None
        _fields(_groups(value), "named group")
        return value

    @model_validator(mode="after")
    def _known_fields(self) -> Rule:
        _fields(self.set, "set")
        _fields(self.take, "take")
        return self


_GROUP: Final = re.compile(r"\(\?P?<([A-Za-z_]\w*)>")


def _groups(pattern: str) -> list[str]:
    return _GROUP.findall(pattern)


def _fields(names: Sequence[str] | dict[str, Any], where: str) -> None:
    for name in names:
        if name not in SETTABLE:
            msg = f"{where}: {name!r} is not a field; fields are {', '.join(sorted(SETTABLE))}"
            raise ValueError(msg)


@dataclass(slots=True)
class RuleBook:
    """Rules, ready to be applied; remembers which of them concern which service and name."""

    rules: Sequence[Rule]
    _concern: dict[tuple[str, str, bool], tuple[int, ...]] = field(default_factory=dict)

    def apply(self, batch: Batch) -> None:
        """Give each record the phase and fields that its first matching rule says.

        Records that no rule matches keep what they have: the phase of a native event name
        or of a client or server span.
        """
        _native(batch)
        if not self.rules or not batch.rows:
            return
        patches = _Patches(batch)
        open_rows = np.ones(batch.rows, bool)
        for rule, concerned in self._candidates(batch):
            rows = np.nonzero(concerned & open_rows)[0]
            rows = _by_attributes(rule, batch, rows)
            if not len(rows):
                continue
            rows = _by_body(rule, batch, rows, patches)
            if not len(rows):
                continue
            open_rows[rows] = False
            if rule.phase:
                patches.add("phase", rows, constant(rule.phase, len(rows), "phase"))
            for name, value in rule.set.items():
                patches.add(name, rows, typed(pa.repeat(_plain(value), len(rows)), name)[0])
            for name, attribute in rule.take.items():
                text = batch.attribute(attribute)
                if text is not None:
                    patches.add(name, rows, typed(text.take(pa.array(rows)), name)[0])
        patches.apply()

    def _candidates(self, batch: Batch) -> list[tuple[Rule, NDArray[np.bool_]]]:
        """Return each rule that concerns some pair of service and name, with its rows."""
        service = pc.dictionary_encode(pc.fill_null(batch.get("service"), ""))
        name = pc.dictionary_encode(pc.fill_null(batch.get("name"), ""))
        span = pc.equal(batch.get("kind"), "span").to_numpy(zero_copy_only=False)
        services, names = service.dictionary.to_pylist(), name.dictionary.to_pylist()
        code = service.indices.to_numpy(zero_copy_only=False).astype(np.int64) * len(names)
        code = (code + name.indices.to_numpy(zero_copy_only=False)) * 2 + span
        present, inverse = np.unique(code, return_inverse=True)
        of_pair = [
            self._concerning(
                services[pair // 2 // len(names)],
                names[pair // 2 % len(names)],
                span=bool(pair % 2),
            )
            for pair in present.tolist()
        ]
        chosen = sorted({index for found in of_pair for index in found})
        return [
            (self.rules[index], np.array([index in found for found in of_pair])[inverse])
            for index in chosen
        ]

    def _concerning(self, service: str, name: str, *, span: bool) -> tuple[int, ...]:
        key = (service, name, span)
        if key not in self._concern:
            if len(self._concern) > 100_000:  # noqa: PLR2004 - names with IDs in them must not pile up
                self._concern.clear()
            self._concern[key] = tuple(
                index
                for index, rule in enumerate(self.rules)
                if fnmatchcase(service, rule.service)
                and (rule.span is None or (span and fnmatchcase(name, rule.span)))
                and (rule.event is None or (not span and fnmatchcase(name, rule.event)))
                and (not span or rule.span is not None)
            )
        return self._concern[key]


def _native(batch: Batch) -> None:
    """Give records whose event name is one of ours its phase."""
    names = pc.dictionary_encode(batch.get("name"))
    phases = pa.array(
        [NATIVE.get(name or "") for name in names.dictionary.to_pylist()], pa.string()
    )
    if phases.null_count < len(phases):
        found = phases.take(names.indices)
        batch.columns["phase"] = pc.coalesce(found, batch.get("phase"))


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _by_attributes(rule: Rule, batch: Batch, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    for name, glob in rule.attributes.items():
        if not len(rows):
            break
        text = batch.attribute(name)
        if text is None:
            return rows[:0]
        coded = pc.dictionary_encode(text.take(pa.array(rows)))
        good = [fnmatchcase(value, glob) for value in coded.dictionary.to_pylist()]
        hit = pa.array(good, pa.bool_()).take(coded.indices)
        kept: NDArray[np.bool_] = pc.fill_null(hit, False).to_numpy(zero_copy_only=False)
        rows = rows[kept]
    return rows


def _by_body(
    rule: Rule, batch: Batch, rows: NDArray[np.int64], patches: _Patches
) -> NDArray[np.int64]:
    if rule.body is None:
        return rows
    text = batch.get("body").take(pa.array(rows))
    groups = _groups(rule.body)
    if not groups:
        hit = pc.fill_null(pc.match_substring_regex(text, rule.body), False)
        kept: NDArray[np.bool_] = hit.to_numpy(zero_copy_only=False)
        return rows[kept]
    pattern = re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", rule.body)
    found = pc.extract_regex(text, pattern)
    hit = found.is_valid().to_numpy(zero_copy_only=False)
    rows, found = rows[hit], found.filter(pa.array(hit))
    for name in groups:
        part = found.field(name)
        part = pc.if_else(pc.equal(part, ""), pa.scalar(None, pa.string()), part)
        patches.add(name, rows, typed(part, name)[0])
    return rows


class _Patches:
    """Values for some rows of some columns, laid over the batch in one take per column."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._parts: dict[str, list[tuple[NDArray[np.int64], Array]]] = {}

    def add(self, name: str, rows: NDArray[np.int64], values: Array) -> None:
        """Lay *values* over *rows*; nulls leave what is there."""
        if values.null_count:
            some = pc.is_valid(values)
            rows, values = rows[some.to_numpy(zero_copy_only=False)], values.filter(some)
        if len(rows):
            self._parts.setdefault(name, []).append((rows, values))

    def apply(self) -> None:
        rows = self._batch.rows
        for name, parts in self._parts.items():
            where = np.arange(rows)
            pool, length = [_flat(self._batch.get(name), name)], rows
            for spots, values in parts:
                where[spots] = length + np.arange(len(spots))
                pool.append(_flat(values, name))
                length += len(spots)
            self._batch.columns[name] = pa.concat_arrays(pool).take(pa.array(where))


def _flat(values: Array, name: str) -> Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values if values.type == COLUMNS[name] else pc.cast(values, COLUMNS[name])
