"""What one destination has settled of one lane: pure state, and what a receipt does to it.

The same code serves the outbox on disk, the model in its tests and the simulation.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sync.contract.ranges import Range, Ranges, clip, minus, union

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sync.contract.receipt import Receipt, Refusal


@dataclass(frozen=True, slots=True)
class LaneState:
    """A watermark and what lies settled above it.

    `last` is the highest seq of the log, `through` the highest below which all is settled,
    `ahead` the settled ranges above it. `central_epoch` and `serial` are those of the newest
    receipt (None and 0 before the first).
    """

    epoch: str
    lane: str
    last: int
    through: int = 0
    ahead: Ranges = ()
    central_epoch: str | None = None
    serial: int = 0
    backed_up_through: int | None = None

    @property
    def pending(self) -> Ranges:
        """Every seq that no receipt has settled, in order."""
        if self.through >= self.last:
            return ()
        return minus(((self.through + 1, self.last),), self.ahead)

    def grown(self, last: int) -> LaneState:
        """The same state over a longer log."""
        return replace(self, last=last)


class Why(StrEnum):
    """Why a receipt was ignored. All but REPEATED and CLOSED_EPOCH raise an alarm."""

    REPEATED = "repeated"
    CLOSED_EPOCH = "closed-epoch"
    STALE = "stale"
    RETIRED = "retired-central-epoch"
    IMPOSSIBLE = "impossible"
    ANOTHER_UNIT = "another-unit"
    UNKNOWN_EPOCH = "unknown-epoch"
    UNPROVEN = "unproven-central-epoch"

    @property
    def alarming(self) -> bool:
        """Whether somebody should look."""
        return self not in {Why.REPEATED, Why.CLOSED_EPOCH}


@dataclass(frozen=True, slots=True)
class Ignored:
    """The receipt changed nothing."""

    why: Why


_ANOTHER_HISTORY = frozenset({"conflict", "chain"})
"""Codes of a refused stretch that does not fit what the centre has of this very lane (C-9.4)."""


@dataclass(frozen=True, slots=True)
class RestoredCopy:
    """A valid receipt speaks of more than we ever wrote, or of another history than ours.

    We are a copy of ourselves: an older one, or one that both went on from.
    """


@dataclass(frozen=True, slots=True)
class Settled:
    """The receipt was taken. `refused` are single records; `smaller` are refused stretches.

    `replays` is True where less is settled than before: the centre lost something; `recalled`
    is what was settled and no longer is.
    """

    state: LaneState
    refused: tuple[Refusal, ...]
    smaller: tuple[Range, ...]
    replays: bool
    recalled: Ranges = ()


Verdict = Settled | RestoredCopy | Ignored


@dataclass(frozen=True, slots=True)
class Question:
    """The session of a hello, and the central epoch that was believed in when it was said."""

    session: str
    believed: str | None


def standing_question(unit_state: str, believed: str | None) -> Question:
    """The question that every file asks for as long as one central epoch is believed in (C-10.10).

    It need not be kept: whoever forgets it derives it anew, from the UUID of his own database.
    """
    session = uuid.uuid5(uuid.UUID(unit_state), believed or "none yet")
    return Question(str(session), believed)


def proves(receipt: Receipt, believed: str | None, asked: Collection[Question]) -> bool:
    """Whether what a receipt says is of now (C-8.3, C-10.10).

    It is of the central epoch that is believed in, or answers a question that was asked under
    this very belief: an answer to an older one could be of a centre that was since replaced.
    """
    if receipt.central_epoch == believed:
        return True
    return receipt.answers is not None and Question(receipt.answers, believed) in asked


def settle(
    state: LaneState,
    receipt: Receipt,
    hash_at: Callable[[int], bytes | None],
    retired: frozenset[str] = frozenset(),
    *,
    fresh: bool = True,
    answering: bool = False,
) -> Verdict:
    """Weigh a verified receipt of this epoch and lane (contract, part 8).

    `hash_at` gives our chain's value at a seq (the genesis at 0); `retired` are the central
    epochs that were followed by another. `fresh`: `proves` has said so; only such a receipt
    may bring another central epoch (C-8.3). `answering`: it answers the newest hello of a link;
    only such a receipt may say that we went on from a copy (C-8.5).
    """
    same = receipt.central_epoch == state.central_epoch
    if receipt.central_epoch in retired:
        return Ignored(Why.RETIRED)
    if not same and not fresh:
        return Ignored(Why.UNPROVEN)
    if same and receipt.serial <= state.serial:
        return Ignored(Why.REPEATED if receipt.serial == state.serial else Why.STALE)
    if receipt.last > state.last or _tells_of_another_history(receipt):
        return RestoredCopy()
    if hash_at(receipt.through) != bytes.fromhex(receipt.head_hash):
        # Of what we have settled the centre may be wrong; of what is still ours to send, hardly.
        diverged = answering and receipt.through > state.through
        return RestoredCopy() if diverged else Ignored(Why.IMPOSSIBLE)
    return _taken(state, receipt, same=same)


def _tells_of_another_history(receipt: Receipt) -> bool:
    return any(each.last is not None and each.code in _ANOTHER_HISTORY for each in receipt.refused)


def _taken(state: LaneState, receipt: Receipt, *, same: bool) -> Settled:
    fallen = receipt.through < state.through
    spoken: Ranges = ()
    if receipt.last > receipt.through:
        spoken = minus(((receipt.through + 1, receipt.last),), receipt.missing)
    # What lies beyond the receipt's `last` it says nothing of: an earlier receipt may have.
    beyond = clip(state.ahead, receipt.last + 1, state.last) if same and not fallen else ()
    after = replace(
        state,
        through=receipt.through,
        ahead=union(spoken, beyond),
        central_epoch=receipt.central_epoch,
        serial=receipt.serial,
        backed_up_through=receipt.backed_up_through,
    )
    return Settled(
        state=after,
        refused=tuple(each for each in receipt.refused if each.last is None),
        smaller=tuple((each.seq, each.last) for each in receipt.refused if each.last is not None),
        replays=fallen or (not same and state.central_epoch is not None),
        recalled=minus(after.pending, state.pending),
    )
