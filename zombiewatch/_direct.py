"""HTTP straight to where it says: a proxy of the environment has no business between us."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from http.client import HTTPResponse


def opened(request: str | urllib.request.Request, timeout_s: float) -> HTTPResponse:
    """Return the answer to *request*, to be closed. Raises as `urllib.request.urlopen` does."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return cast("HTTPResponse", opener.open(request, timeout=timeout_s))
