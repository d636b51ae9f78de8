"""One connection to one device, through bleak: what a driver gets as its `GattLink`."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bleak import BleakClient
from bleak.exc import (
    BleakCharacteristicNotFoundError,
    BleakDBusError,
    BleakError,
    BleakGATTProtocolError,
)
from bleak.uuids import normalize_uuid_str

from drivers.bonds import ABORTS_OF_A_VISIT
from drivers.errors import ProtocolFault, Unavailable
from drivers.links.scan import RADIO_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bleak.backends.characteristic import BleakGATTCharacteristic
    from bleak.backends.client import BaseBleakClient
    from bleak.backends.device import BLEDevice

_REFUSALS = frozenset(
    f"org.bluez.Error.{word}"
    for word in ("NotPermitted", "NotAuthorized", "NotSupported", "InvalidValueLength")
)

ABORTED = "le-connection-abort, again and again"
"""What it means that a device which has just called is not connected to in time, or is lost so
often: bleak 3.1 takes an aborted connection for bad reception and repeats it by itself, for ever.
With BlueZ 5.66 each connection is aborted where the device has lost its half of a bond."""


class BleakLink:
    """A `GattLink` over bleak. `frames` counts what was heard; `stuck`: hanging up failed.

    `trouble` is what the stack said last, in its own words; `aborted` counts the connections
    that were aborted as they were made.
    """

    def __init__(
        self,
        device: BLEDevice,
        name: str | None,
        backend: type[BaseBleakClient] | None,
        patience: float,
        *,
        pair: bool = False,
        companies: tuple[int, ...] = (),
    ) -> None:
        self.name = name
        self.companies = companies
        self.frames = 0
        self.stuck = False
        self.trouble = ""
        self.aborted = 0
        self._what = self.name or device.address
        self._patience = patience
        self._closing = False
        self._gone = asyncio.Event()
        self._opening: asyncio.Timeout | None = None
        self._client = BleakClient(
            device,
            lambda _: self._leave(),
            timeout=patience,
            backend=backend,
            pair=pair,
        )

    async def open(self, more: float = 0.0) -> None:
        """Connect and discover, in `more` seconds than usual; `Unavailable` if it can't be."""
        with self._explained("it could not be connected"):
            try:
                async with asyncio.timeout(self._patience + more) as self._opening:
                    await self._client.connect()
            except TimeoutError:
                raise TimeoutError(ABORTED) from None
            finally:
                self._opening = None
        if self._client.is_connected:
            self._gone.clear()  # what was aborted before has been repeated

    def _leave(self) -> None:
        """It is not connected any more; bleak says so of each connection that it repeats."""
        self._gone.set()
        if self._opening is not None:
            self.aborted += 1
            if self.aborted == ABORTS_OF_A_VISIT and not self._opening.expired():
                self._opening.reschedule(asyncio.get_running_loop().time())

    async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
        """See `GattLink.subscribe`."""

        def heard(_: object, raw: bytearray) -> None:
            self.frames += 1
            hear(bytes(raw))

        try:
            with self._explained("it did not let us listen"):
                async with asyncio.timeout(self._patience):
                    await self._client.start_notify(characteristic, heard)
        except BleakCharacteristicNotFoundError:
            raise ProtocolFault(
                "The device does not offer the measurement that its service requires."
            ) from None

    def has(self, characteristic: str) -> bool:
        """See `GattLink.has`; a device that has gone has nothing."""
        try:
            return self._found(characteristic) is not None
        except BleakError:
            return False

    async def read(self, characteristic: str) -> bytes:
        """See `GattLink.read`."""
        found = self._offered(characteristic)
        with self._explained("it did not answer"), _permitted():
            async with asyncio.timeout(self._patience):
                return bytes(await self._client.read_gatt_char(found))

    async def write(self, characteristic: str, content: bytes) -> None:
        """See `GattLink.write`; without an answer only where the device gives none."""
        found = self._offered(characteristic)
        answered = "write" in found.properties
        with self._explained("it did not take what we wrote"), _permitted():
            async with asyncio.timeout(self._patience):
                await self._client.write_gatt_char(found, content, response=answered)

    def _offered(self, characteristic: str) -> BleakGATTCharacteristic:
        with self._explained("it is gone"):
            found = self._found(characteristic)
        if found is None:
            raise ProtocolFault("The device does not offer what it is asked for.")
        return found

    def _found(self, characteristic: str) -> BleakGATTCharacteristic | None:
        """The first of that name: a device may have one in several services."""
        wanted = normalize_uuid_str(characteristic)
        every = self._client.services.characteristics.values()
        return next((each for each in every if each.uuid == wanted), None)

    async def wait_closed(self) -> None:
        """See `GattLink.wait_closed`."""
        await self._gone.wait()

    async def close(self) -> None:
        """See `GattLink.close`; a failure shows in `stuck`, so that it hides no other error."""
        if self._closing:
            return
        self._closing = True
        try:
            async with asyncio.timeout(self._patience):
                await self._client.disconnect()
        except RADIO_ERRORS:
            self.stuck = True
        finally:
            self._gone.set()

    @contextmanager
    def _explained(self, reason: str) -> Iterator[None]:
        try:
            yield
        except BleakCharacteristicNotFoundError:
            raise
        except RADIO_ERRORS as error:
            self.trouble = str(error)
            raise Unavailable(self._what, reason) from error


@contextmanager
def _permitted() -> Iterator[None]:
    """Tell a device that refuses from one that is gone."""
    refused = "The device does not permit what it is asked for."
    try:
        yield
    except BleakGATTProtocolError as error:
        raise ProtocolFault(refused) from error
    except BleakDBusError as error:
        if error.dbus_error not in _REFUSALS:
            raise
        raise ProtocolFault(refused) from error
