"""The road: a clock in the past, a cable pulled, 3G, a satellite, a valley. Saved throughout."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.vm.centre import BROKER
from tests.vm.guest import eventually
from tests.vm.network import PROFILES, VALLEY, Valley, drive_through, shape, unshape

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.vm.room import Device
    from tests.vm.truck import Truck

VALLEYS = int(os.environ.get("QAFILA_VM_VALLEYS", "0"))
"""How many whole valleys; none: one that is a fifth as long."""
CONNECT = """
import socket, sys, time
found = []
for _ in range(5):
    begin = time.monotonic()
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 60).close()
    found.append(time.monotonic() - begin)
print(min(found))
"""


@pytest.fixture(scope="module")
def cuff(truck: Truck) -> Device:
    """A cuff in the room, and the agent at work on a machine that was just restored: its clock
    is that of the day its memory was put by."""
    device = truck.room.device("cuff", 1)
    truck.furnish(device.settings, clock=False)
    truck.plug_radio()
    truck.start()
    return device


def test_unit_with_a_clock_in_the_past_saves_and_catches_up(
    truck: Truck, cuff: Device, tell: Callable[[str], None]
) -> None:
    behind = time.time() - float(truck.guest.run("date +%s.%N"))
    tell(f"the clock of the restored machine was {behind:.0f} s behind")
    assert behind > 1
    truck.measure(cuff, 2)
    truck.guest.set_clock()
    truck.measure(cuff, 2)
    truck.await_delivery(cuff)
    assert truck.at_centre(cuff) == cuff.told
    eventually(lambda: "clock-adjusted" in truck.guest.journal())


def test_cable_that_is_pulled_delays_and_loses_nothing(truck: Truck, cuff: Device) -> None:
    there = truck.at_centre(cuff).total()
    truck.machine.set_link(up=False)
    truck.measure(cuff, 3)
    assert truck.at_centre(cuff).total() == there
    truck.machine.set_link(up=True)
    truck.await_delivery(cuff)
    assert truck.at_centre(cuff) == cuff.told


@pytest.mark.parametrize("name", PROFILES)
def test_readings_arrive_over(name: str, truck: Truck, cuff: Device) -> None:
    profile = PROFILES[name]
    shape(truck.guest, profile)
    try:
        connect = f"python3 - {BROKER} {truck.centre.port}"
        assert float(truck.guest.run(connect, CONNECT)) >= profile.round_trip
        truck.guest.run("qafila reconnect")
        truck.measure(cuff, 3)
        truck.await_delivery(cuff)
    finally:
        unshape(truck.guest)
    assert truck.at_centre(cuff) == cuff.told


@pytest.mark.timeout(600 * max(1, VALLEYS) + 600)
def test_readings_arrive_after_each_valley(truck: Truck, cuff: Device) -> None:
    valley = VALLEY if VALLEYS else Valley(VALLEY.up / 5, VALLEY.down / 5)
    for _ in range(max(1, VALLEYS)):
        drive_through(truck.machine, valley, lambda: truck.measure(cuff, 5))
        truck.await_delivery(cuff)
        assert truck.at_centre(cuff) == cuff.told
    assert truck.centre.doubled() == 0
