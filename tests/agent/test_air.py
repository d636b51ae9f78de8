"""The radio's recovery, with unmodified bleak over a real bus and a BlueZ that is always busy."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from agent import air, supervisor
from agent.air import Air
from agent.board import Board, DeviceState
from agent.store.figures import figures
from agent.store.store import Store
from drivers.card import build
from drivers.ladder import Ladder, Rung, Step
from drivers.links import bluez, gatt
from drivers.links.callers import Patience
from drivers.links.gatt import Bound
from tests.contract.sinks import MemorySink
from tests.drivers.private_bus import CUFF, World, private_bus, small_bluez

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

AT_ONCE = [Rung(step, 0.01) for step in Step]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "state", "ab" * 48, "truck-01", "simulated")
    yield store
    store.close()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(supervisor, "_AWAY", 0.01)
    monkeypatch.setattr(bluez, "_OFF", 0.01)
    async with private_bus(tmp_path) as address, small_bluez(address) as world:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield world


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - what is polled has no event
            await asyncio.sleep(0.01)


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def stuck_air(store: Store, board: Board) -> tuple[Air, MemorySink]:
    board.devices["cuff"] = DeviceState("blood-pressure", "1", CUFF)
    found, sink = Air(store, board, "system"), MemorySink()
    found._ladder = Ladder(AT_ONCE, rest=3600, again=0.01)
    found.bind(CUFF, "cuff", Bound(build("blood-pressure", {}), sink, f"ble:{CUFF}"))
    return found, sink


async def test_in_progress_for_ever_runs_the_ladder_and_ends_in_one_alarm(
    store: Store, world: World
) -> None:
    world.stuck, world.permits = True, False
    board = Board()
    stuck, sink = stuck_air(store, board)
    run = asyncio.create_task(stuck.run())
    try:
        await until(lambda: bool(figures(store.reader, "centre")["alarms"]))
        asked = len(world.said)
        await until(lambda: world.said[asked:].count("scan") > 3)
    finally:
        await stopped(run)
    acts = [each for each in world.said if each.startswith(("powered", "restart"))]
    assert acts == ["powered False", "powered True", "restart bluetooth.service replace"]
    (alarm,) = figures(store.reader, "centre")["alarms"]
    assert (alarm["code"], alarm["count"]) == ("bluetooth-stuck", 1)
    assert "systemctl restart bluetooth" in alarm["detail"]
    assert set(sink.reports) == {("unavailable", "Bluetooth: the adapter does not scan")}


async def test_adapter_that_recovers_is_scanned_with_again_and_raises_no_alarm(
    store: Store, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.stuck = True
    recovering, sink = stuck_air(store, Board())
    recovering._board.devices["cuff"] = DeviceState("blood-pressure", "1", CUFF)
    cycle = bluez.BluezStack._power_cycle

    async def cure(stack: bluez.BluezStack) -> None:
        await cycle(stack)
        world.stuck = False

    monkeypatch.setattr(bluez.BluezStack, "_power_cycle", cure)
    run = asyncio.create_task(recovering.run())
    try:
        await until(lambda: "powered True" in world.said and world.said[-1] == "scan")
        await until(lambda: sink.reports[-1:] == [("waiting", "")])
    finally:
        await stopped(run)
    assert figures(store.reader, "centre")["alarms"] == []
    assert not any(each.startswith("restart") for each in world.said)


async def test_cuff_left_connected_by_a_crash_is_let_go_at_start(
    store: Store, world: World
) -> None:
    world.device(CUFF)
    world.device("F1:00:00:00:00:02")
    started, _ = stuck_air(store, Board())
    run = asyncio.create_task(started.run())
    try:
        await until(lambda: world.said[-1:] == ["scan"])
    finally:
        await stopped(run)
    assert [each for each in world.said if each.startswith("disc")] == [f"disconnected {CUFF}"]


async def test_adapter_that_returns_under_another_number_is_scanned_with_again(
    store: Store, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gatt, "Patience", partial(Patience, look=0.02))
    plugged, sink = stuck_air(store, Board())
    run = asyncio.create_task(plugged.run())
    try:
        await until(lambda: world.scanned_by == "hci0")
        world.bus.unexport("/org/bluez/hci0")
        await until(lambda: sink.state == "unavailable")
        world.adapter("hci0", "AA:00:00:00:00:77")
        world.adapter("hci1", "AA:00:00:00:00:01")
        await until(lambda: world.scanned_by == "hci1")
        await until(lambda: sink.reports[-1:] == [("waiting", "")])
        asked = len(world.said)
        await asyncio.sleep(0.1)
    finally:
        await stopped(run)
    assert "scan" not in world.said[asked:]


async def test_computer_without_an_adapter_and_without_a_binding_is_left_in_peace(
    store: Store, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(air, "_ADAPTERS", tmp_path / "none")
    quiet = Air(store, Board(), "system")
    run = asyncio.create_task(quiet.run())
    await asyncio.sleep(0.05)
    assert world.said == []
    await stopped(run)
