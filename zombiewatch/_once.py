"""What was sent twice is shown once: by the identity that it declares, never by its content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from model.signals import unpack

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

_SEQUENCE: Final = "heartbeat.sequence"
"""The attribute by which an agent numbers its heartbeats."""


def once(rows: Iterable[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Return signals by `seq`, without those that say again what another one says.

    A span is its trace and span ID: one that has ended stands for itself while it was pending.
    A heartbeat is its process, boot and number, where it has one. Logs are never the same.
    """
    kept: dict[Hashable, Mapping[str, Any]] = {}
    for row in rows:
        identity = _identity(row)
        other = kept.get(identity)
        if other is None or _order(row) < _order(other):
            kept[identity] = row
    return {row["seq"]: row for row in kept.values()}


def _order(row: Mapping[str, Any]) -> tuple[bool, int]:
    return row["kind"] == "span" and row["end_us"] is None, row["seq"]


def _identity(row: Mapping[str, Any]) -> Hashable:
    if row["kind"] == "span" and row["trace_id"] and row["span_id"]:
        return "span", row["namespace"], row["trace_id"], row["span_id"]
    if row["phase"] == "heartbeat" and row["instance"]:
        number = unpack(row["attr_keys"], row["attr_values"]).get(_SEQUENCE)
        if number:
            process = (row["namespace"], row["service"], row["instance"], row["boot"])
            return "beat", *process, row["task"], number
    return int(row["seq"])
