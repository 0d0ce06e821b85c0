"""A worker: it takes messages from one queue, two at a time, and does what they say."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp
from opentelemetry import propagate, trace

from labs import _telemetry
from labs._options import Options, parser
from labs._process import say_ready, stop_event
from labs.backlog.broker import PROBE, Broker
from labs.backlog.catalog import ARTICLE
from labs.backlog.options import BUGS

if TYPE_CHECKING:
    import logging

    from labs.backlog.broker import Message, Taken

BEAT_S: Final = 2.0
TRIES: Final = 3
FIRST_BACKOFF_S: Final = 1.0

_SLOTS: Final = 2
_ASK_S: Final = 0.5
_PACK_S: Final = 0.2
_ANSWER_WITHIN_S: Final = 30.0
_DRAIN_S: Final = 1.8


@dataclass(frozen=True, slots=True)
class Catalog:
    """The catalog, as seen from here."""

    session: aiohttp.ClientSession
    url: str
    tracer: trace.Tracer

    async def look_up(self, message: Message) -> None:
        """Ask for the article of *message*.

        Raises:
            TimeoutError: no answer came in time.
            aiohttp.ClientError: none came at all, or not a good one.
        """
        with self.tracer.start_as_current_span(
            f"GET {ARTICLE}",
            kind=trace.SpanKind.CLIENT,
            attributes={
                "http.request.method": "GET",
                "url.template": ARTICLE,
                "shop.message": message.id,
                "shop.attempt": message.attempt,
            },
        ) as span:
            headers: dict[str, str] = {}
            propagate.inject(headers)
            url = self.url + ARTICLE.replace("{sku}", message.sku)
            limit = aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S)
            async with self.session.get(url, headers=headers, timeout=limit) as answer:
                span.set_attribute("http.response.status_code", answer.status)
                answer.raise_for_status()
                await answer.read()


@dataclass(slots=True)
class Worker:
    """One worker of one queue. *bugs* as in `options.BUGS`."""

    name: str
    queue: str
    broker: Broker
    catalog: Catalog
    log: logging.Logger
    stop: asyncio.Event
    bugs: frozenset[str]
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_SLOTS))
    busy: int = 0

    async def work(self) -> None:
        """Take messages and handle them, as many at a time as there are slots, until told."""
        async with asyncio.TaskGroup() as group:
            while not self.stop.is_set():
                await self.slots.acquire()
                taken = await self.broker.take(self.queue, self.name, _ASK_S)
                if taken is None:
                    self.slots.release()
                elif taken.message.kind == PROBE:
                    await self.broker.done(taken)
                    if "stuck_consumer" not in self.bugs:
                        self.slots.release()
                else:
                    group.create_task(self._handle(taken))

    async def beat(self) -> None:
        """Log a sign of life at a steady beat, whatever the slots do."""
        while True:
            self.log.info(
                "alive on %s, %d in hand, next sign of life in %g s",
                *(self.queue, self.busy, BEAT_S),
            )
            await asyncio.sleep(BEAT_S)

    async def _handle(self, taken: Taken) -> None:
        message = taken.message
        what = f"message {message.id} attempt {message.attempt}"
        self.log.info("%s taken from %s: %s", what, taken.stream, message.kind)
        self.busy += 1
        begun = time.monotonic()
        try:
            if int(message.quantity) > 0:
                await self.catalog.look_up(message)
                await asyncio.sleep(_PACK_S)
        except (ValueError, TimeoutError, aiohttp.ClientError) as error:
            self.log.error("%s failed in %.2f s: %r", what, time.monotonic() - begun, error)  # noqa: TRY400 - expected, and said in full
            await self._again(message, what, repr(error))
        else:
            self.log.info("%s done in %.2f s", what, time.monotonic() - begun)
        await self.broker.done(taken)
        self.busy -= 1
        self.slots.release()

    async def _again(self, message: Message, what: str, reason: str) -> None:
        """Let *message* be tried again after a growing pause, or give it up."""
        if message.attempt < TRIES:
            wait = FIRST_BACKOFF_S * 2 ** (message.attempt - 1)
            await self.broker.later(message.again(), wait)
            return
        await self.broker.bury(message, reason)
        self.log.error("%s put among the dead letters: %s", what, reason)


async def serve(given: Options, broker_url: str, catalog_url: str, name: str, queue: str) -> None:
    """Run the worker *name* until SIGTERM; it ends what it has begun, for two seconds at most."""
    stop = stop_event()
    telemetry = _telemetry.set_up("worker", name, otlp=given.otlp, logs=given.logs, logger="worker")
    broker = Broker(broker_url)
    await broker.prepare(queue)
    async with aiohttp.ClientSession() as session:
        catalog = Catalog(session, catalog_url, telemetry.tracer)
        worker = Worker(name, queue, broker, catalog, telemetry.log, stop, given.bugs)
        working = asyncio.ensure_future(worker.work())
        beating = asyncio.ensure_future(worker.beat())
        stopping = asyncio.ensure_future(stop.wait())
        say_ready()
        await asyncio.wait({working, beating, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await asyncio.wait({working}, timeout=_DRAIN_S)
        for task in (working, beating, stopping):
            task.cancel()
        # An error in either is the end of the worker, and is seen on stderr.
        with suppress(asyncio.CancelledError):
            await working
        with suppress(asyncio.CancelledError):
            await beating
    await broker.close()
    telemetry.log.info("stopped as told")
    telemetry.close()


def main() -> None:
    """Run the program."""
    arguments = parser("labs.backlog.worker", __doc__ or "", BUGS)
    arguments.add_argument("--broker", required=True, help="URL of the broker")
    arguments.add_argument("--catalog", required=True, help="base URL of the catalog")
    arguments.add_argument("--queue", required=True, help="the queue to take from")
    arguments.add_argument("--name", required=True, help="instance ID, such as worker-1")
    parsed = arguments.parse_args()
    asyncio.run(serve(Options.of(parsed), parsed.broker, parsed.catalog, parsed.name, parsed.queue))


if __name__ == "__main__":
    main()
