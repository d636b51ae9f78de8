"""Nothing unconfirmed is ever deleted: retention on a real store, against receipts as sets.

Promise 4; C-7.7, C-8.6 and C-8.8; T07, T12, T15. The machine records, sends, loses, crashes,
restores the centre, lets days go by, and purges up to any slice; mutants must be caught.
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from agent.store import age, purge
from sync.lane import RestoredCopy, Settled

from .purging import DAYS, BackedUpCentre, Heard, PurgingUnit
from .test_outbox_model import PLACE, QUIET, World
from .unit import LANE

if TYPE_CHECKING:
    from agent.store.connection import Connection
    from sync.contract.receipt import Receipt


class PurgingWorld(World):
    """The world of the outbox; its unit lets go of records, and an outside ledger judges that."""

    centre: BackedUpCentre

    def __init__(self) -> None:
        super().__init__()
        self.centre = BackedUpCentre("test-01")
        self.heard = Heard()
        self.lines: dict[int, bytes] = {}
        self.blobs: dict[int, bytes] = {}
        self.assigned: set[int] = set()
        self.gone: set[int] = set()

    def _make(self) -> PurgingUnit:
        self.unit: PurgingUnit = PurgingUnit()
        return self.unit

    @rule(tray=st.booleans(), poison=st.booleans(), picture=st.sampled_from((None, None, 0, 1)))
    def record(self, *, tray: bool, poison: bool, picture: int | None) -> None:
        self.sent += 1
        name = b"POISON %d" if poison else b"reading %d"
        blob = None if picture is None else b"picture %d " % picture * 4
        self.unit.record(name % self.sent, blob)
        self.lines[self.sent] = self.unit.kept()[self.sent]
        if blob is not None:
            self.blobs[self.sent] = blob
            self.centre.blob_of[self.sent] = hashlib.sha256(blob).digest()
        if not tray:
            self.assign()

    @precondition(lambda self: self.air)
    @rule(place=PLACE, again=st.booleans())
    def receive(self, place: int, *, again: bool) -> None:
        at = place % len(self.air)
        self._settle(self.air[at] if again else self.air.pop(at))

    @rule()
    def assign(self) -> None:
        self.unit.assign()
        self.assigned = set(range(1, self.sent + 1))

    @rule(days=st.integers(0, DAYS + 1))
    def let_days_go_by(self, days: int) -> None:
        for _ in range(days):
            self.unit.live_a_day()
        self._purge(sys.maxsize)

    @rule(slices=st.integers(0, 12), scarce=st.booleans())
    def purge(self, slices: int, *, scarce: bool) -> None:
        self._purge(slices, scarce=scarce)

    @invariant()
    def what_may_not_go_is_here_and_whole(self) -> None:
        kept = self.unit.kept()
        assert set(kept) == set(self.lines) - self.gone, "something vanished without a purge"
        assert all(self.lines[seq] == line for seq, line in kept.items())
        for seq in kept.keys() & self.blobs.keys():
            blob = self.blobs[seq]
            assert self.unit.blob(hashlib.sha256(blob).digest(), len(blob)) == blob

    def teardown(self) -> None:
        """In the end all is at the centre that is here, and retention leaves nothing behind."""
        try:
            self._drain()
            entries = self.centre.ledger.entries.get((self.unit.state().epoch, LANE), {})
            assert {seq: entries[seq][2] for seq in self.unit.kept()} == self.unit.kept()
            self.centre.back_up()
            self._drain()
            self.assign()
            self.let_days_go_by(DAYS + 1)
            stays = self.heard.refused | {
                seq for seq in self.lines if self.heard.through < seq or not self._in_backup(seq)
            }
            if not stays & set(self.unit.kept()):
                assert self.unit.left_over() == []
        finally:
            self.unit.close()

    def _in_backup(self, seq: int) -> bool:
        return self.heard.backed_up is None or seq <= self.heard.backed_up

    def _drain(self) -> None:
        for _ in range(4):
            for receipt in self.centre.greet(self.unit.hello()):
                self._settle(receipt)
            for chunks in (False, True):
                while (parcel := self.unit.next_parcel(chunks=chunks)) is not None:
                    self._settle(self._take(parcel))
                    self.unit.plan.arrive(parcel.place)

    def _settle(self, receipt: Receipt) -> None:
        verdict = self.unit.settle(receipt)
        assert not isinstance(verdict, RestoredCopy)
        if isinstance(verdict, Settled) and receipt.lane == LANE:
            self.heard.hear(receipt, self.unit.today)

    def _purge(self, slices: int, *, scarce: bool = False) -> None:
        plan = self.unit.plan
        self.unit.purge(slices, scarce=scarce)
        if self.unit.plan is not plan:
            self.wire.clear()  # the power went, and what was on its way with it
        gone = set(self.lines) - set(self.unit.kept())
        for seq in sorted(gone - self.gone):
            blob = self.centre.blob_of.get(seq)
            allowed = self.heard.may_go(seq, blob, self.unit.today, scarce=scarce)
            assert seq in self.assigned, f"{seq} was nobody's yet"
            assert allowed, f"{seq} may not go"
        self.gone = gone


def test_nothing_that_may_not_go_ever_goes() -> None:
    """T15."""
    run_state_machine_as_test(
        PurgingWorld, settings=settings(QUIET, max_examples=12, stateful_step_count=30)
    )


def ignores_backups(connection: Connection, lane: purge.Lane, then: int | None) -> int:
    (through,) = connection.execute(
        "SELECT coalesce(max(through), 0) FROM watermark WHERE epoch = ? AND lane = ?", lane.key[1:]
    ).fetchone()
    since = through if then is None else age.settled_since(connection, lane.key, then)
    return int(min(through, since))


MUTANTS = {
    "takes everything for settled": ("may_go", lambda *_: sys.maxsize),
    "ignores backups": ("may_go", ignores_backups),
    "forgets refusals, the tray and blobs": ("_is_needed", lambda *_: False),
    "counts no days": ("age.settled_since", lambda *_: sys.maxsize),
}


def live_through_every_reason_to_stay(world: PurgingWorld) -> None:
    """One schedule by hand, so that a mutant is caught at once."""
    world.let_days_go_by(DAYS + 1)
    world.record(tray=False, poison=False, picture=None)
    world.record(tray=False, poison=True, picture=None)
    world.record(tray=False, poison=False, picture=1)
    world.have_a_calm_hour()
    world.back_up()
    world.record(tray=False, poison=False, picture=None)
    world.have_a_calm_hour()
    world.record(tray=False, poison=False, picture=None)
    for days in (1, DAYS):
        world.let_days_go_by(days)
        world.what_may_not_go_is_here_and_whole()
    assert set(world.unit.kept()) == {2, 4, 5}


def test_schedule_by_hand_keeps_every_promise() -> None:
    world = PurgingWorld()
    live_through_every_reason_to_stay(world)
    world.teardown()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_machine_catches_the_mutant(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, broken = MUTANTS[mutant]
    monkeypatch.setattr(f"agent.store.purge.{name}", broken)
    world = PurgingWorld()
    with closing(world.unit), pytest.raises(AssertionError, match=r"may not go|nobody's yet"):
        live_through_every_reason_to_stay(world)
