"""Where things are in a baseline JPEG: a walk over the markers of ITU-T T.81 (09/92) Annex B.

Nothing is decoded here. What UVC allows in an MJPEG frame (USB Device Class Definition for
Video Devices: Motion-JPEG Payload) is what is accepted: baseline DCT, 8 bits, Huffman coding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from drivers.errors import ProtocolFault

MAX_PIXELS: Final = 24_000_000
"""The largest picture taken: it bounds the memory that decoding one can ask for."""

_SOI, _EOI, _SOS, _SOF0, _DHT, _DQT, _DRI = 0xD8, 0xD9, 0xDA, 0xC0, 0xC4, 0xDB, 0xDD
_RST0, _RST7 = 0xD0, 0xD7
_COM = 0xFE
_APPLICATION = range(0xE0, 0xF0)
_OTHER_FRAMES = frozenset(range(0xC1, 0xD0)) - {_DHT, 0xC8, 0xCC}
_STANDARD = frozenset({(0, 0), (0, 1), (1, 0), (1, 1)})
_WHOLE_SPECTRUM = b"\x00\x3f\x00"


@dataclass(frozen=True, slots=True)
class Layout:
    """What a walk found.

    `width` and `height` are in pixels; `components` is 3, or 1 for grey. `end` is the offset
    behind EOI. `first_scan` is the offset of the first SOS marker; `tables` is False where no
    DHT segment precedes it.
    """

    width: int
    height: int
    components: int
    first_scan: int
    tables: bool
    end: int


def walk(raw: bytes) -> Layout:
    """Walk a frame from SOI to EOI; raise `ProtocolFault` where it breaks off or breaks a rule."""
    if raw[:2] != bytes((0xFF, _SOI)):
        raise ProtocolFault("The camera's frame does not begin as a JPEG picture.", 0)
    return _Walk(raw).to_the_end()


@dataclass(slots=True)
class _Walk:
    raw: bytes
    width: int = 0
    height: int = 0
    components: int = 0
    first_scan: int = 0
    tables: bool = False
    restart_interval: int = 0
    quantisers: set[int] = field(default_factory=set)
    coders: set[tuple[int, int]] = field(default_factory=set)
    unscanned: dict[int, int] = field(default_factory=dict)

    def to_the_end(self) -> Layout:
        at = 2
        while True:
            at = self._marker(at)
            code = self.raw[at + 1]
            if code == _EOI:
                return self._layout(at)
            body, behind = self._segment(at)
            if code == _SOS:
                self._scan(body, at)
                behind = self._entropy_end(behind)
            else:
                self._header(code, body, at)
            at = behind

    def _layout(self, at: int) -> Layout:
        if not self.first_scan or self.unscanned:
            raise ProtocolFault("The camera's picture ends before all of it was sent.", at)
        return Layout(
            self.width, self.height, self.components, self.first_scan, self.tables, at + 2
        )

    def _marker(self, at: int) -> int:
        """The offset of the marker's own FF, behind the fill bytes of B.1.1.2."""
        if self.raw[at : at + 1] not in {b"\xff", b""}:
            raise ProtocolFault("The camera's picture has bytes where a marker must be.", at)
        while self.raw[at + 1 : at + 2] == b"\xff":
            at += 1
        if at + 1 >= len(self.raw):
            raise _broken_off(self.raw)
        return at

    def _segment(self, at: int) -> tuple[bytes, int]:
        """The parameters of a marker segment, and the offset behind them (B.1.1.4)."""
        if at + 4 > len(self.raw):
            raise _broken_off(self.raw)
        length = int.from_bytes(self.raw[at + 2 : at + 4], "big")
        behind = at + 2 + length
        if length < 2:  # noqa: PLR2004 - the length counts its own two bytes
            raise ProtocolFault("A segment of the camera's picture has an impossible length.", at)
        if behind > len(self.raw):
            raise _broken_off(self.raw)
        return self.raw[at + 4 : behind], behind

    def _header(self, code: int, body: bytes, at: int) -> None:
        if code == _SOF0:
            self._frame(body, at)
        elif code == _DHT:
            self._huffman(body, at)
        elif code == _DQT:
            self._quantisation(body, at)
        elif code == _DRI:
            self._restart(body, at)
        elif code in _OTHER_FRAMES:
            raise ProtocolFault("The camera's picture is not a baseline JPEG.", at)
        elif code not in _APPLICATION and code != _COM:
            raise ProtocolFault("The camera's picture has a marker that has no place there.", at)

    def _frame(self, body: bytes, at: int) -> None:
        """Frame header, B.2.2."""
        if self.width or len(body) < 9 or len(body) != 6 + 3 * body[5]:  # noqa: PLR2004
            raise ProtocolFault("The camera's picture has a damaged frame header.", at)
        self.height = int.from_bytes(body[1:3], "big")
        self.width = int.from_bytes(body[3:5], "big")
        self.components = body[5]
        factors = {factor for both in body[7::3] for factor in divmod(both, 16)}
        self.unscanned = dict(zip(body[6::3], body[8::3], strict=True))
        if (
            body[0] != 8  # noqa: PLR2004 - bits a sample
            or body[5] not in {1, 3}
            or len(self.unscanned) != body[5]
            or not factors <= {1, 2, 3, 4}
            or not 0 < self.width * self.height <= MAX_PIXELS
        ):
            raise ProtocolFault("The camera's picture has a form that UVC does not allow.", at)

    def _huffman(self, body: bytes, at: int) -> None:
        """Huffman tables, B.2.4.2; a baseline picture has at most two of each class."""
        position = 0
        while position < len(body):
            table = (body[position] >> 4, body[position] & 15)
            codes = sum(body[position + 1 : position + 17])
            position += 17 + codes
            if table not in _STANDARD or not 0 < codes <= 256:  # noqa: PLR2004 - symbols of a byte
                raise ProtocolFault("The camera's picture has a damaged Huffman table.", at)
            self.coders.add(table)
        if position != len(body):
            raise ProtocolFault("The camera's picture has a damaged Huffman table.", at)

    def _quantisation(self, body: bytes, at: int) -> None:
        """Quantisation tables, B.2.4.1; those of a baseline picture have 8-bit elements."""
        if len(body) % 65 or any(number > 3 for number in body[::65]):  # noqa: PLR2004
            raise ProtocolFault("The camera's picture has a damaged quantisation table.", at)
        self.quantisers.update(body[::65])

    def _restart(self, body: bytes, at: int) -> None:
        """Restart interval, B.2.4.4."""
        if len(body) != 2:  # noqa: PLR2004 - one 16-bit number
            raise ProtocolFault("The camera's picture has a damaged restart interval.", at)
        self.restart_interval = int.from_bytes(body, "big")

    def _scan(self, body: bytes, at: int) -> None:
        """Scan header, B.2.3: every component once, with tables that are there."""
        if not self.first_scan:
            self.first_scan = at
            self.tables = bool(self.coders)
            self.coders = self.coders or set(_STANDARD)
        count = body[0] if body else 0
        if not count or len(body) != 4 + 2 * count or body[-3:] != _WHOLE_SPECTRUM:
            raise ProtocolFault("The camera's picture has a damaged scan header.", at)
        for component, coders in zip(body[1:-3:2], body[2:-3:2], strict=True):
            quantiser = self.unscanned.pop(component, None)
            wanted = {(0, coders >> 4), (1, coders & 15)}
            if quantiser not in self.quantisers or not wanted <= self.coders:
                raise ProtocolFault("The camera's picture refers to a table it lacks.", at)

    def _entropy_end(self, at: int) -> int:
        """The offset of the marker that ends a scan (B.1.1.5); restarts come in turn (B.2.1)."""
        due = 0
        while True:
            at = self.raw.find(b"\xff", at)
            if at < 0 or at + 1 >= len(self.raw):
                raise _broken_off(self.raw)
            code = self.raw[at + 1]
            if _RST0 <= code <= _RST7:
                if not self.restart_interval or code != _RST0 + due % 8:
                    raise ProtocolFault("A part of the camera's picture is missing.", at)
                due += 1
            elif code not in {0x00, 0xFF}:
                return at
            at += 1 if code == 0xFF else 2  # noqa: PLR2004 - fill bytes may precede a marker


def _broken_off(raw: bytes) -> ProtocolFault:
    return ProtocolFault("The camera's picture breaks off before its end.", len(raw))
