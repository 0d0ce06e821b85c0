"""Asks a running sidecar over its HTTP API."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final

from zombiewatch._direct import opened

DEFAULT: Final = "http://127.0.0.1:9797"
TOKEN: Final = "ZOMBIEWATCH_HTTP__TOKEN"  # noqa: S105 - the name of a variable
"""The variable that sets the sidecar's token tells it to those who ask, too."""

_TIMEOUT_S: Final = 10.0


class AskError(Exception):
    """The sidecar did not answer as hoped; the message says what and how to mend it."""


def ask(base: str, path: str, **query: str | int | None) -> dict[str, Any]:
    """Return the JSON at *path* of the sidecar at *base*. Raises AskError."""
    given = {name: value for name, value in query.items() if value is not None}
    asked = f"{path}?{urllib.parse.urlencode(given)}" if given else path
    return _answer(base, asked, token=os.environ.get(TOKEN))


def ask_with(token: str | None, base: str, path: str) -> dict[str, Any]:
    """Return the same for *token* alone: the environment's is not told to just anybody."""
    return _answer(base, path, token=token)


def tell(base: str, path: str, said: object, *, takes_s: float = 0.0) -> dict[str, Any]:
    """Send *said* as JSON to *path* of the sidecar; return its answer. Raises AskError.

    *takes_s* is how long the sidecar may take to answer, beside the usual.
    """
    body, token = json.dumps(said).encode(), os.environ.get(TOKEN)
    return _answer(base, path, body, _TIMEOUT_S + takes_s, token)


def _answer(
    base: str,
    path: str,
    body: bytes | None = None,
    timeout_s: float = _TIMEOUT_S,
    token: str | None = None,
) -> dict[str, Any]:
    url = f"{base.rstrip('/')}{path}"
    if not url.startswith(("http://", "https://")):
        msg = f"{base} is not an http address"
        raise AskError(msg)
    try:
        request = urllib.request.Request(url, body)  # noqa: S310 - http or https, as checked
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with opened(request, timeout_s) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        try:
            text = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):
            text = text.strip() or str(error)
        raise AskError(text) from None
    except (OSError, ValueError) as error:
        msg = (
            f"no zombiewatch answers at {base} ({error});"
            " start one with `zombiewatch run`, or say --url"
        )
        raise AskError(msg) from None


def quoted(identifier: str) -> str:
    """Return *identifier* as part of a path."""
    return urllib.parse.quote(identifier, safe="")
