"""A virtual device that indicates what it has measured, forgets it, and hangs up."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from bumble.core import UUID, AdvertisingData
from bumble.data_types import CompleteListOf16BitServiceUUIDs, CompleteLocalName, Flags
from bumble.device import Device, DeviceConfiguration
from bumble.gatt import Characteristic, Descriptor, Service
from bumble.hci import Address
from bumble.keys import MemoryKeyStore
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.profiles.device_information_service import DeviceInformationService

if TYPE_CHECKING:
    from bumble.device import Connection
    from bumble.transport.common import TransportSink, TransportSource

ADVERTISING_MS = 30


class Ending(Enum):
    """What the device does when it has indicated all it had."""

    HANG_UP = "hang-up"
    STAY = "stay"


class Security(Enum):
    """Whom the device tells its measurements: anybody, or whoever it is paired with, and how."""

    OPEN = "open"
    JUST_WORKS = "just-works"
    PASSKEY = "passkey"


@dataclass(frozen=True, slots=True)
class Identity:
    """Its Device Information Service (180A)."""

    manufacturer: str
    model: str
    serial: str
    firmware: str


@dataclass(frozen=True, slots=True)
class Model:
    """What the device is: `service` and `characteristic` as in cards (`1810`, `2A35`)."""

    name: str
    service: str
    characteristic: str
    identity: Identity | None = None
    ending: Ending = Ending.HANG_UP
    security: Security = Security.OPEN


CUFF = Model(name="Qafila cuff", service="1810", characteristic="2A35")
THERMOMETER = Model(name="Qafila thermometer", service="1809", characteristic="2A1C")


class GattPeripheral:
    """The device on the air. A measurement leaves `stored` when its ATT confirmation has come."""

    def __init__(
        self, source: TransportSource, sink: TransportSink, model: Model, address: str
    ) -> None:
        self.model = model
        self.address = address
        self.stored: deque[bytes] = deque()
        self.confirmed: list[bytes] = []
        self.visits = 0
        self._calling = asyncio.Lock()
        self._connection: Connection | None = None
        self._visit: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        settings = DeviceConfiguration(name=model.name, address=Address(address))
        self._device = Device.from_config_with_hci(settings, source, sink)
        self._measurement = Characteristic(
            UUID(model.characteristic),
            Characteristic.Properties.INDICATE,
            Characteristic.Permissions(0),
            b"",
        )
        self.passkey: int | None = None
        self._secure(model.security)
        self._device.add_services([Service(UUID(model.service), [self._measurement])])
        if model.identity is not None:
            self._device.add_service(_information(model.identity))
        self._device.on(Device.EVENT_CONNECTION, self._on_connection)

    def _secure(self, security: Security) -> None:
        """Demand a bond before anybody may listen; `passkey` is what the display shows."""
        self.forget()
        if security is Security.OPEN:
            return
        # bumble's own CCCD demands nothing, whatever its characteristic does.
        cccd = Descriptor(
            UUID("2902"),
            Descriptor.READABLE | Descriptor.WRITEABLE | Descriptor.WRITE_REQUIRES_ENCRYPTION,
            self._device.gatt_server.make_descriptor_value(self._measurement),
        )
        self._measurement.descriptors = [cccd]
        self._device.pairing_config_factory = lambda _: PairingConfig(
            sc=True,
            mitm=security is Security.PASSKEY,
            bonding=True,
            # The address it advertises is random: else the bond is kept under another.
            identity_address_type=PairingConfig.AddressType.RANDOM,
            delegate=_Display(self, security),
        )

    def forget(self) -> None:
        """Lose every bond, as a device does that is reset or paired with a telephone."""
        self._device.keystore = MemoryKeyStore()

    async def power_on(self) -> None:
        """Be ready to measure; nothing is advertised yet."""
        self._device.advertising_data = bytes(
            AdvertisingData(
                [
                    Flags(
                        AdvertisingData.Flags.LE_GENERAL_DISCOVERABLE_MODE
                        | AdvertisingData.Flags.BR_EDR_NOT_SUPPORTED
                    ),
                    CompleteListOf16BitServiceUUIDs([UUID(self.model.service)]),
                    CompleteLocalName(self.model.name),
                ]
            )
        )
        await self._device.power_on()

    async def power_off(self) -> None:
        """Fall silent; what is still stored stays stored."""
        await self._device.stop_advertising()
        for task in [self._visit, *self._closing]:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._device.power_off()

    async def measure(self, frame: bytes) -> None:
        """Store one measurement and call for someone to take it."""
        self.stored.append(frame)
        await self.advertise()

    async def advertise(self) -> None:
        """Call, whether or not there is anything to say."""
        async with self._calling:  # a device that has hung up calls again by itself
            await self._device.start_advertising(
                advertising_interval_min=ADVERTISING_MS, advertising_interval_max=ADVERTISING_MS
            )

    def _on_connection(self, connection: Connection) -> None:
        self.visits += 1
        self.passkey = None
        self._connection = connection
        # Listeners outlive the connection that they were made for.
        self._measurement.remove_all_listeners(Characteristic.EVENT_SUBSCRIPTION)
        self._measurement.on(Characteristic.EVENT_SUBSCRIPTION, self._on_subscription)
        connection.on(connection.EVENT_DISCONNECTION, self._on_disconnection)

    def _on_subscription(self, bearer: Connection, notify: bool, indicate: bool) -> None:  # noqa: FBT001
        del notify
        if indicate and (self._visit is None or self._visit.done()):
            self._visit = asyncio.create_task(self._tell(bearer))

    async def _tell(self, connection: Connection) -> None:
        # Python 3.11 loses a cancellation that comes together with the confirmation (gh-86296).
        while self.stored and self._connection is connection:
            await self._device.indicate_subscriber(
                connection, self._measurement, self.stored[0], force=True
            )
            self.confirmed.append(self.stored.popleft())
        if self.model.ending is Ending.HANG_UP and self._connection is connection:
            await connection.disconnect()

    def _on_disconnection(self, _: int) -> None:
        self._connection = None
        if self._visit is not None:
            self._visit.cancel()  # bumble waits half a minute for a confirmation that cannot come
        if self.stored:
            task = asyncio.create_task(self.advertise())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _information(identity: Identity) -> DeviceInformationService:
    return DeviceInformationService(
        manufacturer_name=identity.manufacturer,
        model_number=identity.model,
        serial_number=identity.serial,
        firmware_revision=identity.firmware,
    )


class _Display(PairingDelegate):
    """A device that can show a number, or nothing at all."""

    def __init__(self, device: GattPeripheral, security: Security) -> None:
        shows = security is Security.PASSKEY
        able = PairingDelegate.IoCapability
        super().__init__(able.DISPLAY_OUTPUT_ONLY if shows else able.NO_OUTPUT_NO_INPUT)
        self._shown_by = device

    async def display_number(self, number: int, digits: int) -> None:
        del digits
        self._shown_by.passkey = number
