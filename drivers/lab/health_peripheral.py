"""A virtual device of any standard health profile: several characteristics, memory, clock.

It writes down in `diary` what a host does with it, in order: `listen 2A18`, `write 2A52 0101`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from itertools import cycle
from typing import TYPE_CHECKING

from bumble.att import ATT_Error, ErrorCode
from bumble.core import UUID, AdvertisingData
from bumble.data_types import CompleteListOf16BitServiceUUIDs, CompleteLocalName, Flags
from bumble.device import Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address

from drivers.companions import BATTERY, CURRENT_TIME
from drivers.lab.gatt_peripheral import ADVERTISING_MS, Ending
from drivers.record_access import (
    CONTROL_POINT,
    NO_RECORDS,
    REPORT,
    SUCCESS,
    Answer,
    decode_request,
    encode_answer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bumble.device import Connection
    from bumble.transport.common import TransportSink, TransportSource

_DEVICE_INFORMATION = "180A"
_BATTERY = "180F"
_CURRENT_TIME = "1805"


class Way(Enum):
    """How a characteristic speaks."""

    INDICATE = "indicate"
    NOTIFY = "notify"


class ClockRights(Enum):
    """What a host may do with the device's clock."""

    SET = "set"
    READ = "read"


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """The clock: a characteristic (2A2B in 1805, or 2A08 inside the device's own service)."""

    characteristic: str
    shows: bytes
    rights: ClockRights = ClockRights.SET


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a memory: its number, and the frames that tell it by characteristic."""

    sequence: int
    frames: tuple[tuple[str, bytes], ...]


class Memory(Enum):
    """How a device answers who asks for its records."""

    ANSWERS = "answers"
    NEVER_ENDS = "never ends"


@dataclass(frozen=True, slots=True)
class Apparatus:
    """What the device is: its service, how each characteristic speaks, what stands beside it.

    `identity` are the raw octets of its Device Information by characteristic (`2A29`).
    """

    name: str
    service: str
    speaks: Mapping[str, Way]
    identity: Mapping[str, bytes] = field(default_factory=dict)
    battery: bytes | None = None
    clock: DeviceClock | None = None
    memory: Memory | None = None
    companies: tuple[int, ...] = ()
    ending: Ending = Ending.HANG_UP


class HealthPeripheral:
    """The device on the air. It tells `says` once a host listens, and `memory` when asked."""

    def __init__(
        self, source: TransportSource, sink: TransportSink, apparatus: Apparatus, address: str
    ) -> None:
        self.apparatus = apparatus
        self.address = address
        self.says: list[tuple[str, bytes]] = []
        self.memory: list[Record] = []
        self.diary: list[str] = []
        self.told = 0
        self.visits = 0
        self._connection: Connection | None = None
        self._listened: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        settings = DeviceConfiguration(name=apparatus.name, address=Address(address))
        self._device = Device.from_config_with_hci(settings, source, sink)
        self._spoken = {name: _speaker(name, way) for name, way in apparatus.speaks.items()}
        self._device.add_services([self._main_service(), *self._companions()])
        self._device.on(Device.EVENT_CONNECTION, self._on_connection)

    async def power_on(self) -> None:
        """Be ready to measure; nothing is advertised yet."""
        parts = [
            Flags(
                AdvertisingData.Flags.LE_GENERAL_DISCOVERABLE_MODE
                | AdvertisingData.Flags.BR_EDR_NOT_SUPPORTED
            ),
            CompleteListOf16BitServiceUUIDs([UUID(self.apparatus.service)]),
            CompleteLocalName(self.apparatus.name),
        ]
        advertised = bytes(AdvertisingData(parts))
        for company in self.apparatus.companies:
            advertised += bytes([3, AdvertisingData.MANUFACTURER_SPECIFIC_DATA])
            advertised += company.to_bytes(2, "little")
        self._device.advertising_data = advertised
        await self._device.power_on()

    async def power_off(self) -> None:
        """Fall silent."""
        await self._device.stop_advertising()
        await self._stop_speaking()
        await self._device.power_off()

    async def advertise(self) -> None:
        """Call."""
        await self._device.start_advertising(
            advertising_interval_min=ADVERTISING_MS, advertising_interval_max=ADVERTISING_MS
        )

    def _main_service(self) -> Service:
        offered = list(self._spoken.values())
        if self.apparatus.memory is not None:
            control: Characteristic[bytes] = Characteristic(
                UUID(CONTROL_POINT),
                Characteristic.Properties.INDICATE | Characteristic.Properties.WRITE,
                Characteristic.Permissions.WRITEABLE,
                CharacteristicValue(write=self._on_request),
            )
            self._spoken[CONTROL_POINT] = control
            offered.append(control)
        clock = self.apparatus.clock
        if clock is not None and clock.characteristic != CURRENT_TIME:
            offered.append(self._clock(clock))
        return Service(UUID(self.apparatus.service), offered)

    def _companions(self) -> Iterable[Service]:
        if self.apparatus.identity:
            texts = [_readable(name, raw) for name, raw in self.apparatus.identity.items()]
            yield Service(UUID(_DEVICE_INFORMATION), texts)
        if self.apparatus.battery is not None:
            yield Service(UUID(_BATTERY), [_readable(BATTERY, self.apparatus.battery)])
        clock = self.apparatus.clock
        if clock is not None and clock.characteristic == CURRENT_TIME:
            yield Service(UUID(_CURRENT_TIME), [self._clock(clock)])

    def _clock(self, clock: DeviceClock) -> Characteristic[bytes]:
        def write(_: Connection, raw: bytes) -> None:
            self.diary.append(f"write {clock.characteristic} {raw.hex()}")
            if clock.rights is ClockRights.READ:
                raise ATT_Error(ErrorCode.WRITE_NOT_PERMITTED)

        return Characteristic(
            UUID(clock.characteristic),
            Characteristic.Properties.READ | Characteristic.Properties.WRITE,
            Characteristic.Permissions.READABLE | Characteristic.Permissions.WRITEABLE,
            CharacteristicValue(read=lambda _: clock.shows, write=write),
        )

    def _on_connection(self, connection: Connection) -> None:
        self.visits += 1
        self._connection = connection
        self._listened = {name: asyncio.Event() for name in self._spoken}
        for name, spoken in self._spoken.items():
            # Listeners outlive the connection that they were made for.
            spoken.remove_all_listeners(Characteristic.EVENT_SUBSCRIPTION)
            spoken.on(Characteristic.EVENT_SUBSCRIPTION, self._subscription_of(name))
        connection.on(connection.EVENT_DISCONNECTION, self._on_disconnection)
        if self.says:
            self._start(connection, self.says)

    def _subscription_of(self, name: str) -> Callable[[Connection, bool, bool], None]:
        def on_subscription(_: Connection, notify: bool, indicate: bool) -> None:  # noqa: FBT001
            wanted = self.apparatus.speaks.get(name, Way.INDICATE)
            if indicate if wanted is Way.INDICATE else notify:
                self.diary.append(f"listen {name}")
                self._listened[name].set()

        return on_subscription

    def _on_request(self, connection: Connection, raw: bytes) -> None:
        self.diary.append(f"write {CONTROL_POINT} {raw.hex()}")
        first = decode_request(raw)
        chosen = [each for each in self.memory if first is None or each.sequence >= first]
        answer = encode_answer(Answer(REPORT, SUCCESS if chosen else NO_RECORDS))
        told = [frame for record in chosen for frame in record.frames]
        endless = self.apparatus.memory is Memory.NEVER_ENDS
        frames = cycle(told) if endless else [*told, (CONTROL_POINT, answer)]
        self._start(connection, frames)

    def _start(self, connection: Connection, frames: Iterable[tuple[str, bytes]]) -> None:
        task = asyncio.create_task(self._tell(connection, frames))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, connection: Connection, frames: Iterable[tuple[str, bytes]]) -> None:
        for name, raw in frames:
            await self._listened[name].wait()
            if self._connection is not connection:
                return
            notifies = self.apparatus.speaks.get(name) is Way.NOTIFY
            speak = self._device.notify_subscriber if notifies else self._device.indicate_subscriber
            await speak(connection, self._spoken[name], raw, force=True)
            self.told += 1
            await asyncio.sleep(0)
        if self.apparatus.ending is Ending.HANG_UP and self._connection is connection:
            await connection.disconnect()

    def _on_disconnection(self, _: int) -> None:
        self._connection = None
        for task in self._tasks:
            task.cancel()

    async def _stop_speaking(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _speaker(name: str, way: Way) -> Characteristic[bytes]:
    properties = Characteristic.Properties
    speaks = properties.NOTIFY if way is Way.NOTIFY else properties.INDICATE
    return Characteristic(UUID(name), speaks, Characteristic.Permissions(0), b"")


def _readable(name: str, raw: bytes) -> Characteristic[bytes]:
    return Characteristic(
        UUID(name), Characteristic.Properties.READ, Characteristic.Permissions.READABLE, raw
    )
