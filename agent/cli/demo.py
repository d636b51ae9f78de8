"""`qafila demo`: the main job, self-contained, with a verdict."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.common import json_option, needing_lab, said_plainly

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.demo.comparison import Comparison


@click.command("demo", help="Show the whole way of a reading, with the link cut and restored.")
@click.option("--once", is_flag=True, help="Run through without waiting for anybody.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Leave both databases, the centre's blobs and the logs in this folder.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, once: bool, keep: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Exit 0 only if nothing was lost or doubled and every device was read while offline."""
    with needing_lab():
        from agent.demo import story  # noqa: PLC0415

    begun = time.monotonic()
    with ExitStack() as cleared, said_plainly():
        folder = _folder(cleared, keep)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # clear the stage all the same
        told = story.Story(folder, _sayer(as_json), _pauser(once))
        found = asyncio.run(told.tell())
    seconds = time.monotonic() - begun
    if as_json:
        click.echo(story.as_json(found, len(told.cuts), seconds))
    else:
        click.echo(_verdict(found, keep, seconds))
    ctx.exit(0 if found.sound else 1)


def _folder(cleared: ExitStack, keep: Path | None) -> Path:
    if keep is None:
        return Path(cleared.enter_context(tempfile.TemporaryDirectory(prefix="qafila-demo-")))
    if keep.exists() and any(keep.iterdir()):
        raise click.ClickException(f"{keep} is not empty: name a new folder")
    keep.mkdir(parents=True, exist_ok=True)
    return keep.absolute()


def _sayer(as_json: bool) -> Callable[[str], None]:  # noqa: FBT001
    begun = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"{time.monotonic() - begun:5.1f} s  {line}", err=as_json)

    return say


def _pauser(once: bool) -> Callable[[str], Awaitable[None]]:  # noqa: FBT001
    async def pause(what: str) -> None:
        if not once and sys.stdin.isatty():
            await asyncio.to_thread(input, f"         Enter to {what} … ")

    return pause


def _verdict(found: Comparison, keep: Path | None, seconds: float) -> str:
    words = (
        f"{'OK' if found.sound else 'FAILED'}: {found.saved} readings saved on the truck, "
        f"{found.at_centre} at the centre, {found.lost} lost, {found.duplicates} doubled, "
        f"{found.tray} in the tray, in {seconds:.0f} s."
    )
    lines = [
        "",
        words,
        *(
            f"  {name}: {count} readings, {found.offline[name]} of them without a link"
            for name, count in found.devices.items()
        ),
        "Both databases were opened and compared record by record, with content hashes.",
    ]
    if keep is not None:
        lines.append(f"Databases, blobs and logs are in {keep}.")
    return "\n".join(lines)
