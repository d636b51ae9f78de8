"""`qafila status`: reads status.json and probes the socket; never opens the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from agent import control, status_file
from agent.cli.common import ago, json_option, settings_option, table
from agent.verdict import Daemon, Level, Verdict, judge
from config.errors import SettingsFault

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 0.4
"""Seconds for which an answer is waited for."""


@click.command("status", help="How is the unit? One verdict line first; Nagios exit codes.")
@settings_option
@json_option
@click.pass_context
def command(ctx: click.Context, path: Path, as_json: bool) -> None:  # noqa: FBT001
    """Print the verdict and exit with its code."""
    verdict, status, age, daemon = _found(path)
    if as_json:
        click.echo(json.dumps(_as_json(verdict, status, age, daemon), ensure_ascii=False))
    else:
        click.echo(_as_text(verdict, status, age, daemon))
    ctx.exit(verdict.level)


def _found(path: Path) -> tuple[Verdict, dict[str, Any] | None, float, Daemon]:
    from agent.cli.common import load_settings  # noqa: PLC0415

    try:
        unit = load_settings(path).unit
    except SettingsFault as fault:
        return Verdict(Level.UNKNOWN, f"UNKNOWN: {fault}", ()), None, 0.0, Daemon.UNASKED
    daemon = probe(path.__class__(unit.runtime))
    status, age = _status(path.__class__(unit.state))
    return judge(status, age, daemon), status, age, daemon


def probe(runtime: Path) -> Daemon:
    """Whether an agent answers at the control socket."""
    try:
        control.ask(runtime, {"do": "ping"}, PATIENCE)
    except (TimeoutError, BlockingIOError):  # the latter: many have asked, and none was heard
        return Daemon.SILENT
    except PermissionError:
        return Daemon.CLOSED
    except (OSError, ValueError):
        return Daemon.DEAD
    return Daemon.RUNNING


def _status(state: Path) -> tuple[dict[str, Any] | None, float]:
    try:
        return status_file.read(state)
    except (OSError, ValueError, KeyError):
        return None, 0.0


def _as_json(
    verdict: Verdict, status: dict[str, Any] | None, age: float, daemon: Daemon
) -> dict[str, Any]:
    return {
        "version": status_file.VERSION,
        "level": verdict.level.name,
        "line": verdict.line,
        "remarks": [{"level": level.name, "text": text} for level, text in verdict.remarks],
        "daemon": daemon.value,
        "age_seconds": None if status is None else round(age, 1),
        "status": status,
    }


def _as_text(verdict: Verdict, status: dict[str, Any] | None, age: float, daemon: Daemon) -> str:
    lines = [verdict.line]
    lines += [f"  {level.name.lower()}: {text}" for level, text in verdict.remarks]
    if status is None:
        return "\n".join(lines)
    uplink = status["uplink"]
    rows = [
        ("unit", f"{status['unit']} ({status['origin']}), agent {status['agent']} {daemon}"),
        ("figures", f"{ago(age)} old, clock {status['clock']}"),
        ("uplink", f"{uplink['state']} {uplink['detail']}".strip()),
        ("disk", _disk(status["disk"])),
        ("receipt", f"last one {_receipt(uplink)}"),
        *_stick(status),
        ("compared", _compared(status.get("reconciliation"))),
        ("boxes", ", ".join(status["consultations"]) or "no consultation is open"),
    ]
    rows += [(f"lane {lane}", _lane(of)) for lane, of in status["store"]["lanes"].items()]
    rows += [
        (f"damaged/{each['place']}", _damage(each)) for each in status["store"].get("damage", ())
    ]
    rows += [(name, _device(device)) for name, device in status["devices"].items()]
    return "\n".join([*lines, table([tuple(row) for row in rows])])


def _disk(disk: dict[str, Any]) -> str:
    ballast = disk.get("ballast", "unknown")  # the last word of an agent that was older
    return f"{_gib(disk['free'])} of {_gib(disk['size'])} GiB free, ballast {ballast}"


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f}"


def _receipt(uplink: dict[str, Any]) -> str:
    seconds = uplink.get("last_receipt_seconds")
    return "never, since the agent started" if seconds is None else f"{ago(seconds)} ago"


def _stick(status: dict[str, Any]) -> list[tuple[str, str]]:
    stick = status.get("export", {"state": "none"})
    if stick["state"] == "none":
        return []
    words = f"{stick['state']} {stick['detail']}".strip()
    if stick["files"] is not None:
        whole = stick["whole_seconds"]
        since = "never whole yet" if whole is None else f"whole {ago(whole)} ago"
        words += f"; {stick['files']} files, {since}{_lacking(stick)}"
    return [("stick", words)]


def _lacking(stick: dict[str, Any]) -> str:
    return f", {stick['lacking']} of {stick['pending']} lacking" if stick["lacking"] else ""


def _compared(last: dict[str, Any] | None) -> str:
    if last is None:
        return "never yet"
    words = {"unanswered": "the centre did not answer", "equal": "equal"}
    said = words.get(last["outcome"], f"{last['differing']} records differed")
    when = "" if last["age_seconds"] is None else f", {ago(last['age_seconds'])} ago"
    return f"{said}{when}: {last['records']} records of {last['days']} days"


def _lane(lane: dict[str, Any]) -> str:
    oldest = f", oldest from {lane['oldest_pending']}" if lane["oldest_pending"] else ""
    return f"{lane['last']} saved, {lane['confirmed']} confirmed, {lane['pending']} waiting{oldest}"


def _damage(damage: dict[str, Any]) -> str:
    counts = f"{damage['records']} records recovered, {damage['lost']} lost"
    state = counts if damage["finished"] else f"being salvaged, {damage['records']} records so far"
    return f"set aside {damage['found']}, {damage['reason']}: {state}"


def _device(device: dict[str, Any]) -> str:
    box = f"box {device['box']}" if device["box"] else "no box"
    readings = f"{device['readings']} readings, last {_last(device)}"
    return f"{box}, {device['state']} {device['detail']}".strip() + f"; {readings}"


def _last(device: dict[str, Any]) -> str:
    seconds = device["last_reading_seconds"]
    return "none yet" if seconds is None else f"{ago(seconds)} ago"
