"""The command line. What a command needs is imported when it runs: `--help` is quick."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer looks at it
from typing import Annotated, Any

import typer

from zombiewatch import switching, writing
from zombiewatch._command import (
    AsJson,
    By,
    ConfigPath,
    Reason,
    Set,
    Url,
    ask,
    fail,
    overrides,
    print_json,
    tell,
    who,
)
from zombiewatch._version import ours

app = typer.Typer(
    name="zombiewatch",
    help="Catches zombie tasks: hears dispatcher and agents, and says where their stories part.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Begin with [bold]zombiewatch demo[/bold].",
)
config_app = typer.Typer(help="Look at the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")
findings_app = typer.Typer()
app.add_typer(findings_app, name="findings")
app.add_typer(switching.app, name="switch")
app.add_typer(writing.app)
app.add_typer(writing.alerts_app, name="alerts")


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback form
    if wanted:
        typer.echo(f"zombiewatch {ours()}")
        raise typer.Exit


@app.callback()
def _root(
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="zombiewatch run --preset my-scheduler.yaml --follow '/var/log/agent/*.log'")
def run(
    config: ConfigPath = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept.")] = None,
    preset: Annotated[
        list[str] | None, typer.Option(help="A shipped preset's name, or a YAML file.")
    ] = None,
    follow: Annotated[
        list[str] | None, typer.Option(help="Log files to follow: a path or a pattern.")
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(help="Celery's broker, as Celery has it: redis://host:6379/0 or amqp://…"),
    ] = None,
    broker_api: Annotated[
        str | None,
        typer.Option(help="RabbitMQ's management API: http://user:password@host:15672."),
    ] = None,
    results: Annotated[
        str | None, typer.Option(help="Celery's result backend: redis://host:6379/1.")
    ] = None,
    enable_events: Annotated[
        bool,
        typer.Option("--enable-events", help="Tell Celery's workers to send their task events."),
    ] = False,
    sets: Set = None,
    leash: Annotated[
        bool, typer.Option("--leash", hidden=True, help="Stop when standard input ends.")
    ] = False,
) -> None:
    """Run the sidecar until it is told to stop.

    Jobs ping it: curl -fsS http://127.0.0.1:9797/ping/NAME

    Beside Celery: zombiewatch run --preset celery --broker redis://127.0.0.1:6379/0
    """
    from zombiewatch.running import run_service

    more: dict[str, object] = {
        "data_dir": str(data_dir) if data_dir else None,
        "presets": preset or None,
        "follow": [{"path": path} for path in follow] if follow else None,
        "celery.broker": broker,
        "celery.broker_api": broker_api,
        "celery.results": results,
        "celery.enable_events": enable_events or None,
    }
    raise typer.Exit(run_service(config, overrides(sets, more), leash=leash))


@app.command(
    epilog="zombiewatch demo --once   # stops by itself; exit status 0 if all is as expected"
)
def demo(
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Stop when done, and say by exit status whether all went as it must."
        ),
    ] = False,
) -> None:
    """Watch a real zombie being caught: Bruin's incident with all its bugs, live.

    Where Prometheus and Alertmanager are installed, what they tell of it is shown, too.
    """
    from zombiewatch.session import Session, run_lab

    session = Session(
        lab="bruin", bugs="all", live=True, alerts=True, stay=not once, port=None if once else 9797
    )
    raise typer.Exit(run_lab(session))


@app.command(epilog="zombiewatch lab bruin --bugs wrong_context,missing_index")
def lab(
    name: Annotated[str | None, typer.Argument(help="Which lab; none lists them.")] = None,
    bugs: Annotated[str, typer.Option(help="all, none, or names with a comma between.")] = "all",
    seconds: Annotated[
        float | None, typer.Option(help="How long new work comes in; by default the lab's own.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the sidecar's data and the lab's logs in this folder.")
    ] = None,
    heed: Annotated[
        bool,
        typer.Option(
            "--heed",
            help="Let the lab's dispatcher heed degrade switches (OpenFeature); only some labs have"
            " such a dispatcher.",
        ),
    ] = False,
) -> None:
    """Run an incident as real processes against a sidecar, and compare what is found."""
    from zombiewatch.session import Session, list_labs, run_lab

    if name is None:
        list_labs()
        return
    session = Session(
        lab=name, bugs=bugs, seconds=seconds, keep=keep, live=sys.stdout.isatty(), heed=heed
    )
    raise typer.Exit(run_lab(session))


@findings_app.callback(
    invoke_without_command=True,
    epilog="zombiewatch findings --state all --detector zombie_task --json | jq .findings[].task",
)
def findings(
    context: typer.Context,
    state: Annotated[str, typer.Option(help="open, dismissed, closed or all.")] = "open",
    detector: Annotated[str | None, typer.Option(help="Only of this detector.")] = None,
    service: Annotated[str | None, typer.Option(help="Only of this service.")] = None,
    severity: Annotated[str | None, typer.Option(help="info, warning or critical.")] = None,
    limit: Annotated[int, typer.Option(help="So many of the newest.")] = 100,
    url: Url = "http://127.0.0.1:9797",
    as_json: AsJson = False,
) -> None:
    """List what the running sidecar has found, or say something of it."""
    if context.invoked_subcommand is not None:
        return
    answer = ask(
        url, "/api/v1/findings", state=state, detector=detector, service=service,
        severity=severity, limit=limit,
    )  # fmt: skip
    if as_json:
        print_json(answer)
        return
    from rich.console import Console

    from zombiewatch.explain import render_findings

    if answer["findings"]:
        console = Console()
        console.print(render_findings(answer, console.width))
    else:
        typer.echo(f"Nothing found ({state}).")


@app.command(epilog="zombiewatch top --once   # print it, and be done")
def top(
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2)] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Show it once, for scripts.")] = False,
    url: Url = "http://127.0.0.1:9797",
) -> None:
    """Show how it stands, live: figures, incidents, queues, switches. Ctrl-C ends it."""
    from zombiewatch import top as live
    from zombiewatch.client import AskError

    try:
        live.run(url, every_s=every, once=once or not sys.stdout.isatty())
    except AskError as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command(epilog="zombiewatch incidents 17   # that of finding 17, and who may have begun it")
def incidents(
    number: Annotated[
        int | None,
        typer.Argument(
            help="Only the one that this finding belongs to, with who is suspected.", min=1
        ),
    ] = None,
    url: Url = "http://127.0.0.1:9797",
    as_json: AsJson = False,
) -> None:
    """Show the open incidents: findings that share causes, the first cause first."""
    if number:
        found = [ask(url, f"/api/v1/incidents/{number}")]
    else:
        found = ask(url, "/api/v1/incidents")["incidents"]
    if as_json:
        print_json(found)
        return
    from rich.console import Console

    from zombiewatch.incident import render_incident

    console = Console()
    for one in found:
        console.print(render_incident(one), end="\n\n")
    if not found:
        typer.echo("No open incident.")


Number = Annotated[int, typer.Argument(help="The finding's number.", min=1)]
Until = Annotated[
    str | None,
    typer.Option(
        help="Until when, for this subject however often it is found: 2h, 7d, 2026-01-31T08:00Z."
        " Without it: until this finding ends."
    ),
]


def _verdict(action: str, told: str, example: str) -> None:
    """Add the command by which a person says *action* of a finding: why, and until when."""

    @findings_app.command(
        action, help=told, epilog=f"zombiewatch findings {action} 17 --reason {example}"
    )
    def command(
        number: Number,
        reason: Reason,
        until: Until = None,
        by: By = None,
        url: Url = "http://127.0.0.1:9797",
    ) -> None:
        _say(url, number, action, by, reason=reason, until=until)


_verdict(
    "ack",
    "Acknowledge a finding: it stays listed, and tells nobody any more.",
    "'on it' --until 2h",
)
_verdict(
    "dismiss",
    "Dismiss a finding: it leaves the list (--state dismissed has it), and tells nobody.",
    "'a known slow starter' --until 30d",
)


@findings_app.command("undo", epilog="zombiewatch findings undo 17")
def findings_undo(number: Number, by: By = None, url: Url = "http://127.0.0.1:9797") -> None:
    """Take back what was said of a finding."""
    _say(url, number, "undo", by)


def _say(url: str, number: int, action: str, by: str | None, **words: str | None) -> None:
    one = tell(url, f"/api/v1/findings/{number}/{action}", {"by": who(by), **words})
    told = f"is {one['muted']}: {one['muted_why']}" if one["muted"] else "tells who it concerns"
    typer.echo(f"Finding {number} ({one['detector']} {one['subject']}) {told}.")


@app.command(
    epilog="zombiewatch sql 'SELECT task, name, agent FROM open_attempts WHERE finished_us IS NULL'"
)
def sql(
    query: Annotated[
        str | None,
        typer.Argument(help="One SELECT; - reads it from standard input; none lists the tables."),
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many rows.", min=1, max=100_000)] = 100,
    timeout: Annotated[
        float, typer.Option(help="Seconds that it may take.", min=0.1, max=60)
    ] = 10.0,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    url: Url = "http://127.0.0.1:9797",
    as_json: AsJson = False,
) -> None:
    """Ask what the running sidecar knows: hot relations, views, history. Changes nothing."""
    if query == "-":
        query = sys.stdin.read()
    asked = {"query": query or _TABLES, "limit": limit if query else 10_000, "timeout_s": timeout}
    answer = tell(url, "/api/v1/sql", asked, takes_s=2 * timeout)
    if as_json:
        print_json(answer)
        return
    if csv:
        import csv as files

        writer = files.writer(sys.stdout)
        writer.writerow(column["name"] for column in answer["columns"])
        writer.writerows(answer["rows"])
    else:
        from rich.console import Console

        from zombiewatch.explain import render_answer

        Console().print(render_answer(answer))
    if answer["more"]:
        typer.echo(f"There are more than {len(answer['rows'])} rows: --limit.", err=True)


_TABLES = """
SELECT table_name AS "table", string_agg(column_name, ', ' ORDER BY ordinal_position) AS columns
FROM information_schema.columns
WHERE table_name NOT IN ('recent', 'given') AND table_name NOT LIKE 'settled_%'
GROUP BY ALL ORDER BY ALL"""


@app.command(
    epilog="zombiewatch replay zombiewatch-data --set zombie_task.start_grace_s=30s"
    "   # what would another threshold have found?"
)
def replay(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="What was recorded: a data folder, a journal, Parquet segments, JSON lines,"
            " or what --save wrote."
        ),
    ],
    config: ConfigPath = None,
    preset: Annotated[
        list[str] | None, typer.Option(help="A shipped preset's name, or a YAML file.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="A threshold to try: zombie_task.start_grace_s=30s"),
    ] = None,
    every: Annotated[
        float | None, typer.Option(help="Seconds of the input between two looks.", min=0.2)
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(help="Write what was read to this file, as JSON lines (.gz: packed)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge recorded input again, as fast as it goes, and show what other thresholds change.

    Time is the input's. Nothing is told to anybody, and a running sidecar is not disturbed.
    """
    from collector.recorded import RecordedError
    from zombiewatch.replaying import replay_shown
    from zombiewatch.settings import gather
    from zombiewatch.sources import ConfigError

    asked = {"presets": preset} if preset else {}
    tried = {f"detectors.{name}": value for name, value in overrides(sets, {}).items()}
    try:
        settings = gather(config, asked)
        changed = gather(config, {**asked, **tried}) if tried else None
        outcome = replay_shown(paths, settings, changed, every_s=every, save=save, quiet=as_json)
    except ConfigError as error:
        raise fail(error, 2) from None
    except (RecordedError, OSError) as error:
        raise fail(error) from None
    if as_json:
        print_json(outcome.as_json())
        return
    from rich.console import Console

    from zombiewatch.replaying import render

    console = Console()
    console.print(render(outcome, tried, console.width))


