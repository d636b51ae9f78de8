"""Open and close the consultation of a box: who the readings there belong to."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from agent.clock import now, utc_text
from agent.errors import AgentError

if TYPE_CHECKING:
    from agent.store.connection import Connection

_PATIENT = re.compile(r"[A-Za-z0-9.-]{1,64}")
"""As FHIR has ids: it stands in the reference of every reading."""
_NAME = re.compile(r"[a-z0-9-]{1,32}")
_ACTOR_MAX = 200


class BoxBusy(AgentError):  # noqa: N818 - a state, not a mistake
    """A consultation is open in this box already."""


class WrongField(AgentError):  # noqa: N818 - says whose fault it is: the typist's
    """What was typed, or read by a scanner, belongs elsewhere; the text holds none of it."""


def open_consultation(connection: Connection, box: str, patient: str, actor: str) -> str:
    """Open one; give its id. `patient` is an opaque id, never a name. BoxBusy, WrongField."""
    if not _NAME.fullmatch(box):
        raise WrongField("box is 1 to 32 of a-z, 0-9 and -, as the devices have it")
    if not _PATIENT.fullmatch(patient):
        raise WrongField("patient is an opaque id of 1 to 64 letters, digits, - and .: no name")
    if not actor.isprintable() or len(actor) > _ACTOR_MAX:
        raise WrongField(f"actor is one line of at most {_ACTOR_MAX} characters")
    if actor == patient:
        raise WrongField("patient and actor are the same: one of them was read into both fields")
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


def require_no_patient(connection: Connection, actor: str) -> None:
    """WrongField where who is to have acted is the patient of an open consultation."""
    if connection.execute(
        "SELECT 1 FROM consultation WHERE patient = ? AND closed IS NULL", (actor,)
    ).fetchone():
        raise WrongField("actor is the patient of an open consultation: give who does this")


def open_boxes(connection: Connection) -> list[str]:
    """The boxes in which a consultation is open."""
    rows = connection.execute("SELECT box FROM consultation WHERE closed IS NULL ORDER BY box")
    return [row[0] for row in rows]
