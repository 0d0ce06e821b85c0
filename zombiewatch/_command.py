"""What commands share: options that mean the same in each, how they ask, and how they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Url = Annotated[str, typer.Option(help="Address of the running sidecar.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Reason = Annotated[str, typer.Option(help="Why: others will read it.")]
By = Annotated[str | None, typer.Option(help="Who you are; by default your user name.")]

ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="ZOMBIEWATCH_CONFIG", help="YAML file with settings."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", help="A setting by its path, over file and environment: http.port=0"
    ),
]


def fail(message: object, code: int = 1) -> typer.Exit:
    """Say *message* on standard error; return what ends the command with *code*."""
    typer.echo(f"zombiewatch: {message}", err=True)
    return typer.Exit(code)


def overrides(pairs: list[str] | None, more: dict[str, object]) -> dict[str, object]:
    """Return the settings that *pairs* (`name=value`) and *more* say, which is over them."""
    said: dict[str, object] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise fail(f"--set {pair}: write name=value, like http.port=0", 2)
        said[name] = value
    return {**said, **{name: value for name, value in more.items() if value is not None}}


def ask(url: str, path: str, **query: str | int | None) -> dict[str, Any]:
    """Return what the sidecar answers; end the command where it does not."""
    from zombiewatch import client

    try:
        return client.ask(url, path, **query)
    except client.AskError as error:
        raise fail(error) from None


def tell(url: str, path: str, said: object, *, takes_s: float = 0.0) -> dict[str, Any]:
    """Tell the sidecar *said*, and return its answer; end the command where it refuses.

    *takes_s* is how long it may take to answer, beside the usual.
    """
    from zombiewatch import client

    try:
        return client.tell(url, path, said, takes_s=takes_s)
    except client.AskError as error:
        raise fail(error) from None


def who(by: str | None) -> str:
    """Return *by*, or who the user is; end the command where nobody knows."""
    import getpass

    try:
        return by or getpass.getuser()
    except (KeyError, OSError):
        raise fail("your user has no name here: say who you are with --by", 2) from None


def print_json(answer: object) -> None:
    """Print *answer* as JSON."""
    import json

    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
