"""`POST /api/v1/heartbeat`: a sign of life that any shell can send.

With a `task_id` it is that task's, without one the instance's own. A task's first one may say that
its run has begun, the last one how that has ended.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final, Literal

import orjson
from aiohttp import web
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
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


def _said(name: str, kind: str) -> dict[str, JsonValue]:
    """Return the schema of what says *name*, and not null."""
    return {"required": [name], "properties": {name: {"type": kind}}}


_ENDED: Final[dict[str, JsonValue]] = {
    "required": ["event"],
    "properties": {"event": {"const": "finished"}},
}


class Heartbeat(BaseModel):
    """What a heartbeat may say. `ts` is ISO 8601 or epoch; without it, now.

    With an `event` it is the first or the last one of a task's run; the last may have an `outcome`
    and an `exit_code`.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "anyOf": [_said("task_id", "string"), _said("instance", "string")],
            "allOf": [
                {"if": _said("event", "string"), "then": _said("task_id", "string")},
                {"if": _said("outcome", "string"), "then": _ENDED},
                {"if": _said("exit_code", "integer"), "then": _ENDED},
            ],
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
    event: Literal["started", "finished"] | None = None
    outcome: Literal["success", "failure", "timeout", "canceled"] | None = None
    exit_code: Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)] | None = None
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
            if beat.task_id is None and beat.event is not None:
                return _refusal(400, "event: task_id is needed: whose run is it?")
            ended = (beat.outcome, beat.exit_code) != (None, None)
            if ended and beat.event != "finished":
                return _refusal(400, "outcome and exit_code are of an event that is finished")
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
