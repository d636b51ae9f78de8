"""`qafila reconnect`: try the link now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli.common import settings_option
from agent.cli.talk import talk

if TYPE_CHECKING:
    from pathlib import Path


@click.command("reconnect", help="Try the link to the centre now, without waiting.")
@settings_option
def command(path: Path) -> None:
    """For whoever has just turned the antenna."""
    talk(path, {"do": "reconnect"})
    click.echo("trying now: see `qafila status`")
