"""`qafila readings`: the latest readings; reads the database, so it needs its key."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import click

from agent.cli.common import json_option, load_settings, said_plainly, settings_option, table

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
    from agent.store.connection import open_reader  # noqa: PLC0415
    from agent.store.keys import load_key  # noqa: PLC0415
    from agent.store.listing import readings  # noqa: PLC0415
    from agent.uplink import DESTINATION  # noqa: PLC0415

    with said_plainly():
        folder = path.__class__(load_settings(path).unit.state)
        with closing(open_reader(folder, load_key(folder))) as connection:
            found = readings(connection, DESTINATION, limit)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    rows = [("when (UTC)", "box", "what", "values", "whose", "where")]
    rows += [
        (
            each["wall"][:19].replace("T", " "),
            each["box"] or "-",
            each["kind"],
            each["summary"],
            "tray" if each["tray"] else "consultation",
            _WHERE[each["where"]],
        )
        for each in found
    ]
    click.echo(table(list(rows)) if found else "no readings yet")
