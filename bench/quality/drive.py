"""A real sidecar in simulated time: its store, its judge and its file of findings; no ports."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from bench.quality.wire import micros
from collector.store.journal import Entry
from zombiewatch.config import Config
from zombiewatch.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from model.findings import Finding

_APPLIED_S: Final = 120.0
"""So long, of real time, a batch may take at most."""


class Sidecar:
    """One data folder. It is away between `stop` and the next `start`."""

    def __init__(self, folder: Path) -> None:
        self._config = Config(
            namespace="quality",
            data_dir=folder,
            apply_every_s=0.01,
            # a checkpoint is dear, and time goes fast here; a restart makes one anyway
            store={"checkpoint_every_s": 300.0, "memory_limit_bytes": 2 << 30},
        )
        self._now_us = 0
        self.judged_s = 0.0
        self.failed: dict[str, str] = {}

    def start(self, now_s: float) -> None:
        """Open the folder at the simulated moment *now_s*, and take in what comes."""
        self._now_us = micros(now_s)
        self._service = Service(self._config, (), lambda: self._now_us)
        self._service.store.start()
        self._reader = self._service.store.reader()

    @property
    def detectors(self) -> dict[str, float]:
        """The detectors that judge, and how often each looks at most, in seconds."""
        every_s = self._config.evaluate_every_s
        return {one.name: max(every_s, one.every_s) for one in self._service.judge.detectors}

    @property
    def holds(self) -> dict[str, float]:
        """How long each detector lets a thing hold before it is told, in seconds."""
        return {one.name: one.hold_s for one in self._service.judge.detectors}

    def take(self, arrivals: Iterable[tuple[float, list[tuple[str, bytes]]]]) -> None:
        """Take in all *arrivals*, in their order, each at its moment; wait until it is applied."""
        last = None
        for at_s, bodies in arrivals:
            self._now_us = max(self._now_us, micros(at_s))
            for kind, body in bodies:
                last = self._service.store.append(Entry(kind, micros(at_s), body))
        if last is None:
            return
        last.result()
        store = self._service.store
        # what the sidecar itself has to say of it is in the journal by then, and counts too
        while (newest := store.journal_last_id) > store.applied:
            if store.wait_applied(newest, _APPLIED_S):
                continue
            msg = f"a batch was not applied within {_APPLIED_S:g} s: the machine is too slow"
            raise TimeoutError(msg)

    def judge(self, now_s: float) -> None:
        """Evaluate all detectors at *now_s*."""
        self._now_us = micros(now_s)
        report = self._service.judge_now(self._reader)
        self.failed |= report.failed

    def stop(self, now_s: float) -> None:
        """Close the folder, as a restart does."""
        self._now_us = micros(now_s)
        self._reader.close()
        self._service.finish()

    def findings(self) -> list[Finding]:
        """Return all that was ever found, ended or not."""
        return self._service.findings.select(state="all", limit=10_000_000)


logging.getLogger("zombiewatch").setLevel(logging.ERROR)
