"""The verb `ask`: an urgent request to an expert, about records that this unit holds."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from agent.clock import now
from agent.control import RequestWrong, text
from agent.errors import AgentError
from agent.fhir import Subject
from agent.request import Reference, Request, resources_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.store.connection import Connection
    from agent.store.store import Store

RECORDS_MAX = 32
_QUESTION_MAX = 4000
_TEXT_MAX = 200


class NotAsked(AgentError):  # noqa: N818 - says whose fault it is: the asker's
    """The request can't be made of these records; the text says why, and holds no value."""


async def ask(store: Store, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Store one request in the urgent lane; give its record id.

    Raises RequestWrong, NotAsked, and the store's errors where nothing was saved.
    """
    records = _records(asked)
    specialty, actor = (_line(asked, key, _TEXT_MAX) for key in ("specialty", "actor"))
    question = _line(asked, "question", _QUESTION_MAX)
    box, subject = _whose(store.reader, records)
    request = Request(
        question=question,
        specialty=specialty,
        actor=actor,
        stamp=now(),
        origin=store.origin,
        box=box,
        subject=subject,
        references=tuple(_reference(store.reader, each) for each in records),
    )
    return {"record": str(await store.request(request)), "assigned": subject is not None}


def _records(asked: Mapping[str, Any]) -> list[str]:
    found = asked.get("records")
    if not isinstance(found, list) or not 1 <= len(found) <= RECORDS_MAX:
        raise RequestWrong(f"ask: give 1 to {RECORDS_MAX} records")
    try:
        return list(dict.fromkeys(str(uuid.UUID(each)) for each in found))
    except (ValueError, AttributeError, TypeError):
        raise RequestWrong(
            "ask: a record is named by its id, as `qafila readings` shows it"
        ) from None


def _line(asked: Mapping[str, Any], key: str, most: int) -> str:
    found = text(asked, key).strip()
    if not found or len(found) > most or "\x00" in found:
        raise RequestWrong(f"ask: {key} is a text of 1 to {most} characters")
    return found


def _whose(sql: Connection, records: Sequence[str]) -> tuple[str | None, Subject | None]:
    """The box and the consultation that all the records are of; NotAsked where they differ."""
    found = set()
    for record in records:
        row = sql.execute(
            "SELECT box, consultation FROM record WHERE record_id = ?", (record,)
        ).fetchone()
        if row is None:
            raise NotAsked(f"no record {record} is kept on this unit: see `qafila readings`")
        found.add(tuple(row))
    consultations = {consultation for _, consultation in found}
    if len(consultations) > 1:
        raise NotAsked(
            "these records are not of one consultation: ask about each patient's on their own"
        )
    box = found.pop()[0] if len(found) == 1 else None
    return box, _subject(sql, consultations.pop())


def _subject(sql: Connection, consultation: str | None) -> Subject | None:
    row = sql.execute(
        "SELECT consultation, patient, opened FROM consultation WHERE consultation = ?",
        (consultation,),
    ).fetchone()
    return Subject(*row) if row else None


def _reference(sql: Connection, record: str) -> Reference:
    (line,) = sql.execute("SELECT line FROM record WHERE record_id = ?", (record,)).fetchone()
    return Reference(record, resources_of(line))
