"""The verb `enter`: what a person measured, stored as a reading of their own hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.capture import Capture
from agent.clock import now
from agent.consultations import require_no_patient
from agent.control import RequestWrong, text
from agent.manual import BY_HAND, FORM_VERSION, measure, remark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.store.store import Store

_TEXT_MAX = 200
_FIELDS = ("box", "kind", "value", "actor")


async def enter(store: Store, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Store one entry; its record id, why it lies in the tray, and what is to be said of it.

    Raises RequestWrong, NotEntered, WrongField, and the store's errors where nothing was saved.
    """
    box, word, typed, actor = (_short(asked, key) for key in _FIELDS)
    require_no_patient(store.reader, actor)
    reason = _short(asked, "reason") if asked.get("reason") else None
    measurement = measure(word, typed)
    capture = Capture(
        measurement,
        BY_HAND,
        now(),
        box,
        store.origin,
        FORM_VERSION,
        actor=actor,
        method="manual",
        reason=reason,
    )
    stored = await store.record(capture)
    tray = store.reader.execute(
        "SELECT why FROM tray WHERE record_id = ?", (str(stored.record_id),)
    ).fetchone()
    return {
        "record": str(stored.record_id),
        "tray": tray[0] if tray else None,
        "quality": list(measurement.quality),
        "remark": remark(word, measurement),
    }


def _short(asked: Mapping[str, Any], key: str) -> str:
    found = text(asked, key).strip()
    if not found:
        raise RequestWrong(f"enter: give {key} as text")
    if len(found) > _TEXT_MAX or not found.isprintable():
        raise RequestWrong(f"enter: {key} is one line of at most {_TEXT_MAX} characters")
    return found
