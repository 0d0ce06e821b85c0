"""The page's views: what is asked for is looked up, and rendered on the server."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import quote, quote_plus

from aiohttp import web
from markupsafe import Markup
from pydantic import BaseModel, ValidationError

from alerts.rules.findings import name_of
from dashboards.web import lanes, page
from detectors._suspects import WEIGHTS
from model.findings import SEVERITIES, SUREST
from model.units import iso
from zombiewatch import reading
from zombiewatch.access import LOGIN, WHO
from zombiewatch.operations import Clearing, Filters, Setting, Words
from zombiewatch.overview import overview
from zombiewatch.sayings import ACTIONS, SayingError
from zombiewatch.switches import ConflictError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from model.findings import Finding, FindingJson, Verdict
    from zombiewatch.access import Access, Who
    from zombiewatch.service import Service

T = TypeVar("T")
Form = TypeVar("Form", bound=BaseModel)

_LISTED: Final = 200
_ENDED: Final = 40
_CHANGES: Final = 200

_POSTED: Final = web.RequestKey("posted", dict)
_TYPED: Final = {"level": "L1", "until": "30m", "reason": ""}

_KINDS: Final = {"tasks": "task", "requests": "request_id", "traces": "trace_id"}
"""Part of an address → the column of the signals by which a story is told."""

_NAMES: Final = {"task": "task", "request_id": "request", "trace_id": "trace"}
_WEIGHT_NAMES: Final = {"figures": "its calls", "errors": "errors logged", "depth": "how deep"}

_LIVE: Final = {
    "overview": "figures", "queues": "figures", "timeouts": "figures", "sources": "figures",
    "login": "no", "error": "no", "find": "no",
}  # fmt: skip
"""What keeps a view up to date: each look at the figures, or (by default) what changes only."""

_OURS: Final = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?")
_BAD_REQUEST: Final = 400
_THREADS: Final = 2


class Web:
    """The views of one service, with who may do what by *access*."""

    def __init__(self, service: Service, access: Access) -> None:
        self._service = service
        self._access = access
        # its own: however many look, what comes in has its threads
        self._pool = ThreadPoolExecutor(_THREADS, "page")

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/", self._shown(self._overview, "overview")),
            web.get("/findings", self._shown(self._findings, "findings")),
            web.get("/findings/{id:[0-9]{1,18}}", self._shown(self._finding, "finding")),
            web.get("/incidents/{id:[0-9]{1,18}}", self._shown(self._incident, "incident")),
            *(
                web.get(f"/{kind}/{{id:.+}}", self._shown(self._story(column), "story"))
                for kind, column in _KINDS.items()
            ),
            web.get("/find", self._shown(self._find, "find")),
            web.get("/queues", self._shown(self._queues, "queues")),
            web.get("/timeouts", self._shown(self._timeouts, "timeouts")),
            web.get("/sources", self._shown(self._sources, "sources")),
            web.get("/switches", self._shown(self._switches, "switches")),
            web.post("/switches/set", self._set),
            web.post("/switches/clear", self._clear),
            web.post("/findings/{id:[0-9]{1,18}}/say", self._say),
            web.get(LOGIN, self._shown(self._login, "login")),
            web.post(LOGIN, self._sign_in),
        ]

    async def close(self, _app: web.Application) -> None:
        """Look nothing up any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # -- looking --------------------------------------------------------------------------

    def _shown(
        self, look: Callable[[web.Request], dict[str, Any]], name: str
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return a handler that renders view *name* with what *look* finds, in a thread."""

        async def handle(request: web.Request) -> web.Response:
            return await self._in_thread(self._rendered, request, look, name)

        return handle

    async def _in_thread(self, do: Callable[..., T], *given: Any, **named: Any) -> T:  # noqa: ANN401
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(do, *given, **named))

    def _rendered(
        self,
        request: web.Request,
        look: Callable[[web.Request], dict[str, Any]],
        name: str,
        error: str = "",
        status: int = 200,
    ) -> web.Response:
        try:
            said = look(request)
        except (web.HTTPNotFound, web.HTTPBadRequest) as refused:
            told = {"title": "Not here", "text": refused.text}
            return self._html("error", request, told, status=refused.status)
        status = said.pop("status", status)
        return self._html(name, request, said, error=error, status=status)

    def _html(
        self,
        name: str,
        request: web.Request,
        said: Mapping[str, Any],
        *,
        error: str = "",
        status: int = 200,
    ) -> web.Response:
        who: Who = request[WHO]
        base = {
            "now": iso(self._service.clock()),
            "now_us": self._service.clock(),
            "view": request.path,
            "who": who,
            "may": {"change": who.may_change, "how": self._access.how, "here": request.path_qs},
            "live": "no" if error else _LIVE.get(name, "changes"),
            "error": error,
        }
        body = page.render(name, {**base, **said})
        return web.Response(
            body=body, status=status, content_type="text/html", charset="utf-8",
            headers={"Cache-Control": "no-store"},
        )  # fmt: skip

    def _overview(self, _request: web.Request) -> dict[str, Any]:
        shown = self._service.open_now()
        ended = self._service.select("closed", limit=_ENDED)[::-1]
        return {
            **overview(self._service, shown),
            "switches": self._service.switches_now()["switches"],
            "findings": [one.as_json() for one in sorted(shown, key=_urgency)[:_LISTED]],
            "ended": [one.as_json() for one in ended],
        }

    def _findings(self, request: web.Request) -> dict[str, Any]:
        given = {name: value for name, value in request.query.items() if value}
        try:
            asked = Filters.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            raise web.HTTPBadRequest(text=f"{first['loc'][0]}: {first['msg']}") from None
        filters = asked.model_dump(exclude={"state", "limit"})
        found = self._service.select(asked.state, asked.limit, **filters)
        return {
            "asked": asked.model_dump(),
            "detectors": [one.name for one in self._service.judge.detectors],
            "findings": [one.as_json() for one in sorted(found, key=_urgency)],
        }

    def _finding(self, request: web.Request) -> dict[str, Any]:
        one = self._numbered(request)
        said = {
            **one.as_json(),
            "said": [each.as_json() for each in self._service.sayings.history(one.key)],
        }
        story, drawn = self._story_of(one)
        links = self._links(one.as_json(), story)
        if one.verdict == "confirmed" and one.ended_us is None:
            links.insert(0, (f"/incidents/{one.id}", "incident"))
        return {
            "finding": said,
            "cause": self._service.causes.get((one.detector, one.service or "")),
            "links": links,
            "timeline": story,
            "lanes": drawn,
            **({"live": "no"} if one.ended_us is not None else {}),  # it changes no more
        }

    def _incident(self, request: web.Request) -> dict[str, Any]:
        number = int(request.match_info["id"])
        found = reading.incident(self._service, number)
        if found is None:
            raise web.HTTPNotFound(text=f"no open incident has the finding {number}")
        shown = {one.id: one for one in self._service.judge.shown}
        members = (shown.get(each) for link in found["chain"] for each in link["findings"])
        told = next((one for one in members if one and (one.task or one.request_id)), None)
        story, drawn = self._story_of(told) if told else (None, None)
        head = found["head"]
        of = {"detector": head["detector"], "service": head["service"]}
        return {
            "incident": found,
            "weights": WEIGHTS,
            "weight_names": _WEIGHT_NAMES,
            "links": self._links(of, story),
            "timeline": story,
            "lanes": drawn,
            "timeline_of": told.subject if told else "",
        }

    def _story(self, column: str) -> Callable[[web.Request], dict[str, Any]]:
        def look(request: web.Request) -> dict[str, Any]:
            value = request.match_info["id"]
            story = reading.story(self._service, column, value)
            return {
                "kind": _NAMES[column],
                "value": value,
                "timeline": story,
                "lanes": self._drawn(story),
                "links": [(f"/api/v1{quote(request.path)}", "as JSON"), *self._traces(story)],
                "status": 200 if story["found"] else 404,
            }

        return look

    def _find(self, request: web.Request) -> dict[str, Any]:
        asked = request.query.get("q", "").strip()
        for part, column in _KINDS.items():
            if asked and self._service.store.timeline(column, asked, limit=1):
                raise web.HTTPSeeOther(f"/{part}/{quote(asked, safe='')}")
        number = asked.lstrip("#")
        if number.isdecimal() and len(number) < 19 and self._service.finding(int(number)):  # noqa: PLR2004 - SQLite's
            raise web.HTTPSeeOther(f"/findings/{number}")
        return {"asked": asked, "status": 404}

    def _queues(self, _request: web.Request) -> dict[str, Any]:
        return {"queues": self._service.trends.queues}

    def _timeouts(self, _request: web.Request) -> dict[str, Any]:
        return {"timeouts": reading.timeouts(self._service)}

    def _sources(self, _request: web.Request) -> dict[str, Any]:
        return {
            "namespace": self._service.config.namespace,
            "sources": reading.sources(self._service),
            "coverage": reading.coverage(self._service),
            "gaps": reading.gaps(self._service),
            "files": self._service.files.statuses(),
        }

    def _switches(self, request: web.Request) -> dict[str, Any]:
        service = self._service
        heard = {one.service for one in service.judge.shown if one.service}
        return {
            **service.switches_now(),
            "follows": service.config.degrade.follow,
            "services": sorted(heard | set(service.switches.services()))[:_LISTED],
            "form": {"service": request.query.get("service", ""), **_TYPED, **_posted(request)},
            "changes": service.switches.history(None, _CHANGES)[::-1],
            "broken_at": service.switches.broken_at(),
        }

    def _login(self, request: web.Request) -> dict[str, Any]:
        return {"to": _ours(request.query.get("to", "/"))}

    # -- changing -------------------------------------------------------------------------

    async def _set(self, request: web.Request) -> web.Response:
        said = await self._said(request)
        return await self._changed(
            request, lambda: self._service.set_switch(**_checked(Setting, said).model_dump())
        )

    async def _clear(self, request: web.Request) -> web.Response:
        said = await self._said(request)
        return await self._changed(
            request, lambda: self._service.clear_switch(**_checked(Clearing, said).model_dump())
        )

    async def _changed(self, request: web.Request, change: Callable[[], None]) -> web.Response:
        try:
            await self._in_thread(change)
        except SayingError as error:
            status = 409 if isinstance(error, ConflictError) else _BAD_REQUEST
            return await self._in_thread(
                self._rendered, request, self._switches, "switches", str(error), status
            )
        raise web.HTTPSeeOther("/switches")

    async def _say(self, request: web.Request) -> web.Response:
        said = await self._said(request)
        one = await self._in_thread(self._numbered, request)
        action = said.pop("action", "")

        def say() -> None:
            if action not in {*ACTIONS, "undo"}:
                raise SayingError(f"{action!r} is nothing that can be done")
            words = _checked(Words, {**said, "until": said.get("until") or None})
            self._service.say(one, action, **words.model_dump())

        try:
            await self._in_thread(say)
        except SayingError as error:
            return await self._in_thread(
                self._rendered, request, self._finding, "finding", str(error), _BAD_REQUEST
            )
        raise web.HTTPSeeOther(f"/findings/{one.id}")

    async def _sign_in(self, request: web.Request) -> web.Response:
        form = {str(name): str(value) for name, value in (await request.post()).items()}
        name, to = form.get("name", "").strip(), _ours(form.get("to", "/"))
        response = web.Response(status=303, headers={"Location": to})
        tls = request.scheme == "https"
        if name and self._access.sign_in(response, name, form.get("token", ""), tls=tls):
            return response
        said = {"to": to}
        return self._html("login", request, said, error="That is not the token.", status=403)

    @staticmethod
    async def _said(request: web.Request) -> dict[str, Any]:
        """Return what a form says, and who says it."""
        posted = await request.post()
        form = {str(name): str(value) for name, value in posted.items()}
        request[_POSTED] = form
        who: Who = request[WHO]
        return {**form, "by": who.name or "page"}

    # -- within ---------------------------------------------------------------------------

    def _numbered(self, request: web.Request) -> Finding:
        number = int(request.match_info["id"])
        one = self._service.finding(number)
        if one is None:
            raise web.HTTPNotFound(text=f"there is no finding {number}")
        return one

    def _story_of(self, one: Finding) -> tuple[Any, Markup | None]:
        column = "task" if one.task else "request_id" if one.request_id else None
        if column is None:
            return None, None
        story = reading.story(self._service, column, str(getattr(one, column)), one.namespace)
        return story, self._drawn(story)

    def _drawn(self, story: Mapping[str, Any]) -> Markup | None:
        if not story["found"]:
            return None
        drawn = lanes.draw(story, now_us=self._service.clock())
        return Markup(drawn)  # noqa: S704 - it escapes what others have said

    def _links(
        self, of: FindingJson | Mapping[str, Any], story: Mapping[str, Any] | None
    ) -> list[tuple[str, str]]:
        detector, service = str(of["detector"]), of["service"]
        made = [(f"/runbooks/{detector}", "runbook")]
        if of.get("task"):
            made.append((f"/tasks/{quote(str(of['task']), safe='')}", "the whole task"))
        base = self._service.config.alertmanager.url
        if base:
            matchers = f'{{alertname="{name_of(detector)}"'
            matchers += f',service="{service}"' if service else ""
            filled = quote_plus(matchers + "}")
            made.append((f"{base.rstrip('/')}/#/silences/new?filter={filled}", "silence"))
        if service:
            made.append((f"/switches?service={quote(str(service), safe='')}", "degrade switch"))
        return [*made, *self._traces(story)]

    def _traces(self, story: Mapping[str, Any] | None) -> list[tuple[str, str]]:
        form = self._service.config.http.trace_url
        found = dict.fromkeys(one["trace_id"] for one in (story or {}).get("entries", ()))
        known = [str(one) for one in found if one][:3]
        if form is None:
            return [(f"/traces/{quote(one, safe='')}", f"trace {one[:8]}") for one in known]
        return [(form.replace("{trace_id}", quote(one)), f"trace {one[:8]}") for one in known]


def _urgency(one: Finding) -> tuple[int, int, int]:
    """Sort what is surest and worst first, of these the oldest."""
    return SUREST.index(cast("Verdict", one.verdict)), -SEVERITIES.index(one.severity), one.since_us


def _posted(request: web.Request) -> dict[str, str]:
    """Return what was typed, where that was refused: nobody types it twice."""
    return dict(request.get(_POSTED, {}))


def _checked(form: type[Form], said: Mapping[str, Any]) -> Form:
    """Return *said* as *form*. Raises SayingError, with what is wrong."""
    number = str(said.get("generation", ""))
    whole = {**said, "generation": int(number)} if number.isdecimal() else said
    try:
        return form.model_validate(whole)
    except ValidationError as error:
        first = error.errors()[0]
        raise SayingError(f"{first['loc'][0]}: {first['msg']}") from None


def _ours(path: str) -> str:
    """Return *path*, if it is one of ours: nobody is sent elsewhere after signing in.

    Browsers take out control characters, and read a backslash as a slash.
    """
    return path if _OURS.fullmatch(path) else "/"
