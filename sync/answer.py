"""What a receipt answers: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync.contract.ranges import covers, minus
from sync.plan import Piece, Stretch

if TYPE_CHECKING:
    from sync.contract.receipt import Receipt


def speaks_of(receipt: Receipt, place: Stretch | Piece) -> bool:
    """Whether a receipt says what became of a parcel: taken, refused, or wanted smaller.

    One receipt may speak of many parcels; one that says nothing of a parcel leaves it waiting.
    """
    if isinstance(place, Stretch):
        return _speaks_of_stretch(receipt, place)
    return any(
        held.sha256 == place.sha256.hex()
        and (not held.have or covers(held.have, place.offset, place.last))
        for held in receipt.chunks
    )


def _speaks_of_stretch(receipt: Receipt, place: Stretch) -> bool:
    if (receipt.epoch, receipt.lane) != (place.epoch, place.lane):
        return False
    left = minus(((place.first, place.last),), ((0, receipt.through),))
    if receipt.last > receipt.through:
        left = minus(left, minus(((receipt.through + 1, receipt.last),), receipt.missing))
    wanted_smaller = any(
        each.last is not None and each.seq <= place.first and place.last <= each.last
        for each in receipt.refused
    )
    return not left or wanted_smaller
