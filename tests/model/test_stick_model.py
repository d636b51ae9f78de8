"""Paths mixed in any order: a link, sticks there and back, a centre that comes back older.

The machine of the outbox, with sticks beside the link. One machine drives the store with the very
files that it seals, the same machine the unit in memory, and must catch its mutants. Issue 4,
point 10: export, then an online drain, then the import; two sticks; an old one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from agent.export.source import StoreSource
from sync.contract.batch import Batch, decode_batch
from sync.contract.chunk import Chunk, decode_chunk
from sync.contract.envelope import key_id
from sync.contract.hello import Hello, decode_hello
from sync.contract.sealed import open_file
from sync.lane import RestoredCopy, Verdict

from .disk import DiskUnit
from .test_outbox_model import PLACE, QUIET, World, break_a_promise
from .unit import (
    LANE,
    AnswersOutliveTheBelief,
    AsksTheSameForEver,
    BelievesAnyAnswer,
    PureUnit,
)

if TYPE_CHECKING:
    from sync.contract.entries import Entry
    from sync.contract.receipt import Receipt

KEY = Ed25519PrivateKey.generate()
KEYS = {key_id(KEY.public_key()): KEY.public_key()}
SEALING = X25519PrivateKey.generate()
Message = Hello | Batch | Chunk


@dataclass
class Stick:
    """What lies on it, either way."""

    up: list[tuple[Message, ...]] = field(default_factory=list)
    down: list[Receipt] = field(default_factory=list)


def read(entry: Entry) -> Message:
    """An entry of a sealed file as the centre reads it."""
    if entry.channel == "up/hello":
        return decode_hello(entry.frame, KEYS.get)
    if entry.channel == "up/chunk":
        return decode_chunk(entry.frame)
    return decode_batch(entry.frame, KEYS.get)


class CarryingUnit(DiskUnit):
    """The store, and what it seals for a stick."""

    def carried(self) -> tuple[Message, ...]:
        """Seal everything that is pending, and open it as the centre does."""
        source = StoreSource(self._store, "centre", KEY, SEALING.public_key())
        wanted = source.open().pending
        messages: list[Message] = []
        while wanted:
            sealed, contents = source.seal(wanted)
            messages += map(read, open_file(sealed, KEYS.get, SEALING))
            wanted = wanted.less(contents)
        return tuple(messages)

    def settle_carried(self, receipt: Receipt) -> Verdict:
        """Apply a receipt that came in a file."""
        return self._run(self._store.settle_carried("centre", receipt))

    def receipt_alarms(self) -> list[str]:
        """Alarms about receipts."""
        rows = self._store.reader.execute("SELECT code FROM alarm WHERE code LIKE 'receipt-%'")
        return [row[0] for row in rows]


class StickWorld(World):
    """Sticks lie about: at the unit, at the centre, in a pocket."""

    make: type[PureUnit | CarryingUnit]
    unit: PureUnit | CarryingUnit

    def __init__(self) -> None:
        super().__init__()
        self.sticks: list[Stick] = []
        self.centres = [self.centre.epoch]
        self.newest = -1

    def _make(self) -> CarryingUnit | PureUnit:
        return self.make() if issubclass(self.make, CarryingUnit) else self.make("test-01")

    @rule(again=st.booleans(), place=PLACE)
    def export(self, *, again: bool, place: int) -> None:
        """Onto a new stick, or behind what lies on one."""
        if not (again and self.sticks):
            self.sticks.append(Stick())
            place = -1
        self.sticks[place % len(self.sticks)].up.append(self.unit.carried())

    @precondition(lambda self: self.sticks)
    @rule(place=PLACE)
    def hand_in(self, place: int) -> None:
        self._hand_in(self.sticks[place % len(self.sticks)])

    @precondition(lambda self: self.sticks)
    @rule(place=PLACE, again=st.booleans())
    def bring_back(self, place: int, *, again: bool) -> None:
        at = place % len(self.sticks)
        self._take_back(self.sticks[at] if again else self.sticks.pop(at))

    @rule()
    def break_the_centre_while_a_stick_travels(self) -> None:
        """What it says on the way back, no one should believe who has heard of the next one."""
        stick = Stick([self.unit.carried()])
        self._hand_in(stick)
        self.restore()
        self.sticks.append(stick)

    @rule()
    def restore(self) -> None:
        super().restore()
        self.centres.append(self.centre.epoch)

    @invariant()
    def belief_never_goes_back(self) -> None:
        """A centre that was replaced is never taken for the present one again."""
        believed = self.unit.state().central_epoch
        at = -1 if believed is None else self.centres.index(believed)
        assert at >= self.newest, "believes in a centre that was since replaced"
        self.newest = at

    @rule()
    def have_a_dark_month(self) -> None:
        """Sticks alone settle everything, whatever came before: two journeys are enough."""
        for _ in range(2):
            stick = Stick([self.unit.carried()])
            self._hand_in(stick)
            self._take_back(stick)
        assert self.unit.state().pending == ()

    def _take_back(self, stick: Stick) -> None:
        for receipt in stick.down:
            assert not isinstance(self.unit.settle_carried(receipt), RestoredCopy)

    def _hand_in(self, stick: Stick) -> None:
        """As C-10.9 says: the newest hello before and after all the rest."""
        hellos = [each for file in stick.up for each in file if isinstance(each, Hello)]
        if not hellos:
            return
        stick.down += self.centre.greet_late(hellos[-1])
        for file in stick.up:
            for message in file:
                stick.down += self._take_message(message)
        stick.down += self.centre.greet_late(hellos[-1])

    def _take_message(self, message: Message) -> list[Receipt]:
        if isinstance(message, Hello):
            self.centre.greet_late(message)
        elif isinstance(message, Batch):
            self.centre.take_batch(message)
        else:
            return [self.centre.take_chunk(message, (self.unit.state().epoch, LANE))]
        return []


class DiskStickWorld(StickWorld):
    make = CarryingUnit


def run(machine: type[World], examples: int, steps: int = 40) -> None:
    run_state_machine_as_test(
        machine, settings=settings(QUIET, max_examples=examples, stateful_step_count=steps)
    )


def test_paths_may_be_mixed_in_any_order_in_memory() -> None:
    """C-8.3, C-8.12, C-10.8, C-10.10, C-10.11: nothing settled uncommitted, nothing stuck."""
    run(StickWorld, 60)


def test_paths_may_be_mixed_in_any_order_on_disk() -> None:
    """C-10.8, C-10.10, C-10.11: with the files that the store seals."""
    run(DiskStickWorld, 5, 20)


@pytest.mark.parametrize("mutant", [BelievesAnyAnswer, AsksTheSameForEver])
def test_machine_with_sticks_catches_the_mutant(mutant: type[PureUnit]) -> None:
    """C-10.10: each of these comes to believe in a centre that was since replaced."""

    class Mutated(StickWorld):
        make = mutant

    break_a_promise(Mutated, 5000)


def overtaken(unit: type[PureUnit | CarryingUnit]) -> None:
    """An answer is still on the way when a stick brings news of the centre that came after."""

    class Overtaken(StickWorld):
        make = unit

    world = Overtaken()
    try:
        world.record(poison=False, picture=False)
        answers = world.centre.greet(world.unit.hello())
        world.restore()
        world.have_a_dark_month()
        world.belief_never_goes_back()
        for answer in answers:
            world.unit.settle(answer)
        world.belief_never_goes_back()
    finally:
        if isinstance(world.unit, CarryingUnit):
            world.unit.close()


@pytest.mark.parametrize("unit", [PureUnit, CarryingUnit])
def test_answer_that_a_stick_has_overtaken_is_not_believed(
    unit: type[PureUnit | CarryingUnit],
) -> None:
    """C-10.10: it was asked for under a belief that does not stand any more."""
    overtaken(unit)
    with pytest.raises(AssertionError, match="since replaced"):
        overtaken(AnswersOutliveTheBelief)


def test_two_sticks_that_come_back_in_the_wrong_order_are_no_attack() -> None:
    """C-10.11: all is settled, and no alarm raised."""
    world = DiskStickWorld()
    try:
        for picture in (True, False):
            world.record(poison=False, picture=picture)
            world.export(again=False, place=0)
        for place in (0, 1):
            world.hand_in(place)
        for place in (1, 0):
            world.bring_back(place, again=True)
        assert world.unit.state().pending == ()
        assert isinstance(world.unit, CarryingUnit)
        assert world.unit.receipt_alarms() == []
    finally:
        world.teardown()


def test_late_receipts_still_save_the_pictures_a_second_journey() -> None:
    """C-10.11: stale for the seqs, but what is complete stays complete."""
    world = DiskStickWorld()
    try:
        world.record(poison=False, picture=True)
        world.export(again=False, place=0)
        world.hand_in(0)
        for answer in world.centre.greet(world.unit.hello()):
            world.unit.settle(msgspec.structs.replace(answer, chunks=()))
        assert world.unit.confirmed_blobs() == set()
        world.bring_back(0, again=True)
        assert len(world.unit.confirmed_blobs()) == 1
    finally:
        world.teardown()
