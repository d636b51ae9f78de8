"""`qafila simulate`: simulated devices on real transports, for training and field checks.

They are reached by a unit whose settings say `origin = "simulated"`, and by no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.common import needing_lab

if TYPE_CHECKING:
    from collections.abc import Awaitable


@click.command("simulate", help="Put simulated devices on real transports, for training.")
@click.argument("folder", type=click.Path(file_okay=False, resolve_path=True, path_type=Path))
@click.option(
    "--every",
    default=30.0,
    show_default=True,
    type=click.FloatRange(1.0),
    help="Seconds between two readings.",
)
@click.option("--rounds", type=click.IntRange(1), help="Stop after so many rounds.")
def command(folder: Path, every: float, rounds: int | None) -> None:
    """Print the [bluetooth] and [[devices]] settings to use, then measure until Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # unplug what was plugged in
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_simulate(folder, every, rounds))


async def _simulate(folder: Path, every: float, rounds: int | None) -> None:
    with needing_lab():
        from agent.demo.stage import device_settings  # noqa: PLC0415 - loads bumble and PyAV
        from agent.demo.world import BOXES, World  # noqa: PLC0415

    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"{folder}: {error.strerror}") from None
    async with World(folder) as world:
        click.echo(device_settings(world.radio, world.places(), BOXES))
        done = 0
        while rounds is None or done < rounds:
            done += 1
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_patient(world.measure_pressure(), every))
                tasks.create_task(_patient(world.measure_temperature(), every))
                tasks.create_task(_patient(world.record_ecg(every / 2), every))
                tasks.create_task(asyncio.sleep(every))
            click.echo(f"round {done}: a pressure, a temperature, an ECG", err=True)


async def _patient(measuring: Awaitable[None], seconds: float) -> None:
    """A reading that nobody collects waits in its device, as it would in a real one."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(measuring, seconds)
