"""Record Access Control Point (2A52) of Bluetooth GSS: asking a meter for its records. Pure.

Only reporting is spoken here. Deleting records (op code 2) has no encoder and must not get one:
what a device holds may be the last copy there is.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.errors import ProtocolFault
from drivers.medfloat import Reader

CONTROL_POINT = "2A52"

REPORT = 0x01
NUMBER_OF_RECORDS = 0x05
RESPONSE = 0x06

_ALL = 0x01
_FROM = 0x03
_BY_SEQUENCE = 0x01
_LAST_SEQUENCE = 0xFFFF

SUCCESS = 0x01
NO_RECORDS = 0x06
NOT_UNDERSTOOD = frozenset({0x02, 0x03, 0x04, 0x05, 0x09})
"""Answers to a request that the device does not support: an easier one may do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the device says to a request: `op_code` is the request's, `code` how it went."""

    op_code: int
    code: int


@dataclass(frozen=True, slots=True)
class Count:
    """How many records the device holds."""

    records: int


def report_all() -> bytes:
    """The request for every record."""
    return bytes([REPORT, _ALL])


def report_from(sequence: int) -> bytes:
    """The request for the records from a sequence number on; ValueError outside 0 to 65535."""
    if not 0 <= sequence <= _LAST_SEQUENCE:
        raise ValueError(f"{sequence} is no sequence number")
    return bytes([REPORT, _FROM, _BY_SEQUENCE]) + sequence.to_bytes(2, "little")


def decode_request(raw: bytes) -> int | None:
    """The first sequence number that a request asks for, None for all: a simulator's side.

    `ProtocolFault` for every request that this program never makes.
    """
    if raw == report_all():
        return None
    if len(raw) == len(report_from(0)) and raw.startswith(report_from(0)[:3]):
        return int.from_bytes(raw[3:], "little")
    raise ProtocolFault("The request is none that this program makes.")


def decode_answer(raw: bytes) -> Answer | Count:
    """What a 2A52 indication says; `ProtocolFault` where it is no answer of a device."""
    reader = Reader(raw)
    op_code, operator = reader.unsigned(1), reader.unsigned(1)
    if operator or op_code not in {RESPONSE, NUMBER_OF_RECORDS}:
        raise ProtocolFault("The device answered a request for records with no answer.", 0)
    if op_code == NUMBER_OF_RECORDS:
        said: Answer | Count = Count(reader.unsigned(2))
    else:
        said = Answer(reader.unsigned(1), reader.unsigned(1))
    reader.end()
    return said


def encode_answer(answer: Answer | Count) -> bytes:
    """The 2A52 indication of an answer: a simulator's side."""
    if isinstance(answer, Count):
        return bytes([NUMBER_OF_RECORDS, 0]) + answer.records.to_bytes(2, "little")
    return bytes([RESPONSE, 0, answer.op_code, answer.code])
