"""Somebody who is told: a webhook behind an Alertmanager with the configuration that we write."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import yaml

from tests.e2e._sidecar import zombiewatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def told_by(folder: Path, receivers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `zombiewatch alertmanager` writes for *receivers*, with groups told at once."""
    path = folder / "zombiewatch.yaml"
    path.write_text(yaml.safe_dump({"alertmanager": {"receivers": dict(receivers)}}))
    made = zombiewatch("alertmanager", "-c", str(path))
    assert made.returncode == 0, made.stderr
    said = made.stdout.replace("group_wait: 30s", "group_wait: 2s")
    return dict(yaml.safe_load(said.replace("group_interval: 5m", "group_interval: 1s")))


class Told:
    """A webhook: keeps what Alertmanager posts, by the path that it posts to."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.messages.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def receivers(self, *tiers: str) -> dict[str, Any]:
        """Return what tells us of each of *tiers*, under its name."""
        return {tier: {"webhook_configs": [{"url": f"{self.url}/{tier}"}]} for tier in tiers}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

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
