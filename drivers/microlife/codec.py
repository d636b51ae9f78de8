"""Packets of a Microlife cuff, and the records of its memory. Pure.

A packet is 0x4D, 0xFF (to the cuff) or 0x3A (from it), the length of what follows (u16,
big-endian), the payload, and the last eight bits of the sum of all before. The answer to «give
all» has records from octet 38 of its payload on, ten octets apart: systolic, diastolic, pulse,
year of the century, month, day, hour, minute, and two that only fill (joergmlpts,
blood-pressure-monitor; derdilla, microlife_protocol.dart).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drivers.base import Decoded, Measurement, NoReading, Outcome
from drivers.cuff import clock_of, pressure
from drivers.errors import ProtocolFault
from drivers.packets import CUT, Layout, Packet, PacketFramer, sum8

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from drivers.packets import Event

COMMAND: Final = b"\x4d\xff"
ANSWER: Final = b"\x4d\x3a"
DONE: Final = b"\x81"
CENTURY: Final = 2000

FIRST_RECORD: Final = 38
RECORD: Final = 8
STRIDE: Final = 10

_HEADER = 4
_LONGEST = 8192


def _size(header: bytes) -> int | None:
    size = _HEADER + int.from_bytes(header[2:], "big")
    sound = header[:2] in {COMMAND, ANSWER} and _HEADER + 2 <= size <= _LONGEST
    return size if sound else None


LAYOUT: Final = Layout(
    start=b"\x4d", header=_HEADER, size=_size, sound=lambda raw: sum8(raw[:-1]) == raw[-1]
)


class Framer(PacketFramer):
    """Finds the packets in what the radio cuts into notifications."""

    def __init__(self) -> None:
        super().__init__(LAYOUT)


def packet(start: bytes, payload: bytes) -> bytes:
    """The packet of a payload, in either direction."""
    head = start + (len(payload) + 1).to_bytes(2, "big") + payload
    return head + bytes([sum8(head)])


GIVE_ALL: Final = packet(COMMAND, bytes([0, 0, 0, 0, 0, 0, 0, 0xFD]))
DISCONNECT: Final = packet(COMMAND, b"\x04")


def set_time(now: datetime) -> bytes:
    """The command that sets the cuff's clock to the local time `now`, from 2000 to 2255."""
    when = (now.year - CENTURY, now.month, now.day, now.hour, now.minute, now.second)
    return packet(COMMAND, bytes([0x0D, *when]))


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode whole packets; `ProtocolFault` for anything else and for a record that can't be."""
    del name
    framer = Framer()
    return outcome(framer.feed(raw) + framer.close())


def recover(frames: Sequence[bytes], received: Sequence[datetime]) -> Outcome:
    """What the notifications that a crash left undecoded say together."""
    del received
    framer = Framer()
    events = [event for raw in frames for event in framer.feed(raw)]
    return outcome(events + framer.close())


def outcome(events: Sequence[Event]) -> Outcome:
    """What packets say together; `ProtocolFault` where any of them can't be read."""
    said = [meaning(event) for event in events]
    if not said:
        raise ProtocolFault(CUT, 0)
    readings = tuple(reading for each in said for reading in getattr(each, "readings", ()))
    return Decoded(readings) if readings else said[-1]


def meaning(event: Event) -> Outcome:
    """What one packet says; `ProtocolFault` where it or any of its records can't be read."""
    if not isinstance(event, Packet):
        raise ProtocolFault(event.reason)
    payload = payload_of(event)
    if event.raw.startswith(COMMAND):
        return NoReading("This is a command to the cuff, not an answer.")
    if payload == DONE:
        return NoReading("The cuff has done what it was told.")
    readings, faults = records(payload)
    for fault in faults:
        raise fault
    return Decoded(readings) if readings else NoReading("The cuff's memory is empty.")


def payload_of(whole: Packet) -> bytes:
    """What a packet carries between its length and its checksum."""
    return whole.raw[_HEADER:-1]


def records(payload: bytes) -> tuple[tuple[Measurement, ...], tuple[ProtocolFault, ...]]:
    """The readings of an answer to «give all», and what is wrong with records that aren't one.

    `ProtocolFault` for an answer that is too short to be one. The raw bytes of a reading are
    those of its own record, so that a memory that has grown tells the same records again.
    """
    if len(payload) < FIRST_RECORD:
        raise ProtocolFault("The cuff gave an answer that is not known.")
    readings, faults = [], []
    for start in range(FIRST_RECORD, len(payload) - RECORD + 1, STRIDE):
        record = payload[start : start + RECORD]
        if not any(record[:3]):
            continue  # a place in the memory that was never written
        try:
            readings.append(_reading(record))
        except ProtocolFault as fault:
            faults.append(fault)
    return tuple(readings), tuple(faults)


def _reading(record: bytes) -> Measurement:
    systolic, diastolic, pulse, year, *rest = record
    stamp = (CENTURY + year if year else 0, *rest, 0)
    return pressure(record, (systolic, diastolic, pulse), clock_of(stamp), from_memory=True)
