"""`zombiewatch run`: from settings to a served sidecar, with errors as people can use them."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sqlite3
import sys
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Final

from collector.receivers.celery import CelerySetupError
from collector.store import allocator
from collector.store.folder import DataFolderError
from detectors._kit import BrokenDetectorError
from zombiewatch.service import Service
from zombiewatch.serving import PortError, serve
from zombiewatch.settings import gather
from zombiewatch.sources import ConfigError
from zombiewatch.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ADDRESS_FILE: Final = "address.json"
"""In the data folder while the sidecar runs: where it listens."""


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class _Lines(logging.Formatter):
    """Each message on one line: what the watched say cannot pass for a line of ours."""

    def format(self, record: logging.LogRecord) -> str:
        tame = copy(record)
        tame.msg, tame.args = _CONTROL.sub(_escape, record.getMessage()), None
        return super().format(tame)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def run_service(path: Path | None, overrides: Mapping[str, object], *, leash: bool = False) -> int:
    """Run a sidecar until it is told to stop (see `serve`); return its exit status."""
    try:
        settings = gather(path, overrides)
    except (ConfigError, BrokenDetectorError) as error:
        sys.stderr.write(f"zombiewatch: {error}\n")
        return 2
    config = settings.config
    handler = logging.StreamHandler(sys.stderr)
    if config.log.as_json:
        handler.setFormatter(_JsonLines())
    else:
        handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=config.log.level.upper(), handlers=[handler])
    allocator.keep()
    try:
        service = Service(config, settings.rules)
    except (DataFolderError, TlsError, CelerySetupError) as error:
        sys.stderr.write(f"zombiewatch: {error}\n")
        return 1
    except (OSError, sqlite3.Error) as error:
        what = f"{config.data_dir} cannot be used as the data folder: {error}"
        sys.stderr.write(f"zombiewatch: {what}; see what is in the way, or name another data_dir\n")
        return 1
    address = config.data_dir / ADDRESS_FILE
    try:
        asyncio.run(serve(service, lambda urls: _ready(urls, address), leash=leash))
    except (PortError, TlsError) as error:
        sys.stderr.write(f"zombiewatch: {error}\n")
        return 1
    finally:
        with suppress(OSError):
            address.unlink(missing_ok=True)
    return 0


def _ready(urls: Mapping[str, str], address: Path) -> None:
    try:
        address.write_text(json.dumps(urls))
    except OSError as error:  # a full disk, say: no reason not to run
        logging.getLogger("zombiewatch").warning("%s could not be written: %s", address, error)
    over_grpc = f"  OTLP/gRPC: {urls['grpc']}" if "grpc" in urls else ""
    sys.stderr.write(
        f"zombiewatch is ready. Page and API: {urls['http']}  OTLP: {urls['otlp']}{over_grpc}  "
        f"Data: {address.parent.resolve()}\n"
    )
