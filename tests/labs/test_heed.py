"""A dispatcher that heeds degrade switches: when it asks, and what it does without an answer."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import TYPE_CHECKING

import pytest
from openfeature import api
from rich.console import Console

from labs import _heed
from labs._heed import Dispatch, switch
from labs._kit import find_labs
from labs._runner import FLAGS
from zombiewatch.session import Session, list_labs, run_lab, sidecar_config
from zombiewatch.settings import gather

if TYPE_CHECKING:
    from pathlib import Path

    from labs._kit import Lab

LABS = find_labs()
HEEDING = {name: lab for name, lab in LABS.items() if lab.heeds is not None}


def test_it_does_what_was_answered_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on asking until the program ends."""
    monkeypatch.setattr(_heed, "_ASK_EVERY_S", 0.0)

    async def heeded() -> list[bool]:
        stop, was = asyncio.Event(), []
        loop = asyncio.get_running_loop()

        def ask() -> bool:
            was.append(dispatch.paused)
            if len(was) == 3:
                loop.call_soon_threadsafe(stop.set)
            return len(was) == 1

        dispatch = Dispatch(ask)
        await dispatch.heed(stop)
        return was

    assert asyncio.run(heeded()) == [False, True, False]


def test_without_anybody_to_ask_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab runs as ever, and needs no package for it."""
    monkeypatch.delenv(FLAGS, raising=False)
    monkeypatch.setitem(sys.modules, "openfeature", None)
    assert switch("shop") is None
    dispatch = Dispatch()
    asyncio.run(dispatch.heed(asyncio.Event()))
    assert not dispatch.paused


def test_who_does_not_answer_pauses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work goes on beside a sidecar that is gone."""
    monkeypatch.setenv(FLAGS, "http://127.0.0.1:9")  # the discard port: nobody listens on it
    ask = switch("shop")
    assert ask is not None
    assert ask() is False
    api.clear_providers()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what installs it."""
    monkeypatch.setenv(FLAGS, "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "openfeature.contrib.provider.ofrep", None)
    with pytest.raises(SystemExit, match="pip install openfeature-sdk openfeature-provider-ofrep"):
        switch("shop")


# Which labs do


@pytest.mark.parametrize("lab", HEEDING.values(), ids=HEEDING)
def test_what_is_heeded_is_moved_by_a_policy(lab: Lab, tmp_path: Path) -> None:
    """Its settings are sound beside the lab's own, and a policy moves more than a dry run's."""
    config = sidecar_config(lab, tmp_path, tmp_path, None, heed=True)
    policies = gather(None, config, {}).config.degrade.policies
    assert [one for one in policies if not one.dry_run]
    assert "degrade" not in sidecar_config(lab, tmp_path, tmp_path, None)


@pytest.mark.parametrize("name", [name for name in LABS if name not in HEEDING])
def test_a_lab_that_heeds_nothing_is_not_run_so(name: str, tmp_path: Path) -> None:
    """It would look as if the switch had no effect."""
    said = io.StringIO()
    session = Session(name, keep=tmp_path, heed=True, console=Console(file=said, width=160))
    assert run_lab(session) == 2
    assert said.getvalue() == (
        f"Lab '{name}' heeds no degrade switches (--heed); these do: {', '.join(HEEDING)}\n"
    )
    assert not list(tmp_path.iterdir())


def test_the_list_says_which_do(capsys: pytest.CaptureFixture[str]) -> None:
    """A person need not try them all."""
    list_labs()
    said = capsys.readouterr().out
    assert said.count("Its dispatcher heeds degrade switches with --heed.") == len(HEEDING)
