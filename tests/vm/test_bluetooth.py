"""Cuff, thermometer and oximeter through the kernel, BlueZ and bleak: nothing lost or doubled."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.vm.guest import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.vm.room import Device
    from tests.vm.truck import Truck

READINGS = int(os.environ.get("QAFILA_VM_READINGS", "50"))
"""Of each device."""
RECONNECTIONS = 20
STORED = 5
"""Readings that a device tells in one visit, where its memory is full."""


@pytest.fixture(scope="module")
def devices(truck: Truck) -> list[Device]:
    """Three open devices in the settings, an adapter, and the agent at work."""
    found = [
        truck.room.device(kind, number)
        for number, kind in enumerate(("cuff", "thermometer", "oximeter"), 1)
    ]
    truck.furnish("\n".join(each.settings for each in found))
    truck.plug_radio()
    truck.start()
    return found


@pytest.mark.timeout(900 + 20 * READINGS)
def test_every_reading_arrives_once(
    truck: Truck, devices: list[Device], tell: Callable[[str], None]
) -> None:
    alone = RECONNECTIONS
    with ThreadPoolExecutor() as nurses:
        list(nurses.map(lambda device: device.measure_in_turn(alone), devices))
    for device in devices:
        while device.told.total() < READINGS:
            device.measure(min(STORED, READINGS - device.told.total()))
            device.await_told()
    truck.await_delivery(*devices)
    for device in devices:
        assert device.told.total() == READINGS
        assert truck.at_centre(device) == device.told
        assert device.visits >= RECONNECTIONS
        tell(f"{device.kind}: {READINGS} told in {device.visits} visits, each at the centre once")
    assert truck.centre.doubled() == 0


def test_adapter_that_is_pulled_out_and_put_back_is_used_again(
    truck: Truck, devices: list[Device]
) -> None:
    """T46."""
    truck.unplug_radio()
    eventually(lambda: truck.shown("box1-cuff")["state"] == "unavailable", words="nobody notices")
    for device in devices:
        device.measure()
    truck.plug_radio()
    for device in devices:
        device.await_told()
    truck.await_delivery(*devices)


def test_bluetoothd_that_is_restarted_is_used_again(truck: Truck, devices: list[Device]) -> None:
    truck.guest.run("systemctl restart bluetooth")
    for device in devices:
        device.measure()
    for device in devices:
        device.await_told()
    truck.await_delivery(*devices)
    for device in devices:
        assert truck.at_centre(device) == device.told


def reconnect(truck: Truck, device: Device, often: int) -> None:
    """Let a monitor that indicates and hangs up at once be read so often; AssertionError where
    it was told that a reading had arrived, and nobody has it."""
    for _ in range(often):
        device.measure()
        device.await_told()
        truck.guest.run("sleep 1")
    truck.guest.run("sleep 10")
    lost = device.told - truck.at_centre(device)
    assert not lost, f"{lost.total()} readings were confirmed and are nowhere"


def test_no_reading_is_lost_silently_where_a_monitor_hangs_up_at_once(
    truck: Truck, devices: list[Device]
) -> None:
    """T42."""
    reconnect(truck, devices[0], 5)


def test_readings_are_lost_silently_where_nobody_hangs_up(
    truck: Truck, devices: list[Device]
) -> None:
    """T42: The mutant of the test before: BlueZ confirms what nobody has subscribed to any more."""
    truck.mutate()
    with pytest.raises(AssertionError, match="readings were confirmed and are nowhere"):
        reconnect(truck, devices[0], 5)
