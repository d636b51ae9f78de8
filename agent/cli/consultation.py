"""`qafila consultation`: whose readings those of a box are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli.common import settings_option
from agent.cli.talk import talk

if TYPE_CHECKING:
    from pathlib import Path


@click.group("consultation", help="Open or close the consultation of a box.")
def command() -> None:
    """Readings of a box without an open consultation go to the tray."""


@command.command("open")
@click.argument("box")
@click.option("--patient", required=True, help="The patient's opaque id; never a name.")
@click.option("--actor", required=True, help="Who opens it.")
@settings_option
def open_(box: str, patient: str, actor: str, path: Path) -> None:
    """Open a consultation in BOX."""
    answer = talk(path, {"do": "open", "box": box, "patient": patient, "actor": actor})
    click.echo(f"consultation {answer['consultation']} is open in box {box}")


@command.command("close")
@click.argument("box")
@settings_option
def close(box: str, path: Path) -> None:
    """Close the consultation in BOX."""
    closed = talk(path, {"do": "close", "box": box})["closed"]
    click.echo(f"box {box}: {'closed' if closed else 'nothing was open'}")
