"""A simulated scheduler: two dispatchers that share a queue, and agents that ask them for work.

A task is queued, handed out when an agent asks, runs (some with beats), and is reported by a call
that the agent makes; what is recorded is the end of it. All goes well here, but for the noise and
for what a failure takes over at one of a task's steps.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from bench.quality import calls, lag, skew, wire
from bench.quality.calls import Call
from bench.quality.process import BEAT_S, Process, clock, start
from bench.quality.tasks import FAILS, KINDS, Attempt, Kind
from bench.quality.truth import Truth

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from bench.quality.clockwork import Clockwork
    from bench.quality.kit import Failure
    from bench.quality.path import Path
    from bench.quality.truth import Truths
    from bench.quality.wire import Value

DISPATCHER: Final = "control-plane"
AGENT: Final = "worker"
SLOTS: Final = 6
"""Tasks that an agent runs at once."""
SAMPLE_S: Final = 15.0
SCHEDULE: Final = "clean-up"
SCHEDULE_S: Final = 120.0
SCHEDULE_GRACE_S: Final = 60.0
LIMIT_S: Final = 5.0
"""So long an agent waits for the answer to a report."""
API: Final = "api.example.org"
API_S: Final = 8.0
"""So often a cell's agents ask an outside service."""


@dataclass(slots=True)
class Account:
    """What the sidecar has heard, kept for whoever writes down the truth. Times in seconds."""

    asked: list[tuple[float, int]] = field(default_factory=list)
    """Calls of the outside service: when heard, and the status."""
    called: list[tuple[float, bool, str]] = field(default_factory=list)
    """Calls with two ends: when heard whole, whether an ID was lost in it, and the purpose."""
    handed: list[float] = field(default_factory=list)
    """When it was heard that something was handed out."""
    accepts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By name: from handed out to the first sign."""


class Cell:
    """One scheduler, a namespace of its own. *ends_s* is when the last task is submitted."""

    def __init__(
        self,
        name: str,
        clockwork: Clockwork,
        path: Path,
        truths: Truths,
        rng: random.Random,
        *,
        agents: int = 4,
    ) -> None:
        self.name = name
        self.clock = clockwork
        self.path = path
        self.rng = rng
        self.failure: Failure | None = None
        self.failures: tuple[Failure, ...] = ()
        """Those that may happen to a task."""
        self.failing = (math.inf, math.inf)
        """From when to when they may."""
        self.ends_s = math.inf
        """When it all ends."""
        self.times = 1.0
        self.spans = rng.random() < 0.5  # noqa: PLR2004 - a half
        self.numbered = rng.random() < 0.5  # noqa: PLR2004 - likewise
        self.dark: list[tuple[str, float, float, bool]] = []
        """Sides that are not heard: service, from, to, and whether what is held comes late."""
        self.waiting: dict[str, deque[Attempt]] = defaultdict(deque)
        self.held: set[str] = set()
        """Queues that nobody takes from."""
        self.least_slots: dict[str, int] = {}
        """Of a queue that may take only so many slots: how many are left."""
        self.report_s: Callable[[], float] = self._report_s
        self.api_status = 200
        self.stopped = False
        self.slow: tuple[str, float, float, tuple[float, float]] | None = None
        """A service whose records are late: from, to, and by how much."""
        self.new_traces = self.renames = False
        """Whether dispatchers begin a trace of their own, or give requests another ID."""
        self.schedule_runs = True
        self.schedule_ends = "success"
        self.account = Account()
        self.submitted = self.done = self._numbers = 0
        self._truths = truths
        self._names: Counter[str] = Counter()
        self.host_clocks = skew.Clocks()
        self._old: deque[tuple[float, str]] = deque()
        self._done_by: Counter[str] = Counter()
        self._queued_by: Counter[str] = Counter()
        self._lasts: deque[tuple[float, str]] = deque(maxlen=50)
        self.running: dict[int, tuple[Attempt, Process]] = {}
        self.lags: dict[str, lag.Lags] = defaultdict(partial(lag.Lags, absences=path.absences))
        self.dispatchers = [self.process("dispatcher", f"cp-{i}") for i in range(2)]
        self.agents = [self.process("agent", f"w-{i}") for i in range(agents)]
        for service in (DISPATCHER, AGENT):
            lag.watch(self, service, self.lags[service])
        self.clock.every(SAMPLE_S, self._sample)
        self.clock.every(API_S, self._ask)
        self.clock.every(SCHEDULE_S, self._due)

    # -- truth ------------------------------------------------------------------------------

    def truth(
        self,
        subject: str,
        true_s: float,
        *,
        since_s: float | None = None,
        until_s: float = math.inf,
        failure: Failure | None = None,
        detector: str = "",
        must: bool = True,
        attempt: Attempt | None = None,
        early_s: float = 0.0,
        word: tuple[str, float] = ("", 0.0),
        word_from_s: float | None = None,
        also_of: str = "",
    ) -> Truth:
        """Write down that *subject* is true from *true_s* on, by what has been heard then."""
        by = failure or self.failure
        made = Truth(
            by.name if by else "noise", detector or (by.detector if by else ""), self.name,
            subject, self.clock.now if since_s is None else since_s, true_s, until_s, must,
            early_s=early_s, word_of=word[0], word_from_s=word_from_s, word_s=word[1],
            also_of=also_of,
        )  # fmt: skip
        if attempt is not None:
            attempt.truths.append(made)
        return self._truths.add(made)

    # -- processes ----------------------------------------------------------------------------

    def process(self, side: str, instance: str) -> Process:
        """Return a new process of *side*, which beats as long as it lives."""
        service = DISPATCHER if side == "dispatcher" else AGENT
        self._names[instance] += 1
        host = f"host-{instance}"
        ahead_s = self.host_clocks.ahead_s
        if host not in ahead_s:
            ahead_s[host] = clock(self.path.noise, self.rng)
        made = start(self.path, ahead_s[host], self.clock.now, (self.name, side, service),
                     (instance, self._names[instance]))  # fmt: skip
        made.exporter.numbered = self.numbered
        made.lags = self.lags[service]
        if self.slow and service == self.slow[0]:
            made.exporter.slow_from_s, made.exporter.slow_to_s, made.exporter.slow_s = self.slow[1:]
        made.exporter.dark += [one[1:] for one in self.dark if one[0] == service]

        made.say("instance.started", self.clock.now)

        def beat() -> bool:
            if made.alive:
                made.beat(self.clock.now)
            return made.alive

        def first() -> None:
            if beat():
                self.clock.every(BEAT_S, beat)

        self.clock.after(self.rng.uniform(0, BEAT_S), first)
        return made

    @property
    def dispatcher(self) -> Process:
        """Any replica: each may record."""
        return self.dispatchers[self.rng.randrange(len(self.dispatchers))]

    def drain(self, agent: Process, then: Callable[[], None] | None = None) -> None:
        """Let *agent* take nothing more, and stop when its last task is over."""
        agent.taking = False

        def look() -> bool:
            if agent.runs or not agent.alive or agent.exporter.stalled(self.clock.now):
                return agent.alive
            agent.say("instance.stopped", self.clock.now, instance__clean=True)
            agent.alive = False
            self.agents.remove(agent)
            if then:
                then()
            return False

        self.clock.every(1.0, look)

    def kill(self, agent: Process) -> list[Attempt]:
        """End *agent* as a power cut would; return what it ran."""
        agent.alive = agent.taking = False
        if agent in self.agents:
            self.agents.remove(agent)
        held = [self.running[number][0] for number in agent.runs if number > 0]
        for one in held:
            one.over = True
            for truth in one.truths:
                truth.must = False
        return held

    def roll(self, *, same_name: bool) -> None:
        """Replace all agents, one after the other: drained, stopped, and a new one in its place."""
        todo = [one for one in self.agents if one.taking]

        def next_one() -> None:
            while todo:
                old = todo.pop()
                if old.alive and old.taking:
                    name = old.instance if same_name else f"{old.instance}r"
                    self.drain(old, partial(replaced, name))
                    return

        def replaced(name: str) -> None:
            self.clock.after(self.rng.uniform(1, 6), partial(joins, name))

        def joins(name: str) -> None:
            self.join(name)
            next_one()

        next_one()

    def join(self, instance: str) -> Process:
        """Let a new agent take part."""
        made = self.process("agent", instance)
        self.agents.append(made)
        self.pump()
        return made

    # -- a task's way -------------------------------------------------------------------------

    def submit(self, kind: Kind | None = None, failure: Failure | None = None) -> Attempt:
        """Queue a new task."""
        rng, now = self.rng, self.clock.now
        kind = kind or rng.choices(KINDS, [one.weight for one in KINDS])[0]
        self._numbers += 1
        made = Attempt(self._numbers, f"{self.name}-t{self._numbers}", kind,
                       rng.uniform(kind.least_s, kind.most_s))  # fmt: skip
        made.outcome = "failure" if rng.random() < FAILS else "success"
        if failure is not None:
            made.failure = failure
        elif self.failing[0] <= now < self.failing[1]:
            self._choose(made)
        if made.failure is None and rng.random() < self.path.noise.reused_share:
            self._reuse(made)
        if kind.depends and self._lasts:
            made.depends_on = self._lasts[-1][1]
        self.submitted += 1
        self.enqueue(made)
        return made

    def _choose(self, attempt: Attempt) -> None:
        dice = self.rng.random()
        for one in self.failures:
            if dice < one.share * self.times:
                if one.wants(self, attempt):
                    attempt.failure, attempt.outcome = one, "success"
                return
            dice -= one.share * self.times

    def _reuse(self, attempt: Attempt) -> None:
        """Give it the ID of a task that ended ten minutes ago or more."""
        if self._old and self._old[0][0] < self.clock.now - 600:
            _, attempt.task = self._old.popleft()
            attempt.reused = True

    def enqueue(self, attempt: Attempt) -> None:
        """Say that it waits, and hand it out when somebody is free."""
        attempt.enqueued_s = self.clock.now
        more: dict[str, Value] = {}
        if attempt.depends_on:
            more["task__depends_on"] = attempt.depends_on
        if attempt.kind.limit_s:
            more["task__timeout_s"] = attempt.kind.limit_s
        heard = self.dispatcher.say("task.enqueued", self.clock.now, **dotted(attempt), **more)
        attempt.enqueued_heard_s = heard.first_s
        queue = attempt.queue or attempt.kind.queue
        self._queued_by[queue] += 1
        self.waiting[queue].append(attempt)
        self.pump()

    def pump(self) -> None:
        """Hand out what waits, as long as there are free slots."""
        if self.stopped:
            return
        for queue, line in list(self.waiting.items()):
            if queue in self.held:
                continue
            while line and self.least_slots.get(queue, 1) > 0:
                free = [one for one in self.agents if one.taking and len(one.runs) < SLOTS]
                if not free:
                    return
                if queue in self.least_slots:
                    self.least_slots[queue] -= 1
                self.hand_out(line.popleft(), self.rng.choice(free))

    def hand_out(self, attempt: Attempt, agent: Process) -> None:
        """Let *agent*, which has asked for work, have it."""
        now, rng = self.clock.now, self.rng
        agent.runs.add(attempt.number)
        self.running[attempt.number] = (attempt, agent)
        by = self.dispatcher
        request = f"{attempt.task}-d{attempt.attempt}-{rng.randrange(1 << 30):x}"
        if attempt.failure and attempt.failure.handed_out(self, attempt, agent):
            return
        told = self.handing_out(attempt, agent, by, request)
        begun_s = now + 0.1 + rng.expovariate(5.0)
        self.clock.at(begun_s, partial(self.begin, attempt, agent))
        del told

    def handing_out(
        self, attempt: Attempt, agent: Process, by: Process, request: str, takes_s: float = 0.05
    ) -> calls.Told:
        """Let both ends tell how it was handed out, by a call that takes *takes_s*."""
        now = self.clock.now
        known = tuple(attempt.known.items())
        told = self.call(Call("dispatch", request, takes_s, LIMIT_S, callee_knows=known),
                         agent, by, now)  # fmt: skip
        heard = by.say("task.dispatched", now + takes_s, request__id=request, **dotted(attempt))
        attempt.running_heard_s = min(heard.first_s, told.callee_s)
        self.account.handed.append(attempt.running_heard_s)
        return told

    def call(self, call: Call, caller: Process, callee: Process | None, at_s: float) -> calls.Told:
        """Let both ends tell of *call*."""
        made = replace(call, spans=self.spans, new_trace=self.new_traces, renamed=self.renames)
        told = calls.tell(made, caller, callee, at_s, self.rng)
        if callee is not None:
            self.account.called.append((told.all_s, self.new_traces or self.renames, call.purpose))
            apart = self.new_traces if self.spans else self.renames
            if told.all_s < math.inf and not apart:  # its two ends can be laid beside each other
                self.host_clocks.look(self, caller, callee, told.all_s)
        return told

    def sign(self, attempt: Attempt, agent: Process, event: str, **more: Value) -> None:
        """Let *agent* say something of *attempt*."""
        heard = agent.say(event, self.clock.now, **dotted(attempt), **more)
        attempt.sign_said_s = self.clock.now
        attempt.sign_heard_s = min(attempt.sign_heard_s, heard.first_s)
        attempt.signs.append((agent.instance, self.clock.now, heard.first_s))
        if heard.last_s < math.inf:
            attempt.sign_last_heard_s = max(attempt.sign_last_heard_s, heard.last_s)
        if event == "task.started":
            attempt.began_heard_s = heard.first_s

    def _accepted(self, attempt: Attempt) -> None:
        """Count how long it took to its first sign, as soon as one is heard."""
        waited = max(0.0, attempt.sign_heard_s - attempt.running_heard_s)
        if waited < math.inf and not attempt.accepted:
            attempt.accepted = True
            self.account.accepts[attempt.kind.name].append(waited)

    def begin(self, attempt: Attempt, agent: Process) -> None:
        """Let the run begin."""
        if attempt.over:
            return
        kind = attempt.kind
        limit = {"task__timeout_s": kind.limit_s} if kind.limit_s else {}
        self.sign(attempt, agent, "task.accepted")
        self.sign(attempt, agent, "task.started", **limit)
        self._accepted(attempt)
        if kind.beat_s:
            self.beats(attempt, agent, self.clock.now + attempt.run_s)
        if attempt.failure and attempt.failure.begun(self, attempt, agent):
            return
        self.clock.after(attempt.run_s, partial(self.finish, attempt, agent))

    def beats(self, attempt: Attempt, agent: Process, until_s: float) -> None:
        """Let the run beat until *until_s*."""
        beat_s = attempt.kind.beat_s or 10.0

        def beat() -> bool:
            if attempt.over or self.clock.now >= until_s:
                return False
            self.sign(attempt, agent, "task.heartbeat", task__heartbeat_interval_s=beat_s)
            self._accepted(attempt)
            return True

        self.clock.every(beat_s, beat)

    def finish(self, attempt: Attempt, agent: Process) -> None:
        """Let the run end, and be reported."""
        if attempt.over:
            return
        if attempt.failure and attempt.failure.finished(self, attempt, agent):
            return
        self.ended(attempt, agent)
        if attempt.failure and attempt.failure.reporting(self, attempt, agent):
            return
        self.report(attempt, agent, self.report_s())

    def ended(self, attempt: Attempt, agent: Process, outcome: str = "") -> float:
        """Let *agent* say that its run is over; return when that is heard first."""
        outcome = outcome or attempt.outcome
        code = 0 if outcome == "success" else 1
        heard = agent.say("task.finished", self.clock.now, task__outcome=outcome,
                          task__exit_code=code, **dotted(attempt))  # fmt: skip
        attempt.sign_heard_s = min(attempt.sign_heard_s, heard.first_s)
        attempt.signs.append((agent.instance, self.clock.now, heard.first_s))
        self._accepted(attempt)
        limit_s = attempt.kind.limit_s
        if limit_s and self.clock.now - attempt.signs[0][1] > limit_s:
            # of a few runs the 99th percentile is the longest
            self.truth(f"{attempt.kind.name}: time-out below the run", heard.first_s,
                       detector="timeout_lattice", must=False)  # fmt: skip
        return heard.first_s

    def report(
        self, attempt: Attempt, agent: Process, takes_s: float, *, status: int = 200
    ) -> calls.Told:
        """Let *agent* report, by a call that takes *takes_s*; it is recorded if that is well."""
        by, now = self.dispatcher, self.clock.now
        request = f"{attempt.task}-r{attempt.attempt}-{self.rng.randrange(1 << 30):x}"
        known = tuple(attempt.known.items())
        call = Call("report", request, takes_s, LIMIT_S, status, known=known)
        told = self.call(call, agent, by, now)
        if call.given_up or status != 200:  # noqa: PLR2004 - of HTTP
            return told
        self.clock.after(takes_s, partial(self.record, attempt, agent, attempt.outcome, by))
        return told

    def record(self, attempt: Attempt, agent: Process, state: str, by: Process) -> float:
        """Let *by* record how it ended; return when that is heard first."""
        heard = by.say("task.recorded", self.clock.now, task__state=state, **dotted(attempt))
        self.free(attempt, agent)
        if state == "success":
            self._lasts.append((self.clock.now, attempt.task))
            if not attempt.reused and attempt.failure is None and attempt.attempt == 1:
                self._old.append((self.clock.now, attempt.task))
        elif attempt.attempt <= len(attempt.pauses_s):
            self.clock.after(attempt.pauses_s[attempt.attempt - 1], partial(self.again, attempt))
        return heard.first_s

    def again(self, attempt: Attempt, *, well: bool = False) -> Attempt:
        """Queue the next attempt; all is *well* with it, or has the usual chance."""
        rng, kind = self.rng, attempt.kind
        self._numbers += 1
        made = Attempt(
            self._numbers, attempt.task, kind, rng.uniform(kind.least_s, kind.most_s),
            attempt.attempt + 1, queue=attempt.queue, depends_on=attempt.depends_on,
            reused=attempt.reused, pauses_s=attempt.pauses_s,
        )  # fmt: skip
        if attempt.failure and attempt.failure.lasting:
            made.failure = attempt.failure
        if not well and rng.random() < FAILS:
            made.outcome = "failure"
        self.enqueue(made)
        return made

    def free(self, attempt: Attempt, agent: Process) -> None:
        """Give back the slot of *attempt*."""
        attempt.over = True
        self.done += 1
        if self.running.pop(attempt.number, None):
            queue = attempt.queue or attempt.kind.queue
            if queue in self.least_slots:
                self.least_slots[queue] += 1
            self._done_by[queue] += 1
            agent.runs.discard(attempt.number)
            self.pump()

    def requeue(self, attempt: Attempt, agent: Process) -> float:
        """Let a dispatcher take it back and make a new attempt; return when that is heard."""
        heard = self.dispatcher.say("task.requeued", self.clock.now, **dotted(attempt))
        self.free(attempt, agent)
        self.again(attempt, well=True)
        for truth in attempt.truths:
            truth.until_s = min(truth.until_s, heard.first_s)
        return heard.first_s

    # -- beside the tasks ---------------------------------------------------------------------

    def _report_s(self) -> float:
        return min(2.0, self.rng.lognormvariate(-1.6, 0.4))

    def _sample(self) -> bool:
        now, by = self.clock.now, self.dispatchers[0]
        for queue in [*self.waiting] or ["default"]:
            self.sample(queue, by, now)
        return True

    def sample(self, queue: str, by: Process, now: float) -> float:
        """Let *by* say how long *queue* is, and so on; return when that is heard first."""
        line = self.waiting[queue]
        flying = sum(1 for one, _ in self.running.values()
                     if (one.queue or one.kind.queue) == queue)  # fmt: skip
        heard = by.say(
            "queue.sampled", now, queue__name=queue, queue__depth=float(len(line)),
            queue__oldest_age_s=max((now - one.enqueued_s for one in line), default=0.0),
            queue__consumers=0.0 if queue in self.held else float(len(self.agents)),
            queue__in_flight=float(flying),
            queue__completed_total=float(self._done_by[queue]),
            queue__enqueued_total=float(self._queued_by[queue]),
        )  # fmt: skip
        self.sampled(queue, line, now, heard.first_s)
        return heard.first_s

    def sampled(self, queue: str, line: deque[Attempt], now: float, heard_s: float) -> None:
        """Be told of a sample; a failure that is about a queue takes its place."""

    def _ask(self) -> bool:
        """Let an agent ask the outside service something that is nobody's task."""
        agents = [one for one in self.agents if one.alive]
        if agents:
            request = f"{self.name}-a{self.rng.randrange(1 << 40):x}"
            known = (("server.address", API),)
            call = Call("other", request, 0.1, LIMIT_S, self.api_status, known)
            told = self.call(call, self.rng.choice(agents), None, self.clock.now)
            self.account.asked.append((told.all_s, self.api_status))
        return True

    def _due(self) -> bool:
        """Let the first dispatcher say that its schedule is due, that it runs, and how it ended."""
        by, now = self.dispatchers[0], self.clock.now
        due = wire.micros(now + by.ahead_s)
        said: dict[str, Value] = {"schedule__name": SCHEDULE, "schedule__due": due,
                                  "schedule__start_grace_s": SCHEDULE_GRACE_S}  # fmt: skip
        by.say("schedule.expected", now, **said)
        if self.schedule_runs:
            by.say("schedule.fired", now + self.rng.uniform(0.1, 2.0), **said)
            self.clock.after(self.rng.uniform(3.0, 30.0), lambda: self._fired_ended(by))
        return True

    def _fired_ended(self, by: Process) -> None:
        outcome = self.schedule_ends
        said: dict[str, Value] = {"schedule__name": SCHEDULE, "task__outcome": outcome}
        heard = by.say("schedule.fired", self.clock.now, **said)
        self.schedule_ended(outcome, heard.first_s)

    def schedule_ended(self, outcome: str, heard_s: float) -> None:
        """Be told how a run of the schedule ended; a failure of it takes its place."""


def dotted(attempt: Attempt) -> dict[str, Value]:
    """Return what is known of *attempt*, as `Process.say` wants it."""
    return {key.replace(".", "__"): value for key, value in attempt.known.items()}
