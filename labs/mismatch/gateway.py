"""A firewall between executors and scheduler: it forgets connections that say nothing.

As firewalls do, it tells neither end. What is sent on a connection that it has forgotten is met
with a reset, and does not come through.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from typing import Final

from labs._options import parser
from labs._process import say_ready, stop_event
from labs.mismatch.options import BUGS

_FORGETS_AFTER_S: Final = 2.0
_CHUNK: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)
"""Linger on, for no time: closing sends a reset."""


class Connection:
    """One connection through the firewall."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._ends = (near, far)
        self._heard = time.monotonic()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on what *reader* says to *writer*, for as long as the connection is known."""
        while said := await reader.read(_CHUNK):
            if time.monotonic() - self._heard > _FORGETS_AFTER_S:
                self._reset()
                return
            self._heard = time.monotonic()
            writer.write(said)
            await writer.drain()
        writer.close()

    def _reset(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                found: socket.socket = end.get_extra_info("socket")
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()


async def serve(host: str, port: int) -> None:
    """Let connections through to *host* and *port*, until SIGTERM."""
    stop = stop_event()

    async def let_through(
        near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        one = Connection(near_writer, far_writer)
        with suppress(OSError):
            await asyncio.gather(
                one.carry(near_reader, far_writer), one.carry(far_reader, near_writer)
            )
        for end in (near_writer, far_writer):
            end.close()

    server = await asyncio.start_server(let_through, "127.0.0.1", 0)
    say_ready(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await stop.wait()
    server.close()


def main() -> None:
    """Run the program."""
    arguments = parser("labs.mismatch.gateway", __doc__ or "", BUGS)
    arguments.add_argument("--to", required=True, help="base URL of the scheduler")
    host, _, port = arguments.parse_args().to.removeprefix("http://").partition(":")
    asyncio.run(serve(host, int(port)))


if __name__ == "__main__":
    main()
