"""What a detector is: a sentence, a SELECT, thresholds, and cases that prove its edge."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

import detectors
from model.units import us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SECTIONS: Final = ("Meaning", "Impact", "Diagnosis", "Mitigation")
"""Headings that every detector's docstring has, in this order: they become its runbook."""

UNKNOWN: Final = "\N{EN DASH}"
"""What a sentence shows for a number that is not known."""

COLUMNS: Final = ("namespace", "subject", "name", "service", "queue", "since_us")
"""What every detector's SELECT returns; a detector with a `witness` also `deadline_us`.

`heard_us`, where returned, is from when on, by our clock, a word about it could be heard:
`since_us` is by the sender's, which may be ahead or behind (see the view `lags`). `severity`, where
returned, replaces the detector's for that row; `unproven`, where it is not null, says why that row
can be no more than *unknown*. `word_due_us` is by when, by our clock, the word that is missed
usually comes: what its side lost until then may be that word, and the row is *unknown*; `word_of`
is the instance that would have said it (else any), `word_side` its side (else the witness); with
`both`, agent (`word_of`) and dispatcher would each have said it, one soon after the other, and both
must have lost something; else who may have said it and was heard within the last minute is waited
for. `word_since_us` is from when on it can have been said, where that is another moment than the
silence begins at. Without `word_due_us`, no loss explains what is found; with it, what was due
while its side was not heard is *unknown* too. Every further column is evidence: plain numbers and
strings.
"""


@dataclass(frozen=True, slots=True)
class Case:
    """Signals in, findings out. Times `t` are seconds relative to the moment of judgement.

    Signals are dictionaries of columns of `model.signals`; `t` sets both event and arrival
    time, `arrived` another arrival. `finds` are the subjects found.
    """

    title: str
    signals: Sequence[Mapping[str, Any]]
    finds: Sequence[str]
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class Detector:
    """One failure mode. See the package's documentation for what each part is for.

    In `sql` and `only_if`, `{now}` is the moment of judgement, `{occurrence_us}` how long an
    occurrence lasts, `{name}` a threshold, and `{name_us}` one in seconds (`name_s`) in whole
    microseconds: times are compared with these, so that the engine can do it as it scans.
    `witness` is the side whose silence makes the verdict *unknown*; `covered_by` the measure
    (see `model.relations`) that shows that what is missed has been seen before, for the same
    service and name. `clears` is a SELECT of (subject, cleared_us): when that which ended a finding
    happened, by which *retracted* is told from *resolved*; with `heard_us`, when that was heard:
    what was known when it was confirmed does not contradict it. `follows` names the detectors whose
    findings can be the cause of this one's (see `detectors._incidents`). `every_s` is how often it
    is looked for at most (0: at each evaluation). `only_if` is, by relation, a condition over its
    row `a`: whenever anything is found, some row of some of these meets it. It may be met in vain;
    thresholds stand in it only where the relation has service, queue and name, elsewhere
    `{name_least}`, `{name_most}`, `{name_least_us}` and `{name_most_us}`: whosever it is. `blinds`
    says that while its finding lasts a service of the side in its evidence is not heard: silence at
    that time proves nothing. So many findings of a service at once as `wakes` says wake somebody,
    whatever their severity (0: only those that are critical).
    """

    severity: Literal["info", "warning", "critical"]
    sql: str
    fix: str
    cases: Sequence[Case]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    hold_s: float = 0.0
    degradable: bool = True
    lasts: Literal["condition", "occurrence"] = "condition"
    witness: Literal["agent", "dispatcher"] | None = None
    covered_by: str | None = None
    clears: str | None = None
    follows: tuple[str, ...] = ()
    every_s: float = 0.0
    only_if: Mapping[str, str] = field(default_factory=dict)
    blinds: bool = False
    wakes: int = 0
    name: str = ""
    doc: str = ""

    def urgency(self, severity: str) -> str:
        """Return how urgent its alert is for a finding of *severity*: each may wake somebody."""
        return "critical" if self.wakes == 1 else severity

    @property
    def summary(self) -> str:
        """The docstring's first sentence: the alert's summary."""
        return self.doc.strip().split("\n\n", 1)[0].replace("\n", " ")

    @property
    def runbook(self) -> dict[str, str]:
        """The docstring's sections by heading."""
        parts = re.split(r"^## (.+)$", self.doc, flags=re.MULTILINE)[1:]
        return {parts[i].strip(): parts[i + 1].strip() for i in range(0, len(parts), 2)}

    def query(self, now_us: int, settings: Mapping[str, Any], occurrence_s: float = 900.0) -> str:
        """Return the SELECT for the moment *now_us*, thresholds filled in.

        *settings* are this detector's of the configuration: thresholds by name, and
        `overrides`: a list of {service, queue, name (globs), threshold: value}.
        """
        return self.sql.format_map(self._filled(now_us, settings, occurrence_s))

    def signs(
        self, now_us: int, settings: Mapping[str, Any], occurrence_s: float = 900.0
    ) -> dict[str, str]:
        """Return `only_if`, filled in as `query` is."""
        values = self._filled(now_us, settings, occurrence_s)
        return {
            relation: condition.format_map(values) for relation, condition in self.only_if.items()
        }

    def _filled(
        self, now_us: int, settings: Mapping[str, Any], occurrence_s: float
    ) -> dict[str, object]:
        overrides = settings.get("overrides", ())
        values: dict[str, object] = {"now": now_us, "occurrence_us": us(occurrence_s)}
        for name, default in self.thresholds.items():
            value = settings.get(name, default)
            values[name] = _threshold(name, value, overrides, lambda said: repr(float(said)))
            stem = name.removesuffix("_s")
            every = [float(one[name]) for one in ({name: value}, *overrides) if name in one]
            values |= {f"{stem}_least": min(every), f"{stem}_most": max(every)}
            if name.endswith("_s"):
                values[f"{stem}_us"] = _threshold(
                    name, value, overrides, lambda said: str(us(said))
                )
                values |= {f"{stem}_least_us": us(min(every)), f"{stem}_most_us": us(max(every))}
        return values

    def sentence(self, row: Mapping[str, Any]) -> str:
        """Return what to do next, with the numbers of *row* filled in."""
        return filled(self.fix, row)


