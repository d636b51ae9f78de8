"""bleak backends whose adapter is a bumble `Device`: bleak's own API without a kernel.

They differ from BlueZ in one point that matters: bumble confirms an indication after our
callback has run, BlueZ confirms it before. They therefore cannot prove that nothing is lost
between the two.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from bleak.backends.characteristic import BleakGATTCharacteristic, GattCharacteristicsFlags
from bleak.backends.client import BaseBleakClient
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import (
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
    BleakGATTProtocolError,
)
from bleak.uuids import normalize_uuid_str
from bumble import att
from bumble.core import AdvertisingData, BaseBumbleError
from bumble.device import Device, Peer
from bumble.hci import HCI_LE_Create_Connection_Cancel_Command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bleak.args import SizedBuffer
    from bleak.assigned_numbers import CharacteristicPropertyName
    from bleak.backends.client import NotifyCallback
    from bleak.backends.scanner import AdvertisementDataCallback
    from bumble.core import UUID
    from bumble.device import Advertisement, Connection
    from bumble.gatt_client import CharacteristicProxy
    from bumble.hci import Address

Answer = TypeVar("Answer")

_MTU = 247
_SERVICE_LISTS = (
    AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
    AdvertisingData.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
    AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
    AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
)


class Backends(NamedTuple):
    """What bleak takes as `backend=`: one class to scan, one to connect."""

    scanner: type[BaseBleakScanner]
    client: type[BaseBleakClient]


def backends_of(adapter: Device) -> Backends:
    """Give bleak's two backend classes, tied to a bumble device that is powered on."""

    class Scanner(_Scanner):
        device = adapter

    class Client(_Client):
        device = adapter

    return Backends(Scanner, Client)


class _Scanner(BaseBleakScanner):
    device: Device

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: str = "active",
        **_: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._active = scanning_mode == "active"

    async def start(self) -> None:
        self.seen_devices = {}
        self.device.on(Device.EVENT_ADVERTISEMENT, self._hear)
        await _answer(self.device.start_scanning(active=self._active, filter_duplicates=False))

    async def stop(self) -> None:
        self.device.remove_listener(Device.EVENT_ADVERTISEMENT, self._hear)
        await _answer(self.device.stop_scanning())

    def _hear(self, heard: Advertisement) -> None:
        said = heard.data
        lists = cast(
            "list[list[UUID]]", [each for kind in _SERVICE_LISTS for each in said.get_all(kind)]
        )
        services = [_text(uuid) for listed in lists for uuid in listed]
        if not self.is_allowed_uuid(services):
            return
        name = said.get(AdvertisingData.COMPLETE_LOCAL_NAME) or said.get(
            AdvertisingData.SHORTENED_LOCAL_NAME
        )
        makers = said.get_all(AdvertisingData.MANUFACTURER_SPECIFIC_DATA)
        of_services = said.get_all(AdvertisingData.SERVICE_DATA_16_BIT_UUID)
        advertisement = AdvertisementData(
            local_name=name,
            manufacturer_data={company: bytes(rest) for company, rest in makers},
            service_data={_text(uuid): bytes(rest) for uuid, rest in of_services},
            service_uuids=services,
            tx_power=said.get(AdvertisingData.TX_POWER_LEVEL),
            rssi=heard.rssi,
            platform_data=(heard,),
        )
        address = heard.address.to_string(with_type_qualifier=False)
        device = self.create_or_update_device(address, address, name, heard.address, advertisement)
        self.call_detection_callbacks(device, advertisement)


