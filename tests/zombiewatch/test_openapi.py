"""The OpenAPI document says what the application has: its routes, its words, its limits."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from model.findings import SEVERITIES, VERDICTS
from zombiewatch.api import Api
from zombiewatch.config import Config
from zombiewatch.service import Service
from zombiewatch.web import Web

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """The API of a service that has not begun."""
    service = Service(Config(data_dir=tmp_path / "data"), ())
    yield Api(service)
    service.finish()


def undescribed(app: web.Application, document: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the routes of *app* that *document* lacks, and those that it has in vain.

    The page's views are for people, and its stream of events never ends.
    """
    routes = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource
        and route.method != "HEAD"  # who can GET can HEAD
        and not isinstance(getattr(route.handler, "__self__", None), Web)
        and "Web." not in getattr(route.handler, "__qualname__", "")
        and route.resource.canonical != "/api/v1/events"
    }
    described = {
        (method.upper(), path) for path, said in document["paths"].items() for method in said
    }
    return routes ^ described


def test_every_route_is_described_and_nothing_else_is(api: Api) -> None:
    """A route that is added by hand, and is no `Operation`, fails here: describe it."""
    assert undescribed(api.app(), api.document()) == set()


def test_a_route_without_a_description_is_seen(api: Api) -> None:
    """The check can fail."""

    async def pong(_request: web.Request) -> web.Response:
        return web.Response()

    app = api.app()
    app.router.add_get("/pong/{name}", pong)
    assert undescribed(app, api.document()) == {("GET", "/pong/{name}")}


def test_what_is_referred_to_is_there_and_closed(api: Api) -> None:
    """Each object names its keys: one more or one less in an answer is an error of ours."""
    document = api.document()
    shared = document["components"]["schemas"]
    named = re.findall(r"#/components/schemas/(\w+)", json.dumps(document))
    assert set(named) == shared.keys()
    opened = {name for name, one in shared.items() if one["additionalProperties"] is not False}
    # what OpenFeature's SDKs say of who asks is theirs to choose
    assert opened == {"Context", "Evaluation"}
    answers = [one for name, one in shared.items() if name.endswith("Json")]
    assert [one for one in answers if set(one["properties"]) != set(one["required"])] == []


def test_words_and_limits_are_those_of_the_code(api: Api) -> None:
    """Severities, verdicts, and how long things may be."""
    document = api.document()
    finding = document["components"]["schemas"]["FindingJson"]["properties"]
    assert finding["severity"]["enum"] == list(SEVERITIES)
    assert finding["verdict"]["enum"] == list(VERDICTS)
    filters = document["paths"]["/api/v1/findings"]["get"]["parameters"]
    limit = next(one["schema"] for one in filters if one["name"] == "limit")
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 10_000, 500)
    assert [one["name"] for one in filters if "null" in json.dumps(one)] == []
