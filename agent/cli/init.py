"""`qafila init`: the keys of a new state folder."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.common import said_plainly


@click.command("init", help="Make the keys of a new state folder.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def command(folder: Path) -> None:
    """Make `store.key` and `unit.key` in FOLDER/keys, readable by their owner only."""
    from agent.identity import make_unit_key  # noqa: PLC0415
    from agent.store.keys import make_key  # noqa: PLC0415

    with said_plainly():
        try:
            make_key(folder)
            public = make_unit_key(folder)
        except FileExistsError as error:
            raise click.ClickException(
                f"{error.filename} exists: a key is made once, and what it locks needs it"
            ) from None
        except OSError as error:
            raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    click.echo(f"keys are in {folder / 'keys'}; enrol {public} at the centre")
