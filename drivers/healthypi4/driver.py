"""Reads a HealthyPi v4 from its port and stores what it computed, half a minute at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from drivers.bench.layout import HEALTHYPI4
from drivers.errors import Misconfigured
from drivers.healthypi4.codec import Framer
from drivers.healthypi4.vitals import Recorder, Recording, stored_form
from drivers.serial_session import STOP_S, Session, Stream
from drivers.tape import Tape

if TYPE_CHECKING:
    from drivers.base import Sink
    from drivers.bench.framer import Frame

SOURCE = "healthypi4"
_DETAILS = {"waiting": "The monitor is plugged in and sends nothing: switch it to serial (V3)."}


def build(settings: dict[str, object]) -> HealthyPi4:
    """The driver. It has no settings: `Misconfigured` where there are any."""
    if settings:
        given = ", ".join(sorted(settings))
        raise Misconfigured(SOURCE, f"remove {given}: this driver has no settings")
    return HealthyPi4()


class HealthyPi4:
    """See `drivers.base.Driver`; the link is a `Stream`."""

    async def run(self, link: object, sink: Sink) -> None:
        """Read until the link ends. Raises `Unavailable`, `ProtocolFault` or the store's error."""
        session = Session(SOURCE, sink, tape, stored_form, _DETAILS)
        await session.run(cast("Stream", link), STOP_S)


def tape(now: float) -> Tape[Frame, Recording]:
    """The tape of one link, timed by one monotonic clock in seconds."""
    stranger = "What is plugged into this port is not a HealthyPi v4."
    return Tape(now, Framer(), Recorder(), stranger, HEALTHYPI4.length)
