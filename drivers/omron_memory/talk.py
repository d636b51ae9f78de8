"""How a visit of an Omron cuff goes: open its memory, read every record, part. Pure.

Nothing is ever written into the memory: neither its clock nor its count of unread records, which
lie beside what the pressure sensor was calibrated with (omblepy, README.md). So a cuff tells all
its records at every visit, and one that was stored before is known by its own octets.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from drivers.errors import Misconfigured, ProtocolFault
from drivers.omron_memory import codec, wire
from drivers.omron_memory.models import Lock, memory_of
from drivers.talk import Step

if TYPE_CHECKING:
    from datetime import datetime

    from drivers.omron_memory.models import Block
    from drivers.omron_memory.wire import Answer

TOKEN: Final = b"\x11qaf1" + bytes(15)
"""The cuff gives the four octets back; they are no secret (hass-omron, unlock.py)."""
TOKEN_TAKEN: Final = b"\x91\x00" + TOKEN[1:5]

KEY: Final = b"qafila-omron-key"
"""What our units teach a cuff. It guards nothing: the bond of the pairing does."""
OPEN: Final = b"\x01" + KEY
TEACH: Final = b"\x02" + bytes(16)
LEARN: Final = b"\x00" + KEY
OPENED, LEARNED, TEACHABLE = 0x81, 0x80, 0x82
"""First octets of what a cuff with a key says; the second differs between models."""

_SHUT: Final = (
    "The cuff does not open its memory to this unit: hold its Bluetooth key until P flashes, and "
    "it is read."
)
_DONE: Final = "The cuff has done what it was told."
_ENDED: Final = "The cuff broke off before it had told all its records; it keeps them."
_NOTHING: Final = "This part of the cuff's memory holds no record that is new."


@dataclass(slots=True)
class Past:
    """What a visit that was cut leaves to the next: the address it would have asked for."""

    address: int | None = None


class MemoryTalk:
    """One visit of a cuff that shows itself as `shown`: it goes on where the last one was cut."""

    def __init__(self, shown: str | None, past: Past) -> None:
        self._shown = shown
        self._past = past
        self._memory = memory_of(shown)
        self._left: deque[Block] = deque(self._memory.blocks() if self._memory else ())
        addresses = [block.address for block in self._left]
        if past.address in addresses:
            self._left.rotate(-addresses.index(past.address))
        self._assembler = wire.Assembler()
        self._opening = True
        self._teaching = False

    def begin(self, now: datetime | None) -> tuple[bytes, ...]:
        """Ask for the memory to be opened; `Misconfigured` where its model is not known."""
        del now
        if self._memory is None:
            raise Misconfigured(
                "omron-memory",
                "the model of this cuff is not known: name it in unit.toml, [devices.settings] "
                'model = "HEM-7142T2", or enter its readings by hand',
            )
        return (TOKEN if self._memory.lock is Lock.TOKEN else OPEN,)

    def hear(self, raw: bytes) -> Step:
        """Take one piece as the radio gave it."""
        if self._opening and raw[1:3] not in wire.ANSWERS:
            return self._opened(raw)
        whole = self._assembler.feed(raw)
        return Step() if whole is None else self._told(whole)

    def end(self) -> Step:
        """A frame that waits for its rest is told anew at the next visit."""
        return Step(empty="The cuff stopped in the middle of an answer; it keeps its records.")

    def _opened(self, raw: bytes) -> Step:
        word = raw[0] if raw else None
        if raw.startswith(TOKEN_TAKEN) or word in {OPENED, LEARNED}:
            self._opening = False
            return Step(empty=_DONE, say=(wire.START,))
        if word == TEACHABLE:
            return Step(empty=_DONE, say=(LEARN,))
        if self._memory is not None and self._memory.lock is Lock.KEY and not self._teaching:
            self._teaching = True
            return Step(empty=_DONE, say=(TEACH,))
        return Step(empty=_SHUT, fault=_SHUT)

    def _told(self, whole: bytes) -> Step:
        try:
            answer = wire.parse(whole)
        except ProtocolFault as fault:
            return Step(refused=fault.reason, say=self._ask())
        if answer.kind == wire.READ_ANSWER:
            return self._read(answer)
        if answer.kind == wire.START_ANSWER and not answer.code:
            return Step(empty=_DONE, say=self._ask())
        return Step(empty=_ENDED, fault=_ENDED)

    def _read(self, answer: Answer) -> Step:
        readings, faults = codec.records(answer, self._shown)
        say, farewell = self._go_on(answer)
        reason = faults[0].reason if faults else None
        return Step(readings, reason, _NOTHING, say, farewell)

    def _go_on(self, answer: Answer) -> tuple[tuple[bytes, ...], bytes | None]:
        """What is said next to an answer, and with what the talk ends."""
        if not self._left or answer.address != self._left[0].address:
            return (), None
        done = self._left.popleft()
        while answer.code and self._left and self._left[0].user == done.user:
            self._left.popleft()  # a user whom the cuff has never had: it gives none of it
        self._past.address = self._left[0].address if self._left else None
        return self._ask(), None if self._left else wire.END

    def _ask(self) -> tuple[bytes, ...]:
        return (wire.read(self._left[0].address, self._left[0].size),) if self._left else ()
