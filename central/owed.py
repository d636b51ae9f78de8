"""Which receipts a group of messages asks for: memory of one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sync.contract.digest import Answer
    from sync.contract.ranges import Range
    from sync.contract.receipt import Refusal

Place = tuple[str, str, str, str | None]
"""Unit, epoch, lane, and the session of the hello that is answered or None."""


@dataclass(slots=True)
class Touched:
    """A blob that chunks spoke of, with the byte ranges they carried and the size they gave."""

    size: int
    spans: list[Range] = field(default_factory=list)


@dataclass(slots=True)
class Owed:
    """Receipts by place, in the order in which they were asked for.

    `stretches` are refused batches by place, `touched` blobs by unit and hash, `greeted` the
    units whose hello is answered with every blob that is incomplete, `answers` what is to be said
    to those who compare; `new` counts the records that were not here before.
    """

    places: dict[Place, list[Refusal]] = field(default_factory=dict)
    touched: dict[str, dict[bytes, Touched]] = field(default_factory=dict)
    greeted: dict[tuple[str, str], list[Place]] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    new: int = 0

    def owe(self, unit: str, epoch: str, lane: str, session: str | None = None) -> Place:
        """Ask for a receipt on a lane."""
        place = (unit, epoch, lane, session)
        self.places.setdefault(place, [])
        return place

    def refuse(self, place: Place, stretch: Refusal) -> None:
        """Tell that a batch was refused as a whole."""
        self.places[place].append(stretch)

    def touch(self, unit: str, sha256: bytes, size: int, span: Range | None = None) -> None:
        """Tell what is held of a blob."""
        touched = self.touched.setdefault(unit, {}).setdefault(sha256, Touched(size))
        if span:
            touched.spans.append(span)

    def greet(self, place: Place) -> None:
        """Tell, over the lanes of a hello, which blobs of the unit are incomplete."""
        unit, _, _, session = place
        lanes = self.greeted.setdefault((unit, session or ""), [])
        if place not in lanes:
            lanes.append(place)
