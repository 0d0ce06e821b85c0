"""Who may look, and who may change something: by token, by a proxy's word, or from this machine.

Programs send `Authorization: Bearer …`; a browser signs in with the same token and a name, and
keeps a cookie of which no other site can make use. Behind a proxy that signs people in, its header
says who they are. Without any of these the page is there to be read: changes are for programs on
this machine (the command line), never for what a browser sends.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

from aiohttp import web

from collector.receivers.token import ASKED, admits
from model.units import SECOND_US
from zombiewatch._listeners import is_loopback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from model.clock import Clock
    from zombiewatch._listeners import Http

COOKIE: Final = "zombiewatch"
LOGIN: Final = "/login"

_LASTS_S: Final = 12 * 3600
"""A shift: so long somebody stays signed in."""

_CHANGES: Final = re.compile(
    r"(?P<api>/api/v1)?/(switches/(set|clear)|findings/\d+/(say|ack|dismiss|undo))"
)
"""What a person changes. Signs of life, pings and questions are no changes."""

_STRANGE: Final = (
    "asked for by a name: without a token this is for 127.0.0.1 and localhost alone (http.token)"
)

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NAME_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: their name, if it is known, and whether they may change anything on the page."""

    name: str = ""
    may_change: bool = False


WHO: Final = web.RequestKey("who", Who)


class Access:
    """Decides for each request, by the settings of the listener *http*."""

    def __init__(self, http: Http, open_paths: tuple[str, ...], clock: Clock) -> None:
        self._clock = clock
        self._token = http.token.get_secret_value() if http.token else None
        self._header = http.user_header
        self._may_change = frozenset(http.may_change)
        self._proxies = [ipaddress.ip_network(one) for one in http.proxies]
        self._open = (*open_paths, LOGIN)
        # nothing but its address keeps strangers away: a page that a browser has of elsewhere must
        # not come in by a name that it lets point here
        self._by_address_alone = not self._token and not self._header and is_loopback(http.host)
        self._key = hashlib.sha256(f"zombiewatch session {self._token}".encode()).digest()

    @property
    def how(self) -> str:
        """How somebody gets the right to change: `token`, `proxy`, or `none`."""
        return "token" if self._token else "proxy" if self._header else "none"

    def middleware(self) -> Any:  # noqa: ANN401 - a middleware
        """Return what lets requests in, and says who asks (`request[WHO]`)."""

        @web.middleware
        async def check(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            if self._by_address_alone and not _is_here(request.host):
                raise web.HTTPMisdirectedRequest(text=_STRANGE)
            who = self._who(request)
            if who is None and not request.path.startswith(self._open):
                return self._refused(request)
            request[WHO] = who or Who()
            if request.method not in _SAFE:
                self._check(request)
            return await handler(request)

        return check

    def _check(self, request: web.Request) -> None:
        """Refuse what may not be changed. Raises web.HTTPForbidden.

        The page's forms are for who may; so is everything that a browser sends, and what comes
        past a proxy that names people. Whether it comes from a browser, only the browser says.
        """
        needs = _by_a_browser(request)
        if needs:
            self._check_same_site(request)
        if change := _CHANGES.fullmatch(request.path):
            needs |= self._header is not None or change["api"] is None
        if needs and not request[WHO].may_change and request.path != LOGIN:
            raise web.HTTPForbidden(text="this may be read, and you may not change it")

    def sign_in(self, response: web.StreamResponse, name: str, token: str, *, tls: bool) -> bool:
        """Give *response* the cookie of *name*, if *token* is the right one; say whether it is."""
        if self._token is None or not hmac.compare_digest(token.encode(), self._token.encode()):
            return False
        until = self._now_s() + _LASTS_S
        value = f"{until}.{quote(name[:_NAME_MAX])}"
        response.set_cookie(
            COOKIE, f"{value}.{self._sign(value)}", max_age=_LASTS_S, httponly=True,
            samesite="Strict", secure=tls, path="/",
        )  # fmt: skip
        return True

    def _who(self, request: web.Request) -> Who | None:
        """Return who asks; None where they may not even look."""
        if self._token and admits(self._token, request.headers.get("Authorization", "")):
            return Who(may_change=True)
        if (name := self._of_cookie(request.cookies.get(COOKIE, ""))) is not None:
            return Who(name, may_change=True)
        if name := self._of_proxy(request):
            return Who(name, may_change=not self._may_change or name in self._may_change)
        return Who() if self._token is None else None

    def _of_cookie(self, cookie: str) -> str | None:
        value, _, said = cookie.rpartition(".")
        until, _, name = value.partition(".")
        signed = self._sign(value).encode()
        # bytes: of texts that are not ASCII it makes no comparison
        said_ = said.encode(errors="surrogateescape")
        good = self._token is not None and hmac.compare_digest(said_, signed)
        if not good or not until.isdecimal() or int(until) < self._now_s():
            return None
        return unquote(name)

    def _now_s(self) -> int:
        return self._clock() // SECOND_US

    def _sign(self, value: str) -> str:
        text = value.encode(errors="surrogateescape")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()

    def _of_proxy(self, request: web.Request) -> str:
        if not self._header or not request.remote:
            return ""
        try:
            peer = ipaddress.ip_address(request.remote.partition("%")[0])
        except ValueError:
            return ""
        said = request.headers.getall(self._header, [])
        # of two names one may be what a client has put there, and a proxy has only added to
        trusted = len(said) == 1 and any(peer in one for one in self._proxies)
        return said[0][:_NAME_MAX] if trusted else ""

    def _refused(self, request: web.Request) -> web.StreamResponse:
        if request.method in _SAFE and "text/html" in request.headers.get("Accept", ""):
            raise web.HTTPSeeOther(f"{LOGIN}?to={quote(request.path_qs)}")
        refused = web.json_response({"error": ASKED}, status=401)
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused

    @staticmethod
    def _check_same_site(request: web.Request) -> None:
        """Refuse what another site has a browser send.

        The browser's own word counts most: it knows by which name it asked, also where a proxy
        has put another one in. Over plain HTTP to another machine it only says from where.
        """
        site = request.headers.get("Sec-Fetch-Site")
        if site is None:
            origin = urlsplit(request.headers.get("Origin", "")).netloc
            site = "same-origin" if origin == request.host else "another"
        if site != "same-origin":
            raise web.HTTPForbidden(text="this was sent by another site")


def _is_here(host: str) -> bool:
    """Say whether *host*, as a request names it, is this machine and no name of anybody's."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return True


def _by_a_browser(request: web.Request) -> bool:
    """Say whether a browser sends this: each of them says whence, with whatever changes things."""
    return "Origin" in request.headers or "Sec-Fetch-Site" in request.headers
