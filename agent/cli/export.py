"""`qafila export`: what the centre lacks, onto a stick."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.common import load_settings, said_plainly, settings_option
from agent.cli.talk import talk


@click.command("export", help="Write what the centre lacks onto a stick, sealed.")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@settings_option
def command(path: Path, folder: Path) -> None:
    """Return once it is on the stick; exit 1 where not everything is."""
    from agent.export.asking import AgentSource  # noqa: PLC0415
    from agent.export.carry import Carrier  # noqa: PLC0415
    from sync.contract.sealed import SUFFIXES, folders  # noqa: PLC0415
    from sync.stick import StickFault, open_shelf  # noqa: PLC0415

    with said_plainly():
        unit = load_settings(path).unit
    source = AgentSource(lambda asked: talk(path, asked))
    place = folders(unit.origin, unit.name, "up")
    try:
        source.open()  # before anything is made on the stick: the agent may not be there
        with open_shelf(folder, place, SUFFIXES["up"], make=True) as shelf:
            done = Carrier(source, lambda: None).bring_up_to_date(shelf)
    except StickFault as fault:
        raise click.ClickException(str(fault)) from None
    click.echo(
        f"{unit.name}: {done.pending - done.lacking} of {done.pending} records that wait are on it,"
        f" in {done.files} files, {done.written} of them new"
    )
    if done.strange:
        click.echo(f"{done.strange} files on it are not of this unit's present keys", err=True)
    if done.full:
        raise click.ClickException(f"{done.full}; what is on it by now can be carried")
    if not done.whole:
        raise click.ClickException("some records can't be read back as they were written")
