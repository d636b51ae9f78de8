"""What a sealed file holds, or a stick, or what is wanted: sets of records and of bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from sync.contract.fields import Hash
from sync.contract.ranges import Range, Ranges, minus, total, union

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_K = TypeVar("_K")
Place = tuple[str, str]
"""Epoch and lane."""
_Said = tuple[tuple[tuple[str, str, Ranges], ...], tuple[tuple[Hash, Ranges], ...]]


@dataclass(frozen=True)
class Contents:
    """Seqs by epoch and lane, and byte ranges by blob (SHA-256 in hex). No entry is empty."""

    records: Mapping[Place, Ranges] = field(default_factory=dict)
    pieces: Mapping[str, Ranges] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.records or self.pieces)

    def plus(self, other: Contents) -> Contents:
        """Everything that is in either."""
        return Contents(
            _each(self.records, other.records, union, {*self.records, *other.records}),
            _each(self.pieces, other.pieces, union, {*self.pieces, *other.pieces}),
        )

    def less(self, other: Contents) -> Contents:
        """Everything that is not in the other."""
        return Contents(
            _each(self.records, other.records, minus, self.records),
            _each(self.pieces, other.pieces, minus, self.pieces),
        )

    def both(self, other: Contents) -> Contents:
        """What is in both."""
        return self.less(self.less(other))

    def first(self, most: int) -> Contents:
        """The first ranges of it, records before bytes: as many as a question may hold."""
        places = list(self.records)[:most]
        blobs = list(self.pieces)[: most - len(places)]
        return Contents(
            {place: self.records[place][:most] for place in places},
            {sha256: self.pieces[sha256][:most] for sha256 in blobs},
        )

    @property
    def count(self) -> int:
        """How many records."""
        return sum(map(total, self.records.values()))

    @property
    def size(self) -> int:
        """How many bytes of blobs."""
        return sum(map(total, self.pieces.values()))


def gathered(each: Iterable[Contents]) -> Contents:
    """Everything that is in any."""
    records: dict[Place, list[Range]] = {}
    pieces: dict[str, list[Range]] = {}
    for one in each:
        for place, spans in one.records.items():
            records.setdefault(place, []).extend(spans)
        for sha256, spans in one.pieces.items():
            pieces.setdefault(sha256, []).extend(spans)
    return Contents(
        {place: union(spans, ()) for place, spans in records.items()},
        {sha256: union(spans, ()) for sha256, spans in pieces.items()},
    )


def to_json(contents: Contents) -> list[Any]:
    """The contents as JSON's own types."""
    return [
        [[*place, spans] for place, spans in contents.records.items()],
        [[sha256, spans] for sha256, spans in contents.pieces.items()],
    ]


def from_json(said: object) -> Contents:
    """The contents out of `to_json`; ValueError for anything else."""
    records, pieces = msgspec.convert(said, _Said)
    return gathered(
        [Contents({(epoch, lane): spans}) for epoch, lane, spans in records if spans]
        + [Contents({}, {sha256: spans}) for sha256, spans in pieces if spans]
    )


def _each(
    one: Mapping[_K, Ranges],
    other: Mapping[_K, Ranges],
    join: Callable[[Ranges, Ranges], Ranges],
    keys: Iterable[_K],
) -> dict[_K, Ranges]:
    found = {key: join(one.get(key, ()), other.get(key, ())) for key in keys}
    return {key: spans for key, spans in found.items() if spans}
