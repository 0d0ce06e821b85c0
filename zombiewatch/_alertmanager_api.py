"""Alertmanager's API v2: one request at a time, and what went wrong in words."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Final

from zombiewatch._direct import opened

_ASK_S: Final = 5.0
_SHOWN: Final = 300


class AlertmanagerError(Exception):
    """Alertmanager did not do what it was asked for; the message says why."""


def text(url: str) -> str:
    """Return what is at *url*. Raises AlertmanagerError."""
    try:
        with opened(url, _ASK_S) as answer:
            return str(answer.read().decode())
    except (OSError, ValueError) as error:
        raise AlertmanagerError(f"{url} does not answer: {error}") from None


def told(base: str, method: str, path: str, body: Any = None) -> Any:  # noqa: ANN401 - JSON
    """Return the answer to *method* of *path* of the API at *base*; None where it says nothing.

    Raises AlertmanagerError.
    """
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(  # noqa: S310 - where the settings say
            f"{base.rstrip('/')}/api/v2/{path}", data, headers, method=method
        )
        with opened(request, _ASK_S) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:_SHOWN]
        raise AlertmanagerError(f"{base} refuses {path}: {said or error}") from None
    except (OSError, ValueError) as error:
        raise AlertmanagerError(f"{base} does not take {path}: {error}") from None


def post(base: str, alerts: list[dict[str, Any]]) -> None:
    """Give *alerts* to the Alertmanager at *base*. Raises AlertmanagerError."""
    told(base, "POST", "alerts", alerts)
