"""Says what a test needs from outside, and what happens where it cannot be had."""

import os
import shutil

import pytest


def need(command: str, how: str) -> str:
    """Return the path of a command that a test needs.

    Where it cannot be had the test is skipped, with the reason; with `CI=true` it fails, so that
    nothing goes unchecked in silence.

    Args:
        command: its name on `PATH`.
        how: how to get it, as one would tell a person: "apt-get install prometheus".
    """
    path = shutil.which(command)
    if path is not None:
        return path
    reason = f"no {command} on PATH: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
