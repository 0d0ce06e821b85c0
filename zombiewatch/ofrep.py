"""Degrade switches for programs: OpenFeature's remote evaluation protocol (OFREP).

A dispatcher or an agent reads its flags with any OpenFeature SDK and its OFREP provider; the
targeting key is the service that it asks for. Everything is answered from memory.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from alerts.degrade.flags import KEYS, FlagJson, flag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alerts.degrade.lease import Lease
    from model.clock import Clock
    from zombiewatch.switches import Switches

Code = Literal["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND"]

_KEY: Final = "targetingKey"


class Context(BaseModel):
    """Who asks. Only the targeting key counts."""

    model_config = ConfigDict(extra="allow")

    targetingKey: str = Field(  # noqa: N815 - the protocol's name
        min_length=1, strict=True, description="The service whose switch is asked for."
    )


class Evaluation(BaseModel):
    """A question for flags."""

    model_config = ConfigDict(extra="allow")

    context: Context


class FlagsJson(TypedDict):
    """All flags of a service."""

    flags: list[FlagJson]


class FlagErrorJson(TypedDict):
    """Why a flag has no value, in the protocol's words and in ours."""

    key: str | None
    errorCode: Code
    errorDetails: str


class Ofrep:
    """The two addresses. *from_level* has the level from which on each deed is to be done."""

    def __init__(self, switches: Switches, from_level: Mapping[str, int], clock: Clock) -> None:
        self._switches = switches
        self._from_level = from_level
        self._clock = clock

    async def one(self, request: web.Request) -> web.Response:
        """Answer with one flag."""
        key = request.match_info["key"]
        if key not in KEYS:
            return _refused("FLAG_NOT_FOUND", f"flags are {', '.join(KEYS)}", key, 404)
        service = _service(await request.read())
        if isinstance(service, web.Response):
            return service
        return _json(flag(key, self._lease(service), self._from_level))

    async def every(self, request: web.Request) -> web.Response:
        """Answer with all flags; 304 where `If-None-Match` says that they are known."""
        service = _service(await request.read())
        if isinstance(service, web.Response):
            return service
        lease = self._lease(service)
        said: FlagsJson = {"flags": [flag(key, lease, self._from_level) for key in KEYS]}
        answer = _json(said)
        tag = f'"{hashlib.sha256(bytes(answer.body or b"")).hexdigest()[:32]}"'  # type: ignore[arg-type]
        known = [one.strip() for one in request.headers.get("If-None-Match", "").split(",")]
        if tag in known:
            answer = web.Response(status=304)
        answer.headers["ETag"] = tag
        return answer

    def _lease(self, service: str) -> Lease | None:
        return self._switches.of(service, self._clock())


def _service(body: bytes) -> str | web.Response:
    """Return the service that is asked for, or how the question is refused."""
    try:
        said: Any = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        return _refused("PARSE_ERROR", f"the body is not JSON: {error}")
    try:
        return Evaluation.model_validate(said).context.targetingKey
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] in {"missing", "string_too_short"}:
            return _refused(
                "TARGETING_KEY_MISSING", f"say which service asks: {_KEY} in the context"
            )
        return _refused("INVALID_CONTEXT", f"{where or 'body'}: {first['msg']}")


def _refused(code: Code, details: str, key: str | None = None, status: int = 400) -> web.Response:
    named = key and key.encode(errors="replace").decode()  # an address may hold any bytes
    said: FlagErrorJson = {"key": named, "errorCode": code, "errorDetails": details}
    return _json(said, status)


def _json(said: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(said), status=status, content_type="application/json")
