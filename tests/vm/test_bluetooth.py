"""Cuff, thermometer and oximeter through the kernel, BlueZ and bleak: nothing lost or doubled."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.vm.guest import eventually

if TYPE_CHECKING:
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


def test_every_reading_arrives_once(truck: Truck, devices: list[Device]) -> None:
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
    assert truck.centre.doubled() == 0


def test_adapter_that_is_pulled_out_and_put_back_is_used_again(
    truck: Truck, devices: list[Device]
) -> None:
    truck.unplug_radio()
    eventually(lambda: state(truck, devices[0]) == "unavailable", words="nobody notices")
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


def state(truck: Truck, device: Device) -> str:
    """How the agent says that a device is."""
    return str(truck.guest.status()["devices"][f"box1-{device.kind}"]["state"])
