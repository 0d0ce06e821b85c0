"""What both ways in for OTLP share: checked, bounded, on disk, counted; then acknowledged.

A request's bytes are counted from when they are read until it is answered. What is beyond
`in_flight_max_bytes` is told to come again, so that no number of senders fills the memory.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from typing import TYPE_CHECKING, Final

from collector.ingest import BusyError
from collector.otlp import ROOTS
from collector.receivers._answers import (
    ENCODINGS,
    INTERNAL,
    INVALID,
    PROTOBUF,
    TOO_LARGE,
    UNIMPLEMENTED,
    RefusalError,
    Taken,
    come_again,
)
from collector.receivers._bounds import Budget, Share
from collector.receivers._gzip import TooLargeError, gunzip
from collector.store.journal import Entry, JournalFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from concurrent.futures import Future

    from collector.forward import Forward
    from model.clock import Clock

_LOG: Final = logging.getLogger("zombiewatch.otlp")
_AT_ONCE: Final = 32 << 10
"""What is packed in fewer bytes is unpacked at once, without a thread."""


class Intake:
    """Takes export requests, and hands them to *append*, which returns when they are on disk.

    `forward`, if there is one, is given each request that was taken.
    """

    def __init__(
        self,
        append: Callable[[Entry], Future[int]],
        clock: Clock,
        *,
        max_body_bytes: int,
        in_flight_max_bytes: int,
        kinds: Container[str] = ROOTS,
    ) -> None:
        self.max_body_bytes = max_body_bytes
        self.budget = Budget(max(in_flight_max_bytes, max_body_bytes))
        self.requests: dict[tuple[str, str, str], int] = {}
        """By protocol, signal and the answer's code."""
        self.rejected: dict[str, int] = {}
        """By signal: records of taken requests that were not kept."""
        self.forward: Forward | None = None
        self._append = append
        self._clock = clock
        self._kinds = kinds

    def count(self, protocol: str, signal: str, code: str) -> None:
        """Count a request that was answered."""
        key = (protocol, signal, code)
        self.requests[key] = self.requests.get(key, 0) + 1

    def share(self) -> Share:
        """Return the account of one request; to be left when it is answered."""
        return Share(self.budget)

    def kind(self, signal: str, content_type: str) -> str:
        """Return the kind of journal record; raises RefusalError for what cannot be decoded."""
        kind = f"{signal}{ENCODINGS.get(content_type, '?')}"
        if kind in self._kinds:
            return kind
        known = " or ".join(
            one for one, suffix in ENCODINGS.items() if f"{signal}{suffix}" in self._kinds
        )
        mend = f"send {known}" if known else "it is not taken here"
        raise RefusalError(
            UNIMPLEMENTED, 415, f"{signal} as {content_type or 'nothing named'}: {mend}"
        )

    def too_large(self) -> RefusalError:
        """Return the refusal of a body over the limit."""
        return RefusalError(
            TOO_LARGE,
            413,
            f"over {self.max_body_bytes} bytes after decompression (otlp.max_body_bytes)",
        )

    async def unpacked(self, body: bytes, share: Share) -> bytes:
        """Return gzip's content. Raises RefusalError."""
        try:
            if len(body) <= _AT_ONCE:
                return gunzip(body, self.max_body_bytes, share.grow)
            return await asyncio.to_thread(gunzip, body, self.max_body_bytes, share.grow)
        except TooLargeError:
            raise self.too_large() from None
        except BusyError as error:
            raise come_again(str(error)) from None
        except zlib.error as error:
            raise RefusalError(INVALID, 400, f"the body is not gzip: {error}") from None

    async def take(
        self, signal: str, body: bytes, content_type: str = PROTOBUF, via: str = ""
    ) -> Taken:
        """Return when *body*, which came *via* other sidecars, is on disk. Raises RefusalError."""
        kind = self.kind(signal, content_type)
        if not body.strip() or (self.forward and self.forward.came_back(via)):
            return Taken()
        try:
            number = await asyncio.wrap_future(self._append(Entry(kind, self._clock(), body)))
        except ValueError as error:
            raise RefusalError(
                INVALID, 400, f"not an export request of {signal}: {error}"
            ) from None
        except (BusyError, JournalFullError) as error:
            raise come_again(str(error)) from None
        except MemoryError:  # Arrow's too: in a moment there may be room
            raise come_again("there is too little memory to decode it now") from None
        except Exception as error:
            _LOG.exception("an export request could not be taken")
            raise RefusalError(
                INTERNAL, 500, "an error of ours; the sidecar's log has it whole"
            ) from error
        # whoever decodes may say more than the record's number: what it had to leave out
        taken = Taken(getattr(number, "rejected", 0), getattr(number, "why", ""))
        if taken.rejected:
            self.rejected[signal] = self.rejected.get(signal, 0) + taken.rejected
        if self.forward:
            self.forward.put(signal, content_type, body, via)
        return taken
