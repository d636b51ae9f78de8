"""Open and close the consultation of a box: who the readings there belong to."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from agent.clock import now, utc_text
from agent.errors import AgentError

if TYPE_CHECKING:
    from agent.store.connection import Connection


class BoxBusy(AgentError):  # noqa: N818 - a state, not a mistake
    """A consultation is open in this box already."""


def open_consultation(connection: Connection, box: str, patient: str, actor: str) -> str:
    """Open one; give its id. `patient` is an opaque id, never a name. BoxBusy."""
    at = utc_text(now().wall)
    if connection.execute(
        "SELECT 1 FROM consultation WHERE box = ? AND closed IS NULL", (box,)
    ).fetchone():
        raise BoxBusy(f"a consultation is open in box {box}: close it first")
    consultation = str(uuid.uuid4())
    connection.execute(
        "INSERT INTO consultation (consultation, box, patient, actor, opened) "
        "VALUES (?, ?, ?, ?, ?)",
        (consultation, box, patient, actor, at),
    )
    return consultation


def close_consultation(connection: Connection, box: str) -> bool:
    """Close what is open in a box; whether anything was."""
    return bool(
        connection.execute(
            "UPDATE consultation SET closed = ? WHERE box = ? AND closed IS NULL",
            (utc_text(now().wall), box),
        ).rowcount
    )


def open_boxes(connection: Connection) -> list[str]:
    """The boxes in which a consultation is open."""
    rows = connection.execute("SELECT box FROM consultation WHERE closed IS NULL ORDER BY box")
    return [row[0] for row in rows]
