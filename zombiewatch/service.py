"""The sidecar without its ports: receivers, store and judge put together."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from alerts import push
from alerts.audience import DISMISSED, Audience, Owner
from alerts.degrade.lease import LEVELS, MUTES
from alerts.metrics import Metrics
from alerts.rules.links import Links
from alerts.work import Work
from collector import expected
from collector.expected import Expected
from collector.receivers.connections import Connections
from collector.receivers.files import Files, Followed
from collector.receivers.intake import Intake
from collector.receivers.otlp_http import OtlpHttp
from collector.schedule import Schedule
from collector.store.store import Store
from detectors._incidents import Incident, causes, incidents
from detectors._judge import Judge, Report
from detectors._kit import load
from model.clock import system_clock
from model.units import iso, us
from zombiewatch import parts, sayings
from zombiewatch._lately import Lately
from zombiewatch.degrading import Degrading
from zombiewatch.findings import FindingsFile
from zombiewatch.following import Following
from zombiewatch.pushing import Pushing
from zombiewatch.sayings import SayingError, Sayings
from zombiewatch.silencing import Silencing
from zombiewatch.switches import ConflictError, Switches
from zombiewatch.trends import Trends

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import duckdb

    from alerts.degrade.lease import Lease, Level
    from alerts.push import Pushed
    from collector.receivers.otlp_grpc import OtlpGrpc
    from collector.rules import Rule
    from model.clock import Clock
    from model.findings import Finding
    from zombiewatch.config import Config
    from zombiewatch.operations import SwitchesJson
    from zombiewatch.telemetry import SelfTelemetry

_LOG = logging.getLogger("zombiewatch")

T = TypeVar("T")

_JUDGED_LATELY: Final = 3
_JUDGED_S: Final = 60.0
"""A detector counts as judged for so many intervals, and so many seconds beside, for slow ones."""

_HURRY_S: Final = 1.0
"""How long an evaluation waits for what has come in: no more than half of its interval.

