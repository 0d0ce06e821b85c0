"""`POST /api/v1/heartbeat`: a sign of life that any shell can send.

With a `task_id` it is that task's, without one the instance's own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import orjson
from aiohttp import web
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
)
from typing_extensions import TypedDict

from collector.ingest import BusyError
from collector.store.journal import Entry, JournalFullError
from model.units import parse_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from model.clock import Clock

_Short = Annotated[str, Field(min_length=1, max_length=512)]


_TIMES: Final = (
    {"type": "string", "format": "date-time"},
    {"type": "string", "pattern": r"^[0-9]{1,19}(\.[0-9]{1,9})?$"},
    {"type": "number", "exclusiveMinimum": -1e20, "exclusiveMaximum": 1e20},
    {"type": "null"},
)


class Heartbeat(BaseModel):
    """What a heartbeat may say. `ts` is ISO 8601 or epoch; without it, now."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "string"}}}
                for name in ("task_id", "instance")
            ]
        },
    )

    task_id: _Short | None = None
    attempt: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    task_name: _Short | None = None
    queue: _Short | None = None
    service: _Short | None = None
    instance: _Short | None = None
    host: _Short | None = None
    boot: _Short | None = None
    request_id: _Short | None = None
    interval_s: Annotated[float, Field(gt=0, le=604_800)] | None = None
    message: Annotated[str, Field(max_length=10_000)] | None = None
    ts: Annotated[str | float | None, WithJsonSchema({"anyOf": list(_TIMES)})] = None

    @field_validator("ts")
    @classmethod
    def _a_time(cls, value: str | float | None) -> str | float | None:
        if value is not None and parse_time(value) is None:
            msg = "not a time: send ISO 8601 or seconds since 1970"
            raise ValueError(msg)
        return value


class BeatJson(TypedDict):
    """The number of the record that the heartbeat became: it is on disk."""

    accepted: int


def handler(
    append: Callable[[Entry], Future[int]], clock: Clock
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler. It answers 200 when the heartbeat is on disk."""

    async def take(request: web.Request) -> web.Response:
        now = clock()
        try:
            beat = Heartbeat.model_validate_json(await request.read())
            if beat.task_id is None and beat.instance is None:
                return _refusal(400, "task_id or instance is needed: whose heartbeat is it?")
        except ValidationError as error:
            return _refusal(400, "; ".join(_told(one) for one in error.errors()))
        said = beat.model_dump(exclude={"ts"}, exclude_none=True)
        said["ts_us"] = now if beat.ts is None else parse_time(beat.ts)
        try:
            number = await asyncio.wrap_future(append(Entry("heartbeat", now, orjson.dumps(said))))
        except (BusyError, JournalFullError) as error:
            return _refusal(503, str(error))
        return web.json_response({"accepted": number})

    return take


def _told(one: object) -> str:
    assert isinstance(one, dict)  # noqa: S101 - pydantic's own form
    where = ".".join(str(part) for part in one["loc"]) or "body"
    known = ", ".join(Heartbeat.model_fields)
    if one["type"] == "extra_forbidden":
        return f"{where} is not a field (fields are {known})"
    return f"{where}: {one['msg'].removeprefix('Value error, ')}"


def _refusal(status: int, error: str) -> web.Response:
    headers = {"Retry-After": "1"} if status == 503 else None  # noqa: PLR2004
    return web.json_response({"error": error}, status=status, headers=headers)
