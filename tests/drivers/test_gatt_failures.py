"""The radio when the store, the device, the adapter or the agent itself gives out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakError,
)

from drivers.errors import Unavailable
from drivers.lab.gatt_peripheral import CUFF, Ending
from drivers.links.callers import Patience
from drivers.links.gatt import Radio
from tests.contract.sinks import DiskFull, MemorySink
from tests.drivers.ble_room import (
    BRIEF,
    CUFF_ADDRESS,
    FRAMES,
    OTHER_ADDRESS,
    Room,
    cuff,
    furnished_room,
    others,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bleak.backends.client import BaseBleakClient

    from drivers.base import RawFrame


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with furnished_room() as room:
        yield room


@pytest.mark.parametrize("act", ["keep", "record"])
async def test_store_that_fails_ends_the_radio_after_hanging_up(room: Room, act: str) -> None:
    device, sink = await room.device(), MemorySink(full=frozenset({act}))
    run = asyncio.create_task(room.radio().run({CUFF_ADDRESS: cuff(sink)}))
    device.stored.extend(FRAMES)
    await device.advertise()
    with pytest.raises(DiskFull):
        await run
    assert room.hung_up == [CUFF_ADDRESS]
    assert not room.unit.le_connections
    assert sink.reports[-1][0] == "failed"
    assert sink.recorded == []


async def test_store_that_never_answers_ends_the_radio_after_hanging_up(room: Room) -> None:
    device, sink = await room.device(), MemorySink(silent=frozenset({"keep"}))
    run = asyncio.create_task(room.radio().run({CUFF_ADDRESS: cuff(sink, BRIEF)}))
    await device.measure(FRAMES[0])
    with pytest.raises(TimeoutError):
        await run
    assert room.hung_up == [CUFF_ADDRESS]
    assert sink.reports[-1][0] == "failed"


@pytest.mark.parametrize(
    ("full", "error"), [(frozenset[str](), Unavailable), (frozenset({"keep"}), DiskFull)]
)
async def test_device_that_is_not_let_go_is_said_and_hides_no_error_of_the_store(
    room: Room, full: frozenset[str], error: type[Exception]
) -> None:
    device, sink = await room.device(), MemorySink(full=full)

    class Client(room.backends.client):  # type: ignore[name-defined,misc] # this room's own
        async def disconnect(self) -> None:
            raise BleakError("In Progress")

    radio = Radio(scanner_backend=room.backends.scanner, client_backend=Client)
    run = asyncio.create_task(radio.run({CUFF_ADDRESS: cuff(sink)}))
    await device.measure(FRAMES[0])
    with pytest.raises(error):
        await run
    assert sink.reports[-1][0] == ("failed" if full else "unavailable")


async def test_cancellation_while_scanning_leaves_no_task(room: Room) -> None:
    before = others()
    run = asyncio.create_task(room.radio().run({CUFF_ADDRESS: cuff(MemorySink())}))
    await until(lambda: room.unit.le_scan_enable)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not room.unit.le_scan_enable
    assert others() <= before


async def test_cancellation_while_connecting_leaves_no_task_and_no_connection(room: Room) -> None:
    device, sink = await room.device(), MemorySink()

    async def vanish(client: BaseBleakClient) -> None:
        room.ether.unplug(room.controllers[client.address])

    room.on_connect = vanish
    run = asyncio.create_task(room.radio().run({CUFF_ADDRESS: cuff(sink)}))
    await device.measure(FRAMES[0])
    await until(lambda: room.unit.pending_le_connection is not None)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert room.unit.pending_le_connection is None
    assert room.hung_up == [CUFF_ADDRESS]


async def test_cancellation_in_a_visit_keeps_what_the_cuff_has_forgotten(room: Room) -> None:
    device = await room.device(replace(CUFF, ending=Ending.STAY))

    class Sink(MemorySink):
        async def keep(self, frame: RawFrame) -> int:
            if len(self.kept) == 4:
                await until(lambda: bool(room.hung_up))
            return await super().keep(frame)

    sink = Sink()
    device.stored.extend(FRAMES)
    run = asyncio.create_task(room.radio().run({CUFF_ADDRESS: cuff(sink)}))
    await device.advertise()
    await until(lambda: len(device.confirmed) > 10)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    kept = [frame.raw for frame in sink.kept]
    assert kept[: len(device.confirmed)] == device.confirmed
    assert [reading.raw for reading in sink.recorded] == kept
    assert room.hung_up == [CUFF_ADDRESS]
    assert not room.unit.le_connections


async def test_device_gone_before_it_is_connected_holds_nobody_up(room: Room) -> None:
    gone, device = await room.device(address=OTHER_ADDRESS), await room.device()
    lost, sink = MemorySink(), MemorySink()

    async def vanish(client: BaseBleakClient) -> None:
        if client.address == OTHER_ADDRESS:
            room.ether.unplug(room.controllers[client.address])

    room.on_connect = vanish
    radio = room.radio(Patience(connect=0.2, rest=0))
    run = asyncio.create_task(radio.run({CUFF_ADDRESS: cuff(sink), OTHER_ADDRESS: cuff(lost)}))
    await gone.measure(FRAMES[0])
    await until(lambda: "unavailable" in [state for state, _ in lost.reports])
    assert lost.reports[-1] == ("unavailable", "Qafila cuff: it could not be connected")
    await device.measure(FRAMES[1])
    await until(lambda: bool(sink.recorded))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_device_without_its_measurement_is_said_to_be_faulty(room: Room) -> None:
    wrong, sink = await room.device(replace(CUFF, characteristic="2A49")), MemorySink()
    async with room.reading({CUFF_ADDRESS: cuff(sink)}):
        await wrong.advertise()
        await until(lambda: "faulty" in [state for state, _ in sink.reports])
    assert CUFF_ADDRESS in room.hung_up


async def test_silent_scan_is_started_again(room: Room) -> None:
    starts: list[None] = []

    class Scanner(room.backends.scanner):  # type: ignore[name-defined,misc] # this room's own
        async def start(self) -> None:
            starts.append(None)
            await super().start()

    radio = Radio(
        scanner_backend=Scanner,
        client_backend=room.backends.client,
        patience=Patience(stall=0.01, rest=0),
    )
    run = asyncio.create_task(radio.run({}))
    await until(lambda: len(starts) > 5)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (BleakBluetoothNotAvailableReason.NO_BLUETOOTH, "this computer shows no Bluetooth adapter"),
        (BleakBluetoothNotAvailableReason.POWERED_OFF, "the Bluetooth adapter is switched off"),
        (BleakBluetoothNotAvailableReason.UNKNOWN, "it is not available now"),
    ],
)
async def test_adapter_that_is_not_there_is_a_state(
    room: Room, reason: BleakBluetoothNotAvailableReason, sentence: str
) -> None:
    class Scanner(room.backends.scanner):  # type: ignore[name-defined,misc] # this room's own
        async def start(self) -> None:
            raise BleakBluetoothNotAvailableError("no", reason)

    sink = MemorySink()
    with pytest.raises(Unavailable, match=sentence):
        await Radio(scanner_backend=Scanner).run({CUFF_ADDRESS: cuff(sink)})
    assert sink.reports == [("unavailable", f"Bluetooth: {sentence}")]


async def test_system_without_bluetooth_service_is_a_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/nothing")
    sink = MemorySink()
    with pytest.raises(Unavailable, match="the Bluetooth service does not run"):
        await Radio().run({CUFF_ADDRESS: cuff(sink)})
    assert sink.reports[-1][0] == "unavailable"
