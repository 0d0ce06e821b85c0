"""The API of somebody else: it knows the newest release of each package, and counts its callers.

Who shows a token in a header that it understands may call as often as anybody needs to. Whoever
does not is anonymous, and turned away after a few calls. It is not ours, so it sends no telemetry.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from labs._figures import show
from labs._http import listen
from labs._options import Options, parser
from labs._process import say_ready, stop_event
from labs.webinstall.options import BUGS, TOKEN, UPSTREAM

if TYPE_CHECKING:
    from pathlib import Path

LATEST: Final = "/packages/{package}/latest"

ACCOUNT_LIMIT: Final = 5_000
ANONYMOUS_LIMIT: Final = 12
"""Calls an hour; no lab lasts so long that an hour begins anew."""

_RETRY_AFTER_S: Final = 3600


@dataclass(slots=True)
class Api:
    """The API, and how often it was called; the figures go into the file *state*."""

    state: Path
    account: int = 0
    anonymous: int = 0
    turned_away: int = 0

    async def latest(self, request: web.Request) -> web.Response:
        """Say which release is the newest: 200, or 429 to who has used up its calls."""
        known = request.headers.get("Authorization") == f"token {TOKEN}"
        if known:
            self.account += 1
            limit, used = ACCOUNT_LIMIT, self.account
        else:
            self.anonymous += 1
            limit, used = ANONYMOUS_LIMIT, self.anonymous
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - used)),
        }
        if used > limit:
            self.turned_away += 1
            headers["Retry-After"] = str(_RETRY_AFTER_S)
            self.show()
            return web.json_response({"error": "too many calls"}, status=429, headers=headers)
        self.show()
        version = {"package": request.match_info["package"], "version": "1.7.1"}
        return web.json_response(version, headers=headers)

    def show(self) -> None:
        """Let those who look on see the figures."""
        show(
            self.state,
            {
                "account_calls": self.account,
                "anonymous_calls": self.anonymous,
                "turned_away": self.turned_away,
            },
        )


async def serve(state: Path) -> None:
    """Serve the API on a free port of loopback until SIGTERM."""
    stop = stop_event()
    api = Api(state)
    api.show()
    app = web.Application()
    app.router.add_get(LATEST, api.latest)
    runner, url = await listen(app)
    say_ready(url=url)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    """Run the program."""
    given = Options.of(parser("labs.webinstall.upstream", __doc__ or "", BUGS).parse_args())
    asyncio.run(serve(given.work / UPSTREAM))


if __name__ == "__main__":
    main()
