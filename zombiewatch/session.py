"""A lab against a sidecar: both started, findings shown as they come, the end compared."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from labs._kit import Expected, Lab, LabProcessError, Runner, find_labs
from labs._runner import FLAGS
from zombiewatch._servers import ServerError
from zombiewatch.chain import HOW, Chain, missing
from zombiewatch.child import Sidecar, SidecarError
from zombiewatch.client import AskError
from zombiewatch.explain import render, render_findings
from zombiewatch.incident import render_incident
from zombiewatch.outcome import Outcome, Told, levels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SETTLE_S: Final = 12.0
_EXPLAINED: Final = 3
"""So many incidents are explained at the end: those of most findings."""


@dataclass(slots=True)
class Session:
    """What to run, and how to show it. Seconds, and a port (None: a free one).

    With *heed* the lab's dispatcher heeds degrade switches, and a policy moves them. With *alerts*
    Prometheus and Alertmanager run behind the sidecar, where there are such: what they tell of is
    shown, and without a word of theirs not all is well.
    """

    lab: str
    bugs: str = "all"
    seconds: float | None = None
    keep: Path | None = None
    live: bool = False
    stay: bool = False
    heed: bool = False
    alerts: bool = False
    port: int | None = None
    console: Console = field(default_factory=Console)
    each_second: Callable[[float, Sidecar], None] | None = None


def sidecar_config(
    lab: Lab, folder: Path, logs: Path, port: int | None, *, heed: bool = False
) -> dict[str, Any]:
    """Return the configuration by which a sidecar watches *lab*, and with *heed* acts on it."""
    return {
        "namespace": lab.name,
        "data_dir": str(folder / "data"),
        "http": {"port": port or 0},
        "otlp": {"port": 0},
        "grpc": {"port": 0},
        "apply_every_s": 0.2,
        "presets": [str(lab.preset)],
        "follow": [{"path": str(logs / "*.log")}, {"path": str(logs / "*.jsonl")}],
        **(lab.heeds.settings if lab.heeds and heed else {}),
    }


def list_labs() -> None:
    """Print the labs, and what each shows."""
    console = Console()
    for lab in find_labs().values():
        console.print(f"[bold]{lab.name}[/bold]  {lab.title}. {lab.summary}", highlight=False)
        for bug, text in lab.bugs.items():
            console.print(f"    [cyan]{bug}[/cyan]  {text}", highlight=False)
        if lab.heeds is not None:
            console.print("    Its dispatcher heeds degrade switches with --heed.", highlight=False)
    console.print("\nRun one: zombiewatch lab NAME [--bugs all|none|a,b] [--heed]", highlight=False)


def run_lab(session: Session) -> int:
    """Run *session* to its end; return 0 if exactly the expected findings were made."""
    console = session.console
    try:
        lab = find_labs()[session.lab]
        bugs = lab.choose(session.bugs)
    except KeyError:
        console.print(f"There is no lab {session.lab!r}; there are: {', '.join(find_labs())}")
        return 2
    except ValueError as error:
        console.print(str(error))
        return 2
    if session.heed and lab.heeds is None:
        heeding = ", ".join(one.name for one in find_labs().values() if one.heeds is not None)
        console.print(f"Lab {lab.name!r} heeds no degrade switches (--heed); these do: {heeding}")
        return 2
    with ExitStack() as stack:
        folder = session.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        logs = (folder / "logs").absolute()
        logs.mkdir(exist_ok=True)
        config = partial(sidecar_config, lab, folder.absolute(), logs, heed=session.heed)
        sidecar = Sidecar(folder, config(session.port))
        stack.callback(sidecar.stop)
        try:
            try:
                sidecar.start()
            except SidecarError:
                if session.port is None:
                    raise
                sidecar = Sidecar(folder, config(None))
                stack.callback(sidecar.stop)
                sidecar.start()
            told = Told(chain=_chain(session, sidecar, folder.absolute(), stack))
            outcome = _watch(session, lab, bugs, sidecar, logs, folder.absolute(), told)
            _explain(console, sidecar, told)
            _summary(session, outcome, sidecar)
            reached = _reached(console, outcome, told.chain)
            if session.stay:
                _next_steps(console, lab, bugs, sidecar)
                _stay(console, sidecar)
            else:
                console.print(
                    "\nThe sidecar ends with this run; `make demo` lets it stay, with its page.",
                    highlight=False,
                )
        except (SidecarError, LabProcessError) as error:
            console.print(str(error), style="red", markup=False)
            return 1
        except KeyboardInterrupt:
            console.print("Stopped.")
            return 130
    return 0 if outcome.good and reached else 1


def _chain(session: Session, sidecar: Sidecar, folder: Path, stack: ExitStack) -> Chain | None:
    """Return the chain behind *sidecar*, if one is wanted and can be had."""
    if not session.alerts:
        return None
    if away := missing():
        session.console.print(
            f"There is no {' and no '.join(away)} here, so nobody is told by an alert in this run."
            f" To see that, too: {HOW}\n",
            highlight=False,
        )
        return None
    try:
        return stack.enter_context(Chain(sidecar.urls["http"], folder / "chain"))
    except ServerError as error:  # it is an extra: what is found is found without it
        session.console.print(f"Nobody is told by an alert in this run: {error}\n", markup=False)
        return None


def _reached(console: Console, outcome: Outcome, chain: Chain | None) -> bool:
    """Say who was told of what by alerts; return whether anybody was, where that had to be."""
    if chain is None:
        return True
    until = time.monotonic() + _SETTLE_S
    while not (names := _told_of(chain, outcome)) and time.monotonic() < until:
        time.sleep(0.5)  # a poll, bounded by _SETTLE_S
    if not names:
        console.print("\n[bold]NOBODY was told by an alert.[/bold]", highlight=False)
        return False
    console.print(
        f"\nBy Prometheus ({chain.prometheus}) and Alertmanager ({chain.alertmanager}) somebody was"
        f" told of: {', '.join(names)}.",
        highlight=False,
    )
    return True


def _told_of(chain: Chain, outcome: Outcome) -> list[str]:
    """Return the alerts that were told, of what was expected or has to do with it."""
    found = outcome.found.keys()
    labels = (one["labels"] for one in chain.told())
    return sorted({one["alertname"] for one in labels if one.get("detector") in found})


def _watch(
    session: Session,
    lab: Lab,
    bugs: frozenset[str],
    sidecar: Sidecar,
    logs: Path,
    folder: Path,
    told: Told,
) -> Outcome:
    console, expected = session.console, lab.expected(bugs)
    seconds = session.seconds or (lab.heeds if lab.heeds and session.heed else lab).seconds
    console.print(
        f"[bold]{lab.title}[/bold]: {lab.summary}\n"
        f"Bugs in: {', '.join(sorted(bugs)) or 'none'}. Page: {sidecar.urls['http']}\n",
        highlight=False,
    )
    work = folder / "work"
    commands = lab.processes(sidecar.urls["otlp"], logs, work, bugs, seconds)
    if session.heed:
        asked = {FLAGS: sidecar.urls["http"]}
        commands = [replace(one, env={**one.env, **asked}) for one in commands]
    with Runner(commands, work) as runner:
        if session.live:
            with Live(console=console, refresh_per_second=4) as live:
                for gone in runner.watch(seconds + lab.tail_s):
                    _each_second(session, gone, sidecar)
                    told.look(sidecar)
                    told.hear(gone)
                    answer = sidecar.findings()
                    picture = _picture(answer, lab.progress(work), gone, seconds + lab.tail_s)
                    live.update(Group(picture, *told.latest()))
        else:
            for gone in runner.watch(seconds + lab.tail_s):
                _each_second(session, gone, sidecar)
                told.look(sidecar)
                _tell(console, sidecar.findings(), told.findings, gone)
                for line in told.hear(gone):
                    console.print(line, highlight=False, markup=False, soft_wrap=True)
        outcome, answer = _settled(session, sidecar, expected)
        told.look(sidecar)
    if not session.live:
        _tell(console, answer, told.findings, seconds + lab.tail_s)
    return outcome


def _each_second(session: Session, gone: float, sidecar: Sidecar) -> None:
    if session.each_second:
        session.each_second(gone, sidecar)


def _settled(
    session: Session, sidecar: Sidecar, expected: Expected
) -> tuple[Outcome, dict[str, Any]]:
    """Return what came of it once all that must be there is, or after some patience.

    What a policy did whose switches are heeded is not judged: when it moves them depends on that.
    """
    until = time.monotonic() + _SETTLE_S
    while True:
        answer = sidecar.findings()
        switched = None if session.heed else sidecar.switched()
        outcome = Outcome.of(expected, answer["findings"], switched)
        if not outcome.missing or time.monotonic() > until:
            return outcome, answer
        time.sleep(0.5)  # a poll, bounded by _SETTLE_S


def _picture(answer: dict[str, Any], progress: str, gone: float, whole: float) -> Group:
    width = 30
    done = min(width, round(width * gone / whole))
    bar = Text("━" * done, style="cyan") + Text("─" * (width - done), style="dim")
    line = Text.assemble(bar, f"  {gone:3.0f} of {whole:.0f} s   ", (progress, "dim"))
    shown = [one for one in answer["findings"] if one["verdict"] in {"confirmed", "unknown"}]
    if not shown:
        return Group(Text("Nothing found yet.", style="dim"), line)
    return Group(render_findings({**answer, "findings": list(_newest(shown))}), line)


def _newest(findings: list[dict[str, Any]], each: int = 4) -> Iterator[dict[str, Any]]:
    """Yield the newest few of each detector: a table that fits a screen."""
    for detector in sorted({one["detector"] for one in findings}):
        yield from [one for one in findings if one["detector"] == detector][-each:]


def _tell(console: Console, answer: dict[str, Any], told: set[int], gone: float) -> None:
    for one in answer["findings"]:
        if one["id"] not in told and one["confirmed_at"]:
            told.add(one["id"])
            console.print(
                f"{gone:4.0f} s  {one['detector']:<22} {one['subject']}: {one['fix']}",
                highlight=False, markup=False, soft_wrap=True,
            )  # fmt: skip


def _explain(console: Console, sidecar: Sidecar, told: Told) -> None:
    """Print what a person wants to know: the causal chain, what to do, one task's two stories."""
    fullest = told.fullest()
    if not fullest:
        return
    console.print("\n[bold]What happened[/bold]\n")
    for one in fullest[:_EXPLAINED]:
        console.print(render_incident(one), end="\n\n")
    if len(fullest) > _EXPLAINED:
        console.print(f"… and {len(fullest) - _EXPLAINED} more incidents\n", style="dim")
    numbers = {number for link in fullest[0]["chain"] for number in link["findings"]}
    of_a_task = (
        found["task"]
        for found in sidecar.findings()["findings"]
        if found["id"] in numbers and found["task"]
    )
    if task := next(of_a_task, None):
        with suppress(AskError):
            console.print(render(sidecar.story(task), console.width))


