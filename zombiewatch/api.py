"""The one address for people and programs: page, JSON, metrics, health, heartbeats, pings."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from collector.receivers import heartbeat, ping
from collector.store.ask import QuestionError
from dashboards.web import page
from model.units import iso
from zombiewatch import operations as ops
from zombiewatch import reading
from zombiewatch.access import WHO, Access
from zombiewatch.ofrep import Ofrep
from zombiewatch.openapi import document
from zombiewatch.operations import (
    Changes,
    Clearing,
    Filters,
    Pace,
    Question,
    Setting,
    Signature,
    Words,
)
from zombiewatch.overview import overview
from zombiewatch.runbooks import runbooks
from zombiewatch.sayings import SayingError
from zombiewatch.scaling import NotKnownError, wanted
from zombiewatch.switches import ConflictError
from zombiewatch.web import Web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from model.findings import Finding
    from zombiewatch.operations import (
        AnswerJson,
        FileJson,
        FindingsJson,
        HistoryJson,
        IncidentsJson,
        OneFindingJson,
        Operation,
        SourcesJson,
    )
    from zombiewatch.overview import OverviewJson
    from zombiewatch.scaling import ScaleJson
    from zombiewatch.service import Service
    from zombiewatch.timeline import TimelineJson
    from zombiewatch.views import QueuesJson, TimeoutsJson

_LOG: Final = logging.getLogger("zombiewatch.api")

_OPEN: Final = ("/static/", "/healthz", "/readyz")
"""What needs no token: the page itself, which then asks for one, and the probes."""

_LOOK_S: Final = 0.5
_STILL_S: Final = 15.0
"""So often those who listen are told something, at least: that we are still here."""

Form = TypeVar("Form", bound=BaseModel)

_CSP: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SAFE: Final = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Api:
    """Routes of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._written: bytes | None = None
        self._ending = asyncio.Event()
        self._warming: asyncio.Future[None] | None = None
        beat = heartbeat.handler(service.store.append, service.clock)
        pinged = ping.handler(
            service.store.append,
            service.clock,
            service.expected,
            declared_only=service.config.pings == "declared-only",
        )
        ofrep = Ofrep(service.switches, service.config.degrade.flags.levels(), service.clock)
        self._handlers: dict[Operation, Callable[[web.Request], Awaitable[web.Response]]] = {
            ops.STATIC: self._asset,
            ops.METRICS: self._metrics,
            ops.HEALTH: self._health,
            ops.READY: self._ready,
            ops.RUNBOOK: self._runbook,
            ops.DOCUMENT: self._document,
            ops.OVERVIEW: self._overview,
            ops.QUEUES: self._queues,
            ops.TIMEOUTS: self._timeouts,
            ops.FINDINGS: self._findings,
            ops.FINDING: self._finding,
            ops.SAY: self._say,
            ops.UNDO: self._undo,
            ops.INCIDENTS: self._incidents,
            ops.INCIDENT: self._incident,
            ops.SWITCHES: self._switches,
            ops.SWITCH_SET: self._set_switch,
            ops.SWITCH_CLEAR: self._clear_switch,
            ops.SWITCH_HISTORY: self._switch_history,
            ops.FLAG: ofrep.one,
            ops.FLAGS: ofrep.every,
            ops.SCALE: self._scale,
            ops.SOURCES: self._sources,
            ops.TASK: self._timeline("task"),
            ops.REQUEST: self._timeline("request_id"),
            ops.TRACE: self._timeline("trace_id"),
            ops.SQL: self._sql,
            ops.HEARTBEAT: beat,
            **dict.fromkeys(ops.PINGS, pinged),
        }

    def app(self) -> web.Application:
        """Return the application to serve."""
        access = Access(self._service.config.http, _OPEN, self._service.clock)
        tracked = self._service.http_connections.middleware
        app = web.Application(
            middlewares=[tracked, _safe, _errors, access.middleware()], client_max_size=64 * 1024
        )
        forms = {"GET": web.get, "POST": web.post}  # a GET takes a HEAD, too
        app.add_routes(
            [forms[one.method](one.route, handle) for one, handle in self._handlers.items()]
        )
        app.router.add_get("/api/v1/events", self._events, allow_head=False)
        views = Web(self._service, access)
        app.add_routes(views.routes())
        app.on_startup.append(self._warm)
        app.on_shutdown.append(self._end)
        app.on_cleanup.append(views.close)
        return app

    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document of these routes."""
        guarded = self._service.config.http.token is not None
        return document(self._handlers, guarded=guarded, open_paths=_OPEN)

    async def _document(self, _request: web.Request) -> web.Response:
        if self._written is None:
            self._written = await asyncio.to_thread(lambda: orjson.dumps(self.document()))
        return web.Response(body=self._written, content_type="application/json")

    async def _overview(self, _request: web.Request) -> web.Response:
        service = self._service

        def look() -> OverviewJson:
            return overview(service, service.open_now())

        return _json(await asyncio.to_thread(look))

    async def _queues(self, _request: web.Request) -> web.Response:
        said: QueuesJson = {
            "now": iso(self._service.clock()), "queues": self._service.trends.queues,
        }  # fmt: skip
        return _json(said)

    async def _timeouts(self, _request: web.Request) -> web.Response:
        found = await asyncio.to_thread(reading.timeouts, self._service)
        said: TimeoutsJson = {"now": iso(self._service.clock()), "timeouts": found}
        return _json(said)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Say, for as long as somebody listens, that something has changed."""
        stream = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await stream.prepare(request)
        known, told = self._service.state(), time.monotonic()
        with suppress(ConnectionError):
            while not self._ending.is_set():
                state = self._service.state()
                if state != known:
                    event = "figures" if state[:2] == known[:2] else "changed"
                    await stream.write(f"event: {event}\ndata: {{}}\n\n".encode())
                    known, told = state, time.monotonic()
                elif time.monotonic() - told > _STILL_S:
                    await stream.write(b": still here\n\n")
                    told = time.monotonic()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), _LOOK_S)
        return stream

    async def _warm(self, _app: web.Application) -> None:
        self._warming = asyncio.get_running_loop().run_in_executor(None, page.warm)

    async def _end(self, _app: web.Application) -> None:
        """Let those go who listen: a page that is open must not hold us up."""
        self._ending.set()

    async def _asset(self, request: web.Request) -> web.Response:
        found = page.asset(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        body, content_type = found
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _runbook(self, request: web.Request) -> web.Response:
        pages = await asyncio.to_thread(runbooks)
        page = pages.get(request.match_info["name"])
        if page is None:
            raise web.HTTPNotFound(text=f"runbooks are {', '.join(sorted(pages))}")
        return web.Response(text=page, content_type="text/markdown")

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._service.metrics.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _request: web.Request) -> web.Response:
        if self._service.ready:
            return web.Response(text="ready\n")
        raise web.HTTPServiceUnavailable(text="not ready: what was kept is still being applied")

    async def _findings(self, request: web.Request) -> web.Response:
        asked, service = _asked(request, Filters).model_dump(), self._service
        found = await asyncio.to_thread(
            service.select, asked.pop("state"), asked.pop("limit"), **asked
        )
        totals = await asyncio.to_thread(service.findings.totals)
        said: FindingsJson = {
            "now": iso(service.clock()),
            "findings": [one.as_json() for one in found],
            "totals": totals,
        }
        return _json(said)

    async def _finding(self, request: web.Request) -> web.Response:
        one = await self._numbered(request)
        said = await asyncio.to_thread(self._service.sayings.history, one.key)
        answer: OneFindingJson = {**one.as_json(), "said": [each.as_json() for each in said]}
        return _json(answer)

    async def _sql(self, request: web.Request) -> web.Response:
        question = await _read(request, Question)
        begun = time.perf_counter()
        try:
            answer = await asyncio.to_thread(
                self._service.store.ask, question.query,
                rows_max=question.limit, timeout_s=question.timeout_s,
            )  # fmt: skip
        except QuestionError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        said: AnswerJson = {
            "columns": [{"name": name, "type": kind} for name, kind in answer.columns],
            "rows": answer.rows,
            "more": answer.more,
            "took_ms": round(1000 * (time.perf_counter() - begun), 1),
        }
        return _json(said)

    async def _say(self, request: web.Request) -> web.Response:
        words = await _read(request, Words)
        return await self._said(request, request.match_info["action"], words)

    async def _undo(self, request: web.Request) -> web.Response:
        who = await _read(request, Signature)
        return await self._said(request, "undo", Words(by=who.by, reason=""))

    async def _said(self, request: web.Request, action: str, words: Words) -> web.Response:
        one = await self._numbered(request)
        try:
            await asyncio.to_thread(
                self._service.say,
                one,
                action,
                by=_signed(request, words.by),
                reason=words.reason,
                until=words.until,
            )
        except SayingError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return await self._finding(request)

    async def _numbered(self, request: web.Request) -> Finding:
        number = int(request.match_info["id"])
        one = await asyncio.to_thread(self._service.finding, number)
        if one is None:
            raise web.HTTPNotFound(text=f"there is no finding {number}")
        return one

    async def _incidents(self, _request: web.Request) -> web.Response:
        service = self._service
        found = await asyncio.to_thread(service.incidents)
        said: IncidentsJson = {
            "now": iso(service.clock()),
            "incidents": [one.as_json() for one in found],
        }
        return _json(said)

    async def _incident(self, request: web.Request) -> web.Response:
        service, number = self._service, int(request.match_info["id"])
        said = await asyncio.to_thread(reading.incident, service, number)
        if said is None:
            raise web.HTTPNotFound(text=f"no open incident has the finding {number}")
        return _json(said)

    async def _switches(self, _request: web.Request) -> web.Response:
        return _json(self._service.switches_now())

    async def _set_switch(self, request: web.Request) -> web.Response:
        asked = await _read(request, Setting)
        said = {**asked.model_dump(), "by": _signed(request, asked.by)}
        return await self._switched(lambda: self._service.set_switch(**said))

    async def _clear_switch(self, request: web.Request) -> web.Response:
        asked = await _read(request, Clearing)
        said = {**asked.model_dump(), "by": _signed(request, asked.by)}
        return await self._switched(lambda: self._service.clear_switch(**said))

    async def _switched(self, change: Callable[[], None]) -> web.Response:
        try:
            await asyncio.to_thread(change)
        except ConflictError as error:
            raise web.HTTPConflict(text=str(error)) from None
        except SayingError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return _json(self._service.switches_now())

    async def _switch_history(self, request: web.Request) -> web.Response:
        asked, switches = _asked(request, Changes), self._service.switches

        def read() -> HistoryJson:
            return {
                "changes": switches.history(asked.service, asked.limit),
                "broken_at": switches.broken_at(),
            }

        return _json(await asyncio.to_thread(read))

    async def _scale(self, request: web.Request) -> web.Response:
        asked, queue = _asked(request, Pace), request.match_info["queue"]
        service = self._service

        def read() -> ScaleJson | None:
            with reading.reader(service) as made:
                return wanted(
                    made, service.config.namespace, queue, now_us=service.clock(),
                    drain_s=asked.drain_s, concurrency=asked.concurrency,
                )  # fmt: skip

        try:
            said = await asyncio.to_thread(read)
        except NotKnownError as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from None
        if said is None:
            raise web.HTTPNotFound(text=f"no queue {queue!r} was ever heard of")
        return _json(said)

    async def _sources(self, _request: web.Request) -> web.Response:
        service = self._service
        found = await asyncio.to_thread(reading.sources, service)
        seen = await asyncio.to_thread(reading.coverage, service)
        files: list[FileJson] = [
            {
                "path": one.path,
                "offset": one.offset,
                "behind_bytes": one.behind_bytes,
                "error": one.error,
            }
            for one in service.files.statuses()
        ]
        said: SourcesJson = {
            "now": iso(service.clock()), "sources": found, "coverage": seen, "files": files,
        }  # fmt: skip
        return _json(said)

    def _timeline(self, column: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            service, value = self._service, request.match_info["id"]

            def read() -> TimelineJson:
                return reading.story(service, column, value)

            return _json(await asyncio.to_thread(read))

        return handle


def _signed(request: web.Request, said: str) -> str:
    """Return who says it: who is known by name can be nobody else."""
    return request[WHO].name or said


def _asked(request: web.Request, form: type[Form]) -> Form:
    """Return the request's query as *form*: an answer to another question would be believed."""
    given = dict(request.query)
    twice = [name for name in given if len(request.query.getall(name)) > 1]
    if twice:
        raise web.HTTPBadRequest(text=f"{twice[0]} is said more than once")
    try:
        return form.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            told = f"{name!r} is not a filter: filters are {', '.join(form.model_fields)}"
        else:
            told = f"{name} is {given[name]!r}: {_wanted(form, name)}"
        raise web.HTTPBadRequest(text=told) from None


def _wanted(form: type[BaseModel], name: str) -> str:
    """Return what the field *name* may be, of those fields that may not be any text."""
    schema = form.model_json_schema()["properties"][name]
    known = next((one for one in (schema, *schema.get("anyOf", ())) if "enum" in one), None)
    if known:
        return f"one of {', '.join(known['enum'])}"
    return f"a number from {schema['minimum']} to {schema['maximum']}"


async def _read(request: web.Request, form: type[Form]) -> Form:
    """Return the request's body as *form*: JSON, so that no form of another site can send it."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send JSON: Content-Type: application/json")
    try:
        return form.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise web.HTTPBadRequest(text=f"{where or 'body'}: {first['msg']}") from None


def _json(said: object) -> web.Response:
    return web.Response(body=orjson.dumps(said, default=_plain), content_type="application/json")


def _plain(value: object) -> object:
    """Return what JSON has no form for as the nearest that it has: sums are whole numbers."""
    if isinstance(value, Decimal):
        whole = value == value.to_integral_value() and abs(value) < 1 << 63
        return int(value) if whole else float(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer errors of the API as JSON."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if not request.path.startswith("/api/") or error.status < 400:  # noqa: PLR2004
            raise
        text = error.text or error.reason
        kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return web.json_response({"error": text}, status=error.status, headers=kept)
    except web.RequestPayloadError:
        told = "the body is not whole, or not packed as Content-Encoding says"
        return web.json_response({"error": told}, status=400)
    except Exception:  # noqa: BLE001 - the log has it; the page must not fall over
        _LOG.exception("%s %s failed", request.method, request.path)
        said = {"error": "an error of ours; the sidecar's log has it whole"}
        return web.json_response(said, status=500)


@web.middleware
async def _safe(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Let a browser run and load nothing but our own, and nobody frame us."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.headers.update(_SAFE)
        raise
    for name, value in _SAFE.items():
        response.headers.setdefault(name, value)
    return response
