"""A room in the laboratory: an ether, an adapter of ours in it, and devices that are put in."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from drivers.blood_pressure import codec, simulator
from drivers.card import card
from drivers.gatt_session import GattDriver, Limits
from drivers.lab.gatt_peripheral import CUFF, GattPeripheral, Model
from drivers.lab.radio import Ether, adapter
from drivers.links.callers import Patience
from drivers.links.gatt import Bound, Radio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sized

    from bleak.backends.client import BaseBleakClient
    from bumble.controller import Controller

    from drivers.bonds import Bonds
    from drivers.lab.bleak_bumble import Backends
    from drivers.links.stack import Stack
    from tests.contract.sinks import MemorySink

START = datetime(2026, 11, 21, 8)  # noqa: DTZ001 - devices know no time zone
FRAMES = list(islice(simulator.frames(seed=1, start=START), 20))
CUFF_ADDRESS = "F1:00:00:00:00:01"
OTHER_ADDRESS = "F1:00:00:00:00:02"
PATIENCE = Patience(connect=10, rest=0)
BRIEF = Limits(idle=0.1, drain=0.2)


class Room:
    """An ether with an adapter in it; devices are put in, and a radio is started."""

    def __init__(self, ether: Ether, unit: Controller, backends: Backends) -> None:
        self.ether = ether
        self.unit = unit
        self.backends = backends
        self.devices: list[GattPeripheral] = []
        self.controllers: dict[str, Controller] = {}
        self.hung_up: list[str] = []
        self.on_connect: Callable[[BaseBleakClient], Awaitable[None]] | None = None

    async def device(self, model: Model = CUFF, address: str = CUFF_ADDRESS) -> GattPeripheral:
        hci = self.controllers[address] = self.ether.controller(address)
        device = GattPeripheral(hci, hci, model, address)
        await device.power_on()
        self.devices.append(device)
        return device

    def radio(
        self,
        patience: Patience = PATIENCE,
        stack: Stack | None = None,
        bonds: Bonds | None = None,
    ) -> Radio:
        room = self

        class Client(self.backends.client):  # type: ignore[name-defined,misc] # this room's own
            async def connect(self, pair: bool, **options: object) -> None:  # noqa: FBT001
                if room.on_connect is not None:
                    await room.on_connect(self)
                await super().connect(pair, **options)

            async def disconnect(self) -> None:
                room.hung_up.append(self.address)
                await super().disconnect()

        scanner = self.backends.scanner
        return Radio(
            scanner_backend=scanner,
            client_backend=Client,
            stack=stack,
            bonds=bonds,
            patience=patience,
        )

    @asynccontextmanager
    async def reading(
        self,
        bound: dict[str, Bound],
        stack: Stack | None = None,
        bonds: Bonds | None = None,
    ) -> AsyncIterator[Radio]:
        radio = self.radio(stack=stack, bonds=bonds)
        run = asyncio.create_task(radio.run(bound))
        yield radio
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run


@asynccontextmanager
async def furnished_room() -> AsyncIterator[Room]:
    ether = Ether()
    unit = ether.controller("unit")
    async with adapter(unit, unit) as backends:
        room = Room(ether, unit, backends)
        yield room
        for device in room.devices:
            await device.power_off()
    await ether.close()
    assert others() == set()


def cuff(sink: MemorySink, limits: Limits | None = None) -> Bound:
    driver = GattDriver(card("blood-pressure"), codec.decode, limits)
    return Bound(driver, sink, f"ble:{CUFF_ADDRESS}")


def others() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


def holds(some: Sized, count: int) -> bool:
    return len(some) == count


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is polled has no event
            await asyncio.sleep(0.005)
