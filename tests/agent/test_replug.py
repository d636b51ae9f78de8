"""A serial device that comes back under another number is the same device, soon (T44)."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agent.board import Board
from agent.stations import Stations
from config.load import load
from drivers import DRIVERS
from drivers.healthypi6.simulator import simulate
from drivers.lab.pty import PtyHost
from drivers.links import udev
from drivers.links.udev import Candidate

from .unit import CEILING, Unit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from agent.store.store import Store

SOCKET = "pci-0000:00:14.0-usb-0:{}:1.0"
SOON_S = 3.0


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> list[Candidate]:
    """What is plugged in, as the kernel would tell it."""
    plugged: list[Candidate] = []
    monkeypatch.setattr(udev, "candidates", lambda: tuple(plugged))
    return plugged


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path / "unit")


@pytest.fixture
def store(unit: Unit) -> Iterator[Store]:
    opened = unit.store()
    yield opened
    opened.close()


def table(name: str, at: str, box: str = "1") -> str:
    return f'[[devices]]\nname = "{name}"\ndriver = "healthypi6"\nbox = "{box}"\nat = "{at}"\n'


@asynccontextmanager
async def stations(unit: Unit, store: Store) -> AsyncIterator[Board]:
    board = Board()
    running = asyncio.create_task(Stations(store, board, load(unit.settings, DRIVERS)).run())
    try:
        await until(lambda: board.devices)
        yield board
    finally:
        running.cancel()
        await asyncio.wait({running})


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(CEILING):
        while not condition():  # noqa: ASYNC110 - a board has no event
            await asyncio.sleep(0.02)


def stream(seconds: float) -> list[bytes]:
    return [raw for _, raw in simulate(seconds)]


def quarantined(store: Store) -> list[tuple[bytes, str]]:
    rows = store.reader.execute("SELECT content, reason FROM frame WHERE outcome = 'quarantined'")
    return [(bytes(row[0]), row[1]) for row in rows]


def identities(store: Store) -> set[str]:
    return {row[0] for row in store.reader.execute("SELECT device FROM frame")}


async def test_device_unplugged_in_mid_frame_resumes_under_another_number(
    unit: Unit, store: Store, bus: list[Candidate], tmp_path: Path
) -> None:
    """T44."""
    first, second = PtyHost(tmp_path / "ttyACM0"), PtyHost(tmp_path / "ttyACM5")
    unit.write(table("ecg", "serial:HP6-7"))
    first.plug()
    bus[:] = [Candidate(str(first.path), SOCKET.format("1.4"), "HP6-7", "2fe3:0100", "00")]
    whole = stream(0.5)
    try:
        async with stations(unit, store) as board:
            ecg = board.devices["ecg"]
            await until(lambda: ecg.state == "waiting")
            for raw in whole:
                await first.say(raw)
            stump = next(raw for raw in whole if len(raw) > 300)[:200]
            await first.say(stump)
            await until(lambda: ecg.state == "recording" and first.heard)
            bus.clear()
            first.unplug()
            await until(lambda: ecg.state == "unavailable")
            assert ecg.readings == 1

            second.plug()
            bus[:] = [Candidate(str(second.path), SOCKET.format("1.2"), "HP6-7", "2fe3:0100", "00")]
            began = time.monotonic()
            await until(lambda: ecg.state == "waiting")
            took = time.monotonic() - began
            for raw in whole:
                await second.say(raw)
            await until(lambda: ecg.state == "recording")
            await until(lambda: ecg.readings == 2)
        assert took < SOON_S
        assert quarantined(store) == [(stump, "The stream held a block that is cut short.")]
        assert identities(store) == {"serial:HP6-7"}
    finally:
        first.unplug()
        second.unplug()


async def test_clone_cables_are_read_by_their_sockets_and_status_says_so(
    unit: Unit, store: Store, bus: list[Candidate], tmp_path: Path
) -> None:
    hosts = [PtyHost(tmp_path / f"ttyUSB{number}") for number in range(2)]
    ports = [SOCKET.format("1.3"), SOCKET.format("1.4")]
    unit.write("".join(table(f"ecg{n}", f"port:{port}", str(n)) for n, port in enumerate(ports)))
    for host in hosts:
        host.plug()
    bus[:] = [
        Candidate(str(host.path), port, "0001", "10c4:ea60", "00")
        for host, port in zip(reversed(hosts), ports, strict=True)
    ]
    try:
        async with stations(unit, store) as board:
            await until(lambda: all(each.state == "waiting" for each in board.devices.values()))
            for raw in stream(0.5):
                await hosts[1].say(raw)
            await until(lambda: board.devices["ecg0"].readings == 1)
            assert board.devices["ecg1"].readings == 0
            for name, other in (("ecg0", "1.4"), ("ecg1", "1.3")):
                assert f"{other}:1.0" in board.devices[name].notes["look-alike"]
            bus.pop(0)
            hosts[1].unplug()
            await until(lambda: board.devices["ecg0"].state == "unavailable")
        assert identities(store) == {f"port:{ports[0]}"}
    finally:
        for host in hosts:
            host.unplug()