def filled(sentence: str, row: Mapping[str, Any]) -> str:
    """Return *sentence* with the figures of *row*: short, a dash for what is not known."""
    return sentence.format_map(_Plain(row))


class _Plain(dict[str, Any]):
    """Evidence as a sentence shows it: short numbers, a dash for what is not known."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__({key: _short(value) for key, value in row.items()})

    def __missing__(self, key: str) -> str:
        return UNKNOWN


def _short(value: object) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"  # noqa: PLR2004 - three digits
    return str(value)


def _like(glob: str) -> str:
    plain = glob.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("'", "''")
    return plain.replace("*", "%").replace("?", "_")


def _threshold(
    name: str,
    default: float,
    overrides: Sequence[Mapping[str, Any]],
    written: Callable[[float], str],
) -> str:
    """Return a constant, or a CASE over the judged row (alias `a`) where there are overrides.

    *written* is how a number is written.
    """
    cases = []
    for one in overrides:
        if name in one:
            terms = [
                f"coalesce(a.{column}, '') LIKE '{_like(str(one[column]))}' ESCAPE '\\'"
                for column in ("service", "queue", "name")
                if column in one
            ]
            cases.append(f"WHEN {' AND '.join(terms) or 'TRUE'} THEN {written(one[name])}")
    constant = written(default)
    return f"(CASE {' '.join(cases)} ELSE {constant} END)" if cases else constant


class BrokenDetectorError(Exception):
    """A detector's module cannot be used; start-up stops."""


@cache
def load() -> tuple[Detector, ...]:
    """Return every detector of the folder, by name.

    Raises BrokenDetectorError where a module cannot be imported, or lacks what it must have.
    """
    found = []
    for module in pkgutil.iter_modules(detectors.__path__):
        if module.name.startswith("_"):
            continue
        try:
            loaded = importlib.import_module(f"detectors.{module.name}")
            one = replace(loaded.DETECTOR, name=module.name, doc=loaded.__doc__ or "")
        except Exception as error:
            msg = f"detectors/{module.name}.py cannot be used: {error}"
            raise BrokenDetectorError(msg) from error
        if tuple(one.runbook) != SECTIONS:
            wanted = ", ".join(SECTIONS)
            msg = f"detectors/{module.name}.py: its docstring needs the sections {wanted}"
            raise BrokenDetectorError(msg)
        found.append(one)
    return tuple(sorted(found, key=lambda one: one.name))