class _Client(BaseBleakClient):
    device: Device

    def __init__(self, address_or_ble_device: BLEDevice | str, **options: Any) -> None:
        super().__init__(
            address_or_ble_device,
            disconnected_callback=options["disconnected_callback"],
            timeout=options["timeout"],
        )
        self._target = address_or_ble_device
        self._connection: Connection | None = None
        self._mtu = 23
        self._heard_by: dict[int, Callable[[bytes], None]] = {}

    @property
    def name(self) -> str:
        known = self._target.name if isinstance(self._target, BLEDevice) else None
        return known or self.address.replace(":", "-")

    @property
    def mtu_size(self) -> int:
        return self._mtu

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool, **_: Any) -> None:  # noqa: FBT001 - bleak's signature
        if not isinstance(self._target, BLEDevice):
            # An address alone does not say whether it is public or random; a scan does.
            raise BleakDeviceNotFoundError(self.address, "scan first, then connect to the device")
        self._connection = await self._connected(self._target.details)
        self._connection.on(self._connection.EVENT_DISCONNECTION, self._on_disconnection)
        if pair or await self._bonded():
            await self._secure(self._connection)
        peer = Peer(self._connection)
        self._mtu = await _answer(peer.request_mtu(_MTU))
        self.services = await _answer(self._discover(peer))

    async def _connected(self, address: Address) -> Connection:
        try:
            return await _answer(self.device.connect(address, timeout=self._timeout))
        except asyncio.CancelledError:
            await self._abandon(address)
            raise

    async def _abandon(self, address: Address) -> None:
        """Stop connecting: else the controller connects later, and nobody owns the connection."""
        await self.device.send_sync_command(HCI_LE_Create_Connection_Cancel_Command())
        for connection in list(self.device.connections.values()):
            if connection.peer_address == address:
                await connection.disconnect()

    async def _discover(self, peer: Peer) -> BleakGATTServiceCollection:
        found = BleakGATTServiceCollection()
        for service in await peer.discover_services():
            parent = BleakGATTService(service, service.handle, _text(service.uuid))
            found.add_service(parent)
            for proxy in await peer.discover_characteristics(service=service):
                characteristic = self._characteristic(proxy, parent)
                found.add_characteristic(characteristic)
                for each in await peer.discover_descriptors(proxy):
                    found.add_descriptor(
                        BleakGATTDescriptor(each, each.handle, _text(each.type), characteristic)
                    )
        return found

    def _characteristic(
        self, proxy: CharacteristicProxy[bytes], parent: BleakGATTService
    ) -> BleakGATTCharacteristic:
        names = [
            flag.name.replace("_", "-")
            for flag in GattCharacteristicsFlags
            if flag.name and int(proxy.properties) & flag.value
        ]
        return BleakGATTCharacteristic(
            proxy,
            proxy.handle - 1,  # BlueZ counts the declaration, bumble the value
            _text(proxy.uuid),
            cast("list[CharacteristicPropertyName]", names),
            lambda: self._mtu - 3,
            parent,
        )

    def _on_disconnection(self, _: int) -> None:
        self._connection = None
        self.services = None
        if self._disconnected_callback:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        if self._connection is not None:
            await _answer(self._connection.disconnect())

    async def pair(self, *_: Any, **__: Any) -> None:
        await self._secure(self._link())

    async def unpair(self) -> None:
        if self.device.keystore is not None:
            await self.device.keystore.delete(self.address)
        await self.disconnect()

    async def _bonded(self) -> bool:
        keys = self.device.keystore
        return keys is not None and await keys.get(self._peer(self._link())) is not None

    async def _secure(self, connection: Connection) -> None:
        """Encrypt with the bond, or pair where there is none; fail in BlueZ's words, as it does."""
        try:
            if await self._bonded():
                await _answer(connection.encrypt())
            else:
                await _answer(connection.pair())
        except BleakError as error:
            with suppress(BleakError):
                await self.disconnect()
            refused = "org.bluez.Error.AuthenticationFailed"
            raise BleakDBusError(refused, ["Authentication Failed"]) from error

    @staticmethod
    def _peer(connection: Connection) -> str:
        return str(connection.peer_address)

    def _link(self) -> Connection:
        if self._connection is None:
            raise BleakError("Not connected")
        return self._connection

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, *, use_cached: bool = False, **_: Any
    ) -> bytearray:
        del use_cached
        self._link()
        return bytearray(await _answer(characteristic.obj.read_value()))

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **_: Any
    ) -> bytearray:
        del use_cached
        self._link()
        return bytearray(await _answer(descriptor.obj.read_value()))

    async def write_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        data: SizedBuffer,
        response: bool,  # noqa: FBT001 - bleak's signature
    ) -> None:
        self._link()
        await _answer(characteristic.obj.write_value(bytes(data), with_response=response))

    async def write_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, data: SizedBuffer
    ) -> None:
        self._link()
        await _answer(descriptor.obj.write_value(bytes(data), with_response=True))

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **_: Any
    ) -> None:
        self._link()

        def heard(value: bytes) -> None:
            callback(bytearray(value))

        self._heard_by[characteristic.handle] = heard
        await _answer(characteristic.obj.subscribe(heard))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        self._link()
        heard = self._heard_by.pop(characteristic.handle)
        await _answer(characteristic.obj.unsubscribe(heard))


async def _answer(question: Awaitable[Answer]) -> Answer:
    """What bumble answers, its errors told as bleak tells them, and no cancellation lost."""
    task = asyncio.current_task()
    cancelled_before = task.cancelling() if task else 0
    try:
        answer = await question
    except att.ATT_Error as error:
        raise BleakGATTProtocolError(error.error_code) from error
    except BaseBumbleError as error:
        raise BleakError(str(error)) from error
    except asyncio.CancelledError:
        if task and task.cancelling() > cancelled_before:
            raise
        # bumble cancels the pending request, not us, when the link is lost.
        raise BleakError("disconnected") from None
    if task and task.cancelling() > cancelled_before:
        # wait_for of Python 3.11, inside bumble, drops a cancellation that comes together with
        # the answer (https://github.com/python/cpython/issues/86296).
        raise asyncio.CancelledError
    return answer


def _text(uuid: UUID) -> str:
    """A UUID as bleak writes it: 128 bits, lower case, with hyphens."""
    short = len(uuid.uuid_bytes) in (2, 4)
    return normalize_uuid_str(uuid.to_hex_str() if short else uuid.to_hex_str("-"))
