"""The commands that write what others read: rules, Alertmanager's configuration, dashboards.

And the one that tries out whom that reaches.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer looks at it
from typing import Annotated

import typer

from zombiewatch._command import AsJson, ConfigPath, Set, fail, overrides, print_json

app = typer.Typer()
alerts_app = typer.Typer(help="Try alerts out.", no_args_is_help=True)


@app.command(
    epilog="zombiewatch rules --page http://watch.example:9797 > /etc/prometheus/zombiewatch.yml"
)
def rules(
    target: Annotated[
        str, typer.Option(help="prometheus-2.42, latest, vmalert or prometheusrule.")
    ] = "prometheus-2.42",
    page: Annotated[
        str, typer.Option(help="Where people reach the sidecar: alerts link to it.")
    ] = "http://127.0.0.1:9797",
    alertmanager: Annotated[
        str, typer.Option(help="Where people reach Alertmanager, to silence.")
    ] = "http://127.0.0.1:9093",
    dashboard: Annotated[
        str | None, typer.Option(help="A dashboard: it is given from, to and var-service.")
    ] = None,
    objective: Annotated[
        float,
        typer.Option(
            help="The share of tasks that are to end with the verdict that they deserve.",
            min=0.5,
            max=0.99999,
        ),
    ] = 0.999,
) -> None:
    """Write the rules by which Prometheus (or vmalert) alerts, made from the detectors."""
    from alerts.rules.links import Links
    from alerts.rules.write import TARGETS
    from alerts.rules.write import rules as written
    from detectors._kit import load

    chosen = next((one for one in TARGETS if one == target), None)
    if chosen is None:
        raise fail(f"--target is one of {', '.join(TARGETS)}", 2)
    links = Links(
        page.rstrip("/"), alertmanager.rstrip("/"), dashboard.rstrip("/") if dashboard else None
    )
    typer.echo(written(load(), links, chosen, objective=objective), nl=False)


@app.command(epilog="zombiewatch dashboards --into /var/lib/grafana/dashboards/zombiewatch")
def dashboards(
    into: Annotated[Path, typer.Option(help="A folder that Grafana can read; it is made.")],
    page: Annotated[
        str, typer.Option(help="Where people reach the sidecar: panels link to it.")
    ] = "http://127.0.0.1:9797",
) -> None:
    """Write the Grafana dashboards, and the file that tells Grafana to load them.

    That file goes into Grafana's own folder for provisioning (docs/grafana.md).
    """
    from zombiewatch.boards import write

    try:
        for path in write(into, page.rstrip("/")):
            typer.echo(path)
    except OSError as error:
        raise fail(error) from None


@app.command(
    epilog="zombiewatch alertmanager -c zombiewatch.yaml --into /etc/alertmanager/alertmanager.yml"
    " > new.yml"
)
def alertmanager(
    config: ConfigPath = None,
    into: Annotated[
        Path | None,
        typer.Option(help="A configuration in use: what it has stays, and ours is put into it."),
    ] = None,
    template: Annotated[
        bool, typer.Option("--template", help="Write the template of messages instead.")
    ] = False,
    sets: Set = None,
) -> None:
    """Write Alertmanager's configuration: who is told of our alerts, and what mutes what.

    Receivers are those of `alertmanager.receivers`. The file is written to standard output, the one
    given with --into is not changed; its comments are not kept.
    """
    import yaml

    from alerts.alertmanager import config as written
    from zombiewatch.settings import gather
    from zombiewatch.sources import ConfigError

    if template:
        typer.echo(written.TEMPLATE.read_text(), nl=False)
        return
    try:
        telling = gather(config, overrides(sets, {})).config.alertmanager.telling()
    except ConfigError as error:
        raise fail(error, 2) from None
    try:
        if into is None:
            made = written.config(telling)
        else:
            made = written.merged(yaml.safe_load(into.read_text()) or {}, telling)
    except (OSError, ValueError, yaml.YAMLError, AttributeError) as error:
        raise fail(f"{into}: {error}") from None
    typer.echo(yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=1000), nl=False)


@alerts_app.command(
    "test", epilog="zombiewatch alerts test --url http://127.0.0.1:9093 --severity critical"
)
def alerts_test(
    url: Annotated[
        str, typer.Option(help="Address of the Alertmanager.")
    ] = "http://127.0.0.1:9093",
    severity: Annotated[str, typer.Option(help="critical, warning or info.")] = "warning",
    service: Annotated[str, typer.Option(help="The service that it is of.")] = "test",
    team: Annotated[str | None, typer.Option(help="The team whose it is.")] = None,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait until it has been told.", min=0)
    ] = 90.0,
    as_json: AsJson = False,
) -> None:
    """Send one alert to Alertmanager, and say whom it reaches: receivers, and if they took it.

    Exit status: 0 if somebody was told, 1 if nobody was, within the time. It is over by itself
    soon after.
    """
    from zombiewatch.alerting import AlertmanagerError, try_out

    try:
        told = try_out(
            url, severity=severity, service=service, team=team, wait_s=wait, say=_tell_err
        )
    except AlertmanagerError as error:
        raise fail(error) from None
    if as_json:
        print_json(told.as_json())
    else:
        for line in told.lines():
            typer.echo(line)
    raise typer.Exit(0 if told.good else 1)


def _tell_err(text: str) -> None:
    typer.echo(text, err=True)
