"""Somebody who is told: a webhook behind an Alertmanager with the configuration that we write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from tests.e2e._sidecar import zombiewatch
from zombiewatch import chain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def told_by(folder: Path, receivers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `zombiewatch alertmanager` writes for *receivers*, with groups told at once."""
    path = folder / "zombiewatch.yaml"
    path.write_text(yaml.safe_dump({"alertmanager": {"receivers": dict(receivers)}}))
    made = zombiewatch("alertmanager", "-c", str(path))
    assert made.returncode == 0, made.stderr
    return chain.told_soon(yaml.safe_load(made.stdout))


class Told(chain.Told):
    """A webhook: what Alertmanager has told it."""

    def of(self, name: str, service: str, status: str = "firing") -> list[dict[str, Any]]:
        """Return the alerts *name* of *service* that somebody was told of, in that *status*."""
        return [
            alert
            for _, message in self.messages
            for alert in message["alerts"]
            if alert["status"] == status
            and alert["labels"]["alertname"] == name
            and alert["labels"].get("service") == service
        ]

    def paths(self, name: str) -> set[str]:
        """Return where alerts of that *name* were told."""
        return {
            path
            for path, message in self.messages
            if any(alert["labels"]["alertname"] == name for alert in message["alerts"])
        }
