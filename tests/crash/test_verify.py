"""The suite sees what it is there to see: a check that cannot fail proves nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.crash._launch import Sidecar, Zygote
from tests.crash._traffic import LIGHT_PACE, Ledger, Senders, dice
from tests.crash._verify import check, manifests
from tests.e2e._sidecar import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Ledger]]:
    """A data folder after a clean stop, and what its senders know."""
    ledger = Ledger()
    with Zygote() as zygote, Sidecar(zygote, tmp_path_factory.mktemp("stopped")) as sidecar:
        sidecar.start()
        with Senders(ledger, sidecar.urls, 0, dice(1), pace=LIGHT_PACE):
            eventually(True, lambda: len(ledger.acknowledged) >= 100)
        sidecar.stop()
        yield sidecar.data, ledger


@pytest.mark.slow
def test_what_is_as_it_must_be_is_good(stopped: tuple[Path, Ledger]) -> None:
    """Every acknowledged number once."""
    verdict = check(*stopped)
    assert verdict.good, verdict
    assert verdict.stored >= 100


@pytest.mark.slow
def test_a_number_that_is_not_there_is_lost(stopped: tuple[Path, Ledger]) -> None:
    """Likewise one that nobody sent is invented."""
    data, ledger = stopped
    [gone, *rest] = sorted(ledger.acknowledged)
    more = Ledger(set(rest), {*rest, "never-stored"})
    verdict = check(data, more)
    assert verdict.lost == ["never-stored"]
    assert gone in verdict.invented


@pytest.mark.slow
def test_a_segment_that_is_there_twice_is_doubled(stopped: tuple[Path, Ledger]) -> None:
    """As it would be after a replay of what a segment holds already."""
    data, ledger = stopped
    newest = max((data / "snapshots").glob("*.json"))
    said = newest.read_bytes()
    segment = next(one for one in manifests(data)[0]["segments"] if one["table"] == "signals")
    double = data / "segments" / "double.parquet"
    double.write_bytes((data / segment["name"]).read_bytes())
    try:
        manifest = json.loads(said.partition(b"\n")[2])
        manifest["segments"].append({**segment, "name": "segments/double.parquet"})
        newest.write_bytes(b"00000000\n" + json.dumps(manifest).encode())
        verdict = check(data, ledger)
    finally:
        newest.write_bytes(said)
        double.unlink()
    assert len(verdict.doubled) == segment["rows"]
