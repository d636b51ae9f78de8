"""Simulated devices on real transports: a Bluetooth radio, a pseudo-terminal, a camera stream."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING

from drivers.blood_pressure.simulator import frames as cuff_frames
from drivers.dermatoscope.simulator import lesion, without_tables
from drivers.healthypi6.simulator import simulate
from drivers.lab.camera import CameraStream, encode
from drivers.lab.gatt_peripheral import CUFF, THERMOMETER, GattPeripheral
from drivers.lab.pty import PtyHost
from drivers.lab.radio import Ether
from drivers.thermometer.simulator import frames as thermometer_frames

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

CUFF_AT = "F1:F1:F1:F1:F1:F1"
THERMOMETER_AT = "F2:F2:F2:F2:F2:F2"
NEIGHBOUR_AT = "F3:F3:F3:F3:F3:F3"
PICTURES = 12
BOXES = {
    "box1-cuff": "1",
    "box1-ecg": "1",
    "box2-thermometer": "2",
    "box2-dermatoscope": "2",
}
"""Which device stands in which box."""


class World:
    """A truck's devices, switched on. Use as `async with`."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self._ether = Ether()
        self._peripherals: list[GattPeripheral] = []
        self._ecg = PtyHost(folder / "ecg")
        self._camera = CameraStream(_pictures())
        self._seeds = count(seed)
        self.radio = ""

    async def __aenter__(self) -> Self:
        self.radio = await self._ether.listen()
        self._cuff = await self._switch_on(CUFF, CUFF_AT)
        self._thermometer = await self._switch_on(THERMOMETER, THERMOMETER_AT)
        self._ecg.plug()
        await self._camera.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._camera.unplug()
        self._ecg.unplug()
        for peripheral in self._peripherals:
            with contextlib.suppress(Exception):
                await peripheral.power_off()
        await self._ether.close()

    def places(self) -> dict[str, tuple[str, str]]:
        """Each device's driver and where it is, as the settings name it."""
        return {
            "box1-cuff": ("blood-pressure", CUFF_AT),
            "box1-ecg": ("healthypi6", str(self._ecg.path)),
            "box2-thermometer": ("thermometer", THERMOMETER_AT),
            "box2-dermatoscope": ("dermatoscope", self._camera.url),
        }

    async def measure_pressure(self) -> None:
        """Someone presses start on the cuff; return when it has told its reading."""
        await self._told(self._cuff, next(cuff_frames(seed=next(self._seeds), start=_now())))

    async def measure_temperature(self) -> None:
        """Someone uses the thermometer; return when it has told its reading."""
        said = thermometer_frames(seed=next(self._seeds), start=_now())
        await self._told(self._thermometer, next(said))

    async def record_ecg(self, seconds: float) -> None:
        """Someone switches the ECG on for some seconds."""
        await self._ecg.play(simulate(seconds))

    async def _switch_on(self, model: object, address: str) -> GattPeripheral:
        controller = self._ether.controller(address)
        peripheral = GattPeripheral(controller, controller, model, address)  # type: ignore[arg-type]
        await peripheral.power_on()
        self._peripherals.append(peripheral)
        return peripheral

    async def _told(self, peripheral: GattPeripheral, frame: bytes) -> None:
        heard = len(peripheral.confirmed)
        await peripheral.measure(frame)
        while len(peripheral.confirmed) == heard:  # noqa: ASYNC110 - bumble tells nobody
            await asyncio.sleep(0.05)


def _now() -> datetime:
    """The time as devices tell it: whole seconds, of no zone."""
    return datetime.now().replace(microsecond=0)  # noqa: DTZ005


def _pictures() -> list[bytes]:
    """A camera that leaves its Huffman tables out, as many do."""
    return [without_tables(encode(lesion(number))) for number in range(PICTURES)]
