"""Looks at the policies' inputs, moves the switches, and writes down what has expired."""

from __future__ import annotations

import json
import logging
import math
import urllib.error
import urllib.parse
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from alerts.audience import DISMISSED
from alerts.degrade.lease import LEVELS
from alerts.degrade.policy import Reading, step
from zombiewatch._direct import opened
from zombiewatch._regularly import Regularly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from model.clock import Clock
    from model.findings import Finding
    from zombiewatch._degrade import Degrade, Policy, Rung
    from zombiewatch.switches import Switches

_LOG: Final = logging.getLogger("zombiewatch.degrade")

_ASK_S: Final = 5.0
_ANSWER_MAX: Final = 1 << 20


class QueryError(Exception):
    """Prometheus did not answer with one number; the message says what came instead."""


class Degrading:
    """Moves the switches. *known* returns the open findings, and the detectors whose word counts.

    What a detector finds is not known while it is not judged, or fails.
    """

    def __init__(
        self,
        config: Degrade,
        switches: Switches,
        known: Callable[[], tuple[Iterable[Finding], frozenset[str]]],
        clock: Clock,
    ) -> None:
        self._config = config
        self._switches = switches
        self._known = known
        self._clock = clock
        self._states = {one.service: switches.state(one.service) for one in config.policies}
        self._looking = Regularly("degrade", config.look_every_s, self.look)
        self.looks = 0
        self.errors: dict[str, str] = {}
        """By service: why the input of its policy is not known. Empty where all is."""

    def start(self) -> None:
        """Begin to look, every `look_every_s`."""
        self._looking.start()

    def stop(self) -> None:
        """Look no more. A level that is held stays until its lease ends."""
        self._looking.stop()

    def look(self) -> None:
        """Look once, now."""
        now_us = self._clock()
        for gone in self._switches.expire(now_us):
            _LOG.info("switch of %s: %s has ended", gone.service, LEVELS[gone.level])
        findings, judged = self._known()
        findings, prometheus = list(findings), _Prometheus(self._config.prometheus or "")
        for policy in self._config.policies:
            if self._looking.stopping:
                return
            readings = self._readings(policy, findings, judged, prometheus)
            self._move(policy, readings, self._clock())
        self.looks += 1

    def _move(self, policy: Policy, readings: Sequence[Reading], now_us: int) -> None:
        service, was = policy.service, self._states[policy.service]
        state = step(policy.steps(), was, readings, now_us)
        if replace(state, rungs=was.rungs) == was:
            self._states[service] = state
            return
        self._switches.remember(service, state)
        why = "; ".join(
            f"{rung.level} at {_said(reading)}"
            for rung, reading in zip(policy.rungs, readings, strict=True)
        )
        self._switches.move(
            service, state.level, by="policy", reason=why, until_us=state.expires_us,
            now_us=now_us, dry_run=policy.dry_run,
        )  # fmt: skip
        self._states[service] = state  # not before it is kept: else the next look does it again
        if state.level != was.level:
            would = "would be" if policy.dry_run else "is"
            _LOG.info("switch of %s %s %s (%s)", service, would, LEVELS[state.level], why)

    def _readings(
        self,
        policy: Policy,
        findings: list[Finding],
        judged: frozenset[str],
        prometheus: _Prometheus,
    ) -> list[Reading]:
        readings, errors = [], []
        for rung in policy.rungs:
            try:
                readings.append(
                    prometheus.reading(rung, rung.query, policy.service)
                    if rung.query
                    else _counted(policy, rung, findings, judged)
                )
            except QueryError as error:
                readings.append(Reading())
                errors.append(str(error))
        if errors:
            self.errors[policy.service] = "; ".join(errors)
        else:
            self.errors.pop(policy.service, None)
        return readings


def _said(reading: Reading) -> str:
    return "not known" if reading.value is None else f"{reading.value:g}"


def _counted(
    policy: Policy, rung: Rung, findings: list[Finding], judged: frozenset[str]
) -> Reading:
    if not judged.issuperset(rung.findings):
        return Reading()
    services = rung.of or (policy.service,)
    return Reading(
        float(
            sum(
                one.verdict == "confirmed"
                and one.detector in rung.findings
                and one.service in services
                and one.muted != DISMISSED
                for one in findings
            )
        )
    )


class _Prometheus:
    """Asks a Prometheus during one look; one that is away is not asked again before the next."""

    def __init__(self, base: str) -> None:
        self._base = base.rstrip("/")
        self._away: QueryError | None = None

    def reading(self, rung: Rung, query: str, service: str) -> Reading:
        """Return what *query* and the rung's query for samples are answered with.

        Raises QueryError.
        """
        value = self._number(query, service)
        return Reading(value, self._number(rung.samples, service) if rung.samples else math.inf)

    def _number(self, query: str, service: str) -> float:
        """Return the answer to *query*: of *service*, where it says whose. Raises QueryError."""
        if not self._base:
            raise QueryError("there is no Prometheus to ask")
        if self._away:
            raise self._away
        url = f"{self._base}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with opened(url, _ASK_S) as answer:
                said = json.loads(answer.read(_ANSWER_MAX))["data"]
            return float(_value(said, service)[1])
        except urllib.error.HTTPError as error:
            text = error.read(_ANSWER_MAX).decode(errors="replace")
            raise QueryError(f"{self._base} refuses {query!r}: {text[:300]}") from None
        except OSError as error:
            self._away = QueryError(f"{self._base} does not answer: {error}")
            raise self._away from None
        except (ValueError, KeyError, TypeError, IndexError) as error:
            told = f"{self._base} does not answer {query!r} with a number: {error}"
            raise QueryError(told) from None


def _value(data: dict[str, Any], service: str) -> list[Any]:
    if data["resultType"] == "scalar":
        return list(data["result"])
    found = data["result"]
    own = [one for one in found if one["metric"].get("service") == service]
    chosen = own if len(found) > 1 else found
    if len(chosen) != 1:
        raise ValueError(f"{len(found)} series, {len(own)} of them of {service}")
    return list(chosen[0]["value"])
