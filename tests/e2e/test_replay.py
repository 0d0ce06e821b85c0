"""`zombiewatch replay` on what a sidecar left: it finds what the sidecar found."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, zombiewatch

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = {**QUICK, "store": {"checkpoint_every_s": 1}, "evaluate_every_s": 0.2}
GRACE = "zombie_task.start_grace_s"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, list[str]]]:
    """A sidecar that found two zombies and was killed: segments, and a journal beyond them."""
    with Running(tmp_path_factory.mktemp("left"), SETTINGS) as sidecar:
        scheduler = Scheduler(sidecar)
        scheduler.loses("first")
        scheduler.loses("second")
        sidecar.kill()
        yield sidecar, ["first/1", "second/1"]


def replayed(*words: object) -> dict[str, Any]:
    done = zombiewatch("replay", *map(str, words), "--json", "--every", "0.2")
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["failed"] == {}
    return answer


def zombies(findings: list[dict[str, Any]]) -> list[str]:
    return sorted(
        one["subject"]
        for one in findings
        if one["detector"] == "zombie_task" and one["confirmed_at"]
    )


def test_what_was_found_is_found_again(left: tuple[Running, list[str]]) -> None:
    """From the data folder as a kill left it; the folder is as it was afterwards."""
    sidecar, found = left
    before = sorted(path.name for path in sidecar.data.rglob("*.parquet"))
    answer = replayed(sidecar.data, "--config", sidecar.folder / "zombiewatch.yaml")
    assert zombies(answer["findings"]) == found
    assert sorted(path.name for path in sidecar.data.rglob("*.parquet")) == before


def test_another_threshold_is_tried(left: tuple[Running, list[str]]) -> None:
    """With the default grace of a minute nothing would have been found by then."""
    sidecar, found = left
    config = sidecar.folder / "zombiewatch.yaml"
    words = (sidecar.data, "--config", config, "--set", f"{GRACE}=60s")
    answer = replayed(*words)
    assert zombies(answer["findings"]) == found
    assert zombies(answer["with_changes"]) == []
    assert sorted(one["subject"] for one in answer["changes"]["gone"]) == found
    shown = zombiewatch(
        "replay", str(sidecar.data), "--config", str(config), "--set", f"{GRACE}=60s"
    )
    assert shown.returncode == 0
    assert f"With {GRACE}=60s: 0 more, 2 gone, 0 sooner, 0 later." in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["/nowhere"], 1, "/nowhere: there is no such file or folder"),
        (["/", "--set", "zombie_task.grace=3"], 2, "zombie_task.grace is not a"),
        (["/", "--set", "zombi_task.start_grace_s=3"], 2, "zombie_task"),
        (["/", "--set", f"{GRACE}=soon"], 2, "it must be a number of seconds"),
    ],
)
def test_what_cannot_be_replayed_is_one_clear_error(words: list[str], code: int, why: str) -> None:
    """Before anything is read, where the threshold is wrong."""
    done = zombiewatch("replay", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert why in done.stderr
