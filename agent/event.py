"""What the agent itself has to tell the centre, as the record that travels: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from agent import __version__
from agent.clock import utc_text

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

    from agent.clock import Stamp


@dataclass(frozen=True, slots=True)
class Event:
    """One happening; `said` stands in the record under the name of its `kind`."""

    kind: str
    stamp: Stamp
    origin: str
    said: Mapping[str, Any]


def event_line(event: Event, record: uuid.UUID) -> bytes:
    """The record as the one line of JSON that is stored, hashed and sent."""
    stamp = event.stamp
    return msgspec.json.encode(
        {
            "record": str(record),
            "kind": event.kind,
            "context": {
                "boot": stamp.boot,
                "mono_ns": stamp.mono_ns,
                "wall": utc_text(stamp.wall),
                "offset_min": stamp.offset_min,
                "clock": stamp.clock,
                "origin": event.origin,
                "method": "agent",
                "agent_version": __version__,
            },
            event.kind: event.said,
        }
    )
