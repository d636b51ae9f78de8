"""Where drivers, links and the store meet: one station a device that is bound to a box."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agent.board import DeviceState
from agent.sink import DeviceSink
from agent.supervisor import keep
from drivers.base import Device
from drivers.card import build, card
from drivers.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import config.model as settings_model
    from agent.board import Board
    from agent.store.store import Store
    from drivers.base import Driver, Stored
    from drivers.links.gatt import Bound, Radio

_ALL_BLUETOOTH = "bluetooth"
_SEEN_EVERY = 2.0


class Stations:
    """Every device of the settings, each kept alone; the radio serves all of its own."""

    def __init__(self, store: Store, board: Board, settings: settings_model.Settings) -> None:
        self._store = store
        self._board = board
        self._settings = settings
        self._drivers: dict[str, Driver] = {}

    async def run(self) -> None:
        """Keep every station going; ends by cancellation or with a broken store."""
        for device in self._settings.devices:
            self._board.devices[device.name] = self._state(device)
        by_air = [each for each in self._settings.devices if _transport(each) == "gatt"]
        by_wire = [each for each in self._settings.devices if _transport(each) != "gatt"]
        async with asyncio.TaskGroup() as tasks:
            for device in by_wire:
                tasks.create_task(self._keep_wired(device), name=device.name)
            if by_air:
                tasks.create_task(self._keep_radio(by_air), name=_ALL_BLUETOOTH)

    async def snapshot(self, name: str) -> Stored:
        """Take a picture with the camera called `name`; Misconfigured, Unavailable."""
        driver = self._drivers.get(name)
        take: Callable[[], Awaitable[Stored]] | None = getattr(driver, "snapshot", None)
        if name not in self._board.devices:
            known = ", ".join(self._board.devices) or "none"
            raise Misconfigured(name, f"no device is called so: {known}")
        if take is None:
            raise Unavailable(name, "it takes no pictures now")
        return await take()

    def _state(self, device: settings_model.Device) -> DeviceState:
        return DeviceState(device.driver, device.box, device.at)

    def _sink(self, device: settings_model.Device, identity: str) -> DeviceSink:
        return DeviceSink(
            self._store,
            self._board,
            device.name,
            Device(identity, device.driver, device.name),
            device.box,
            card(device.driver).version,
        )

    async def _keep_wired(self, device: settings_model.Device) -> None:
        def report(state: str, detail: str) -> None:
            self._board.report(device.name, state, detail)
            self._board.devices[device.name].failures += state in {"failed", "faulty"}

        await keep(device.name, lambda: self._run_wired(device), report)

    async def _run_wired(self, device: settings_model.Device) -> None:
        driver = self._drivers.setdefault(device.name, build(device.driver, device.settings))
        link = await _open(device)
        await driver.run(link, self._sink(device, f"port:{device.at}"))

    async def _keep_radio(self, devices: list[settings_model.Device]) -> None:
        def report(state: str, detail: str) -> None:
            for device in devices:
                self._board.report(device.name, state, detail)

        await keep(_ALL_BLUETOOTH, lambda: self._run_radio(devices), report)

    async def _run_radio(self, devices: list[settings_model.Device]) -> None:
        bound = {device.at.upper(): self._bind(device) for device in devices}
        async with _radio(self._settings.bluetooth.radio) as radio:
            watching = asyncio.create_task(self._watch_air(radio))
            try:
                await radio.run(bound)
            finally:
                watching.cancel()
                self._board.unbound = ()

    def _bind(self, device: settings_model.Device) -> Bound:
        from drivers.links.gatt import Bound  # noqa: PLC0415 - bleak only where a radio is

        identity = f"ble:{device.at.upper()}"
        return Bound(build(device.driver, device.settings), self._sink(device, identity), identity)

    async def _watch_air(self, radio: Radio) -> None:
        while True:
            self._board.unbound = tuple(
                {"address": each.address, "name": each.name, "services": list(each.services)}
                for each in radio.seen
            )
            await asyncio.sleep(_SEEN_EVERY)


def _transport(device: settings_model.Device) -> str:
    return card(device.driver).transport


async def _open(device: settings_model.Device) -> object:
    if _transport(device) == "serial":
        from drivers.links.serial import SerialLink  # noqa: PLC0415 - pyserial only for a port

        return SerialLink.open(device.at, card(device.driver).baud)
    from drivers.links.camera import CameraLink  # noqa: PLC0415 - PyAV only where a camera is

    return await CameraLink.open(device.at)


@asynccontextmanager
async def _radio(name: str) -> AsyncIterator[Radio]:
    from drivers.links.gatt import Radio  # noqa: PLC0415 - bleak only where a radio is

    if name == "system":
        yield Radio()
        return
    from drivers.lab.radio import open_adapter  # noqa: PLC0415 - bumble only in simulation

    try:
        async with open_adapter(name) as backends:
            yield Radio(scanner_backend=backends.scanner, client_backend=backends.client)
    except (OSError, EOFError) as error:
        raise Unavailable("Bluetooth", "the simulated radio does not answer") from error
