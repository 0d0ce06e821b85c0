"""What was found against what was true: per detector precision, recall and delay."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.quality.kit import load
from bench.quality.path import TOLERATED_S
from bench.quality.wire import START_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.quality.truth import Truth
    from bench.quality.world import Run
    from model.findings import Finding

_AFTER_S: Final = 15.0
"""So long after its end a thing may still be told: it was looked at just before."""
_EARLY_S: Final = 0.5
_SOON_S: Final = 60.0
"""Who was heard within that time is waited for until it is over."""
_NEAR_S: Final = 12.0
"""What was lost so near the moment of a word may have been that word."""


@dataclass(slots=True)
class Wrong:
    """One finding that nothing explains, or one thing that was not found."""

    detector: str
    namespace: str
    subject: str
    at_s: float
    said: str

    def __str__(self) -> str:
        return f"{self.detector} {self.namespace} {self.subject} at {self.at_s:.0f} s: {self.said}"


@dataclass(slots=True)
class Score:
    """How often one detector was right. Delays are beyond its hold, in seconds."""

    detector: str
    interval_s: float
    true: int = 0
    found: int = 0
    explained: int = 0
    false: list[Wrong] = field(default_factory=list)
    missed: list[Wrong] = field(default_factory=list)
    blind: int = 0
    blind_confirmed: int = 0
    delays_s: list[float] = field(default_factory=list)
    slow: list[Wrong] = field(default_factory=list)
    of_told: list[Wrong] = field(default_factory=list)
    """Confirmed, and only so because signals were lost, which was told: to be unknown."""
    of_silent: int = 0
    """The same, of signals that were lost without a trace: nobody can tell."""
    unknown_of_told: int = 0

    @property
    def precision(self) -> float | None:
        """Share of what was confirmed that was true; None where nothing was."""
        right = self.found + self.explained
        return right / (right + len(self.false)) if right + len(self.false) else None

    @property
    def recall(self) -> float | None:
        """Share of what was true that was confirmed; None where nothing was."""
        return self.found / self.true if self.true else None

    def delay_s(self, share: float) -> float | None:
        """Return the delay that *share* of the findings did not exceed."""
        if not self.delays_s:
            return None
        delays = sorted(self.delays_s)
        return delays[min(len(delays) - 1, int(share * len(delays)))]

    @property
    def good(self) -> bool:
        """Whether it is as right as it must be, and as soon."""
        least = 0.99
        told = self.found + self.explained + len(self.of_told) + self.unknown_of_told
        return (
            (self.precision is None or self.precision >= least)
            and (self.recall is None or self.recall >= least)
            and len(self.slow) <= (1 - least) * len(self.delays_s)
            and len(self.of_told) <= (1 - least) * told
        )


def score(run: Run) -> dict[str, Score]:
    """Return the score of every detector that judged, by name."""
    scores = {name: Score(name, every) for name, every in run.every_s.items()}
    absent = {one.detector for one in load() if one.absence} | {"source_dark"}
    found: dict[tuple[str, str, str], list[Finding]] = defaultdict(list)
    for one in run.findings:
        found[one.detector, one.namespace, one.subject].append(one)
    told: dict[tuple[str, str, str], list[Truth]] = defaultdict(list)
    for truth in run.truths:
        told[truth.detector, truth.namespace, truth.subject].append(truth)
    for truth in run.truths:
        if truth.must and truth.detector in scores and truth.true_s < truth.until_s:
            if truth.detector in absent:
                truth.blind = truth.blind or _blind(truth, run)
            task = truth.subject.rpartition("/")[0] or truth.subject
            if (truth.namespace, task) in run.lost:
                truth.blind = truth.blind or "signals of it were lost"
            key = (truth.detector, truth.namespace, truth.subject)
            _look(truth, found.get(key, []), scores[truth.detector], run)
    for one in run.findings:
        if one.confirmed_us is not None:
            key = (one.detector, one.namespace, one.subject)
            _explain(one, told.get(key, []), scores[one.detector], run)
        elif one.verdict == "unknown" and _loss(one, run) == "told":
            scores[one.detector].unknown_of_told += 1
    return scores


def _s(at_us: int) -> float:
    return at_us / 1e6 - START_S


def _blind(truth: Truth, run: Run) -> str:
    """Return why it could not be told whether *truth* is so."""
    for begin_s, end_s in run.gaps:
        if end_s - begin_s > TOLERATED_S and begin_s < truth.true_s and end_s > truth.since_s:
            return "the sidecar was away"
    from_s, by_s = _due(truth)
    losing = {
        who
        for service, instance, begin_s, end_s in run.told.get(truth.namespace, ())
        if begin_s < by_s and end_s > from_s
        for who in (service, instance)
    }
    if truth.word_of and {truth.word_of, truth.also_of or truth.word_of} <= losing:
        return f"{truth.word_of} lost records just then"
    if truth.detector != "source_dark":
        for service, begin_s, end_s, _ in run.dark.get(truth.namespace, ()):
            if begin_s < truth.true_s + 90 and end_s + 15 > truth.since_s:
                return f"{service} was not heard"
    return ""


def _due(truth: Truth) -> tuple[float, float]:
    """Return from when on, and until when, the word that is missed may have been said."""
    from_s = truth.since_s if truth.word_from_s is None else truth.word_from_s
    return from_s - _NEAR_S, truth.word_s + _NEAR_S


def _look(truth: Truth, found: list[Finding], score: Score, run: Run) -> None:
    at = [_s(one.confirmed_us) for one in found if one.confirmed_us is not None]
    fits = [when for when in at if when >= truth.true_s - _EARLY_S - truth.early_s
            and when <= truth.until_s + _AFTER_S + score.interval_s]  # fmt: skip
    if truth.blind:
        score.blind += 1
        score.blind_confirmed += bool(fits)
        return
    hold_s = run.hold_s[truth.detector]
    patience_s = hold_s + 2 * score.interval_s
    if not fits and truth.until_s - truth.true_s <= patience_s:
        return  # it ended before it had to be told
    score.true += 1
    wrong = Wrong(truth.detector, truth.namespace, truth.subject, truth.true_s, truth.failure)
    if not fits:
        said = ", ".join(f"{one.verdict} ({one.reason})" for one in found) or "nothing"
        early = ", ".join(f"{when - truth.true_s:.0f} s off" for when in at)
        wrong.said += f": said was {said} {early}"
        score.missed.append(wrong)
        return
    score.found += 1
    due_s = max(truth.true_s, *_awaited(truth, run))
    delay_s = max(0.0, min(fits) - due_s - hold_s)
    score.delays_s.append(delay_s)
    for begin_s, end_s in run.gaps:  # nobody looked then, and who was to speak came a little later
        if begin_s < min(fits) and end_s > truth.true_s:
            patience_s += end_s - begin_s + score.interval_s
    if delay_s > patience_s - hold_s:
        wrong.said += f": told {delay_s:.0f} s late"
        score.slow.append(wrong)


def _awaited(truth: Truth, run: Run) -> Iterator[float]:
    """Yield until when it has to be waited for those whose word is missed.

    Silence counts once their side was heard again, and each of them that was heard within the
    last minute; what came late and bore a number passes for lost until it comes.
    """
    whose = (truth.namespace, truth.word_of)
    yield truth.true_s
    if whose in run.instances:
        spoke = run.spoke.get(whose, ())
        yield min((at_s for at_s in spoke if at_s >= truth.true_s), default=truth.true_s)
    for one in run.instances.get(whose, {truth.word_of}):
        spoke = run.spoke.get((truth.namespace, one), ())
        last_s = max((at_s for at_s in spoke if at_s < truth.true_s), default=-math.inf)
        if truth.true_s - _SOON_S < last_s < truth.word_s + _NEAR_S and not truth.also_of:
            again_s = min((at_s for at_s in spoke if at_s >= truth.true_s), default=math.inf)
            yield min(last_s + _SOON_S, again_s)
    from_s, by_s = _due(truth)
    for said_s, heard_s in run.missed.get(whose, ()):
        if from_s < said_s < by_s:
            yield heard_s


def _explain(finding: Finding, truths: list[Truth], score: Score, run: Run) -> None:
    at_s = _s(finding.confirmed_us or 0)
    for truth in truths:
        begin_s, end_s = truth.true_s - _EARLY_S - truth.early_s, truth.until_s + _AFTER_S
        if begin_s <= at_s <= end_s + score.interval_s:
            score.explained += not truth.must or bool(truth.blind)
            return
    near = ", ".join(f"{one.failure} true from {one.true_s:.0f} to {one.until_s:.0f}"
                     for one in truths)  # fmt: skip
    wrong = Wrong(
        finding.detector, finding.namespace, finding.subject, at_s,
        f"{finding.verdict}; {finding.fix} [{near}]",
    )  # fmt: skip
    how = _loss(finding, run)
    if how == "told":
        score.of_told.append(wrong)
    elif how == "silent":
        score.of_silent += 1
    else:
        score.false.append(wrong)


def _loss(finding: Finding, run: Run) -> str:
    """Return how something was lost of what *finding* is about: told, silent, or not at all.

    Until it was told, it was lost without a trace: nobody could know when it was confirmed.
    """
    subject = finding.subject.rpartition("/")[0] or finding.subject
    told = finding.evidence
    about = [subject, finding.task, finding.request_id, told.get("depends_on")]
    if 1 in {told.get("tasks"), told.get("waiting")}:
        about.append(told.get("example"))
    keys = [(finding.namespace, one or "") for one in about]
    at_s = math.inf if finding.confirmed_us is None else _s(finding.confirmed_us)
    late = at_s < math.inf and any(run.told_s.get(key, -math.inf) > at_s for key in keys)
    known = {run.lost.get(key) for key in keys} | ({"silent"} if late else set())
    return "silent" if "silent" in known else "told" if "told" in known else ""
