"""Writing the receipts that are owed, within the transaction that they speak of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from central.outline import outline, shown_ranges
from sync.contract.receipt import CHUNKS_MAX, Held, Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from central.owed import Owed, Place, Touched
    from central.store import Store


def write_receipts(store: Store, owed: Owed) -> tuple[Receipt, ...]:
    """Number and fill every receipt that is owed; nothing is said of what isn't in the store."""
    told = dict(_blobs(store, owed))
    return tuple(
        _write(store, place, helds[at : at + CHUNKS_MAX], owed)
        for place, helds in ((place, told.get(place, [])) for place in owed.places)
        for at in range(0, max(1, len(helds)), CHUNKS_MAX)
    )


def _write(store: Store, place: Place, helds: list[Held], owed: Owed) -> Receipt:
    unit, epoch, name, session = place
    lane = store.log.lane(unit, epoch, name)
    said = outline(
        lane.through,
        store.log.ahead(lane, CHUNKS_MAX),
        lambda last, most: store.log.refused(lane, last, most),
        owed.places[place],
        spoken=lane.spoken,
    )
    return Receipt(
        central_epoch=store.central_epoch,
        serial=store.log.next_serial(lane, said.last),
        unit=unit,
        epoch=epoch,
        lane=name,
        through=said.through,
        head_hash=store.log.hash_at(lane, said.through).hex(),
        last=said.last,
        missing=said.missing,
        refused=said.refused,
        chunks=tuple(helds),
        backed_up_through=lane.backed_up_through,
        answers=session,
    )


def _blobs(store: Store, owed: Owed) -> Iterator[tuple[Place, list[Held]]]:
    """Give each place the blobs that its receipt lists; may ask for places anew."""
    for (unit, _), places in owed.greeted.items():
        waiting = store.blobs.incomplete(unit, CHUNKS_MAX * len(places))
        helds = [_held(blob.sha256, blob.size, shown_ranges(blob.have, ())) for blob in waiting]
        for number, place in enumerate(places):
            yield place, helds[number * CHUNKS_MAX : (number + 1) * CHUNKS_MAX]
    for unit, touched in owed.touched.items():
        home = _home(store, owed, unit)
        if home:
            yield home, [_current(store, unit, *each) for each in touched.items()]


def _home(store: Store, owed: Owed, unit: str) -> Place | None:
    """The receipt on which a unit is told of its chunks: any but an answer to a hello."""
    for place in owed.places:
        if place[0] == unit and place[3] is None:
            return place
    spoken = store.log.home(unit)
    return owed.owe(unit, *spoken) if spoken else None


def _current(store: Store, unit: str, sha256: bytes, touched: Touched) -> Held:
    blob = store.blobs.find(unit, sha256)
    if blob is None:
        return _held(sha256, touched.size, ())
    return _held(sha256, blob.size, shown_ranges(blob.have, touched.spans))


def _held(sha256: bytes, size: int, have: tuple[tuple[int, int], ...]) -> Held:
    return Held(sha256=sha256.hex(), size=size, have=have)