def _summary(session: Session, outcome: Outcome, sidecar: Sidecar) -> None:
    console = session.console
    console.print()
    for name in sorted(outcome.found.keys() | outcome.expected.must):
        number = outcome.found.get(name, 0)
        role = "expected" if name in outcome.expected.must else "possible"
        role = "UNEXPECTED" if name in outcome.surprising else role
        mark = "✓" if number and name not in outcome.surprising else "✗"
        console.print(f"  {mark} {name:<24}{number:>4} found   {role}", highlight=False)
    for service in sorted(outcome.levels.keys() | outcome.expected.degraded):
        moved = " → ".join(["L0", *outcome.levels.get(service, ())])
        mark = "✗" if service in outcome.missing | outcome.surprising else "✓"
        console.print(f"  {mark} {service:<24} {moved}   degrade level", highlight=False)
    for service, levels in levels_of(sidecar.switched() if session.heed else []).items():
        moved = " → ".join(["L0", *levels])
        console.print(f"  · {service:<24} {moved}   degrade level, heeded", highlight=False)
    for name, number in sorted(outcome.retracted.items()):
        console.print(f"  ✗ {name:<24}{number:>4} retracted: false alarms", highlight=False)
    verdict = (
        "Exactly what had to be found was found."
        if outcome.good
        else "NOT what had to be found"
        f" (missing: {', '.join(sorted(outcome.missing)) or 'nothing'};"
        f" unexpected: {', '.join(sorted(outcome.surprising)) or 'nothing'})."
    )
    if not outcome.found and outcome.good:
        verdict = "Nothing found, as it must be with every bug mended."
    console.print(f"\n[bold]{verdict}[/bold]", highlight=False)


def _next_steps(console: Console, lab: Lab, bugs: frozenset[str], sidecar: Sidecar) -> None:
    url = sidecar.urls["http"]
    console.print(f"\nPage: {url}\n\nWhat to try next:", highlight=False)
    findings = sidecar.findings()["findings"]
    zombie = next((one["task"] for one in findings if one["detector"] == "zombie_task"), None)
    tries = [
        *([f".venv/bin/zombiewatch explain {zombie} --url {url}"] if zombie else []),
        f".venv/bin/zombiewatch findings --url {url}",
        f"curl -s {url}/metrics | grep zombiewatch_findings",
        f"make lab LAB={lab.name} BUGS={min(bugs, default='')}   # one bug alone; BUGS= mends all",
    ]
    for one in tries:
        console.print(f"  {one}", highlight=False, markup=False, soft_wrap=True)


def _stay(console: Console, sidecar: Sidecar) -> None:
    console.print("\nThe sidecar stays for you to look around. Ctrl-C ends it.")
    while sidecar.process and sidecar.process.poll() is None:
        time.sleep(0.2)  # until the user ends it
