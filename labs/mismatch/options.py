"""What the programs of the lab are told on their command lines."""

from __future__ import annotations

from typing import Final

BUGS: Final = {
    "short_limits": "The table's time-outs are shorter than the runs that they are meant for.",
    "no_heartbeat": (
        "The executors send no signs of life for what they run; the scheduler calls a run dead"
        " that it has not heard of for a while."
    ),
    "callback_drops": (
        "An executor keeps the connection of a job's last callback, and sends the next one on it,"
        " once: a firewall has long forgotten that connection, and drops it."
    ),
    "late_logs": (
        "The shipper of the executors' logs waits for a batch to fill: a line is up to nine seconds"
        " old when it can be read."
    ),
    "clock_skew": "Nobody keeps the time of one executor's machine: its clock is 5 s fast.",
}

FIXES: Final = {
    "short_limits": "Each time-out is made from how long the job takes, with room to spare.",
    "no_heartbeat": "The executors beat for each run, every few seconds, over HTTP.",
    "callback_drops": "Each callback has a connection of its own, and is tried again if it fails.",
    "late_logs": "The shipper sends what it has, every fraction of a second.",
    "clock_skew": "The machine's time service runs.",
}

SPOOL: Final = "spool"
"""Folder of the executors' logs until they are shipped, within the lab's."""

PROGRESS: Final = "progress.json"
