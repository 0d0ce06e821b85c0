"""The gateway: it takes the mini-program's orders and hands them on to the shop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import web
from opentelemetry import propagate, trace

from labs import _telemetry
from labs._http import listen, traced
from labs._process import say_ready, stop_event
from labs._telemetry import fields
from labs.bar.options import Options, parser
from labs.bar.wire import NEW_ORDER, Caller, CallFailedError, request_id

if TYPE_CHECKING:
    import logging

_LIMIT_S: Final = 10.0


def by_hand(headers: dict[str, str]) -> None:
    """Write `traceparent` as the published code did: no version field before the trace ID."""
    context = trace.get_current_span().get_span_context()
    trace_id, span_id = (
        trace.format_trace_id(context.trace_id),
        trace.format_span_id(context.span_id),
    )
    headers["traceparent"] = f"{trace_id}-{span_id}-01"


@dataclass(frozen=True, slots=True)
class Gateway:
    """Hands orders on."""

    shop: Caller
    log: logging.Logger

    async def order(self, request: web.Request) -> web.Response:
        """Hand an order on, and return the shop's answer: 502 if it has none."""
        said = request_id(request)
        self.log.info("order comes in", extra=fields(request_id=said))
        try:
            answer = await self.shop.post(
                NEW_ORDER, route=NEW_ORDER, request_id=said, limit_s=_LIMIT_S
            )
        except CallFailedError as error:
            self.log.error("order not taken: %s", error, extra=fields(request_id=said))  # noqa: TRY400 - expected, and said in full
            return web.json_response({"error": "not taken"}, status=502)
        return web.json_response(answer)


async def serve(given: Options, shop: str) -> None:
    """Run the gateway in front of the base URL *shop* until SIGTERM."""
    stop = stop_event()
    telemetry = _telemetry.set_up(
        "bar-gateway", "gateway-1", otlp=given.otlp, logs=given.logs, logger="bar"
    )
    inject = by_hand if "bad_traceparent" in given.bugs else propagate.inject
    async with aiohttp.ClientSession() as session:
        caller = Caller(session, shop, telemetry.tracer, inject)
        gateway = Gateway(caller, telemetry.log.getChild("gateway"))
        app = web.Application()
        app.router.add_post(NEW_ORDER, traced(telemetry.tracer, NEW_ORDER, gateway.order))
        runner, url = await listen(app, cancels=True)
        say_ready(url=url)
        await stop.wait()
        await runner.cleanup()
    telemetry.log.info("stopped as told")
    telemetry.close()


def main() -> None:
    """Run the program."""
    arguments = parser("labs.bar.gateway", __doc__ or "")
    arguments.add_argument("--shop", required=True, help="base URL of the shop")
    parsed = arguments.parse_args()
    asyncio.run(serve(Options.of(parsed), parsed.shop))


if __name__ == "__main__":
    main()
