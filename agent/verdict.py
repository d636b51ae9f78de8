"""The verdict of `qafila status`: pure, from the status file and what the socket answered.

Exit codes are those of Nagios plugins: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Level(IntEnum):
    """Nagios' exit codes."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Daemon(StrEnum):
    """What the control socket told of the agent."""

    RUNNING = "running"
    SILENT = "not responding"
    DEAD = "not running"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A level, one line, and every remark behind it."""

    level: Level
    line: str
    remarks: tuple[tuple[Level, str], ...]


_STALE = 15.0
"""Seconds after which figures are said to be old although the agent answers."""
_LINK_PATIENCE = 24 * 3600
"""Seconds without a receipt, with something pending, before somebody should look."""
_ALARM_LEVELS = {"record-refused": Level.WARNING}


def judge(status: Mapping[str, Any] | None, age: float, daemon: Daemon) -> Verdict:
    """The verdict; `status` is None where there is no status file that can be read."""
    if status is None:
        why = f"the agent is {daemon}, and it has left no figures"
        return Verdict(Level.UNKNOWN, f"UNKNOWN: {why}", ())
    remarks = tuple(sorted(_remarks(status), key=lambda remark: -remark[0]))
    figures = _figures(status)
    if daemon is not Daemon.RUNNING:
        line = f"UNKNOWN: the agent is {daemon}; figures are {_seconds(age)} old: {figures}"
        return Verdict(Level.UNKNOWN, line, remarks)
    if age > _STALE:
        stale = (Level.WARNING, f"the agent answers, but its figures are {_seconds(age)} old")
        remarks = (stale, *remarks)
    level = max((remark[0] for remark in remarks), default=Level.OK)
    first = next((words for at, words in remarks if at == level and level), "")
    tail = f" ({first})" if first else ""
    return Verdict(level, f"{level.name}: {figures}{tail}", remarks)


def _figures(status: Mapping[str, Any]) -> str:
    store = status["store"]
    parts = [
        f"{store['saved']} on the truck",
        f"{store['confirmed']} confirmed by the centre",
        f"{store['pending']} waiting",
    ]
    if store["tray"]:
        parts.append(f"{store['tray']} in the tray")
    return ", ".join(parts)


def _remarks(status: Mapping[str, Any]) -> Iterator[tuple[Level, str]]:
    yield from _of_store(status["store"])
    yield from _of_uplink(status["uplink"], status["store"]["pending"])
    for name, device in status["devices"].items():
        yield from _of_device(name, device)
    if status["clock"] == "implausible":
        yield Level.WARNING, "the clock can't be right: readings are kept and marked so"


def _of_store(store: Mapping[str, Any]) -> Iterator[tuple[Level, str]]:
    frames = store["quarantined"]["frames"]
    if frames:
        reasons = "; ".join(store["quarantined"]["reasons"])
        yield Level.WARNING, f"{frames} frames could not be decoded and are kept: {reasons}"
    if store["refused"]:
        yield Level.WARNING, f"{store['refused']} records were refused by the centre"
    for alarm in store["alarms"]:
        level = _ALARM_LEVELS.get(alarm["code"], Level.WARNING)
        yield level, f"{alarm['detail']} ({alarm['count']} times, last {alarm['last_seen']})"


def _of_uplink(uplink: Mapping[str, Any], pending: int) -> Iterator[tuple[Level, str]]:
    if uplink["state"] == "none":
        return
    last = uplink["last_receipt_seconds"]
    silent = uplink["for_seconds"] if last is None else last
    if pending and silent > _LINK_PATIENCE:
        why = uplink["detail"] or uplink["state"]
        yield Level.WARNING, f"no receipt for {_seconds(silent)}: {why}"


def _of_device(name: str, device: Mapping[str, Any]) -> Iterator[tuple[Level, str]]:
    if device["state"] in {"unavailable", "misconfigured", "faulty", "failed"}:
        yield Level.WARNING, f"{name} is {device['state']}: {device['detail']}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"  # noqa: PLR2004
