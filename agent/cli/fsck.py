"""`qafila fsck`: the whole database, on a unit that is stopped."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import click

from agent.cli.common import json_option, load_settings, said_plainly, settings_option

if TYPE_CHECKING:
    from pathlib import Path

    from agent.damage.fsck import Health

DAMAGED, LOST = 3, 4
"""Exit codes: damaged and nothing changed; repaired, and something is lost."""
_LISTED = 20


@click.command("fsck", help="Check the database whole, on a stopped unit; --repair salvages it.")
@click.option("--repair", is_flag=True, help="Set aside what is damaged, salvage what is readable.")
@settings_option
@json_option
@click.pass_context
def command(ctx: click.Context, path: Path, repair: bool, as_json: bool) -> None:  # noqa: FBT001
    """Print what was found, and exit with its code."""
    with said_plainly():
        found, lost = _run(path, repair=repair)
    if as_json:
        click.echo(json.dumps(found.shown() | {"repaired": lost is not None, "lost": lost}))
    else:
        click.echo(_words(found, lost))
    ctx.exit(_code(found, lost))


def _run(path: Path, *, repair: bool) -> tuple[Health, int | None]:
    from agent.damage.fsck import check  # noqa: PLC0415 - the database only where it is read
    from agent.damage.repair import repair as mend  # noqa: PLC0415
    from agent.store.keys import load_key  # noqa: PLC0415
    from agent.store.store import take  # noqa: PLC0415
    from agent.uplink import DESTINATION  # noqa: PLC0415

    unit = load_settings(path).unit
    folder = path.__class__(unit.state)
    if not folder.is_dir():
        raise click.ClickException(f"$.unit.state: {folder} is not there: nothing to check")
    key = load_key(folder)
    lock = take(folder)
    try:
        found = check(folder, key)
    finally:
        os.close(lock)
    if not repair:
        return found, None
    return found, asyncio.run(mend(folder, key, unit.name, unit.origin, DESTINATION, found))


def _code(found: Health, lost: int | None) -> int:
    if lost is None:
        return 0 if found.well else DAMAGED
    return LOST if lost else 0


def _words(found: Health, lost: int | None) -> str:
    lines = [f"{'sound' if found.well else 'damaged'}: {found.pages} pages, {_counts(found)}"]
    if found.broken:
        lines.append(f"  {found.broken}")
    if found.bad:
        shown = ", ".join(map(str, found.bad[:_LISTED]))
        more = " …" if len(found.bad) > _LISTED else ""
        lines.append(f"  these pages can't be read: {shown}{more}")
    lines += [f"  {lane} {seq}: the record is not what it was" for _, lane, seq in found.unsound]
    lines += [f"  {each.hex()}: the picture or recording is not whole" for each in found.torn]
    lines += [f"  {each}" for each in found.problems]
    return "\n".join([*lines, *_last(found, lost)])


def _counts(found: Health) -> str:
    if found.broken:
        return "its records can't be counted"
    return f"{found.sound} sound records, {found.blobs} pictures or recordings"


def _last(found: Health, lost: int | None) -> list[str]:
    if lost is not None:
        return [f"repaired: {lost} records, pictures or recordings are lost"]
    if found.well:
        return []
    return ["nothing was changed: `qafila fsck --repair` sets aside and salvages"]