@app.command(epilog="zombiewatch explain t-17")
def explain(
    identifier: Annotated[
        str, typer.Argument(metavar="TASK|REQUEST", help="A task or request ID.")
    ],
    url: Url = "http://127.0.0.1:9797",
    as_json: AsJson = False,
) -> None:
    """Show the two stories of a task or request side by side, and where they part."""
    from zombiewatch.client import quoted

    answer: dict[str, Any] = {"found": False}
    for kind in ("tasks", "requests"):
        answer = ask(url, f"/api/v1/{kind}/{quoted(identifier)}")
        if answer["found"]:
            break
    if not answer["found"]:
        raise fail(f"nothing is known of a task or request {identifier!r}")
    if as_json:
        print_json(answer)
        return
    from rich.console import Console

    from zombiewatch.explain import render

    console = Console()
    console.print(render(answer, console.width))


@config_app.command("check", epilog="zombiewatch config check --config zombiewatch.yaml")
def config_check(config: ConfigPath = None, sets: Set = None) -> None:
    """Read the configuration as `run` would, and say all that is wrong with it."""
    from zombiewatch.settings import gather
    from zombiewatch.sources import ConfigError

    try:
        settings = gather(config, overrides(sets, {}))
    except ConfigError as error:
        raise fail(error, 2) from None
    said = settings.config
    typer.echo(
        f"The configuration is sound: namespace {said.namespace}, data in {said.data_dir},"
        f" {len(settings.rules)} rules, {len(said.follow)} patterns followed,"
        f" {len(said.schedules)} schedules."
    )


