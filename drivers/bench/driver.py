"""Reads a bench input from its port and stores each recording when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from drivers.bench.framer import LONGEST_LINE, Frame, Framer
from drivers.bench.layout import Layout
from drivers.bench.recording import Recorder, Recording, stored_form
from drivers.card import card
from drivers.errors import Misconfigured
from drivers.serial_session import STOP_S, Session, Stream
from drivers.tape import Tape

if TYPE_CHECKING:
    from drivers.base import Sink
    from drivers.bench.layout import Lines


class BenchInput:
    """See `drivers.base.Driver`; the link is a `Stream`."""

    def __init__(self, layout: Layout | Lines) -> None:
        self._layout = layout

    @classmethod
    def of(cls, layout: Layout | Lines, settings: dict[str, object]) -> BenchInput:
        """The driver of a board that has no settings; `Misconfigured` where some are given."""
        if settings:
            given = ", ".join(sorted(settings))
            raise Misconfigured(layout.name, f"remove {given}: this driver has no settings")
        return cls(layout)

    async def run(self, link: object, sink: Sink) -> None:
        """Read until the link ends. Raises `Unavailable`, `ProtocolFault` or the store's error."""
        stream = cast("Stream", link)
        details = {"waiting": "It is plugged in and sends nothing."}
        session = Session(self._layout.name, sink, self._tape, stored_form, details)
        await session.run(stream, STOP_S, self._layout.start)

    def _tape(self, now: float) -> Tape[Frame, Recording]:
        return tape(self._layout, now)


def tape(layout: Layout | Lines, now: float) -> Tape[Frame, Recording]:
    """The tape of one board's link, timed by one monotonic clock in seconds."""
    stranger = f"What is plugged into this port is not what was bound: {card(layout.name).title}."
    longest = layout.length if isinstance(layout, Layout) else LONGEST_LINE
    return Tape(now, Framer(layout, torn=True), Recorder(layout), stranger, longest)
