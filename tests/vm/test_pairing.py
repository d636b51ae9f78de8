"""Pairing through BlueZ with our own agent: Just Works, a passkey, and bonds that went stale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from drivers.lab.gatt_peripheral import Security
from tests.vm.guest import eventually

if TYPE_CHECKING:
    from tests.vm.room import Device
    from tests.vm.truck import Truck


PROMPT = "the passkey shown on the device: "


@pytest.fixture(scope="module")
def devices(truck: Truck) -> tuple[Device, Device]:
    """A cuff that shows nothing and an oximeter that shows a passkey, both not paired yet."""
    cuff = truck.room.device("cuff", 1, Security.JUST_WORKS)
    oximeter = truck.room.device("oximeter", 2, Security.PASSKEY)
    truck.furnish(cuff.settings + "\n" + oximeter.settings)
    truck.plug_radio()
    truck.start()
    return cuff, oximeter


def test_cuff_that_shows_nothing_is_paired_and_read(
    truck: Truck, devices: tuple[Device, Device]
) -> None:
    cuff, _ = devices
    cuff.measure()
    eventually(
        lambda: truck.shown("box1-cuff")["state"] == "needs-pairing",
        words="nobody is asked to pair it",
    )
    assert cuff.told.total() == 0
    pair(truck, cuff)
    cuff.await_told()
    truck.await_delivery(cuff)


def test_oximeter_is_paired_by_the_passkey_that_it_shows(
    truck: Truck, devices: tuple[Device, Device]
) -> None:
    _, oximeter = devices
    oximeter.measure()
    needs = "needs-pairing"
    eventually(lambda: truck.shown("box1-oximeter")["state"] == needs, words="nobody is asked")
    pair(truck, oximeter)
    oximeter.await_told()
    truck.await_delivery(oximeter)
    assert "Authenticated=1" in bond(truck, oximeter) or "Authenticated=3" in bond(truck, oximeter)


def test_bonds_outlive_a_restart_of_bluetoothd_and_of_the_agent(
    truck: Truck, devices: tuple[Device, Device]
) -> None:
    truck.guest.run("systemctl restart bluetooth qafila")
    for device in devices:
        device.measure()
        device.await_told()
    truck.await_delivery(*devices)


def test_stale_bond_of_a_cuff_that_shows_nothing_is_mended_by_itself(
    truck: Truck, devices: tuple[Device, Device]
) -> None:
    cuff, _ = devices
    cuff.lose_bonds()
    cuff.measure()
    cuff.await_told()
    truck.await_delivery(cuff)


def test_stale_bond_of_an_oximeter_with_a_passkey_waits_for_a_person(
    truck: Truck, devices: tuple[Device, Device]
) -> None:
    _, oximeter = devices
    oximeter.lose_bonds()
    told = oximeter.told.total()
    oximeter.measure()
    eventually(
        lambda: truck.shown("box1-oximeter")["state"] == "needs-pairing", words="nobody is asked"
    )
    assert oximeter.told.total() == told
    pair(truck, oximeter)
    oximeter.await_told()
    truck.await_delivery(oximeter)
    assert truck.at_centre(oximeter) == oximeter.told


def pair(truck: Truck, device: Device) -> None:
    """What a person does: start the pairing, and type what the device shows, if that is asked."""
    said = ""
    with truck.guest.talk(f"qafila devices pair {device.address}") as typed:
        assert typed.stdin is not None
        assert typed.stderr is not None
        while letter := typed.stderr.read(1):
            said += letter
            if said.endswith(PROMPT):
                passkey = eventually(lambda: device.passkey)
                typed.stdin.write(f"{passkey:06d}\n")
                typed.stdin.flush()
    assert typed.returncode == 0, said


def bond(truck: Truck, device: Device) -> str:
    """What BlueZ keeps of a bond."""
    return truck.guest.run(f"cat /var/lib/bluetooth/*/{device.address}/info")
