"""What a receipt may say of a lane within its bounds: pure (contract, part 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync.contract.ranges import Range, Ranges, clip, minus
from sync.contract.receipt import HAVE_MAX, MISSING_MAX, REFUSED_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sync.contract.receipt import Refusal

STRETCHES_MAX = REFUSED_MAX // 2


@dataclass(frozen=True, slots=True)
class Outline:
    """The part of a receipt that speaks of seqs."""

    through: int
    last: int
    missing: Ranges
    refused: tuple[Refusal, ...]


def outline(
    through: int,
    ahead: Sequence[Range],
    refused_to: Callable[[int, int], Sequence[Refusal]],
    stretches: Sequence[Refusal],
    *,
    spoken: int = 0,
) -> Outline:
    """Say as much as fits, from below; of what lies beyond `last` nothing is said.

    `ahead` are the lowest settled ranges above `through`; `refused_to(last, most)` gives the
    lowest refused records up to `last`; `stretches` are batches refused as a whole. `spoken` is
    the highest seq of which a receipt spoke before: what is settled no longer is said missing.
    """
    shown = tuple(ahead[:MISSING_MAX])
    last = shown[-1][1] if shown else through
    if len(ahead) < MISSING_MAX:
        last = max(last, spoken)
    missing = minus(((through + 1, last),), shown) if last > through else ()
    told = tuple(stretches[:STRETCHES_MAX])
    room = REFUSED_MAX - len(told)
    refused = tuple(refused_to(last, room + 1))
    if len(refused) > room:
        last = refused[room].seq - 1
        through = min(through, last)
        missing = clip(missing, through + 1, last)
    return Outline(through, last, missing, (*refused[:room], *told))


def shown_ranges(have: Ranges, touched: Sequence[Range]) -> Ranges:
    """At most as many ranges as a receipt takes: those just touched, then the lowest."""
    spoken = [each for each in have if any(clip((each,), *span) for span in touched)]
    others = [each for each in have if each not in spoken]
    return tuple(sorted((*spoken, *others)[:HAVE_MAX]))
