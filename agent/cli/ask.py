"""`qafila ask`: an urgent question to an expert, with the readings it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli.common import settings_option
from agent.cli.talk import talk

if TYPE_CHECKING:
    from pathlib import Path


@click.command("ask", help="Ask an expert at the centre, urgently, about readings.")
@click.argument("records", metavar="RECORD...", nargs=-1, required=True)
@click.option("--specialty", required=True, help="Of which specialty the expert is.")
@click.option("--question", required=True, help="What is asked; it is sent as patient data.")
@click.option("--by", "actor", required=True, help="Who asks.")
@settings_option
def command(
    records: tuple[str, ...], specialty: str, question: str, actor: str, path: Path
) -> None:
    """Return once it is on disk; what it refers to is sent before everything else."""
    asked = {"do": "ask", "records": list(records), "specialty": specialty}
    answer = talk(path, asked | {"question": question, "actor": actor})
    click.echo(f"asked as {answer['record']}")
    if not answer["assigned"]:
        click.echo("these readings are of no known patient yet: the expert sees none", err=True)
