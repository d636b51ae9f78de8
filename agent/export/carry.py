"""Bring a stick up to date: write what it lacks, take away what it need not hold any more.

Nothing is taken away before all of it is settled, or stands in another file on the same stick.
"""

from __future__ import annotations

from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.export.contents import Contents, gathered
from sync.contract.entries import FILE_MAX
from sync.contract.errors import ContractFault
from sync.contract.sealed import slip_of, take_apart
from sync.stick import MOST_FILES, StickFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.export.source import Opening, Source
    from sync.stick import Shelf

RESERVE = 8 << 20
"""Bytes that are left free, so that the centre has room for its receipts."""
THIN = FILE_MAX // 4
"""Files below this size are gathered into larger ones once there are too many of them."""
THIN_MAX = 16
_SLIPS = 4
"""How many slips are asked about at once."""


@dataclass(frozen=True, slots=True)
class Carried:
    """How a stick is now: records and bytes that are pending, and how many of them it lacks.

    `strange` are files there that are not this unit's, or not of its present key.
    """

    files: int
    pending: int
    lacking: int
    pending_bytes: int
    lacking_bytes: int
    written: int
    strange: int
    full: StickFault | None = None

    @property
    def whole(self) -> bool:
        """Whether everything that is pending is on it."""
        return not self.lacking and not self.lacking_bytes


@dataclass(slots=True)
class _File:
    """`sound`: the centre will be able to take it. `wanted` is None for what isn't ours."""

    size: int
    sound: bool
    contents: Contents
    wanted: Contents | None

    @property
    def thin(self) -> bool:
        return self.size < THIN


class Carrier:
    """What is known of one stick's folder of this unit, filled from one source; for one thread."""

    def __init__(self, source: Source, pause: Callable[[], None]) -> None:
        """`pause` is called before each file that is read or written."""
        self._source = source
        self._pause = pause
        self._stick: tuple[int, int] | None = None
        self._opening: Opening | None = None
        self._files: dict[int, _File] = {}

    def bring_up_to_date(self, shelf: Shelf) -> Carried:
        """Write, then tidy up. Raises StickFault, and what the source raises.

        What was written before stands, and is known to the next call. A full stick is a state.
        """
        shelf.lock()
        shelf.tidy()
        opening = self._source.open()
        self._follow(shelf, opening)
        self._look(shelf, opening)
        self._take_away(shelf, frozenset())
        thin = self._thin()
        gathering = thin if len(thin) >= THIN_MAX else frozenset()
        written, full = 0, None
        try:
            for _ in self._write(shelf, opening.pending.less(self._on_it(gathering))):
                written += 1
        except StickFault as fault:
            if fault.code not in {ENOSPC, EDQUOT}:
                raise
            full = fault
        self._take_away(shelf, gathering)
        left = opening.pending.less(self._on_it(frozenset()))
        return Carried(
            files=len(self._files),
            pending=opening.pending.count,
            lacking=left.count,
            pending_bytes=opening.pending.size,
            lacking_bytes=left.size,
            written=written,
            strange=sum(each.wanted is None for each in self._files.values()),
            full=full,
        )

    def _follow(self, shelf: Shelf, opening: Opening) -> None:
        """What was settled since the last call is wanted no more, what fell back is again.

        Of another stick, and after a new epoch, nothing is known.
        """
        before, self._opening = self._opening, opening
        if before is None or before.epoch != opening.epoch or shelf.identity != self._stick:
            self._files, self._stick = {}, shelf.identity
            return
        gone = before.pending.less(opening.pending)
        back = opening.pending.less(before.pending)
        for file in self._files.values():
            if file.wanted is not None:
                file.wanted = file.wanted.less(gone).plus(file.contents.both(back))

    def _look(self, shelf: Shelf, opening: Opening) -> None:
        """Know every file; those that are new here are read to their end once."""
        numbers = shelf.list().numbers
        fresh: dict[int, _File] = {}
        slips: dict[int, bytes] = {}
        for number in numbers:
            if number not in self._files:
                self._pause()
                content = shelf.read(number) or b""
                slips[number] = slip_of(content)
                fresh[number] = _File(len(content), _is_sound(content, opening), Contents(), None)
        self._judge(fresh, slips)
        known = self._files | fresh
        self._files = {number: known[number] for number in numbers}

    def _judge(self, fresh: dict[int, _File], slips: dict[int, bytes]) -> None:
        numbers = list(slips)
        for at in range(0, len(numbers), _SLIPS):
            asked = numbers[at : at + _SLIPS]
            judged = self._source.judge([slips[number] for number in asked])
            for number, found in zip(asked, judged, strict=True):
                file = fresh[number]
                if found is None:
                    file.sound = False
                else:
                    file.contents, file.wanted = found.contents, found.wanted

    def _thin(self) -> frozenset[int]:
        return frozenset(number for number, each in self._files.items() if each.sound and each.thin)

    def _on_it(self, but: frozenset[int]) -> Contents:
        return gathered(
            each.contents
            for number, each in self._files.items()
            if each.sound and number not in but
        )

    def _write(self, shelf: Shelf, wanted: Contents) -> Iterator[int]:
        while wanted:
            if len(self._files) >= MOST_FILES or shelf.free() < RESERVE + FILE_MAX:
                raise StickFault(shelf.what, ENOSPC)
            self._pause()
            sealed, contents = self._source.seal(wanted)
            if not contents:
                break  # the rest can't be read back as it was written
            number = shelf.write(sealed)
            self._files[number] = _File(len(sealed), sound=True, contents=contents, wanted=contents)
            wanted = wanted.less(contents)
            yield number

    def _take_away(self, shelf: Shelf, gathered_anew: frozenset[int]) -> None:
        kept = self._on_it(gathered_anew)
        for number, each in list(self._files.items()):
            if each.wanted is None:
                continue
            doubtful = number in gathered_anew or not each.sound
            left = each.wanted.less(kept) if doubtful else each.wanted
            if not left:
                shelf.remove(number)
                del self._files[number]


def _is_sound(content: bytes, opening: Opening) -> bool:
    key = Ed25519PublicKey.from_public_bytes(opening.unit_key)
    try:
        to, _, _ = take_apart(content, lambda _: key)
    except ContractFault:
        return False
    return to == opening.recipient
