"""The plug is pulled while devices tell: what the agent had said is saved is there, and arrives.

The ledger is kept outside of the machine: each record's id, as the agent listed it before the cut.
"""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING, Self

import pytest

from tests.vm.guest import CEILING, Failed, eventually
from tests.vm.image import LAB
from tests.vm.nbd import VolatileDisk
from tests.vm.truck import Truck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.vm.ready import Ready
    from tests.vm.room import Device

CUTS = int(os.environ.get("QAFILA_VM_CUTS", "5"))
SEED = int(os.environ.get("QAFILA_VM_SEED", "1"))
AT_LEAST = 3
"""Readings that are acknowledged before the plug is pulled."""


class Ledger:
    """Every record that the agent said is saved."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()

    def keep(self, truck: Truck) -> None:
        """Listen until the machine dies."""
        self._listening = truck.guest.listen(f"python3 {LAB}/ledger.py")
        self._thread = threading.Thread(target=self._note, daemon=True)
        self._thread.start()

    def _note(self) -> None:
        assert self._listening.stdout is not None
        for line in self._listening.stdout:
            if line.endswith("\n"):
                self.acknowledged.add(line.strip())

    def close(self) -> None:
        """The machine is dead."""
        self._listening.kill()
        self._thread.join(CEILING)
        self._listening.communicate()


class Cut:
    """A truck whose readings are on a volatile disk, and whose plug is pulled again and again."""

    def __init__(self, ready: Ready, folder: Path, *, lies: bool) -> None:
        image = folder / "data.ext4"
        subprocess.run(["cp", "--sparse=always", str(ready.data), str(image)], check=True)
        self.disk = VolatileDisk(image, folder / "nbd", lies=lies)
        self.truck = Truck(ready, folder, self.disk.drive)
        self.ledger = Ledger()
        self.devices: list[Device] = []

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(self.disk)
            room = opened.enter_context(self.truck).room
            kinds = ("cuff", "thermometer", "oximeter")
            self.devices = [room.device(kind, number) for number, kind in enumerate(kinds, 1)]
            self.begin()
            self._open = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def begin(self) -> None:
        """Mount what there is, and let the agent and the devices work."""
        self.truck.furnish("\n".join(each.settings for each in self.devices))
        self.truck.plug_radio()
        self.truck.start()

    def once(self, seed: int) -> tuple[int, int]:
        """Let them measure, cut the power at a write that the seed chooses, and restore it."""
        chance = Random(seed)
        already = len(self.ledger.acknowledged)
        self.ledger.keep(self.truck)
        for device in self.devices:
            device.measure(4 + chance.randrange(8))
        wanted = AT_LEAST + chance.randrange(6)
        eventually(lambda: len(self.ledger.acknowledged) >= already + wanted)
        self.disk.darken(1 + chance.randrange(40))
        eventually(self.disk.dark.is_set)
        self.truck.leave()
        self.ledger.close()
        found = self.disk.cut(seed)
        self.truck.restore()
        return found


@pytest.fixture
def cut(ready: Ready, tmp_path: Path) -> Iterator[Cut]:
    with Cut(ready, tmp_path, lies=False) as made:
        yield made


@pytest.mark.timeout(300 * CUTS + 900)
def test_what_was_said_to_be_saved_outlives_every_cut(
    cut: Cut, tell: Callable[[str], None]
) -> None:
    caught = 0
    for number in range(CUTS):
        unflushed, _ = cut.once(SEED + number)
        caught += unflushed > 0
        cut.begin()
    for device in cut.devices:
        device.await_told()
    eventually(lambda: cut.ledger.acknowledged <= cut.truck.centre.records())
    lost = cut.ledger.acknowledged - cut.truck.centre.records()
    tell(
        f"{CUTS} cuts from seed {SEED}: {len(cut.ledger.acknowledged)} acknowledged, "
        f"{len(lost)} lost, {caught} cuts between a write and its flush"
    )
    assert not lost
    assert caught, "no cut came between a write and its flush"
    assert cut.truck.centre.doubled() == 0
    assert len(cut.ledger.acknowledged) >= AT_LEAST * CUTS


@pytest.mark.timeout(1800)
def test_the_same_on_a_disk_that_lies_loses(ready: Ready, tmp_path: Path) -> None:
    """The control: a harness that could not lose would prove nothing."""
    with Cut(ready, tmp_path, lies=True) as control:
        control.truck.machine.set_link(up=False)  # what has been delivered could not be lost
        control.once(SEED)
        assert lost_or_unreadable(control)


def lost_or_unreadable(control: Cut) -> bool:
    """Whether the restarted agent lacks what it had acknowledged, or can't even begin."""
    try:
        control.truck.mount()
        control.truck.start()
    except (Failed, subprocess.TimeoutExpired):
        return True
    listed = control.truck.guest.run("qafila readings --json --limit 10000")
    return any(record not in listed for record in control.ledger.acknowledged)
