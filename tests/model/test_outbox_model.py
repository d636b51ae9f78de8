"""The outbox against a model of the world: losses, repeats, crashes, a centre restored.

One machine drives the outbox on disk, the same machine the one in memory, and the same machine
must catch every mutant. Promises 2, 3 and 4; T20, T22, T26, T28, T29, T31.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sync.lane import RestoredCopy
from sync.outbox import BatchParcel

from .centre import ModelCentre
from .disk import DiskUnit
from .unit import (
    LANE,
    IgnoresMissing,
    KeepsBlobsOfAnotherCentre,
    PureUnit,
    SettlesTooEarly,
    Unit,
)

if TYPE_CHECKING:
    from sync.contract.receipt import Receipt
    from sync.outbox import Parcel

PLACE = st.integers(min_value=0, max_value=63)
QUIET = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    report_multiple_bugs=False,
)


class World(RuleBasedStateMachine):
    """A unit, a wire that loses and repeats, a centre that may come back older."""

    make: type[PureUnit | DiskUnit] = PureUnit

    def __init__(self) -> None:
        super().__init__()
        self.unit: Unit = self._make()
        self.centre = ModelCentre("test-01")
        self.sent = 0
        self.saved: dict[int, bytes] = {}
        self.wire: list[Parcel] = []
        self.air: list[Receipt] = []
        self.unit.hello()

    def _make(self) -> Unit:
        return self.make() if issubclass(self.make, DiskUnit) else self.make("test-01")

    @rule(poison=st.booleans(), picture=st.booleans())
    def record(self, *, poison: bool, picture: bool) -> None:
        self.sent += 1
        name = b"POISON %d" if poison else b"reading %d"
        blob = b"picture of %d" % self.sent if picture else None
        self.unit.record(name % self.sent, blob)

    @rule(chunks=st.booleans())
    def send(self, *, chunks: bool) -> None:
        parcel = self.unit.next_parcel(chunks=chunks)
        if parcel is not None:
            self.wire.append(parcel)

    @precondition(lambda self: self.wire)
    @rule(place=PLACE, again=st.booleans())
    def arrive(self, place: int, *, again: bool) -> None:
        at = place % len(self.wire)
        parcel = self.wire[at] if again else self.wire.pop(at)
        if not again:
            self.unit.plan.arrive(parcel.place)
        self.air.append(self._take(parcel))

    @precondition(lambda self: self.wire)
    @rule(place=PLACE)
    def lose_parcel(self, place: int) -> None:
        parcel = self.wire.pop(place % len(self.wire))
        self.unit.plan.arrive(parcel.place)

    @precondition(lambda self: self.air)
    @rule(place=PLACE, again=st.booleans())
    def receive(self, place: int, *, again: bool) -> None:
        at = place % len(self.air)
        receipt = self.air[at] if again else self.air.pop(at)
        assert not isinstance(self.unit.settle(receipt), RestoredCopy)

    @precondition(lambda self: self.air)
    @rule(place=PLACE)
    def lose_receipt(self, place: int) -> None:
        self.air.pop(place % len(self.air))

    @rule()
    def greet(self) -> None:
        self.wire.clear()
        self.air += self.centre.greet(self.unit.hello())

    @rule()
    def have_a_calm_hour(self) -> None:
        """Reaches states that faults alone would take long to lead to."""
        self.wire.clear()
        self._drain()

    @rule()
    def cut_power(self) -> None:
        self.wire.clear()
        self.unit.crash()

    @rule()
    def back_up(self) -> None:
        self.centre.back_up()

    @rule()
    def restore(self) -> None:
        self.centre.restore()

    @invariant()
    def settled_is_committed(self) -> None:
        """Promise 2: what a unit counts as settled, the centre it heard last has had."""
        state = self.unit.state()
        if state.central_epoch is None:
            assert state.through == 0, "settled without any receipt"
            assert state.ahead == ()
            return
        ever = self.centre.ever[state.central_epoch]
        settled = ((1, state.through), *state.ahead) if state.through else state.ahead
        for first, last in settled:
            for seq in range(first, last + 1):
                assert (state.epoch, LANE, seq) in ever, f"{seq} settled but never committed"
        held = self.centre.held_ever[state.central_epoch]
        assert self.unit.confirmed_blobs() <= held, "a blob confirmed that was never whole"

    def teardown(self) -> None:
        """Once the faults stop, everything arrives, exactly as it was saved."""
        try:
            self._drain()
            entries = self.centre.ledger.entries.get((self.unit.state().epoch, LANE), {})
            assert sorted(entries) == list(range(1, self.sent + 1))
            poisoned = {seq for seq, entry in entries.items() if b"POISON" in entry[2]}
            assert self.unit.refused() >= poisoned
            for size, have in self.centre.ledger.blobs.values():
                assert have == ((0, size - 1),)
            assert self.unit.confirmed_blobs() == set(self.centre.ledger.blobs)
        finally:
            if isinstance(self.unit, DiskUnit):
                self.unit.close()

    def _drain(self) -> None:
        for _ in range(4):
            for receipt in self.centre.greet(self.unit.hello()):
                self.unit.settle(receipt)
            for chunks in (False, True):
                self._send_all(chunks=chunks)
        assert self.unit.state().pending == ()

    def _send_all(self, *, chunks: bool) -> None:
        for _ in range(20 * self.sent + 20):
            parcel = self.unit.next_parcel(chunks=chunks)
            if parcel is None:
                return
            self.unit.settle(self._take(parcel))
            self.unit.plan.arrive(parcel.place)
        pytest.fail("the unit never ends sending")

    def _take(self, parcel: Parcel) -> Receipt:
        if isinstance(parcel, BatchParcel):
            return self.centre.take_batch(parcel.batch)
        return self.centre.take_chunk(parcel.chunk, (self.unit.state().epoch, LANE))


class DiskWorld(World):
    make = DiskUnit


def test_outbox_in_memory_holds_every_schedule() -> None:
    """T26."""
    run_state_machine_as_test(
        World, settings=settings(QUIET, max_examples=300, stateful_step_count=40)
    )


def test_outbox_on_disk_holds_every_schedule() -> None:
    run_state_machine_as_test(
        DiskWorld, settings=settings(QUIET, max_examples=25, stateful_step_count=30)
    )


def break_a_promise(machine: type[World], most: int) -> None:
    """Demand that one of so many schedules breaks a promise."""
    generated = settings(
        QUIET,
        derandomize=True,
        max_examples=most,
        stateful_step_count=40,
        print_blob=False,
        phases=[Phase.generate],
    )
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run_state_machine_as_test(machine, settings=generated)


@pytest.mark.parametrize("mutant", [SettlesTooEarly, IgnoresMissing, KeepsBlobsOfAnotherCentre])
def test_machine_catches_the_mutant(mutant: type[PureUnit]) -> None:
    class Mutated(World):
        make = mutant

    break_a_promise(Mutated, 2000)
