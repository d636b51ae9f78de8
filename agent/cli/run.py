"""`qafila run`: the agent itself."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import click

from agent.cli.common import load_settings, said_plainly, settings_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command("run", help="Run the agent: devices, store, uplink.")
@settings_option
def command(path: Path) -> None:
    """Run until SIGTERM; exit 1 with one sentence where it can't start or the store breaks."""
    from agent.app import run  # noqa: PLC0415
    from agent.errors import AgentError  # noqa: PLC0415
    from agent.log import to_journal  # noqa: PLC0415

    to_journal(sys.stderr)
    os.umask(0o027)
    with said_plainly():
        try:
            asyncio.run(run(load_settings(path)))
        except* AgentError as broken:
            raise _first(broken) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return inner
