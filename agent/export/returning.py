"""Receipts that came back on a stick: each weighed by the store, then their file taken away."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from errno import ENOENT
from typing import TYPE_CHECKING

from sync.contract.entries import decode_receipts
from sync.contract.errors import ContractFault
from sync.contract.sealed import SUFFIXES, folders
from sync.stick import StickFault, open_shelf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sync.stick import Shelf

TAKEN = "taken"
DAMAGED = "damaged"


@dataclass(slots=True)
class Returned:
    """How many files there were, and what became of their receipts, by word."""

    files: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    left_out: tuple[str, ...] = ()


def take_back(root: Path, origin: str, unit: str, settle: Callable[[bytes], str]) -> Returned:
    """Let each receipt for this unit be weighed; `settle` gives a word for what became of it.

    Raises StickFault where the stick can't be read, and what `settle` raises: then that file
    stays, to be taken once more.
    """
    returned = Returned()
    try:
        shelf = open_shelf(root, folders(origin, unit, "down"), SUFFIXES["down"])
    except StickFault as fault:
        if fault.code == ENOENT and root.is_dir():
            return returned
        raise
    with shelf:
        listing = shelf.list()
        returned.left_out = listing.left_out
        for number in listing.numbers:
            _take(shelf, number, settle, returned)
    return returned


def _take(shelf: Shelf, number: int, settle: Callable[[bytes], str], returned: Returned) -> None:
    returned.files += 1
    content = shelf.read(number)
    try:
        frames = decode_receipts(content or b"")
    except ContractFault:
        returned.outcomes[DAMAGED] += 1
        return
    for frame in frames:
        returned.outcomes[settle(frame)] += 1
    with suppress(StickFault):  # a stick that is only read keeps it; once more changes nothing
        shelf.remove(number)
