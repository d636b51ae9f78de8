"""SMP, the management protocol of the HealthyPi 6's second port: one command of it. Pure.

Packet: Zephyr «SMP Protocol Specification», header of eight bytes, big-endian, then a CBOR map.
Serial framing: Zephyr «SMP Transport Specification», UART/serial: lines of at most 127 bytes,
the first begun by 06 09, each further one by 04 14; inside, in base64, the length (CRC
included), the packet, and CRC-16 (polynomial 1021, start 0) over the packet. The command:
`docs/MCUMGR_COMMANDS.md` sections 3, 5.3, 6 and 7 of `Protocentral/healthypi-6-fw`.
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass, field
from enum import IntEnum

from drivers.errors import ProtocolFault

LONGEST_LINE = 127
LONGEST_PACKET = 512
"""What the device accepts and sends at most."""

GROUP = 64
STREAM_START = 0x20
ECG_AND_PPG = 0x03

_FIRST = b"\x06\x09"
_NEXT = b"\x04\x14"
_HEADER = struct.Struct(">BBHHBB")
_LENGTH = struct.Struct(">H")
_LONGEST_HELD = 4 * LONGEST_PACKET
_ROOM = (LONGEST_LINE - 3) // 4 * 4
_TINY = 23
_MAP, _UNSIGNED, _TEXT = 0xA0, 0x00, 0x60
_LOCKED = 11


class Op(IntEnum):
    """What a packet is."""

    WRITE = 2
    WRITTEN = 3


@dataclass(frozen=True, slots=True)
class Packet:
    """One request or answer; `body` is a CBOR map, empty (A0) where there is nothing to say."""

    op: int
    group: int
    command: int
    sequence: int = 0
    body: bytes = field(default=bytes([_MAP]), repr=False)


def stream_start(channels: int = ECG_AND_PPG, annotations: int = 0) -> Packet:
    """The request to stream: `channels` bit 0 ECG, bit 1 PPG; annotations filter nothing yet."""
    body = bytes([_MAP | 2]) + _pair("ch", channels) + _pair("ann", annotations)
    return Packet(Op.WRITE, GROUP, STREAM_START, body=body)


def answers(packet: Packet) -> bool:
    """Whether a packet answers `stream_start`."""
    told = packet.op, packet.group, packet.command
    return told == (Op.WRITTEN, GROUP, STREAM_START)


def require_done(answer: Packet) -> None:
    """Raise `ProtocolFault`, for a person, where the device did not do it.

    Done is an empty map, or a map whose only pair is `rc` 0. Everything else is an error map
    (`rc`, `err`), whose number is read only as far as the lock needs it.
    """
    done = (bytes([_MAP]), bytes([_MAP | 1]) + _pair("rc", 0), b"\xbf\xff")
    if answer.body in done:
        return
    if _pair("rc", _LOCKED) in answer.body:
        raise ProtocolFault("The ECG is locked: unlock it with the maker's tool.")
    raise ProtocolFault("The ECG refuses to stream.")


def encode(packet: Packet) -> bytes:
    """A packet as it travels: lines of at most 127 bytes, newlines included."""
    content = _packed(packet)
    framed = _LENGTH.pack(len(content) + 2) + content + _LENGTH.pack(binascii.crc_hqx(content, 0))
    text = binascii.b2a_base64(framed, newline=False)
    pieces = [text[at : at + _ROOM] for at in range(0, len(text), _ROOM)]
    marks = [_FIRST, *[_NEXT] * (len(pieces) - 1)]
    return b"".join(mark + piece + b"\n" for mark, piece in zip(marks, pieces, strict=True))


class Reader:
    """Finds packets in what the port says; a console's own lines between them are passed over."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._framed: bytearray | None = None

    def feed(self, chunk: bytes) -> list[Packet]:
        """Take bytes as they came; give the packets whose CRC holds. Raises nothing."""
        self._line += chunk
        *lines, rest = bytes(self._line).split(b"\n")
        self._line = bytearray(rest[-_LONGEST_HELD:])
        return [packet for line in lines if (packet := self._take(line)) is not None]

    def _take(self, line: bytes) -> Packet | None:
        if _FIRST in line:
            self._framed = bytearray()
            text = line[line.index(_FIRST) + 2 :]
        elif _NEXT in line and self._framed is not None:
            text = line[line.index(_NEXT) + 2 :]
        else:
            return None
        piece = _from_base64(text)
        if self._framed is None or piece is None:
            self._framed = None
            return None
        self._framed += piece
        return self._whole(bytes(self._framed))

    def _whole(self, framed: bytes) -> Packet | None:
        if len(framed) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(framed)
        if len(framed) < _LENGTH.size + length <= _LENGTH.size + LONGEST_PACKET:
            return None
        self._framed = None
        if len(framed) != _LENGTH.size + length:
            return None
        return _unpacked(framed[_LENGTH.size :])


def _packed(packet: Packet) -> bytes:
    head = (packet.op, 0, len(packet.body), packet.group, packet.sequence, packet.command)
    return _HEADER.pack(*head) + packet.body


def _unpacked(checked: bytes) -> Packet | None:
    content, told = checked[:-2], checked[-2:]
    if len(content) < _HEADER.size or _LENGTH.pack(binascii.crc_hqx(content, 0)) != told:
        return None
    op, _, length, group, sequence, command = _HEADER.unpack_from(content)
    body = content[_HEADER.size :]
    return Packet(op & 7, group, command, sequence, body) if len(body) == length else None


def _from_base64(text: bytes) -> bytes | None:
    try:
        return binascii.a2b_base64(text.rstrip(b"\r"), strict_mode=True)
    except binascii.Error:
        return None


def _pair(key: str, number: int) -> bytes:
    """A text key and a small unsigned number in CBOR (RFC 8949 section 3)."""
    if not 0 <= number <= _TINY or len(key) > _TINY:
        raise ValueError(key, number)
    return bytes([_TEXT | len(key)]) + key.encode("ascii") + bytes([_UNSIGNED | number])
