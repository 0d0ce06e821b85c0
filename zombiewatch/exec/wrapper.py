"""Runs a job and tells of it: the job first, the telling beside it."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from zombiewatch.exec.asked import begin
from zombiewatch.exec.child import Child, NotStartedError
from zombiewatch.exec.spool import Spool
from zombiewatch.exec.words import Words

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping

    from zombiewatch.exec.asked import Asked
    from zombiewatch.exec.channels import Channels
    from zombiewatch.exec.output import Ends
    from zombiewatch.exec.words import Report

END_S: Final = 2.0
"""How long a job's end may be told, all in all."""

_SEND_S: Final = 3.0
"""How long a report may take while the job runs."""

_FIRST_PAUSE_S: Final = 1.0
_MOST_PAUSE_S: Final = 30.0

HTTP_TOKEN: Final = "ZOMBIEWATCH_HTTP__TOKEN"  # noqa: S105 - the name of a variable
OTLP_TOKEN: Final = "ZOMBIEWATCH_OTLP__TOKEN"  # noqa: S105 - likewise
"""The variables that set the sidecar's tokens tell them to those who speak to it, too."""


def wrap(asked: Asked) -> int:
    """Run the job that is *asked* for to its end; return its exit code as a shell would."""
    words = Words(asked, begin(asked))
    try:
        child = Child.start(asked.command, asked.keep)
    except NotStartedError as error:
        sys.stderr.write(f"zombiewatch: {error}\n")
        Teller(words).end(error.code, {}, f": {error}")
        return error.code
    teller = Teller(words)
    teller.start()
    told: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        told.append(number)
        teller.say(f"{number.name} came, and was passed on")

    code = child.wait(on_signal)
    names = ", ".join(dict.fromkeys(one.name for one in told))
    teller.end(code, child.output, f", after {names} came and was passed on" if told else "")
    return code


class Teller:
    """Tells of a run in a thread of its own, from `start` to `end`."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._spool = Spool(words.asked.spool, words.run.id)
        self._begun = words.start()
        self._start_taken = False
        self._sayings: list[str] = []
        self._stir = threading.Event()
        self._turn = threading.Lock()
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def say(self, text: str) -> None:
        """Have *text* said with a beat, at once."""
        self._sayings.append(text)
        self._stir.set()

    def end(self, code: int, output: Mapping[str, Ends], said: str) -> None:
        """Tell how it ended, within `END_S`; what nobody takes is kept for the next to deliver."""
        until = time.monotonic() + END_S
        with self._turn:
            self._over = True
        self._stir.set()
        if self._thread.is_alive():  # no word of the start may come after that of the end
            self._thread.join(END_S / 2)
        report = self._words.end(code, output, said, start_too=not self._start_taken)
        lost = self._keep(report)
        channels = self._channels()
        if channels.deliver(report, until - time.monotonic()):
            self._spool.taken(report)
            self._others(channels, until)
        elif lost is not None:
            name = self._words.asked.name
            sys.stderr.write(
                f"zombiewatch: how {name} ended could neither be told nor kept: {lost}\n"
            )

    def _keep(self, report: Report) -> OSError | None:
        try:
            self._spool.put(report)
        except OSError as error:
            return error
        return None

    def _run(self) -> None:
        channels = self._channels()
        beat_s = self._words.asked.beat_s
        with self._turn:
            if not self._over:
                self._keep(self._begun)
        begun = time.monotonic()
        next_beat, next_try, pause = begun + beat_s, begun, _FIRST_PAUSE_S
        while not self._over:
            now = time.monotonic()
            if not self._start_taken and now >= next_try:
                self._tell_start(channels)
                next_try, pause = time.monotonic() + pause, min(2 * pause, _MOST_PAUSE_S)
            if self._sayings or now >= next_beat:
                text = self._sayings.pop(0) if self._sayings else ""
                channels.beat(self._words.beat(text), _SEND_S)
                next_beat = max(now, next_beat) if text else next_beat
                next_beat = _after(next_beat, beat_s)
            due = next_beat if self._start_taken else min(next_beat, next_try)
            if not self._sayings:
                self._stir.wait(max(0.0, due - time.monotonic()))
            self._stir.clear()

    def _tell_start(self, channels: Channels) -> None:
        if channels.deliver(self._begun, _SEND_S):
            self._start_taken = True
            self._spool.taken(self._begun)
            self._others(channels, None)

    def _others(self, channels: Channels, until: float | None) -> None:
        """Deliver what earlier runs have left behind; the sidecar has just answered."""

        def deliver(report: Report) -> bool:
            left = _SEND_S if until is None else until - time.monotonic()
            return (
                left > 0
                and (until is not None or not self._over)
                and (channels.deliver(report, left))
            )

        self._spool.deliver_others(deliver)

    def _channels(self) -> Channels:
        # what speaks HTTP is loaded when the job runs
        from zombiewatch.exec.channels import Channels

        asked, env = self._words.asked, os.environ
        return Channels(asked.otlp, asked.url, env.get(OTLP_TOKEN), env.get(HTTP_TOKEN))


def _after(due: float, every_s: float) -> float:
    """Return the next time that is to come, in steps from *due*: what was slept through is gone."""
    now = time.monotonic()
    return due + every_s * max(1, int((now - due) // every_s) + 1)
