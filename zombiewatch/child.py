"""A sidecar of our own, as a child: for labs and tests, which see it as anybody does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from zombiewatch.client import AskError, ask, quoted
from zombiewatch.running import ADDRESS_FILE

_START_S: Final = 30.0


class SidecarError(Exception):
    """The sidecar did not start; the message holds its own words."""


class Sidecar:
    """A `zombiewatch run` of our own, as a child; ended with us, even where we are killed."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self.data = Path(config["data_dir"])
        self._config = config
        self._path = folder / "zombiewatch.yaml"
        self._log = folder / "sidecar.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.urls: dict[str, str] = {}

    def start(self) -> None:
        """Start it and wait until it is ready; again on the ports that it had.

        Raises SidecarError.
        """
        if self.process and self.process.stdin:
            self.process.stdin.close()
        for name, url in self.urls.items():
            self._config.setdefault(name, {})["port"] = int(url.rpartition(":")[2])
        self._path.write_text(json.dumps(self._config, indent=2))  # JSON is YAML
        (self.data / ADDRESS_FILE).unlink(missing_ok=True)
        env = {
            name: value for name, value in os.environ.items() if not name.startswith("ZOMBIEWATCH_")
        }
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own command line
                [sys.executable, "-m", "zombiewatch", "run", "--config", str(self._path),
                 "--leash"],
                stdin=subprocess.PIPE, stdout=log, stderr=log, env=env, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                self.urls = json.loads((self.data / ADDRESS_FILE).read_text())
            except (OSError, ValueError):
                time.sleep(0.05)  # a poll of a file, bounded by _START_S
            else:
                return
        words = self._log.read_text(errors="replace")[-2000:]
        self.stop()
        msg = f"the sidecar did not start:\n{words}"
        raise SidecarError(msg)

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        if self.process:
            self.process.kill()
            self._ended(self.process)

    def stop(self) -> None:
        """Tell it to stop, and wait."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
            self._ended(self.process)

    @staticmethod
    def _ended(process: subprocess.Popen[bytes]) -> None:
        process.wait()
        if process.stdin:
            process.stdin.close()

    def findings(self) -> dict[str, Any]:
        """Return all findings, open and ended; nothing while it does not answer."""
        try:
            return ask(self.urls["http"], "/api/v1/findings", state="all", limit=5000)
        except AskError:
            return {"findings": [], "totals": {}}

    def switched(self) -> list[dict[str, Any]]:
        """Return the changes of degrade switches, the oldest first; none while it does not answer.

        Those of policies in dry run are left out.
        """
        try:
            answer = ask(self.urls["http"], "/api/v1/switches/history", limit=1000)
        except AskError:
            return []
        return [one for one in answer["changes"] if not one["dry_run"]]

    def incidents(self) -> list[dict[str, Any]]:
        """Return all open incidents; none while it does not answer."""
        try:
            return list(ask(self.urls["http"], "/api/v1/incidents")["incidents"])
        except AskError:
            return []

    def incident(self, number: int) -> dict[str, Any] | None:
        """Return the open incident of that number, with suspects; None if it ended just now."""
        try:
            return ask(self.urls["http"], f"/api/v1/incidents/{number}")
        except AskError:
            return None

    def story(self, task: str) -> dict[str, Any]:
        """Return the two stories of *task*. Raises AskError."""
        return ask(self.urls["http"], f"/api/v1/tasks/{quoted(task)}")
