"""What the centre reads of a record's line; all else in it is kept as bytes and let through."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from central.errors import RecordFault
from sync.contract.chunk import BLOB_MAX
from sync.contract.fields import LANES, Hash, Seq, Through, Uuid
from sync.contract.ranges import is_normal
from sync.contract.topics import ROOTS

_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_T = TypeVar("_T")


class BlobReference(msgspec.Struct, frozen=True):
    """A blob that belongs to a record; `role` says what it is to it."""

    sha256: Hash
    size: Annotated[int, msgspec.Meta(ge=1, le=BLOB_MAX)]
    media_type: _Word
    role: _Word


class Lost(msgspec.Struct, frozen=True):
    """A seq of the same epoch whose record the unit no longer has; `hash` is the chain's."""

    lane: str
    seq: Seq
    hash: Hash
    reason: str


class EpochClosed(msgspec.Struct, frozen=True):
    """An earlier epoch of the unit of which nothing more comes; `lost` never will."""

    epoch: Uuid
    lane: str
    through: Through
    lost: tuple[tuple[Seq, Seq], ...]


class BlobLost(msgspec.Struct, frozen=True):
    """A blob whose bytes the unit no longer has."""

    sha256: Hash
    reason: str


class Raw(msgspec.Struct, frozen=True):
    """The bytes that the device sent, by their hash; they stay on the unit."""

    sha256: Hash


class Context(msgspec.Struct, frozen=True):
    """Of the circumstances of a capture, the one that decides whether it belongs here."""

    origin: str | None = None


class Line(msgspec.Struct, frozen=True):
    """A record, as far as the centre needs it to settle and file it."""

    record: Uuid
    kind: _Word
    blobs: tuple[BlobReference, ...] = ()
    context: Context | None = None
    raw: Raw | None = None
    lost: msgspec.Raw = msgspec.Raw()
    epoch_closed: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="epoch-closed")
    blob_lost: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="blob-lost")


def read_line(line: bytes, origin: str) -> Line:
    """Read a record's line at a centre of this origin.

    Raises RecordFault `unreadable` for what is no record, `origin` for one of another origin.
    """
    record = _read(line, Line)
    stated = record.context.origin if record.context else None
    if stated in ROOTS and stated != origin:
        raise RecordFault("origin", f"this centre takes {origin} records only")
    sizes = {(each.sha256, each.size) for each in record.blobs}
    if len(sizes) != len({sha256 for sha256, _ in sizes}):
        raise RecordFault("blob-size", "the record gives one blob two sizes")
    return record


def same_reading(record: Line, stored: bytes) -> bool:
    """Whether a stored line tells of the very bytes that this record tells of.

    A device that says again what it has said makes the same reading in another context.
    """
    before = _read(stored, Line)
    return record.raw is not None and record.raw == before.raw


def read_lost(record: Line) -> Lost | None:
    """What a record of kind `lost` gives up; RecordFault `unreadable` where it doesn't say."""
    if record.kind != "lost":
        return None
    lost = _read(bytes(record.lost), Lost)
    if lost.lane not in LANES:
        raise RecordFault("unreadable", "the record gives up a seq of an unknown lane")
    return lost


def read_closed(record: Line) -> EpochClosed | None:
    """Which epoch a record of kind `epoch-closed` closes; RecordFault where it doesn't say."""
    if record.kind != "epoch-closed":
        return None
    closed = _read(bytes(record.epoch_closed), EpochClosed)
    if closed.lane not in LANES:
        raise RecordFault("unreadable", "the record closes an unknown lane")
    if closed.lost and (not is_normal(closed.lost) or closed.lost[-1][1] > closed.through):
        raise RecordFault("unreadable", "the ranges of the record contradict each other")
    return closed


def read_blob_lost(record: Line) -> BlobLost | None:
    """Which blob a record of kind `blob-lost` gives up; RecordFault where it doesn't say."""
    if record.kind != "blob-lost":
        return None
    return _read(bytes(record.blob_lost), BlobLost)


def _read(text: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        place = str(error).rpartition(" - at ")[2]
        where = place if place.startswith("`$") else "the line"
        raise RecordFault("unreadable", f"{where} is not what a record has there") from None