Without that it would judge what was known a gathering ago, and what came since an interval later.
"""

_COUNTED_MAX: Final = 10_000
"""So many open findings are counted for the overview."""

_LATELY_US: Final = us(10)
"""So long what is dear to count is shown as it was counted last."""

_FORWARD_S: Final = 3.0
"""So long what waits to be sent on has, when we end."""


class Service:
    """One sidecar. `begin` and `finish` are called once each; `finish` also without `begin`."""

    def __init__(self, config: Config, rules: Sequence[Rule], clock: Clock = system_clock) -> None:
        self.config = config
        self.clock = clock
        # first: what is wrong with it is said before a file is made
        self.forward = parts.forward_of(config)
        pipeline = parts.pipeline_of(config, rules)
        self.store = Store(config.data_dir, pipeline, clock, parts.limits(config))
        self.files = Files(
            [
                Followed(one.path, one.service, one.side, one.from_end, one.expect_every_s)
                for one in config.follow
            ],
            self.store.positions(),
            self.store.append,
            clock,
            every_s=config.follow_every_s,
        )
        kept = config.data_dir / "findings.sqlite"
        try:
            self.findings = self._open_findings(kept)
            self.sayings = Sayings(kept)
            self.switches = Switches(kept, config.degrade.lease_max_s)
        except BaseException:
            self.store.close()
            raise
        self.audience = Audience(
            [Owner(one.team, one.which()) for one in config.owners],
            config.critical,
            [one.window() for one in config.quiet],
            self.sayings.first_start_us(clock()) + us(config.learning_s),
            self.sayings,
        )
        settings = parts.thresholds(config)
        chosen = [one for one in load() if settings.get(one.name, {}).get("enabled", True)]
        self.judge = Judge(
            chosen,
            self.findings,
            settings=settings,
            occurrence_s=config.occurrence_open_s,
            abandon_s=config.abandon_after_s,
            place=self.audience.place,
        )
        self.degrading = Degrading(config.degrade, self.switches, self._known, clock)
        self.following = self._following()
        self.pushing = self._pushing()
        self.silencing = self._silencing()
        self.intake = Intake(
            self.store.append,
            clock,
            max_body_bytes=config.otlp.max_body_bytes,
            in_flight_max_bytes=config.otlp.in_flight_max_bytes,
        )
        self.expected = Expected(
            [Schedule(**one.model_dump()) for one in config.schedules],
            self.store.append,
            lambda: self._recalled(expected.known),
            clock,
        )
        self.expected.remember(self._recalled(expected.open_runs))
        self.celery = parts.celery_of(config, self.store.append, clock)
        if self.celery:
            self._recalled(self.celery.remember)
        self.http_connections = Connections(config.http.max_connections)
        self.otlp_connections = Connections(config.otlp.max_connections)
        self.intake.forward = self.forward
        self.otlp = OtlpHttp(
            self.intake,
            self.otlp_connections,
            token=parts.secret(config.otlp),
            body_timeout_s=config.otlp.body_timeout_s,
        )
        self.grpc = self._grpc() if config.grpc.enabled else None
        self.work = Work(clock(), labels_max=config.labels_max)
        self.metrics = Metrics(self, labels_max=config.labels_max)
        self.last_report: Report | None = None
        self.judged_us: dict[str, int] = {}
        self.causes: dict[tuple[str, str], str] = {}
        self.trends = Trends(config.namespace)
        self.lately = Lately(clock, _LATELY_US)
        self._changed = 0
        self.started_us = clock()
        self.ready = False
        self.telemetry = self._telemetry()
        self._stop = threading.Event()
        self._judging = threading.Thread(target=self._judge_loop, name="judge", daemon=True)

    def _pushing(self) -> Pushing | None:
        said = self.config.alertmanager
        if said.url is None or not said.pushes:
            return None
        return Pushing(
            said.url, self._firing, self.clock, every_s=said.push_every_s, lasts_s=said.lasts_s
        )

    def _silencing(self) -> Silencing | None:
        said = self.config.alertmanager
        if said.url is None or not said.silences:
            return None
        return Silencing(
            said.url,
            self._in_force,
            self.switches.identity,
            self.clock,
            every_s=said.push_every_s,
        )

    def _following(self) -> Following | None:
        said = self.config.degrade
        if said.follow is None:
            return None
        token = said.follow_token.get_secret_value() if said.follow_token else None
        return Following(said.follow, token, self.switches, self.clock, every_s=said.look_every_s)

    def _grpc(self) -> OtlpGrpc:
        from collector.receivers.otlp_grpc import OtlpGrpc  # some 20 MB: only where it is wanted

        config = self.config
        return OtlpGrpc(
            self.intake, token=parts.secret(config.grpc), body_timeout_s=config.otlp.body_timeout_s
        )

    def _telemetry(self) -> SelfTelemetry | None:
        if self.config.telemetry.endpoint is None:
            return None
        from zombiewatch.telemetry import SelfTelemetry  # the SDK: only where it is wanted

        return SelfTelemetry(self, self.config.telemetry)

    def _recalled(self, ask: Callable[[duckdb.DuckDBPyConnection, str], T]) -> T:
        """Return what *ask* reads of our namespace."""
        reader = self.store.reader()
        try:
            return ask(reader, self.config.namespace)
        finally:
            reader.close()

    def _open_findings(self, path: Path) -> FindingsFile:
        """Open the findings; a file that is no database any more is set aside and begun anew."""
        try:
            return FindingsFile(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self.store.set_aside(path)
            return FindingsFile(path)

    def begin(self) -> None:
        """Begin to take in, to apply and to judge."""
        self.store.start()
        self.files.start()
        self.expected.start()
        if self.celery:
            self.celery.start()
        if self.forward:
            self.forward.start()
        self._judging.start()
        self.degrading.start()
        for telling in (self.following, self.pushing, self.silencing):
            if telling:
                telling.start()
        self.ready = True

    def finish(self) -> None:
        """Take nothing more, apply what was taken, write it down."""
        self.ready = False
        self._stop.set()
        if self._judging.is_alive():
            self._judging.join()
        self.degrading.stop()
        for telling in (self.following, self.pushing, self.silencing):
            if telling:
                telling.stop()
        self.judge.save()
        self.expected.stop()
        if self.celery:
            self.celery.stop()
        self.files.stop()
        if self.forward:
            self.forward.stop(_FORWARD_S)
        self.store.close()
        self.findings.close()
        self.sayings.close()
        self.switches.close()
        if self.telemetry:
            self.telemetry.close()

    # -- judging --------------------------------------------------------------------------

    def _judge_loop(self) -> None:
        reader = self.store.reader()
        next_at = time.monotonic()
        try:
            while not self._stop.is_set():
                try:
                    self.store.hurry(min(_HURRY_S, self.config.evaluate_every_s / 2))
                    self.judge_now(reader)
                    self.work.look(reader, self.store.complete_us())
                    self.trends.look(
                        reader,
                        self.open_now,
                        self.findings.totals,
                        self.store.refused_full,
                        self.clock(),
                    )
                except Exception:  # noqa: BLE001 - a judge that died would read as all well
                    _LOG.exception("an evaluation failed; the next one comes")
                next_at = max(next_at + self.config.evaluate_every_s, time.monotonic())
                self._stop.wait(next_at - time.monotonic())
        finally:
            reader.close()

    def judge_now(self, reader: Any) -> Report:  # noqa: ANN401 - a DuckDB cursor
        """Evaluate all detectors once, at the moment up to which the relations are complete."""
        now = self.store.complete_us()
        report = self.judge.evaluate(reader, now, heard_us=self.files.heard_us(self.store.applied))
        for name in report.took_s.keys() - report.failed.keys():
            self.judged_us[name] = now
        self.last_report = report
        if report.changed:
            self._changed += 1
            self.causes = causes(self.incidents())
        for one in report.changed:
            if one.verdict in {"confirmed", "unknown", "resolved", "retracted"}:
                _LOG.info("%s %s %s: %s", one.verdict, one.detector, one.subject, one.fix)
        return report

    def _known(self) -> tuple[list[Finding], frozenset[str]]:
        """Return the open findings, and the detectors that have judged lately."""
        stale_us = self.stale_us()
        judged = {name for name, at in list(self.judged_us.items()) if at >= stale_us}
        return self._shown(), frozenset(judged - set(self.judge.failing))

    def stale_us(self) -> int:
        """Return until when a judgement is an old one."""
        return self.clock() - us(_JUDGED_LATELY * self.config.evaluate_every_s + _JUDGED_S)

    def _firing(self) -> tuple[list[Pushed], frozenset[str]]:
        """Return what Alertmanager is to be told, and the detectors that have judged lately."""
        said = self.config.alertmanager
        findings, judged = self._known()
        links = Links(said.page.rstrip("/"), (said.url or "").rstrip("/"))
        by_name = {one.name: one for one in self.judge.detectors}
        return [
            *push.of_findings(findings, by_name, self.causes, links),
            *push.of_switches(self._in_force()),
        ], judged

    def _in_force(self) -> list[Lease]:
        now = self.clock()
        found = (self.switches.of(service, now) for service in self.switches.services())
        return [one for one in found if one is not None]

    def state(self) -> tuple[int, int, int]:
        """Return what is another one whenever there is something new to be seen."""
        return self._changed, sum(self.switches.changes.values()), self.trends.looks

    # -- what the API shows -----------------------------------------------------------------

    def select(self, state: str, limit: int, **filters: str | None) -> list[Finding]:
        """Return findings: open ones as they are now, ended ones as they ended.

        What is dismissed is not among the open ones; *state* `dismissed` has it.
        """
        found: list[Finding] = []
        if state in {"closed", "all"}:
            found += self.findings.select(state="closed", limit=limit, **filters)
        if state != "closed":
            wanted = {name: value for name, value in filters.items() if value is not None}
            found += [
                one
                for one in self._shown()
                if all(getattr(one, name) == value for name, value in wanted.items())
                and (state == "all" or (one.muted == DISMISSED) == (state == "dismissed"))
            ]
        return sorted(found, key=lambda one: one.id)[-limit:]

    def open_now(self) -> list[Finding]:
        """Return the open findings that nobody has dismissed, for an overview of them."""
        return self.select("open", limit=_COUNTED_MAX)

    def _shown(self) -> list[Finding]:
        """Return the open findings; what somebody said a moment ago counts already."""
        now, shown = self.clock(), [replace(one) for one in self.judge.shown]
        for one in shown:
            self.audience.place(one, now)
        return shown

    def finding(self, number: int) -> Finding | None:
        """Return the finding with that ID, open or ended."""
        shown = next((one for one in self._shown() if one.id == number), None)
        return shown or self.findings.get(number)

    def say(self, one: Finding, action: str, *, by: str, reason: str, until: str | None) -> None:
        """Keep what *by* says of *one*: `ack`, `dismiss` or `undo`. Raises SayingError."""
        now = self.clock()
        if action == "undo":
            self.sayings.undo(one, by=by, now_us=now)
            return
        if one.ended_us is not None:
            msg = f"finding {one.id} has ended"
            raise SayingError(msg)
        end_us = sayings.until(until, now)
        self.sayings.say(one, action, reason=reason, by=by, until_us=end_us, now_us=now)

    def switches_now(self) -> SwitchesJson:
        """Return the switches that hold, and the policies."""
        now = self.clock()
        return {
            "now": iso(now),
            "switches": [
                {
                    **one.as_json(now),
                    "in_force": counts,
                    "hides": [each.id for each in self.hidden(one)] if counts else [],
                }
                for one in self.switches.leases(now)
                for counts in [one == self.switches.of(one.service, now)]
            ],
            "policies": [
                {
                    "service": one.service,
                    "level_max": one.level_max,
                    "dry_run": one.dry_run,
                    "error": self.degrading.errors.get(one.service),
                }
                for one in self.config.degrade.policies
            ],
        }

    def hidden(self, lease: Lease) -> list[Finding]:
        """Return the findings that Alertmanager mutes while *lease* is in force."""
        mutes = MUTES[lease.level]
        may = {one.name: one for one in self.judge.detectors if one.degradable}
        return [
            one
            for one in self.judge.shown
            if one.service == lease.service
            and one.verdict == "confirmed"
            and not one.muted
            and one.detector in may
            and may[one.detector].urgency(one.severity) in mutes
        ]

    def set_switch(
        self,
        service: str,
        level: Level,
        *,
        by: str,
        reason: str,
        until: str,
        generation: int | None = None,
    ) -> None:
        """Set the degrade level of *service*; *until* is as of `say`.

        Raises SayingError, SwitchError, ConflictError.
        """
        self._check_own()
        now = self.clock()
        self.switches.set(
            service, LEVELS.index(level), by=by, reason=reason,
            until_us=sayings.until(until, now) or 0, now_us=now, generation=generation,
        )  # fmt: skip
        _LOG.info("switch of %s set to %s by %s until %s: %s", service, level, by, until, reason)

    def clear_switch(
        self, service: str, *, by: str, reason: str, generation: int | None = None
    ) -> None:
        """Take back what a person set for *service*. Raises SwitchError, ConflictError."""
        self._check_own()
        self.switches.clear(
            service, by=by, reason=reason, now_us=self.clock(), generation=generation
        )
        _LOG.info("switch of %s cleared by %s: %s", service, by, reason)

    def _check_own(self) -> None:
        if self.config.degrade.follow is not None:
            raise ConflictError(
                f"switches are set at {self.config.degrade.follow}, which this sidecar follows:"
                " say --url"
            )

    def incidents(self) -> list[Incident]:
        """Return the open incidents, the worst and oldest first."""
        return incidents(self.judge.shown, self.judge.detectors)

    def about(self, column: str, value: str) -> list[Finding]:
        """Return findings whose `task` or `request_id` is *value*: open ones as they are now."""
        now = {one.id: one for one in self._shown()}
        return [now.get(one.id, one) for one in self.findings.about(column, value)]
