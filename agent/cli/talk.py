"""Ask the running agent for something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from agent import control
from agent.cli.common import load_settings, said_plainly

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PATIENCE = 30.0


def talk(settings: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """The agent's answer; one sentence and exit code 1 where it refuses or doesn't answer."""
    with said_plainly():
        runtime = settings.__class__(load_settings(settings).unit.runtime)
    try:
        answer = control.ask(runtime, request, _PATIENCE)
    except PermissionError:
        raise click.ClickException("this user may not ask the agent: join its group") from None
    except (TimeoutError, BlockingIOError):
        raise click.ClickException("the agent does not respond: see `qafila status`") from None
    except (OSError, ValueError):
        raise click.ClickException("the agent is not running: systemctl start qafila") from None
    if not answer["ok"]:
        raise click.ClickException(answer["error"])
    return answer
