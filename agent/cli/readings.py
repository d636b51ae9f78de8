"""`qafila readings`: the latest readings, with their values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from agent.cli.common import json_option, settings_option, table
from agent.cli.listed import listed

if TYPE_CHECKING:
    from pathlib import Path

_WHERE = {"confirmed": "✓ confirmed", "truck": "◯ on the truck", "refused": "✗ refused"}


@click.command("readings", help="The latest readings, and whether the centre confirmed them.")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many at most.",
)
@settings_option
@json_option
def command(path: Path, limit: int, as_json: bool) -> None:  # noqa: FBT001
    """Print them, newest first."""
    found = listed(path, "readings", limit)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    rows = [("when (UTC)", "box", "what", "values", "whose", "where", "record")]
    rows += [
        (
            each["wall"][:19].replace("T", " "),
            each["box"] or "-",
            each["kind"],
            each["summary"],
            "tray" if each["tray"] else "consultation",
            _WHERE[each["where"]],
            each["record"],
        )
        for each in found
    ]
    click.echo(table(list(rows)) if found else "no readings yet")
