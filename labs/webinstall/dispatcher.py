"""Takes the users' requests, queues each as a job, and hands it to the service that is connected.

The connection is a WebSocket: what was handed out over one that breaks goes back to the queue.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import WSMsgType, web

from labs import _telemetry
from labs._figures import show
from labs._http import listen
from labs._options import Options, parser
from labs._process import pause, say_ready, stop_event
from labs.webinstall.options import BUGS, PROGRESS

if TYPE_CHECKING:
    import logging
    from pathlib import Path

WORK: Final = "/work"

_INSTANCE: Final = "dispatcher-1"
_JOBS_PER_S: Final = 2.0
_IN_HAND: Final = 2
_PACKAGES: Final = ("bat", "caddy", "delta", "fzf", "gh", "hugo", "jq", "rg", "shfmt", "zoxide")
_PROGRESS_EVERY_S: Final = 0.5


class Job(NamedTuple):
    """One try of a user's request."""

    job: str
    attempt: int
    package: str

    @property
    def said(self) -> str:
        """How the log calls it."""
        return f"job {self.job} try {self.attempt}"


@dataclass(slots=True)
class Worker:
    """One connection of the service, and what was handed out over it."""

    name: str
    socket: web.WebSocketResponse
    held: dict[str, Job] = field(default_factory=dict)
    draining: bool = False

    @property
    def free(self) -> bool:
        """Whether it can take one more."""
        return not self.draining and len(self.held) < _IN_HAND


@dataclass(slots=True)
class Dispatcher:
    """The queue, and who is served from it."""

    log: logging.Logger
    waiting: deque[Job] = field(default_factory=deque)
    workers: list[Worker] = field(default_factory=list)
    queued: int = 0
    recorded: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    connected: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> web.Application:
        """Return the application that the service connects to."""
        app = web.Application()
        app.router.add_get(WORK, self.connect)
        app.on_shutdown.append(self._hang_up)
        return app

    def take_in(self, package: str) -> None:
        """Queue what a user asks for."""
        self.queued += 1
        job = Job(f"j-{self.queued}", 1, package)
        self._queue(job)
        self.waiting.append(job)
        self.moved.set()

    async def hand_out(self) -> None:
        """Give the oldest jobs to whoever is free, whenever something has moved."""
        while True:
            await self.moved.wait()
            self.moved.clear()
            while self.waiting and (worker := next((w for w in self.workers if w.free), None)):
                job = self.waiting.popleft()
                worker.held[job.job] = job
                self.log.info("%s handed to %s", job.said, worker.name)
                with suppress(ConnectionError):  # its end is seen where we listen
                    await worker.socket.send_json(job._asdict())

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection to its end, and take back what was not done."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        worker = Worker(request.query["instance"], socket)
        self.log.info("%s has connected", worker.name)
        self.workers.append(worker)
        self.connected.set()
        self.moved.set()
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await self._hear(worker, json.loads(message.data))
        finally:
            self.workers.remove(worker)
            self.log.info("%s has disconnected with %d in hand", worker.name, len(worker.held))
            for job in reversed(worker.held.values()):
                again = job._replace(attempt=job.attempt + 1)
                self.log.warning("%s was not finished, back to the queue", job.said)
                self._queue(again)
                self.waiting.appendleft(again)
            self.moved.set()
        return socket

    async def _hear(self, worker: Worker, said: dict[str, str]) -> None:
        if said.get("draining"):
            worker.draining = True
            await worker.socket.send_json({"last": True})
        elif job := worker.held.pop(said["job"], None):
            self.recorded += 1
            self.log.info("%s recorded as %s", job.said, said["outcome"])
            self.moved.set()

    def _queue(self, job: Job) -> None:
        self.log.info("%s (install %s) waits in queue %s", job.said, job.package, "installs")

    async def _hang_up(self, _app: web.Application) -> None:
        for worker in list(self.workers):
            await worker.socket.close()


async def serve(given: Options) -> None:
    """Run the dispatcher until SIGTERM; requests come in from the first connection on."""
    stop = stop_event()
    telemetry = _telemetry.set_up(
        "dispatcher", _INSTANCE, otlp=given.otlp, logs=given.logs, logger="dispatcher"
    )
    dispatcher = Dispatcher(telemetry.log)
    runner, url = await listen(dispatcher.app())
    say_ready(url=url)
    working = asyncio.ensure_future(_work(dispatcher, given, stop))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (working, stopping):
        task.cancel()
    with suppress(asyncio.CancelledError):
        await working
    await runner.cleanup()
    telemetry.log.info("stopped as told")
    telemetry.close()


async def _work(dispatcher: Dispatcher, given: Options, stop: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.hand_out())
        group.create_task(_tell(dispatcher, given.work / PROGRESS))
        await dispatcher.connected.wait()
        start = time.monotonic()
        for number in range(int(given.seconds * _JOBS_PER_S)):
            if await pause(max(0.0, start + number / _JOBS_PER_S - time.monotonic()), stop):
                return
            dispatcher.take_in(_PACKAGES[number % len(_PACKAGES)])


async def _tell(dispatcher: Dispatcher, path: Path) -> None:
    """Let those who look on see how far it is, again and again."""
    while True:
        show(
            path,
            {
                "queued": dispatcher.queued,
                "recorded": dispatcher.recorded,
                "waiting": len(dispatcher.waiting),
                "connected": len(dispatcher.workers),
            },
        )
        await asyncio.sleep(_PROGRESS_EVERY_S)


def main() -> None:
    """Run the program."""
    given = Options.of(parser("labs.webinstall.dispatcher", __doc__ or "", BUGS).parse_args())
    asyncio.run(serve(given))


if __name__ == "__main__":
    main()
