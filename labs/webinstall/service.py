"""The service: it takes jobs from the dispatcher, and installs the newest release of a package."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from labs import _telemetry
from labs._options import Options, parser
from labs._process import pause, stop_event
from labs._telemetry import fields
from labs.webinstall.dispatcher import WORK
from labs.webinstall.options import BUGS, INSTANCE, SERVICE
from labs.webinstall.packages import Packages, UpstreamError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

BEAT_S: Final = 2.0
_AT_START: Final = ("fzf", "hugo", "jq", "zoxide")
_INSTALL_S: Final = 0.3
_AGAIN_S: Final = 0.3
_DRAIN_S: Final = 1.5
_DEPLOYED: Final = 2
"""The release that has the typo, where one has it."""


class _Log(logging.LoggerAdapter[logging.Logger]):
    """Says in each line which process on which host it is of."""

    def process(
        self,
        msg: Any,  # noqa: ANN401 - logging's
        kwargs: MutableMapping[str, Any],
    ) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": fields(host=socket.gethostname(), pid=os.getpid())}


@dataclass(slots=True)
class Service:
    """One life of the service. *bugs* as in `options.BUGS`."""

    packages: Packages
    log: _Log
    stop: asyncio.Event
    bugs: frozenset[str] = frozenset()
    in_hand: int = 0
    _jobs: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, session: aiohttp.ClientSession, dispatcher: str) -> None:
        """Work until told to stop. An error that nobody handles is the end of it."""
        if "refresh_on_start" in self.bugs:
            for package in _AT_START:
                await self.packages.latest(package)
            self.log.info("refreshed %d packages", len(_AT_START))
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(self._beat())
            while not self.stop.is_set():
                try:
                    url = f"{dispatcher}{WORK}?instance={INSTANCE}"
                    async with session.ws_connect(url) as connection:
                        self.log.info("connected to the dispatcher")
                        await self._serve(connection, group)
                except aiohttp.ClientError as error:
                    self.log.warning("the dispatcher does not answer: %r", error)
                await pause(_AGAIN_S, self.stop)
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            self.log.info("alive with %d in hand, again in %g s", self.in_hand, BEAT_S)
            await asyncio.sleep(BEAT_S)

    async def _serve(
        self, connection: aiohttp.ClientWebSocketResponse, group: asyncio.TaskGroup
    ) -> None:
        """Take jobs until the connection ends, or until told to stop; then end what is begun."""
        leaving = group.create_task(self._leave(connection))
        async for message in connection:
            if message.type != aiohttp.WSMsgType.TEXT:
                break
            said = json.loads(message.data)
            if said.get("last"):
                break
            job = group.create_task(self._install(said, connection))
            self._jobs.add(job)
            job.add_done_callback(self._jobs.discard)
        leaving.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=_DRAIN_S)
        for job in self._jobs:
            job.cancel()

    async def _leave(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        await self.stop.wait()
        with suppress(ConnectionError):
            await connection.send_json({"draining": True})

    async def _install(
        self, order: dict[str, Any], connection: aiohttp.ClientWebSocketResponse
    ) -> None:
        what, package = f"job {order['job']} try {order['attempt']}", order["package"]
        self.log.info("%s accepted: install %s", what, package)
        self.in_hand += 1
        start = time.monotonic()
        try:
            self.log.info("%s started", what)
            version = await self._version(package)
            await asyncio.sleep(_INSTALL_S)
        finally:
            self.in_hand -= 1
        self.log.info(
            "%s finished with success: %s %s in %.2f s",
            *(what, package, version, time.monotonic() - start),
        )
        with suppress(ConnectionError):
            await connection.send_json({"job": order["job"], "outcome": "success"})

    async def _version(self, package: str) -> str:
        """Return the version to install: the newest, or else the one that is kept here."""
        if "fatal_rejection" in self.bugs:
            return await self.packages.latest(package)
        try:
            return await self.packages.latest(package)
        except UpstreamError as error:
            self.log.warning("taking the %s that is kept here: %s", package, error)
            return "1.7.0"


async def serve(given: Options, dispatcher: str, upstream: str, release: int) -> None:
    """Run the service until SIGTERM, or until it dies of an error."""
    stop = stop_event()
    telemetry = _telemetry.set_up(
        SERVICE, INSTANCE, otlp=given.otlp, logs=given.logs, logger=SERVICE
    )
    log = _Log(telemetry.log)
    log.info("release %d starts", release)
    typo = "header_typo" in given.bugs and release == _DEPLOYED
    try:
        async with aiohttp.ClientSession() as session:
            packages = Packages(session, upstream, telemetry.tracer, typo)
            await Service(packages, log, stop, given.bugs).run(session, dispatcher)
        log.info("stopped as told")
    except Exception as error:
        log.critical("ended by an error that nobody handled: %s", _first(error))
        raise
    finally:
        telemetry.close()


def _first(error: BaseException) -> BaseException:
    """Return what is at the bottom of a group of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> None:
    """Run the program."""
    arguments = parser("labs.webinstall.service", __doc__ or "", BUGS)
    arguments.add_argument("--dispatcher", required=True, help="base URL of the dispatcher")
    arguments.add_argument("--upstream", required=True, help="base URL of the upstream")
    arguments.add_argument("--release", type=int, default=1, help="which release this is")
    parsed = arguments.parse_args()
    asyncio.run(serve(Options.of(parsed), parsed.dispatcher, parsed.upstream, parsed.release))


if __name__ == "__main__":
    main()
