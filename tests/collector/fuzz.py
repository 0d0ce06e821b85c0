"""Bodies that a stranger might send: `python -m tests.collector.fuzz --inputs 1000000`.

Valid requests of both encodings are cut, flipped, spliced and repeated. Whatever comes of it, a
decoder says ValueError or gives signals; nothing else is raised, and memory stays flat.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import psutil

from collector import otlp
from collector.pipeline import Pipeline, Record
from tests.collector._taken import NOW, NOW_NS, pairs
from tests.collector.otlp_plainly import REQUESTS, as_json, pair

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKENS: Final = (
    b"{}", b"[]", b"null", b"-1", b"1e999", b"NaN", b'"', b"\\ud800", b"\\u0000", b"\xff", b"\x00",
    b"\x1f", b"\x1e", b"[" * 40, b'{"a":' * 40, b"99999999999999999999", b'"0x1"', b"true",
    b"\x0a\xff\xff\xff\xff\x0f", b"\x3a\x02\x0a\x00", b"\x32\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"values", b"kvlistValue", b"resource_spans", b"intValue", b"asDouble", b"partial.event",
    b"Bearer abcdef", b"\xf0\x9f\x92\x80",
)  # fmt: skip

_SAID: Final[dict[str, Any]] = {
    "service.name": "agent", "task.id": "t1", "task.attempt": 2, "task.timeout_s": 1.5, "ok": True,
    "http.request.header.x-request-id": ["r1", "r2"], "map": {"a": [1, {"b": b"\x00"}]},
    "raw": b"\xff\x00", "task.eta": "2026-09-21T14:13:20Z", "event.name": "task.started",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "none": None,
    "partial.event": "heartbeat", "partial.frequency": "5000ms", "api_key": "x",
    "logfire.span_type": "pending_span", "queue.name": "q", "deep": [[["x"]], {"y": []}],
}  # fmt: skip


def seeds() -> list[tuple[str, bytes]]:
    """Return valid bodies of every kind, to be spoiled."""
    found = []
    for signal, make in REQUESTS.items():
        request = make()
        for _ in range(2):
            _grow(signal, request)
        found.append((signal, request.SerializeToString()))
        found += [(f"{signal}+json", as_json(request, snake=snake)) for snake in (False, True)]
    return found


def _grow(signal: str, request: Any) -> None:
    name = {"logs": "logs", "traces": "spans", "metrics": "metrics"}[signal]
    resource = getattr(request, f"resource_{name}").add()
    said = [pair(key, value) for key, value in _SAID.items()]
    resource.resource.attributes.extend(said[:6])
    scope = getattr(resource, f"scope_{name}").add()
    if signal == "metrics":
        metric = scope.metrics.add(name="queue.depth")
        point = metric.gauge.data_points.add(time_unix_nano=NOW_NS, as_int=5)
        point.attributes.extend(said)
        scope.metrics.add(name="x").histogram.data_points.add(time_unix_nano=5)
        return
    if signal == "logs":
        record = scope.log_records.add(time_unix_nano=NOW_NS, severity_number=9, event_name="e")
        record.body.string_value = str(pairs({"resourceSpans": "x"}))
    else:
        record = scope.spans.add(name="x", kind=3, start_time_unix_nano=5, end_time_unix_nano=9)
        record.status.message = "Basic QWxhZGRpbg=="
    record.trace_id, record.span_id = b"\xab" * 16, b"\xcd" * 8
    record.attributes.extend(said)


def spoiled(chance: random.Random, body: bytes, other: bytes) -> bytes:
    """Return *body* after some accidents: most are small, or nothing would be taken."""
    made = bytearray(body)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
        at = chance.randrange(len(made) + 1)
        to = min(len(made), at + chance.choice((1, 1, 2, 4, 40)))
        match chance.choice((0, 1, 2, 3, 3, 3, 4, 5, 6)):
            case 0:
                del made[at:to]
            case 1:
                made[at:at] = chance.choice(_TOKENS)
            case 2:
                made[at:to] = chance.choice(_TOKENS)
            case 3 if at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case 4:
                made[at:to] = other[at:to]
            case 5:
                made[at:at] = made[at:to] * chance.randint(1, 20)
            case 6 if chance.random() < 0.3:
                made = made[:at]
            case _:
                made[at:to] = bytes(chance.choices(range(48, 58), k=to - at))
    return bytes(made)


class Fuzz:
    """Spoiled bodies against decoders and pipeline, from one seed of chance on."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - to be repeatable is the point
        self._seeds = seeds()
        self._pipeline = Pipeline(namespace="fuzz", sides={"agent": "agent"}, rules=())
        self.refused = self.taken = self.signals = 0

    def bodies(self) -> Iterator[tuple[str, bytes]]:
        """Yield kinds and spoiled bodies, for ever."""
        while True:
            kind, body = self._chance.choice(self._seeds)
            _, other = self._chance.choice(self._seeds)
            yield kind, spoiled(self._chance, body, other)

    def run(self, inputs: int, *, together: int = 200) -> None:
        """Try so many inputs; raises what is raised but ValueError of the decoder.

        Those that are taken are made signals *together*, as the journal's records are: what was
        found sound alone must not be refused then.
        """
        records = []
        for number, (kind, body) in zip(range(inputs), self.bodies(), strict=False):
            try:
                otlp.check(kind, body)
            except ValueError:
                self.refused += 1
                continue
            self.taken += 1
            records.append(Record(number, kind, NOW, {}, body))
            if len(records) >= together:
                self._signals(records)
                records = []
        self._signals(records)

    def _signals(self, records: list[Record]) -> None:
        records.sort(key=lambda one: one.kind)  # few kinds in long runs, as senders have them
        table, _ = self._pipeline.signals(records)
        table.validate(full=True)
        self.signals += table.num_rows

    def close(self) -> None:
        """Let go of the pipeline."""
        self._pipeline.close()


def main() -> int:
    """Run the long form; print how far it is, and memory at its start and end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    process, begun = psutil.Process(), time.monotonic()
    fuzz, step = Fuzz(chosen.seed), max(chosen.inputs // 20, 1)
    done = 0
    while done < chosen.inputs:
        fuzz.run(min(step, chosen.inputs - done))
        done += min(step, chosen.inputs - done)
        rss = process.memory_info().rss / 1e6
        told = f"{done} inputs: {fuzz.taken} taken, {fuzz.refused} refused, {fuzz.signals} signals"
        sys.stdout.write(f"{told}, {rss:.0f} MB, {time.monotonic() - begun:.0f} s\n")
        sys.stdout.flush()
    fuzz.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
