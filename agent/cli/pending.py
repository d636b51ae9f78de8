"""`qafila pending`: what waits, and why in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from agent import status_file
from agent.cli.common import json_option, load_settings, said_plainly, settings_option, table
from agent.cli.listed import listed

if TYPE_CHECKING:
    from pathlib import Path


@click.command("pending", help="What the centre has not confirmed yet, and why.")
@click.option("--why", is_flag=True, help="Say why each of them waits.")
@click.option(
    "--limit",
    default=50,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many at most.",
)
@settings_option
@json_option
def command(path: Path, why: bool, limit: int, as_json: bool) -> None:  # noqa: FBT001
    """Print it, oldest first. No values are shown."""
    found = listed(path, "pending", limit)
    with said_plainly():
        folder = path.__class__(load_settings(path).unit.state)
    link = _link(folder)
    kept = ("record", "lane", "seq", "kind", "wall", "where", "why")
    shown = [{key: each[key] for key in kept} for each in found]
    if as_json:
        click.echo(json.dumps({"link": link, "pending": shown}, ensure_ascii=False))
        return
    if not shown:
        click.echo("nothing is pending: the centre has confirmed everything")
        return
    click.echo(f"uplink: {link}")
    rows = [("since (UTC)", "lane", "seq", "what", *(("why",) if why else ()))]
    rows += [_row(each, why=why) for each in shown]
    click.echo(table(list(rows)))


def _row(each: dict[str, Any], *, why: bool) -> tuple[str, ...]:
    when = each["wall"][:19].replace("T", " ")
    return (when, each["lane"], str(each["seq"]), each["kind"], *((each["why"],) if why else ()))


def _link(folder: Path) -> str:
    try:
        status, _ = status_file.read(folder)
    except (OSError, ValueError, KeyError):
        return "unknown: the agent has left no figures"
    uplink = status["uplink"]
    return f"{uplink['state']} {uplink['detail']}".strip()
