"""What several commands share: where the settings are, and how an error is said."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from agent.errors import AgentError
from agent.verdict import in_words
from config.errors import SettingsFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from config.model import Settings

DEFAULT = "/etc/qafila/unit.toml"
F = TypeVar("F", bound="Callable[..., None]")


def settings_option(command: F) -> F:
    """Add `--settings FILE`, from `$QAFILA_SETTINGS` or the usual place."""
    return click.option(
        "--settings",
        "path",
        type=click.Path(dir_okay=False, path_type=Path),
        default=lambda: os.environ.get("QAFILA_SETTINGS", DEFAULT),
        show_default=DEFAULT,
        help="The unit's settings; $QAFILA_SETTINGS stands in for it.",
    )(command)


def json_option(command: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@contextmanager
def said_plainly() -> Iterator[None]:
    """Turn an error of ours into one sentence on stderr and exit code 1."""
    from drivers.errors import DriverError  # noqa: PLC0415 - light, but not for every command

    try:
        yield
    except (AgentError, SettingsFault, DriverError) as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def needing_lab() -> Iterator[None]:
    """Say in one sentence that the extra `lab` isn't installed."""
    try:
        yield
    except ModuleNotFoundError as missing:
        words = f"this needs {missing.name}: install the extra `lab` (pip install qafila[lab])"
        raise click.ClickException(words) from None


def load_settings(path: Path) -> Settings:
    """The settings of the unit; SettingsFault."""
    from config.load import load  # noqa: PLC0415
    from drivers import DRIVERS  # noqa: PLC0415

    return load(path, DRIVERS)


def ago(seconds: float | None) -> str:
    """A duration in words: `4 s`, `12 min`, `3 h`, `2 days`."""
    if seconds is None:
        return "never"
    return in_words(seconds)


def table(rows: list[tuple[str, ...]]) -> str:
    """Rows in columns as wide as they need to be."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
