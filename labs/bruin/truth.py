"""What really happened, from the table and the logs together: for tests, not for watchers."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Final

from labs._figures import shown
from labs._logs import lines
from labs.bruin.database import OWN_TENANT, scan_s
from labs.bruin.options import DATABASE, PROGRESS

if TYPE_CHECKING:
    from pathlib import Path

_TASK: Final = re.compile(r"^task (\S+) attempt \d+ (accepted|finished|delivered)")
_GAVE_UP: Final = "gave up"
_OWN: Final = "SELECT external_ref, state, finished_us FROM tasks WHERE tenant = ?"


def progress(work: Path) -> str:
    """Return how far the lab in *work* is, in one line; empty before it has begun."""
    figures = shown(work / PROGRESS)
    if not figures:
        return ""
    running = figures["delivered"] - figures["recorded"]
    return (
        f"{figures['gone_s']:5.1f} s  {figures['enqueued']} tasks enqueued, {running} running,"
        f" {figures['recorded']} done, {figures['rows']:,} rows in the table,"
        f" p95 of report {figures['report_p95_s']:.3f} s"
    )


def truth(logs: Path, work: Path) -> dict[str, float | int]:
    """Return what became of the tasks. All processes must have ended.

    Times are in seconds: `scan_first_s` and `scan_last_s` are how long a look-up by reference
    takes before the first task and now; `slowest_delivery_s` is the longest time from a
    run's end to its being stored.
    """
    seen: dict[str, dict[str, str]] = {"accepted": {}, "finished": {}, "delivered": {}}
    given_up = set()
    ends_s = {}
    for line in lines(logs):
        if found := _TASK.search(line["message"]):
            task, event = found.groups()
            seen[event][task] = line.get("request_id", "")
            if event == "finished":
                ends_s[task] = datetime.fromisoformat(line["ts"]).timestamp()
        elif _GAVE_UP in line["message"]:
            given_up.add(line["request_id"])
    with closing(sqlite3.connect(work / DATABASE)) as raw:
        last_scan_s = scan_s(raw)
        rows = raw.execute("SELECT count(*) FROM tasks").fetchone()[0]
        states = {ref: (state, ended) for ref, state, ended in raw.execute(_OWN, (OWN_TENANT,))}
    running = {ref for ref, (state, _) in states.items() if state == "running"}
    delays_s = [
        ended / 1e6 - ends_s[ref] for ref, (_, ended) in states.items() if ended and ref in ends_s
    ]
    return {
        "tasks": len(states),
        "delivered": len(seen["delivered"]),
        "accepted": len(seen["accepted"]),
        "done": sum(state == "success" for state, _ in states.values()),
        "waiting": sum(state == "queued" for state, _ in states.values()),
        "zombies": len(running - seen["accepted"].keys()),
        "committed_after_give_up": len(given_up & set(seen["delivered"].values())),
        "lost_reports": len(running & seen["finished"].keys()),
        "unfinished": len((running & seen["accepted"].keys()) - seen["finished"].keys()),
        "slowest_delivery_s": round(max(delays_s, default=0.0), 3),
        "rows": rows,
        "scan_first_s": shown(work / PROGRESS)["scan_first_s"],
        "scan_last_s": round(last_scan_s, 6),
    }
