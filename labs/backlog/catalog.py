"""The catalog: it looks articles up, with ten connections to its table."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import web
from opentelemetry import propagate, trace

from labs import _telemetry
from labs._http import listen
from labs._options import Options, parser
from labs._process import say_ready, stop_event
from labs.backlog.options import BUGS

if TYPE_CHECKING:
    import logging


ARTICLE: Final = "/articles/{sku}"

_CONNECTIONS: Final = 10
_QUERY_S: Final = 1.2
_REPORT_AFTER_S: Final = 6.0
_REPORT_TAKES: Final = 9
_LONG_WAIT_S: Final = 1.0


@dataclass(slots=True)
class Catalog:
    """The one call that workers make, and the report that is made beside it."""

    tracer: trace.Tracer
    log: logging.Logger
    pool: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONNECTIONS))
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_get(ARTICLE, self.look_up)
        return app

    async def look_up(self, request: web.Request) -> web.Response:
        """Answer with what is known of an article."""
        self.asked.set()
        sku = request.match_info["sku"]
        with self.tracer.start_as_current_span(
            f"GET {ARTICLE}",
            context=propagate.extract(request.headers),
            kind=trace.SpanKind.SERVER,
            attributes={"http.request.method": "GET", "http.route": ARTICLE},
        ) as span:
            begun = time.monotonic()
            async with self.pool:
                waited = time.monotonic() - begun
                if waited > _LONG_WAIT_S:
                    self.log.error(
                        "look-up of %s waited %.2f s for one of %d connections",
                        *(sku, waited, _CONNECTIONS),
                    )
                await asyncio.sleep(_QUERY_S)
            span.set_attribute("http.response.status_code", 200)
            return web.json_response({"sku": sku, "box": "small"})

    async def report(self) -> None:
        """Add the month up, with connections of the same pool, for as long as anybody looks."""
        await self.asked.wait()
        await asyncio.sleep(_REPORT_AFTER_S)
        self.log.info("report of the month takes %d connections", _REPORT_TAKES)
        for _ in range(_REPORT_TAKES):
            await self.pool.acquire()


async def serve(given: Options) -> None:
    """Run the catalog until SIGTERM."""
    stop = stop_event()
    telemetry = _telemetry.set_up(
        "catalog", "catalog-1", otlp=given.otlp, logs=given.logs, logger="catalog"
    )
    catalog = Catalog(telemetry.tracer, telemetry.log)
    runner, url = await listen(catalog.app())
    say_ready(url=url)
    async with asyncio.TaskGroup() as group:
        if "slow_dependency" in given.bugs:
            reporting = group.create_task(catalog.report())
            stopping = group.create_task(stop.wait())
            stopping.add_done_callback(lambda _: reporting.cancel())
        await stop.wait()
    await runner.cleanup()
    telemetry.log.info("stopped as told")
    telemetry.close()


def main() -> None:
    """Run the program."""
    asyncio.run(serve(Options.of(parser("labs.backlog.catalog", __doc__ or "", BUGS).parse_args())))


if __name__ == "__main__":
    main()
