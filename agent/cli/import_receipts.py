"""`qafila import-receipts`: what the centre says on a stick, settled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.common import load_settings, said_plainly, settings_option
from agent.cli.talk import talk

if TYPE_CHECKING:
    from agent.export.returning import Returned

_WORDS = {
    "repeated": "known already",
    "stale": "older than what the centre has said since",
    "closed-epoch": "of a log that this unit has closed",
    "retired-central-epoch": "of a centre that was since restored or replaced",
    "unproven-central-epoch": "of another state of the centre: export anew, and import there again",
    "unknown-epoch": "of a log that this unit never had",
    "another-unit": "for another unit",
    "impossible": "of another history than this unit's: call the platform",
    "restored-copy": "this unit is an older copy of itself, and has begun a new epoch",
    "key": "not signed by the centre that is pinned here: look at centre_key",
    "signature": "changed since they were signed: import at the centre again",
    "damaged": "files were torn or damaged: import at the centre again",
}
_PLAIN = frozenset({"repeated", "stale", "closed-epoch", "restored-copy"})


@click.command("import-receipts", help="Settle what the centre has written onto a stick.")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@settings_option
def command(path: Path, folder: Path) -> None:
    """Return once it is settled; exit 1 where something could not be believed."""
    from agent.export.asking import AgentSource  # noqa: PLC0415
    from agent.export.returning import take_back  # noqa: PLC0415
    from sync.stick import StickFault  # noqa: PLC0415

    with said_plainly():
        unit = load_settings(path).unit
    source = AgentSource(lambda asked: talk(path, asked))
    try:
        returned = take_back(folder, unit.origin, unit.name, source.settle)
    except StickFault as fault:
        raise click.ClickException(str(fault)) from None
    if not returned.files:
        words = f"{folder} holds no receipts for {unit.name}: import it at the centre first"
        raise click.ClickException(words)
    _tell(unit.name, returned, source.open().pending.count)


def _tell(unit: str, returned: Returned, waiting: int) -> None:
    taken = returned.outcomes.pop("taken", 0)
    click.echo(f"{unit}: {taken} receipts taken from {returned.files} files, {waiting} wait now")
    for outcome, times in sorted(returned.outcomes.items()):
        click.echo(f"  {times}: {_WORDS.get(outcome, outcome)}", err=True)
    for words in returned.left_out:
        click.echo(f"  left out: {words}", err=True)
    if returned.outcomes.keys() - _PLAIN or returned.left_out:
        words = "not everything on it was taken: see above"
        raise click.ClickException(words)
