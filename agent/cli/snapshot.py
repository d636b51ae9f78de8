"""`qafila snapshot`: a picture by command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli.common import settings_option
from agent.cli.talk import talk

if TYPE_CHECKING:
    from pathlib import Path


@click.command("snapshot", help="Take a picture with a dermatoscope.")
@click.argument("device")
@settings_option
def command(device: str, path: Path) -> None:
    """Return once the picture is on disk."""
    click.echo(f"saved as {talk(path, {'do': 'snapshot', 'device': device})['record']}")
