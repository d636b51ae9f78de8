"""The devices around the machine: virtual radios on this computer, and what each has told.

They live on a thread of their own, so that they go on while a test waits for the machine. The
machine's adapter is a controller among theirs, reached over TCP (`lab/radio.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Self, TypeVar

from bumble import hci

from drivers.blood_pressure import simulator as cuff
from drivers.lab.gatt_peripheral import CUFF, THERMOMETER, GattPeripheral, Model, Security
from drivers.lab.radio import Ether
from drivers.pulse_oximeter import simulator as oximeter
from drivers.thermometer import simulator as thermometer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from bumble.controller import Controller

T = TypeVar("T")
CEILING = 600.0
_UNKNOWN_TO_BLUEZ = hci.LeFeatureMask.LL_PRIVACY | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
"""What bumble's controller claims and BlueZ then can't use (bumble issue 841)."""
_START = datetime(2026, 11, 21, 8)  # noqa: DTZ001 - devices know no time zone


@dataclass(frozen=True)
class Kind:
    """A kind of device: its model, the driver that reads it, and an endless day of its frames."""

    model: Model
    driver: str
    day: Callable[..., Iterator[bytes]]


OXIMETER = Model(name="Qafila oximeter", service="1822", characteristic="2A5E")
KINDS = {
    "cuff": Kind(CUFF, "blood-pressure", cuff.frames),
    "thermometer": Kind(THERMOMETER, "thermometer", thermometer.frames),
    "oximeter": Kind(OXIMETER, "pulse-oximeter", oximeter.frames),
}


class _Ether(Ether):
    def controller(self, name: str) -> Controller:
        made = super().controller(name)
        made.le_features &= ~_UNKNOWN_TO_BLUEZ
        return made


class Device:
    """A device in the room, as a test uses it from its own thread."""

    def __init__(self, room: Room, kind: str, peripheral: GattPeripheral, seed: int) -> None:
        self.peripheral = peripheral
        self.kind = kind
        self.address = peripheral.address
        self._room = room
        self._day = KINDS[kind].day(seed=seed, start=_START + timedelta(days=seed))

    @property
    def settings(self) -> str:
        """Its table of `unit.toml`."""
        return (
            f'[[devices]]\nname = "box1-{self.kind}"\ndriver = "{KINDS[self.kind].driver}"\n'
            f'box = "1"\nat = "{self.address}"\n'
        )

    def measure(self, count: int = 1) -> None:
        """Someone measures so often; the device calls until it has told all of it."""
        for frame in islice(self._day, count):
            self._room.do(self.peripheral.measure(frame))

    def measure_in_turn(self, count: int, ceiling: float = CEILING) -> None:
        """Someone measures so often, each time after the device has told what it had."""
        for _ in range(count):
            self.measure()
            self.await_told(ceiling)

    def await_told(self, ceiling: float = CEILING) -> None:
        """Return once the device has told everything it had, and forgotten it."""
        self._room.do(self._told(ceiling))

    async def _told(self, ceiling: float) -> None:
        async with asyncio.timeout(ceiling):
            while self.peripheral.stored:  # noqa: ASYNC110 - bumble tells nobody
                await asyncio.sleep(0.02)

    @property
    def told(self) -> Counter[str]:
        """SHA-256 of each frame whose confirmation it has got, and has therefore forgotten."""
        return Counter(hashlib.sha256(frame).hexdigest() for frame in self.peripheral.confirmed)

    @property
    def visits(self) -> int:
        """How often it has been connected to."""
        return self.peripheral.visits

    @property
    def passkey(self) -> int | None:
        """What its display shows since it was last connected to."""
        return self.peripheral.passkey

    def lose_bonds(self) -> None:
        """As a device does that is reset."""
        self._room.call(self.peripheral.forget)


class Room:
    """An ether in which devices are put; `port` is where the machine's adapter connects to."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="room", daemon=True)
        self._ether = _Ether()
        self._devices: list[Device] = []
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = int(self.do(self._ether.listen()).rpartition(":")[2])
        return self

    def __exit__(self, *_: object) -> None:
        for device in self._devices:
            self.do(device.peripheral.power_off())
        self.do(self._ether.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CEILING)
        self._loop.close()

    def device(self, kind: str, number: int, security: Security = Security.OPEN) -> Device:
        """Put a device in; `number` makes its address and its day."""
        return self.do(self._device(kind, number, security))

    async def _device(self, kind: str, number: int, security: Security) -> Device:
        known = KINDS[kind].model
        model = Model(known.name, known.service, known.characteristic, security=security)
        address = f"F1:00:00:00:00:{number:02X}"
        controller = self._ether.controller(address)
        peripheral = GattPeripheral(controller, controller, model, address)
        await peripheral.power_on()
        device = Device(self, kind, peripheral, number)
        self._devices.append(device)
        return device

    def do(self, work: Coroutine[None, None, T]) -> T:
        """Let something be done in the room, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * CEILING)

    def call(self, act: Callable[[], None]) -> None:
        """Let something be called in the room."""

        async def now() -> None:
            act()

        self.do(now())
