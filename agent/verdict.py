"""The verdict of `qafila status`: pure, from the status file and what the socket answered.

Exit codes are those of Nagios plugins: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


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
    CLOSED = "not for this user to ask"
    UNASKED = "not asked"


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
_STICK_PATIENCE = 24 * 3600
"""Seconds for which what waits may lie on one disk only, before somebody should look."""
_ALARM_PATIENCE = 7 * 24 * 3600
"""Seconds for which an alarm is shown after it was last raised."""
_DISK_LOW, _LOW_PART = 1 << 30, 10
_DISK_FULL, _FULL_PART = 64 << 20, 100
"""Bytes left: somebody should look; readings will soon be refused. Of a small disk: one in so
many of its bytes."""
_FILES_LOW = 100
"""Files (inodes) that may still be made: the agent needs a handful."""


_TROUBLE = frozenset({"unavailable", "misconfigured", "faulty", "failed", "needs-pairing"})


def judge(status: Mapping[str, Any] | None, age: float, daemon: Daemon) -> Verdict:
    """The verdict; `status` is None where there is no status file that can be read."""
    if status is None:
        why = f"the agent is {daemon}, and it has left no figures"
        return Verdict(Level.UNKNOWN, f"UNKNOWN: {why}", ())
    remarks = tuple(sorted(_remarks(status), key=lambda remark: -remark[0]))
    figures = _figures(status)
    if daemon is not Daemon.RUNNING:
        line = f"UNKNOWN: the agent is {daemon}; figures are {in_words(age)} old: {figures}"
        return Verdict(Level.UNKNOWN, line, remarks)
    if age > _STALE:
        stale = (Level.WARNING, f"the agent answers, but its figures are {in_words(age)} old")
        remarks = (stale, *remarks)
    level = max((remark[0] for remark in remarks), default=Level.OK)
    first = next((words for at, words in remarks if at == level and level), "")
    tail = f" ({first})" if first else ""
    return Verdict(level, f"{level.name}: {figures}{tail}", remarks)


def _figures(status: Mapping[str, Any]) -> str:
    store = status["store"]
    parts = [
        f"{store['saved'] - store.get('aged_out', 0)} on the truck",
        f"{store['confirmed']} confirmed by the centre",
        f"{store['pending']} waiting",
    ]
    if store["tray"]:
        parts.append(f"{store['tray']} in the tray")
    return ", ".join(parts)


def _remarks(status: Mapping[str, Any]) -> Iterator[tuple[Level, str]]:
    yield from _of_disk(status["disk"])
    yield from _of_store(status["store"])
    yield from _of_alarms(status["store"]["alarms"], status["written"]["wall"])
    yield from _of_uplink(status)
    yield from _of_stick(status)
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
    if store.get("lost"):
        yield Level.WARNING, f"{store['lost']} records can't be read back and are lost"
    for each in store.get("damage", ()):  # an older agent's figures have none
        if each["finished"] is None:
            yield Level.WARNING, f"damaged/{each['place']} is being salvaged: {_salvaged(each)}"


def _salvaged(damage: Mapping[str, Any]) -> str:
    return f"{damage['records']} records recovered so far"


def _of_alarms(alarms: Iterable[Mapping[str, Any]], wall: float) -> Iterator[tuple[Level, str]]:
    for alarm in alarms:
        if wall - _wall(alarm["last_seen"]) < _ALARM_PATIENCE:
            times = f"{alarm['count']} times, last {alarm['last_seen']}"
            yield Level.WARNING, f"{alarm['detail']} ({times})"


def _of_disk(disk: Mapping[str, Any]) -> Iterator[tuple[Level, str]]:
    free, size = disk["free"], disk["size"]
    left = f"{free >> 20} MiB are left"
    if not disk.get("accepts", True):
        yield Level.CRITICAL, f"the disk is full, readings are refused: free some space now; {left}"
    elif free < min(_DISK_FULL, size // _FULL_PART):
        yield Level.CRITICAL, f"the disk is all but full: free some space now; {left}"
    elif free < min(_DISK_LOW, size // _LOW_PART):
        yield Level.WARNING, f"the disk is nearly full: {left}"
    if disk.get("files") and disk["files_free"] < _FILES_LOW:
        yield Level.WARNING, f"the disk takes no more than {disk['files_free']} further files"


def _of_uplink(status: Mapping[str, Any]) -> Iterator[tuple[Level, str]]:
    uplink = status["uplink"]
    if uplink["state"] == "none":
        return
    why = uplink["detail"] or uplink["state"]
    if uplink["state"] in _TROUBLE:
        yield Level.WARNING, f"the uplink is {uplink['state']}: {why}"
    silent = _silent(status)
    if status["store"]["pending"] and silent > _LINK_PATIENCE:
        yield Level.WARNING, f"no receipt for {in_words(silent)}: {why}"


def _of_stick(status: Mapping[str, Any]) -> Iterator[tuple[Level, str]]:
    """Of the stick that stays plugged in; figures of an older agent say nothing of it."""
    stick = status.get("export", {"state": "none"})
    if stick["state"] in {"asking", "misconfigured"}:
        yield Level.WARNING, f"the stick asks for somebody: {stick['detail']}"
    if stick["state"] in {"none", "misconfigured", "whole"} or not status["store"]["pending"]:
        return
    whole = stick["whole_seconds"]
    alone = float(whole) if whole is not None else _waited(status)
    if alone > _STICK_PATIENCE:
        why = stick["detail"] or stick["state"]
        yield Level.WARNING, f"what waits is on one disk only, for {in_words(alone)}: {why}"


def _silent(status: Mapping[str, Any]) -> float:
    """Seconds without a receipt, also over restarts: then what waits tells since when."""
    last = status["uplink"]["last_receipt_seconds"]
    return _waited(status) if last is None else float(last)


def _waited(status: Mapping[str, Any]) -> float:
    """Seconds for which the oldest has waited, or the agent has run, whichever is longer."""
    oldest = (lane["oldest_pending"] for lane in status["store"]["lanes"].values())
    waited = (status["written"]["wall"] - _wall(each) for each in oldest if each)
    return float(max(status["running_seconds"], *waited, 0.0))


def _of_device(name: str, device: Mapping[str, Any]) -> Iterator[tuple[Level, str]]:
    if device["state"] in _TROUBLE:
        level = Level.CRITICAL if device["state"] == "failed" else Level.WARNING
        yield level, f"{name} is {device['state']}: {device['detail']}"
    for words in device.get("notes", {}).values():
        yield Level.WARNING, f"{name}: {words}"


def _wall(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def in_words(seconds: float) -> str:
    """A duration: `4 s`, `12 min`, `3 h`, `2 days`."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
