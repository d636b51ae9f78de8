"""A virtual device with a protocol of its own: it tells by itself, or answers what is written."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bumble.core import UUID, AdvertisingData
from bumble.data_types import (
    CompleteListOf16BitServiceUUIDs,
    CompleteListOf128BitServiceUUIDs,
    CompleteLocalName,
    Flags,
)
from bumble.device import Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address

from drivers.lab.gatt_peripheral import ADVERTISING_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bumble.device import Connection
    from bumble.transport.common import TransportSink, TransportSource

_SHORT = 4


@dataclass(frozen=True, slots=True)
class Station:
    """What the device is. UUIDs as in cards: four digits, or 128 bits in full.

    `listen` is where it notifies, `speak` where it is written to, or None; `also` are further
    characteristics that do both. `opening` is what it tells whoever listens, `answers` what it
    tells to what is written, each frame at `listen` or with the characteristic where it is told;
    `hang_up` is the word after which it hangs up. `pause` are the seconds between two
    notifications, `model` is what its Device Information says.
    """

    name: str
    service: str
    listen: str
    speak: str | None = None
    opening: tuple[bytes, ...] = ()
    answers: Callable[[bytes], Iterable[bytes | tuple[str, bytes]]] = lambda _: ()
    also: tuple[str, ...] = ()
    hang_up: bytes = b""
    pause: float = 0.0
    model: str = ""


class DialoguePeripheral:
    """The device on the air; `written` is all that was said to it."""

    def __init__(
        self, source: TransportSource, sink: TransportSink, station: Station, address: str
    ) -> None:
        self.station = station
        self.written: list[bytes] = []
        self.visits = 0
        self._tasks: set[asyncio.Task[None]] = set()
        settings = DeviceConfiguration(name=station.name, address=Address(address))
        self._device = Device.from_config_with_hci(settings, source, sink)
        self._voice = self._characteristic(station.listen)
        spoken_to = [] if station.speak in {None, station.listen} else [self._ear()]
        self._voices = {each: self._characteristic(each) for each in station.also}
        every = [self._voice, *self._voices.values(), *spoken_to]
        self._device.add_services([Service(UUID(station.service), every), *_information(station)])
        self._device.on(Device.EVENT_CONNECTION, self._on_connection)

    async def power_on(self) -> None:
        """Be there, and call."""
        kind = (
            CompleteListOf16BitServiceUUIDs
            if len(self.station.service) == _SHORT
            else CompleteListOf128BitServiceUUIDs
        )
        flags = AdvertisingData.Flags
        self._device.advertising_data = bytes(
            AdvertisingData(
                [
                    Flags(flags.LE_GENERAL_DISCOVERABLE_MODE | flags.BR_EDR_NOT_SUPPORTED),
                    kind([UUID(self.station.service)]),
                    CompleteLocalName(self.station.name),
                ]
            )
        )
        await self._device.power_on()
        await self._device.start_advertising(
            advertising_interval_min=ADVERTISING_MS, advertising_interval_max=ADVERTISING_MS
        )

    async def power_off(self) -> None:
        """Fall silent."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._device.power_off()

    def _characteristic(self, uuid: str) -> Characteristic[bytes]:
        properties = Characteristic.Properties.NOTIFY
        if uuid != self.station.speak and uuid not in self.station.also:
            return Characteristic(UUID(uuid), properties, Characteristic.Permissions(0), b"")
        return Characteristic(
            UUID(uuid),
            properties | Characteristic.Properties.WRITE,
            Characteristic.WRITEABLE,
            CharacteristicValue(write=self._on_write),
        )

    def _ear(self) -> Characteristic[bytes]:
        return Characteristic(
            UUID(self.station.speak or ""),
            Characteristic.Properties.WRITE,
            Characteristic.WRITEABLE,
            CharacteristicValue(write=self._on_write),
        )

    def _on_connection(self, connection: Connection) -> None:
        del connection
        self.visits += 1
        self._voice.remove_all_listeners(Characteristic.EVENT_SUBSCRIPTION)
        self._voice.on(Characteristic.EVENT_SUBSCRIPTION, self._on_subscription)

    def _on_subscription(self, bearer: Connection, notify: bool, indicate: bool) -> None:  # noqa: FBT001
        del indicate
        if notify:
            self._start(bearer, self.station.opening)

    def _on_write(self, bearer: Connection, value: bytes) -> None:
        self.written.append(bytes(value))
        self._start(bearer, tuple(self.station.answers(bytes(value))))

    def _start(self, connection: Connection, frames: Iterable[bytes | tuple[str, bytes]]) -> None:
        task = asyncio.create_task(self._tell(connection, frames))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(
        self, connection: Connection, frames: Iterable[bytes | tuple[str, bytes]]
    ) -> None:
        for told in frames:
            where, frame = told if isinstance(told, tuple) else (self.station.listen, told)
            voice = self._voices.get(where, self._voice)
            await self._device.notify_subscriber(connection, voice, frame, force=True)
            await asyncio.sleep(self.station.pause)
        if self.written and self.written[-1] == self.station.hang_up:
            await connection.disconnect()


def _information(station: Station) -> list[Service]:
    if not station.model:
        return []
    model = Characteristic(
        UUID("2A24"),
        Characteristic.Properties.READ,
        Characteristic.READABLE,
        station.model.encode("utf-8"),
    )
    return [Service(UUID("180A"), [model])]
