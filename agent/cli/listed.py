"""Lists of records: from the database where this user holds its key, else from the agent.

On a unit the key is the service's own credential, so there it is the agent that answers; with
the agent dead, whoever has the key still reads the database.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

import click

from agent.cli.common import load_settings, said_plainly
from agent.cli.talk import talk
from agent.errors import KeyMissing

if TYPE_CHECKING:
    from pathlib import Path


def listed(path: Path, what: Literal["readings", "pending"], limit: int) -> list[dict[str, Any]]:
    """At most so many rows of `agent.store.listing`."""
    with said_plainly():
        folder = path.__class__(load_settings(path).unit.state)
        try:
            return _from_database(folder, what, limit)
        except KeyMissing as missing:
            return _from_agent(path, what, limit, missing)


def _from_agent(path: Path, what: str, limit: int, missing: KeyMissing) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = talk(path, {"do": what, "limit": limit})["rows"]
    except click.ClickException as silent:
        raise click.ClickException(f"{missing}; and {silent.message}") from None
    return rows


def _from_database(folder: Path, what: str, limit: int) -> list[dict[str, Any]]:
    from agent.store import listing  # noqa: PLC0415 - the database only where it is read
    from agent.store.connection import open_reader  # noqa: PLC0415
    from agent.store.keys import load_key  # noqa: PLC0415
    from agent.uplink import DESTINATION  # noqa: PLC0415

    with closing(open_reader(folder, load_key(folder))) as connection:
        return listing.LISTS[what](connection, DESTINATION, limit)
