"""The one address for people and programs: page, JSON, metrics, health, heartbeats, pings."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collector.receivers import heartbeat, ping
from collector.receivers.token import guard
from collector.store.ask import QuestionError
from dashboards.web import page
from detectors._suspects import suspects
from model.findings import VERDICTS
from model.units import iso
from zombiewatch import timeline
from zombiewatch.sayings import SayingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from model.findings import Finding
    from zombiewatch.service import Service

_LOG: Final = logging.getLogger("zombiewatch.api")

_OPEN: Final = ("/static/", "/healthz", "/readyz")
"""What needs no token: the page itself, which then asks for one, and the probes."""

Form = TypeVar("Form", bound=BaseModel)

_STATES: Final = ("open", "dismissed", "closed", "all")
_SEVERITIES: Final = ("info", "warning", "critical")
_LIMIT: Final = 500
_CSP: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAFE: Final = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Words(BaseModel):
    """What a person says of a finding; `until` is a time or a length from now."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: str
    reason: str = ""
    until: str | None = None


class Question(BaseModel):
    """A SELECT, how many rows it may give, and how many seconds it may take."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str = Field(min_length=1, max_length=100_000)
    limit: int = Field(1000, ge=1, le=100_000)
    timeout_s: float = Field(10.0, gt=0, le=60)


class Api:
    """Routes of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def app(self) -> web.Application:
        """Return the application to serve."""
        token = self._service.config.http.token
        check = guard(token.get_secret_value() if token else None, open_paths=_OPEN)
        tracked = self._service.http_connections.middleware
        app = web.Application(
            middlewares=[tracked, _safe, _errors, check], client_max_size=64 * 1024
        )
        beat = heartbeat.handler(self._service.store.append, self._service.clock)
        pinged = ping.handler(
            self._service.store.append,
            self._service.clock,
            self._service.expected,
            declared_only=self._service.config.pings == "declared-only",
        )
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/static/{name}", self._asset),
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._health),
                web.get("/readyz", self._ready),
                web.get("/api/v1/findings", self._findings),
                web.get("/api/v1/findings/{id:[0-9]{1,18}}", self._finding),
                web.post("/api/v1/findings/{id:[0-9]{1,18}}/{action:ack|dismiss|undo}", self._say),
                web.get("/api/v1/incidents", self._incidents),
                web.get("/api/v1/incidents/{id:[0-9]{1,18}}", self._incident),
                web.get("/api/v1/sources", self._sources),
                web.get("/api/v1/tasks/{id:.+}", self._timeline("task")),
                web.get("/api/v1/requests/{id:.+}", self._timeline("request_id")),
                web.post("/api/v1/sql", self._sql),
                web.post("/api/v1/heartbeat", beat),
                *(
                    route(path, pinged)
                    for path in ("/ping/{name}", "/ping/{name}/{what:.*}")
                    for route in (web.get, web.post)  # a GET takes a HEAD too
                ),
            ]
        )
        return app

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(body=page.index_html(), content_type="text/html", charset="utf-8")

    async def _asset(self, request: web.Request) -> web.Response:
        found = page.asset(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        body, content_type = found
        return web.Response(body=body, headers={"Content-Type": content_type})

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
        asked = dict(request.query)
        state = asked.pop("state", "open")
        limit = asked.pop("limit", str(_LIMIT))
        _among("state", state, _STATES)
        _among("severity", asked.get("severity"), _SEVERITIES)
        _among("verdict", asked.get("verdict"), VERDICTS)
        if not re.fullmatch(r"[0-9]{1,5}", limit) or not 0 < int(limit) <= 10_000:  # noqa: PLR2004
            raise web.HTTPBadRequest(text=f"limit is {limit!r}: a number from 1 to 10000")
        names = ("detector", "service", "severity", "verdict")
        unknown = sorted(set(asked) - set(names))
        if unknown:
            known = ", ".join(("state", "limit", *names))
            raise web.HTTPBadRequest(text=f"{unknown[0]!r} is not a filter: filters are {known}")
        service = self._service
        found = await asyncio.to_thread(
            service.select, state, int(limit), **{name: asked.get(name) for name in names}
        )
        totals = await asyncio.to_thread(service.findings.totals)
        said = {
            "now": iso(service.clock()),
            "findings": [one.as_json() for one in found],
            "totals": totals,
        }
        return _json(said)

    async def _finding(self, request: web.Request) -> web.Response:
        one = await self._numbered(request)
        said = await asyncio.to_thread(self._service.sayings.history, one.key)
        return _json({**one.as_json(), "said": [each.as_json() for each in said]})

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
        said = {
            "columns": [{"name": name, "type": kind} for name, kind in answer.columns],
            "rows": answer.rows,
            "more": answer.more,
            "took_ms": round(1000 * (time.perf_counter() - begun), 1),
        }
        return _json(said)

    async def _say(self, request: web.Request) -> web.Response:
        words = await _read(request, Words)
        one, action = await self._numbered(request), request.match_info["action"]
        try:
            await asyncio.to_thread(
                self._service.say, one, action, by=words.by, reason=words.reason, until=words.until
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
        said = {"now": iso(service.clock()), "incidents": [one.as_json() for one in found]}
        return _json(said)

    async def _incident(self, request: web.Request) -> web.Response:
        service, number = self._service, int(request.match_info["id"])

        def read() -> dict[str, Any] | None:
            wanted = (one for one in service.incidents() if one.has(number))
            one = next(wanted, None)
            if one is None:
                return None
            reader = service.store.reader()
            try:
                ranked = suspects(reader, one.namespace, one.since_us)
            finally:
                reader.close()
            return {**one.as_json(), "suspects": [each.as_json() for each in ranked]}

        said = await asyncio.to_thread(read)
        if said is None:
            raise web.HTTPNotFound(text=f"no open incident has the finding {number}")
        return _json(said)

    async def _sources(self, _request: web.Request) -> web.Response:
        service = self._service

        def read() -> list[dict[str, Any]]:
            reader = service.store.reader()
            try:
                rows = reader.execute("SELECT * FROM sources ORDER BY ALL")
                names = [column[0] for column in rows.description or ()]
                return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
            finally:
                reader.close()

        found = await asyncio.to_thread(read)
        files = [
            {
                "path": one.path,
                "offset": one.offset,
                "behind_bytes": one.behind_bytes,
                "error": one.error,
            }
            for one in service.files.statuses()
        ]
        return _json({"now": iso(service.clock()), "sources": found, "files": files})

    def _timeline(self, column: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            service, value = self._service, request.match_info["id"]

            def read() -> dict[str, Any]:
                return timeline.build(service.store, column, value, service.about(column, value))

            return _json(await asyncio.to_thread(read))

        return handle


def _among(name: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise web.HTTPBadRequest(text=f"{name} is {value!r}: one of {', '.join(known)}")


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
        return web.json_response({"error": text}, status=error.status)
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
