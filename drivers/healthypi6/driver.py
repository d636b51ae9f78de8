"""Reads a HealthyPi 6 from its stream port and stores each recording when it is over.

After power-up the device streams only when told so on its second port: with the setting
`control` (that port's path) the driver does so itself, once a link; without it the maker's tool
has to. See `drivers.serial_session` for how what arrives is saved.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from drivers.errors import Misconfigured, ProtocolFault, Unavailable
from drivers.healthypi6 import smp
from drivers.healthypi6.measurement import SOURCE, device_at, stored_form
from drivers.healthypi6.tape import Tape
from drivers.serial_session import STOP_S, Session, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.base import Measurement, Sink
    from drivers.healthypi6.recording import Recording

ANSWER_S = 3.0
_BAUD = 115200  # USB heeds no rate
_LONGEST_ANSWER = 4096
_NOTE = "stream-not-started"
_DETAILS = {
    "waiting": "The ECG is plugged in but sends no leads: its stream has to be started.",
}


def build(settings: dict[str, object]) -> HealthyPi6:
    """The driver; its one setting is `control`. `Misconfigured` where there is any other."""
    rest = dict(settings)
    control = rest.pop("control", None)
    if rest:
        raise Misconfigured("healthypi6", f"remove {', '.join(sorted(rest))}: no such setting")
    if control is None:
        return HealthyPi6()
    if not isinstance(control, str) or not control.startswith("/"):
        raise Misconfigured("healthypi6", "set control to the path of the ECG's second port")
    return HealthyPi6(control=control)


def _wall_clock() -> datetime:
    return datetime.now(UTC)


def _open_port(path: str) -> Stream:
    from drivers.links.serial import SerialLink  # noqa: PLC0415 - only where a port is told of

    return SerialLink.open(path, _BAUD)


class HealthyPi6:
    """See `drivers.base.Driver`; the link is a `Stream`. `clock` gives aware wall time."""

    def __init__(
        self, clock: Callable[[], datetime] = _wall_clock, control: str | None = None
    ) -> None:
        self._clock = clock
        self._control = control

    async def run(self, link: object, sink: Sink) -> None:
        """Read until the link ends. Raises `Unavailable`, `ProtocolFault` or the store's error."""
        stream = cast("Stream", link)
        loop = asyncio.get_running_loop()

        def stored(recording: Recording) -> Measurement:
            age = timedelta(seconds=loop.time() - recording.started)
            device = device_at(stream.name)
            return stored_form(recording, acquired=self._clock() - age, device=device)

        session = Session(SOURCE, sink, Tape, stored, _DETAILS)
        if self._control is None:
            await session.run(stream, STOP_S)
            return
        starting = asyncio.create_task(_start(self._control, sink))
        try:
            await session.run(stream, STOP_S)
        finally:
            starting.cancel()
            await asyncio.wait({starting})


async def _start(path: str, sink: Sink) -> None:
    """Tell the device to stream, beside the reading, and say to a person where that fails."""
    try:
        await start(path)
    except Unavailable as away:
        sink.note(_NOTE, f"The ECG was not started by its second port: {away.reason}.")
    except ProtocolFault as fault:
        sink.note(_NOTE, fault.reason)
    else:
        sink.note(_NOTE, "")


async def start(path: str) -> None:
    """Say `stream_start` on the port `path` and wait for the answer.

    Raises `Unavailable` where the port or the answer is not there, `ProtocolFault` where the
    device refuses or answers something else.
    """
    port = _open_port(path)
    reader = smp.Reader()
    heard = 0
    try:
        async with asyncio.timeout(ANSWER_S):
            await port.write(smp.encode(smp.stream_start()))
            while heard < _LONGEST_ANSWER:
                raw = await port.read()
                heard += len(raw)
                for packet in reader.feed(raw):
                    if smp.answers(packet):
                        smp.require_done(packet)
                        return
    except TimeoutError:
        raise Unavailable(path, "it gave no answer") from None
    finally:
        port.close()
    raise ProtocolFault("The second port of the ECG answers something else than its protocol.")