@app.command(epilog="zombiewatch lint limits.yaml   # what it holds: docs/lint.md")
def lint(
    path: Annotated[
        Path, typer.Argument(help="YAML file with declared limits and times.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Say which declared time-outs cannot hold what they have to, before anything runs.

    Exit status: 0 if all fit, 1 if some do not, 2 if the file cannot be used.
    """
    from zombiewatch.declared import DeclaredError, load
    from zombiewatch.lint import judge, lines

    try:
        declared, document = load(path)
    except DeclaredError as error:
        raise fail(error, 2) from None
    report = judge(declared)
    if not report.compared:
        raise fail(f"{path}: no limit stands beside a time that it has to hold; declare both", 2)
    if as_json:
        print_json({"file": str(path), **report.as_json(document)})
    else:
        for line in lines(report, path, document):
            typer.echo(line)
    raise typer.Exit(1 if report.misfits else 0)


EXEC = "exec"


@app.command(
    EXEC,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def exec_(context: typer.Context) -> None:
    """Run a job, and tell the sidecar of its start, its life and its end."""
    from zombiewatch.exec.command import main as run_job

    raise typer.Exit(run_job(context.args))


def main() -> None:
    """Enter from the shell."""
    if sys.argv[1:2] == [EXEC]:  # each job pays for what is loaded
        from zombiewatch.exec.command import main as run_job

        sys.exit(run_job(sys.argv[2:]))
    app()


if __name__ == "__main__":
    main()
