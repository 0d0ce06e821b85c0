"""The commands by which a person sets, clears and looks at degrade switches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zombiewatch._command import AsJson, By, Reason, Url, ask, print_json, tell, who

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(
    help="Set, clear and look at degrade switches.",
    no_args_is_help=True,
    epilog="zombiewatch switch set orders L2 --for 30m --reason 'the stock database is down'",
)

Service = Annotated[str, typer.Argument(help="The service.", show_default=False)]
Generation = Annotated[
    int | None,
    typer.Option(help="Only if its switches have not been changed since this change.", min=0),
]


@app.command(
    "set", epilog="zombiewatch switch set orders L0 --for 1h --reason 'not during the fair'"
)
def set_(
    service: Service,
    level: Annotated[
        str, typer.Argument(help="L1, L2 or L3; L0: forced off, whatever its policy says.")
    ],
    reason: Reason,
    until: Annotated[
        str, typer.Option("--for", "--until", help="30m, 2h, or a time: 2026-01-31T08:00Z.")
    ],
    by: By = None,
    generation: Generation = None,
    url: Url = "http://127.0.0.1:9797",
) -> None:
    """Set the degrade level of a service, for a time. It ends by itself."""
    said = {"level": level.upper(), "until": until, "reason": reason}
    _change(url, "set", service, by, generation, said)


@app.command("clear", epilog="zombiewatch switch clear orders --reason 'the database is back'")
def clear(
    service: Service,
    reason: Reason,
    by: By = None,
    generation: Generation = None,
    url: Url = "http://127.0.0.1:9797",
) -> None:
    """Take back what a person has set; the service's policy, if any, has its say again."""
    _change(url, "clear", service, by, generation, {"reason": reason})


@app.command("list", epilog="zombiewatch switch list --json | jq .switches[].service")
def list_(url: Url = "http://127.0.0.1:9797", as_json: AsJson = False) -> None:
    """Show the switches that are set, who set them, and for how much longer."""
    answer = ask(url, "/api/v1/switches")
    if as_json:
        print_json(answer)
        return
    _print(answer)


@app.command("history", epilog="zombiewatch switch history --service orders")
def history(
    service: Annotated[str | None, typer.Option(help="Only of this service.")] = None,
    limit: Annotated[int, typer.Option(help="So many of the newest.", min=1, max=1000)] = 100,
    url: Url = "http://127.0.0.1:9797",
    as_json: AsJson = False,
) -> None:
    """Show the audit: who changed what, when and why. Exit status 1 if it was tampered with."""
    answer = ask(url, "/api/v1/switches/history", service=service, limit=limit)
    if as_json:
        print_json(answer)
    else:
        from rich.console import Console

        Console().print(_changes(answer["changes"]))
    if answer["broken_at"] is not None:
        typer.echo(
            f"zombiewatch: the audit was tampered with: row {answer['broken_at']} is not as it was"
            " written, or is missing",
            err=True,
        )
        raise typer.Exit(1)


def _change(
    url: str,
    action: str,
    service: str,
    by: str | None,
    generation: int | None,
    said: dict[str, Any],
) -> None:
    more = {} if generation is None else {"generation": generation}
    answer = tell(
        url, f"/api/v1/switches/{action}", {"service": service, "by": who(by), **said, **more}
    )
    own = [one for one in answer["switches"] if one["service"] == service and one["in_force"]]
    if own:
        one = own[0]
        typer.echo(
            f"{service} is at {one['level']} ({one['mode']}) until {one['expires_at']}"
            f" (change {one['generation']})."
        )
    else:
        typer.echo(f"{service} has no switch in force.")


def _print(answer: dict[str, Any]) -> None:
    from rich.console import Console

    from model.plain import plain

    console = Console()
    if answer["switches"]:
        console.print(_switches(answer["switches"]))
    else:
        console.print("No switch is set.")
    for one in answer["policies"]:
        dry = ", in dry run" if one["dry_run"] else ""
        text = f"{plain(one['service'])}: a policy up to {one['level_max']}{dry}"
        if one["error"]:
            text += f"; it cannot look: {plain(one['error'])}"
        console.print(text, highlight=False, markup=False)


def _switches(switches: list[dict[str, Any]]) -> Table:
    from model.plain import plain
    from model.units import span_text

    table = _table("service", "level", "by", "why", "ends in", "hides", "change")
    for one in switches:
        state = "" if one["in_force"] else " (dry run)" if one["dry_run"] else " (overruled)"
        table.add_row(
            plain(one["service"]),
            f"{one['level']}{state}",
            f"{one['mode'].replace('_', ' ')}: {plain(one['set_by'])}",
            plain(one["reason"]),
            span_text(round(one["remaining_s"])),
            str(len(one["hides"])),
            str(one["generation"]),
        )
    return table


def _changes(changes: list[dict[str, Any]]) -> Table:
    from model.plain import plain

    table = _table("change", "at", "service", "what", "by", "why")
    for one in changes:
        dry = " (dry run)" if one["dry_run"] else ""
        table.add_row(
            str(one["number"]),
            one["at"],
            plain(one["service"]),
            f"{one['action']} {one['level']}{dry}",
            plain(one["by"]),
            plain(one["reason"]),
        )
    return table


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
