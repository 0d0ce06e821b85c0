"""The shipper of logs: what the executors write on their disks, it brings to where it is read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from labs._options import Options, parser
from labs._process import pause, say_ready, stop_event
from labs.mismatch.options import BUGS, SPOOL

if TYPE_CHECKING:
    from pathlib import Path

_EVERY_S: Final = 0.2
_BATCH_S: Final = 9.0


@dataclass(slots=True)
class Shipper:
    """Brings whole lines from the folder *of* to the folder *to*, each once."""

    of: Path
    to: Path
    _done: dict[str, int] = field(default_factory=dict)

    def ship(self) -> None:
        """Bring what has come since the last time."""
        for file in sorted(self.of.glob("*.jsonl")):
            with file.open("rb") as written:
                written.seek(self._done.get(file.name, 0))
                lines = written.read()
            whole = lines[: lines.rfind(b"\n") + 1]
            with (self.to / file.name).open("ab") as read:
                read.write(whole)
            self._done[file.name] = self._done.get(file.name, 0) + len(whole)


async def serve(given: Options) -> None:
    """Ship until SIGTERM, and what is left then."""
    stop = stop_event()
    given.logs.mkdir(parents=True, exist_ok=True)
    shipper = Shipper(given.work / SPOOL, given.logs)
    say_ready()
    every_s = _BATCH_S if "late_logs" in given.bugs else _EVERY_S
    while not await pause(every_s, stop):
        shipper.ship()
    shipper.ship()


def main() -> None:
    """Run the program."""
    asyncio.run(
        serve(Options.of(parser("labs.mismatch.shipper", __doc__ or "", BUGS).parse_args()))
    )


if __name__ == "__main__":
    main()
