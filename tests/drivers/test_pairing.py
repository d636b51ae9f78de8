"""Pairing over a virtual ether, with real cryptography: by a person, and by nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from bleak import BleakScanner
from bleak.exc import BleakError

from drivers.bonds import Bonds
from drivers.errors import Unavailable
from drivers.lab.gatt_peripheral import CUFF, Security
from drivers.lab.pairing import LabStack, lab_stack
from drivers.links.callers import Patience
from drivers.links.gatt import Bound
from drivers.links.gatt_link import BleakLink
from drivers.links.stack import NeedsPairing
from tests.contract.sinks import MemorySink
from tests.drivers.ble_room import (
    CUFF_ADDRESS,
    FRAMES,
    OTHER_ADDRESS,
    PATIENCE,
    Room,
    cuff,
    furnished_room,
    holds,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bleak.backends.client import BaseBleakClient
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import BaseBleakScanner

    from drivers.base import Sink
    from drivers.lab.gatt_peripheral import GattPeripheral
    from drivers.links.gatt import Radio
    from drivers.links.stack import AskPasskey

pytestmark = pytest.mark.simulated_time
JUST_WORKS = replace(CUFF, security=Security.JUST_WORKS)
PASSKEY = replace(CUFF, security=Security.PASSKEY)


class Refusing(LabStack):
    """Has said no to every device, as our agent of BlueZ does while no person is pairing it."""

    def refused(self, address: str) -> bool:
        return address == CUFF_ADDRESS


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with furnished_room() as room:
        yield room


@pytest.fixture
def stack(room: Room) -> LabStack:
    return lab_stack(room.backends)


async def paired(room: Room, radio: Radio, device: GattPeripheral, ask: AskPasskey) -> None:
    """Pair, and wait until the device itself has noticed that we have hung up."""
    await device.advertise()
    await radio.pair(device.address, ask)
    await until(lambda: not room.controllers[device.address].le_connections)
    await until(lambda: device._connection is None)


async def nobody() -> int:
    raise AssertionError("nobody should have been asked")


async def shown_by(device: GattPeripheral) -> int:
    await until(lambda: device.passkey is not None)
    assert device.passkey is not None
    return device.passkey


async def test_device_that_demands_a_bond_is_read_after_a_person_has_paired_it(
    room: Room, stack: LabStack
) -> None:
    device, sink = await room.device(JUST_WORKS), MemorySink()
    async with room.reading({CUFF_ADDRESS: cuff(sink)}, stack) as radio:
        await device.measure(FRAMES[0])
        await until(lambda: sink.state == "needs-pairing")
        assert f"qafila devices pair {CUFF_ADDRESS}" in sink.reports[-1][1]
        assert sink.recorded == []
        assert not await stack.bonded(CUFF_ADDRESS)
        await paired(room, radio, device, nobody)
        assert sink.reports[-1] == ("waiting", "")
        assert await stack.bonded(CUFF_ADDRESS)
        for count in (1, 2, 3):
            await device.measure(FRAMES[count])
            await until(partial(holds, sink.recorded, count + 1))
    assert [reading.raw for reading in sink.recorded] == FRAMES[:4]


async def test_subscription_that_hangs_since_a_pairing_was_refused_asks_for_a_person(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As BlueZ does it: no error comes back, only our agent has heard of the pairing."""

    async def hang(*_: object, **__: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(room.backends.client, "start_notify", hang)
    stack = Refusing(room.backends.client.device)  # type: ignore[attr-defined] # bumble's has
    device, sink = await room.device(CUFF), MemorySink()
    radio = room.radio(replace(PATIENCE, connect=1.0), stack)
    run = asyncio.create_task(radio.run({CUFF_ADDRESS: cuff(sink)}))
    await device.measure(FRAMES[0])
    await until(lambda: sink.state == "needs-pairing")
    assert device.visits == 1
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_passkey_on_the_display_is_asked_of_a_person(room: Room, stack: LabStack) -> None:
    device, sink = await room.device(PASSKEY), MemorySink()
    asked = []

    async def ask() -> int:
        asked.append(await shown_by(device))
        return asked[-1]

    async with room.reading({CUFF_ADDRESS: cuff(sink)}, stack) as radio:
        await paired(room, radio, device, ask)
        await device.measure(FRAMES[0])
        await until(lambda: bool(sink.recorded))
    assert len(asked) == 1


async def test_wrong_passkey_is_refused_and_tried_once_more(room: Room, stack: LabStack) -> None:
    device = await room.device(PASSKEY)
    asked = []

    async def ask() -> int:
        shown = await shown_by(device)
        device.passkey = None
        asked.append(shown)
        await device.advertise()
        return (shown + 1) % 1_000_000

    async with room.reading({}, stack) as radio:
        await device.advertise()
        with pytest.raises(NeedsPairing, match="refuses to be paired"):
            await radio.pair(CUFF_ADDRESS, ask)
    assert len(asked) == 2
    assert not await stack.bonded(CUFF_ADDRESS)


async def test_pairing_that_no_person_has_started_is_refused(room: Room, stack: LabStack) -> None:
    device, other = await room.device(JUST_WORKS), await room.device(JUST_WORKS, OTHER_ADDRESS)
    async with stack.expecting(CUFF_ADDRESS, nobody):
        for each, bonds in ((other, False), (device, True)):
            await each.advertise()
            found = await _found(room, each.address)
            client = room.backends.client(found, disconnected_callback=lambda: None, timeout=10)
            try:
                await client.connect(pair=True)
            except Exception:  # noqa: BLE001 - which error is not what this is about
                assert not bonds
            else:
                assert bonds
                await client.disconnect()
            assert await stack.bonded(each.address) is bonds


async def _found(room: Room, address: str) -> BLEDevice:
    found = await BleakScanner.find_device_by_address(address, backend=room.backends.scanner)
    assert found is not None
    return found


async def test_stale_bond_is_mended_once_without_a_person(room: Room, stack: LabStack) -> None:
    device, sink = await room.device(JUST_WORKS), MemorySink()
    async with room.reading({CUFF_ADDRESS: cuff(sink)}, stack) as radio:
        await paired(room, radio, device, nobody)
        device.forget()
        await device.measure(FRAMES[0])
        await until(lambda: bool(sink.recorded))
        assert "needs-pairing" not in {state for state, _ in sink.reports}
    assert [reading.raw for reading in sink.recorded] == FRAMES[:1]


async def test_bond_of_a_device_that_calls_and_is_never_connected_to_is_mended(
    room: Room, stack: LabStack
) -> None:
    """As with BlueZ: bleak repeats a connection that is aborted until our patience ends."""
    device, sink = await room.device(JUST_WORKS), MemorySink()
    radio = room.radio(replace(PATIENCE, connect=2.0), stack)
    run = asyncio.create_task(radio.run({CUFF_ADDRESS: cuff(sink)}))
    await asyncio.sleep(0)
    await paired(room, radio, device, nobody)
    device.forget()
    aborted = 0

    async def abort_for_ever(_: BaseBleakClient) -> None:
        nonlocal aborted
        if await stack.bonded(CUFF_ADDRESS):
            aborted += 1
            await asyncio.get_running_loop().create_future()

    room.on_connect = abort_for_ever
    await device.measure(FRAMES[0])
    await until(lambda: bool(sink.recorded))
    assert aborted == 3
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_bond_of_a_device_that_is_connected_to_and_lost_again_and_again_is_mended(
    room: Room, stack: LabStack
) -> None:
    """bleak tells of each connection that it repeats, so nobody waits for the end of patience."""
    device, sink = await room.device(JUST_WORKS), MemorySink()
    async with room.reading({CUFF_ADDRESS: cuff(sink)}, stack) as radio:
        await paired(room, radio, device, nobody)
        device.forget()
        visits = []

        async def abort_again_and_again(client: BaseBleakClient) -> None:
            if not await stack.bonded(CUFF_ADDRESS):
                return
            visits.append(0)
            while visits[-1] < 100:
                visits[-1] += 1
                aborted(client)
                await asyncio.sleep(0)

        room.on_connect = abort_again_and_again
        await device.measure(FRAMES[0])
        await until(lambda: bool(sink.recorded))
    assert len(visits) == 3
    assert max(visits) < 20


async def test_bond_is_mended_though_the_stack_dies_in_every_visit(
    room: Room, stack: LabStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux 6.1 kills BlueZ's daemon again and again as a device with a stale bond calls."""
    device, sink, bonds = await room.device(JUST_WORKS), MemorySink(), Bonds()
    mortal = Mortal(stack, room, monkeypatch)
    lives = 0
    while not sink.recorded and lives < 9:
        radio = room.radio(stack=mortal, bonds=bonds)
        run = asyncio.create_task(radio.run({CUFF_ADDRESS: cuff(sink)}))
        if lives == 0:
            await asyncio.sleep(0)
            await paired(room, radio, device, nobody)
            device.forget()
            await device.measure(FRAMES[0])
        await until(lambda: run.done() or bool(sink.recorded))  # noqa: B023 - of this turn
        run.cancel()
        ended = await asyncio.gather(run, return_exceptions=True)
        assert sink.recorded or isinstance(ended[0], Unavailable)
        mortal.alive, lives = True, lives + 1
    assert lives == 5
    assert "needs-pairing" not in {state for state, _ in sink.reports}


async def test_person_is_asked_for_in_every_life_of_the_stack(room: Room, stack: LabStack) -> None:
    bonds, sink = Bonds(), MemorySink()
    bonds.give_up(CUFF_ADDRESS, "start its pairing")
    async with room.reading({CUFF_ADDRESS: cuff(sink)}, stack, bonds):
        await until(lambda: bool(sink.reports))
        assert sink.reports == [("needs-pairing", "start its pairing")]


class Mortal(LabStack):
    """Dies after six aborted connections, in the middle of a visit, and then scans no more."""

    def __init__(self, stack: LabStack, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(stack._device)
        self.alive = True
        scan = room.backends.scanner.start

        async def scan_while_alive(scanner: BaseBleakScanner) -> None:
            if not self.alive:
                raise BleakError("the service is gone")
            await scan(scanner)

        monkeypatch.setattr(room.backends.scanner, "start", scan_while_alive)
        room.on_connect = self.die_under_it

    async def bonded(self, address: str) -> bool:
        """See `Stack.bonded`."""
        if not self.alive:
            raise Unavailable("Bluetooth", "its service was stopped or restarted")
        return await super().bonded(address)

    async def die_under_it(self, client: BaseBleakClient) -> None:
        """What a connection with a stale bond comes to."""
        if not await self.bonded(CUFF_ADDRESS):
            return
        for _ in range(6):
            aborted(client)
        self.alive = False
        raise BleakError("the service is gone")


async def test_connection_that_was_aborted_once_is_as_good_as_any(room: Room) -> None:
    """Who has heard of the one that was aborted must not take the next for lost."""
    device, driver = await room.device(), Patient()

    async def abort_once(client: BaseBleakClient) -> None:
        aborted(client)

    room.on_connect = abort_once
    bound = Bound(driver, MemorySink(), f"ble:{CUFF_ADDRESS}")
    async with room.reading({CUFF_ADDRESS: bound}):
        await device.advertise()
        await until(lambda: driver.found is not None)
    assert driver.found == "connected"


class Patient:
    """A driver that asks nothing, and says how its link is a moment later."""

    found: str | None = None

    async def run(self, link: object, sink: Sink) -> None:  # noqa: ARG002 - as the protocol has it
        """See `Driver.run`."""
        assert isinstance(link, BleakLink)
        try:
            async with asyncio.timeout(0.2):
                await link.wait_closed()
        except TimeoutError:
            self.found = "connected"
        else:
            self.found = "closed"


def aborted(client: BaseBleakClient) -> None:
    """Say what bleak's own backend says where BlueZ has lost a connection while it was made."""
    assert client._disconnected_callback is not None
    client._disconnected_callback()


async def test_stale_bond_that_needs_a_passkey_asks_for_a_person_and_is_left_alone(
    room: Room, stack: LabStack
) -> None:
    device, sink = await room.device(PASSKEY), MemorySink()
    async with room.reading({CUFF_ADDRESS: cuff(sink)}, stack) as radio:
        await paired(room, radio, device, lambda: shown_by(device))
        device.forget()
        await device.measure(FRAMES[0])
        await until(lambda: sink.state == "needs-pairing")
        visits = device.visits
        other, heard = await room.device(address=OTHER_ADDRESS), MemorySink()
        radio._bound[OTHER_ADDRESS] = cuff(heard)  # type: ignore[index] # it is a dict
        await other.measure(FRAMES[1])
        await until(lambda: bool(heard.recorded))
        assert device.visits == visits
        await radio.pair(CUFF_ADDRESS, lambda: shown_by(device))
        await until(lambda: bool(sink.recorded))


async def test_device_that_does_not_call_can_not_be_paired(room: Room, stack: LabStack) -> None:
    radio = room.radio(Patience(connect=10, rest=0, pair=0.1), stack)
    with pytest.raises(Unavailable, match="it does not work just now"):
        await radio.pair(CUFF_ADDRESS, nobody)
    run = asyncio.create_task(radio.run({}))
    await until(lambda: bool(room.unit.le_scan_enable))
    with pytest.raises(Unavailable, match="it does not call"):
        await radio.pair(CUFF_ADDRESS, nobody)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
