"""Answering what a unit has settled: what differs is named, what is unsound here set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync.contract.batch import link
from sync.contract.digest import ABSENT, NOTHING, OTHER, Answer, Compared, Differing, digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from central.holdings import Holding
    from central.logbook import Lane
    from central.store import Store
    from sync.contract.digest import Question


def compare(store: Store, question: Question) -> Answer:
    """Compare every stretch of a question, within the store's transaction (contract, part 11).

    A single seq that differs is examined: what does not hold by itself is set aside, and the
    seq is settled no longer, so that the next receipt asks for it again.
    """
    lane = store.log.lane(question.unit, question.epoch, question.lane)
    differs = [each for each in question.stretches if _digest(store, lane, each) != each.digest]
    answer = Answer(
        central_epoch=store.central_epoch,
        unit=question.unit,
        epoch=question.epoch,
        lane=question.lane,
        question=question.question,
        differs=tuple(
            Differing(first=each.first, last=each.last, found=_examine(store, lane, each))
            for each in differs
        ),
    )
    store.holdings.count(question.unit, _records(question))
    store.log.advance(store.log.lane(question.unit, question.epoch, question.lane))
    return answer


def _records(question: Question) -> int:
    return sum(each.last - each.first + 1 for each in question.stretches)


def _digest(store: Store, lane: Lane, stretch: Compared) -> str:
    held = store.holdings.between(lane, stretch.first, stretch.last)
    return digest(_leaves(held, stretch.first, stretch.last)).hex()


def _leaves(held: Iterator[Holding], first: int, last: int) -> Iterator[bytes]:
    """A leaf for each seq, also where nothing is held."""
    at = first
    for holding in held:
        yield from (NOTHING for _ in range(at, holding.seq))
        yield holding.leaf
        at = holding.seq + 1
    yield from (NOTHING for _ in range(at, last + 1))


def _examine(store: Store, lane: Lane, stretch: Compared) -> str | None:
    """What is held of a single seq that differs; None for a longer stretch."""
    seq = stretch.first
    if seq != stretch.last:
        return None
    near = {each.seq: each for each in store.holdings.between(lane, seq - 1, seq + 1)}
    before, holding, after = (near.get(at) for at in (seq - 1, seq, seq + 1))
    if holding and _sound(before, holding, after):
        store.holdings.note(lane, seq, OTHER, holding)
        return OTHER
    store.holdings.note(lane, seq, ABSENT, holding)
    if holding is None and seq < lane.oldest:  # the unit has no more to send, only its hash
        return ABSENT
    if holding and holding.record_id and not _is_the_units(before, holding, stretch.digest):
        store.holdings.drop_record(lane.unit, holding.record_id)
    store.holdings.unsettle(lane, seq)
    return ABSENT


def _sound(before: Holding | None, holding: Holding, after: Holding | None) -> bool:
    """Whether an entry follows from its record's bytes, and fits the chain on both sides."""
    follows = before is None or before.hash == holding.prev_hash or holding.prev_hash is None
    leads = after is None or after.prev_hash is None or after.prev_hash == holding.hash
    return holding.leaf != NOTHING and follows and leads


def _is_the_units(before: Holding | None, holding: Holding, asked: str) -> bool:
    """Whether the record's bytes are those of the unit, so that only its entry is damaged."""
    previous = before.hash if before else holding.prev_hash
    if holding.line is None or previous is None:
        return False
    return digest([link(previous, holding.line)]).hex() == asked
