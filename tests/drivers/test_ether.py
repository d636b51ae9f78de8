"""The virtual ether across processes: HCI over TCP on the loopback."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drivers.card import build
from drivers.errors import Unavailable
from drivers.lab.gatt_peripheral import CUFF, GattPeripheral
from drivers.lab.radio import Ether, adapter, open_adapter
from drivers.links.callers import Patience
from drivers.links.gatt import Bound, Radio
from tests.contract.sinks import MemorySink
from tests.drivers.ble_room import CUFF_ADDRESS, FRAMES, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parent.parent.parent

ETHER_WITH_A_CUFF = """
import asyncio
from tests.drivers.test_ether import cuff_on
from drivers.lab.radio import Ether

async def main():
    ether = Ether()
    device = await cuff_on(ether)
    await device.advertise()
    print(await ether.listen(), flush=True)
    while device.stored:
        await asyncio.sleep(0.01)
    print(len(device.confirmed), flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""

UNIT_THAT_ONLY_CONNECTS = f"""
import asyncio, sys
from bleak import BleakClient, BleakScanner
from drivers.lab.radio import open_adapter

async def main():
    async with open_adapter(sys.argv[1]) as (scanner, client):
        found = await BleakScanner.find_device_by_address({CUFF_ADDRESS!r}, 30, backend=scanner)
        async with BleakClient(found, backend=client):
            print("connected", flush=True)
            await asyncio.sleep(3600)

asyncio.run(main())
"""


async def cuff_on(ether: Ether) -> GattPeripheral:
    hci = ether.controller("cuff")
    device = GattPeripheral(hci, hci, CUFF, CUFF_ADDRESS)
    device.stored.extend(FRAMES)
    await device.power_on()
    return device


@asynccontextmanager
async def process(script: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, *arguments, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.communicate()


async def line_of(child: asyncio.subprocess.Process) -> str:
    assert child.stdout is not None
    async with asyncio.timeout(60):
        return (await child.stdout.readline()).decode().strip()


def cuff(sink: MemorySink) -> dict[str, Bound]:
    return {CUFF_ADDRESS: Bound(build("blood-pressure", {}), sink, f"ble:{CUFF_ADDRESS}")}


async def test_cuff_in_another_process_is_read_and_a_dead_adapter_is_a_state() -> None:
    sink = MemorySink()
    async with (
        process(ETHER_WITH_A_CUFF) as ether,
        open_adapter(await line_of(ether)) as (scanner, client),
    ):
        patience = Patience(connect=3, stall=0.2)
        radio = Radio(scanner_backend=scanner, client_backend=client, patience=patience)
        run = asyncio.create_task(radio.run(cuff(sink)))
        await until(lambda: len(sink.recorded) == len(FRAMES))
        assert await line_of(ether) == str(len(FRAMES))
        ether.kill()
        with pytest.raises(Unavailable, match="Bluetooth"):
            await run
    assert [reading.raw for reading in sink.recorded] == FRAMES
    assert sink.reports[-1][0] == "unavailable"


async def test_cuff_is_free_again_when_the_process_that_held_it_is_killed() -> None:
    ether, sink = Ether(), MemorySink()
    device = await cuff_on(ether)
    await device.advertise()
    async with process(UNIT_THAT_ONLY_CONNECTS, await ether.listen()) as child:
        assert await line_of(child) == "connected"
        child.kill()
        unit = ether.controller("unit")
        async with adapter(unit, unit, "C0:00:00:00:00:02") as (scanner, client):
            radio = Radio(scanner_backend=scanner, client_backend=client)
            run = asyncio.create_task(radio.run(cuff(sink)))
            await until(lambda: len(sink.recorded) == len(FRAMES))
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
    await device.power_off()
    await ether.close()
    assert device.visits == 2
    assert [reading.raw for reading in sink.recorded] == FRAMES


async def test_ether_closed_leaves_no_task_and_no_port() -> None:
    ether = Ether()
    transport = await ether.listen()
    async with open_adapter(transport):
        await ether.close()
    with pytest.raises(OSError, match="Connect call failed"):
        async with open_adapter(transport):
            pass
    assert asyncio.all_tasks() == {asyncio.current_task()}
