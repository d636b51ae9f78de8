"""`qafila enter`: what no device gives, or a device refuses, by a person's hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli.common import settings_option
from agent.cli.talk import talk

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "enter",
    help="Enter by hand what a person measured in BOX.",
    context_settings={"ignore_unknown_options": True},  # a minus sign is a wrong number
)
@click.argument("box")
@click.argument("kind")
@click.argument("value", metavar="VALUE...", nargs=-1, required=True)
@click.option("--actor", required=True, help="Who measured and enters it.")
@click.option("--reason", help="Why by hand; never anything of the patient.")
@settings_option
def command(
    box: str, kind: str, value: tuple[str, ...], actor: str, reason: str | None, path: Path
) -> None:
    """Return once it is on disk; what should be looked at again goes to stderr."""
    asked = {"do": "enter", "box": box, "kind": kind, "value": " ".join(value), "actor": actor}
    answer = talk(path, asked | ({"reason": reason} if reason else {}))
    click.echo(f"saved as {answer['record']}")
    if answer["tray"]:
        click.echo(f"it lies in the tray: {answer['tray']}", err=True)
    if answer["remark"]:
        click.echo(answer["remark"], err=True)
