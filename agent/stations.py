"""Where drivers, links and the store meet: one station a device that is bound to a box."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import structlog

from agent.air import ALL_BLUETOOTH, Air
from agent.binding import bound_devices
from agent.board import DeviceState
from agent.clock import now
from agent.sightings import Sightings
from agent.sink import DeviceSink
from agent.supervisor import keep
from drivers.base import Device
from drivers.card import build, card
from drivers.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import date

    import config.model as settings_model
    from agent.board import Board
    from agent.store.store import Store
    from drivers.base import Driver, Stored
    from drivers.links.udev import Place

_ADDRESS = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_REMIND_EVERY = 3600.0
_CALIBRATION_NOTICE = 14
"""Days before a calibration is due from which it is said."""
_LOG = structlog.get_logger("qafila.stations")


class Stations:
    """Every device of the settings and every bound one, each kept alone, or by the radio."""

    def __init__(self, store: Store, board: Board, settings: settings_model.Settings) -> None:
        self._store = store
        self._board = board
        self._drivers: dict[str, Driver] = {}
        self._devices = {each.name: each for each in settings.devices}
        self._devices |= {each.name: each for each in bound_devices(store.reader, settings)}
        self._wired: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._sightings = Sightings(store, board, self._places)
        self.air = Air(store, board, settings.bluetooth.radio)

    async def run(self) -> None:
        """Keep every station going; ends by cancellation or with a broken store."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for device in self._devices.values():
                self._start(device)
            tasks.create_task(self.air.run(), name=ALL_BLUETOOTH)
            tasks.create_task(self._remind(), name="calibration")

    @property
    def devices(self) -> tuple[settings_model.Device, ...]:
        """Every device of the unit, of the settings and bound."""
        return tuple(self._devices.values())

    def _places(self) -> list[tuple[str, str | None]]:
        return [(identity_of(each), each.box) for each in self._devices.values()]

    @staticmethod
    def check(device: settings_model.Device) -> None:
        """Misconfigured where a device can't work as it is."""
        if _transport(device) == "gatt":
            _check(device)
        build(device.driver, device.settings)

    def take_up(self, settings: settings_model.Settings) -> None:
        """Serve every bound device that is not served yet."""
        for device in bound_devices(self._store.reader, settings):
            if device.name not in self._devices:
                self.add(device)

    def add(self, device: settings_model.Device) -> None:
        """Serve a device from now on."""
        self._devices[device.name] = device
        self._start(device)

    async def remove(self, name: str) -> None:
        """Serve a device no more; its link is let go of."""
        device = self._devices.pop(name)
        self.air.release(device.at)
        self._drivers.pop(name, None)
        task = self._wired.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._board.devices.pop(name, None)

    def _start(self, device: settings_model.Device) -> None:
        self._board.devices[device.name] = self._state(device)
        if _transport(device) == "gatt":
            self._bind(device)
        elif self._tasks is not None:
            keeping = self._tasks.create_task(self._keep_wired(device), name=device.name)
            self._wired[device.name] = keeping

    async def _remind(self) -> None:
        """Say day by day whose calibration is due."""
        while True:
            stamp = now()
            if stamp.clock != "implausible":
                for device in self._devices.values():
                    words = calibration(device.calibration_due, stamp.wall.date())
                    self._board.note(device.name, "calibration-due", words)
            await asyncio.sleep(_REMIND_EVERY)

    async def snapshot(self, name: str) -> Stored:
        """Take a picture with the camera called `name`; Misconfigured, Unavailable."""
        take: Callable[[], Awaitable[Stored]] = self._of_camera(name, "snapshot")
        return await take()

    async def next_frame(self, name: str) -> bytes:
        """Wait for the next frame of the camera called `name`; Misconfigured, Unavailable."""
        look: Callable[[], Awaitable[bytes]] = self._of_camera(name, "next_frame")
        return await look()

    def _of_camera(self, name: str, act: str) -> Any:
        if name not in self._board.devices:
            known = ", ".join(self._board.devices) or "none"
            raise Misconfigured(name, f"no device is called so: {known}")
        found = getattr(self._drivers.get(name), act, None)
        if found is None:
            raise Unavailable(name, "it takes no pictures now")
        return found

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
            self._sightings,
        )

    async def _keep_wired(self, device: settings_model.Device) -> None:
        def report(state: str, detail: str) -> None:
            self._board.report(device.name, state, detail)
            self._board.devices[device.name].failures += state in {"failed", "faulty"}

        await keep(device.name, lambda: self._run_wired(device), report)

    async def _run_wired(self, device: settings_model.Device) -> None:
        driver = self._drivers.setdefault(device.name, build(device.driver, device.settings))
        place = _place(device)
        self._board.note(device.name, "look-alike", place.remark)
        link = await _open(device, place.path)
        await driver.run(link, self._sink(device, place.identity))

    def _bind(self, device: settings_model.Device) -> None:
        """Hand a device to the radio; a wrong one must not silence the others."""
        from drivers.links.gatt import Bound  # noqa: PLC0415 - bleak only where a radio is

        identity = identity_of(device)
        try:
            _check(device)
        except Misconfigured as wrong:
            _LOG.error("misconfigured", child=device.name, remedy=wrong.remedy)
            self._board.report(device.name, "misconfigured", wrong.remedy)
            return
        driver = build(device.driver, device.settings)
        self.air.bind(device.at, device.name, Bound(driver, self._sink(device, identity), identity))


def identity_of(device: settings_model.Device) -> str:
    """Who a device is in the records: its address, its serial number, or where it stands."""
    if _transport(device) == "gatt":
        return f"ble:{device.at.upper()}"
    return device.at if device.at.startswith(("serial:", "port:")) else f"port:{device.at}"


def calibration(due: date | None, today: date) -> str:
    """What to say of a calibration; empty while there is time."""
    if due is None or (due - today).days > _CALIBRATION_NOTICE:
        return ""
    return f"its calibration {'was' if due < today else 'is'} due on {due.isoformat()}"


def _check(device: settings_model.Device) -> None:
    """Misconfigured where a Bluetooth device can't work with its settings."""
    if not _ADDRESS.fullmatch(device.at):
        raise Misconfigured(device.name, f"{device.at} is no Bluetooth address")
    build(device.driver, device.settings)


def _transport(device: settings_model.Device) -> str:
    return card(device.driver).transport


def _place(device: settings_model.Device) -> Place:
    """Where a wired device is just now and who it is; Unavailable where it is not there."""
    from drivers.links import udev  # noqa: PLC0415 - only where something is wired

    if _transport(device) != "serial":
        return udev.Place(device.at, identity_of(device))
    return udev.locate(device.at, udev.candidates())


async def _open(device: settings_model.Device, path: str) -> object:
    if _transport(device) == "serial":
        from drivers.links.serial import SerialLink  # noqa: PLC0415 - pyserial only for a port

        return SerialLink.open(path, card(device.driver).baud)
    if _transport(device) == "folder":
        from drivers.links.files import FolderLink  # noqa: PLC0415 - only for those that need it

        return await FolderLink.open(path, card(device.driver).match.suffixes)
    from drivers.links.camera import CameraLink  # noqa: PLC0415 - PyAV only where a camera is

    return await CameraLink.open(path)
