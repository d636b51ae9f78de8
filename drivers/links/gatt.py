"""The radio: one adapter, one scan, one connection at a time. The only user of bleak.

A device is connected to only where a person has bound its address; others of our services are
shown as seen. Every connection is given up in the end, even one the device has ended itself:
otherwise BlueZ keeps the subscription, confirms the next measurement before we have connected,
and the device forgets it (reproduced in a virtual machine with BlueZ 5.66 and bleak 3.1).
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bleak import BleakClient, BleakScanner
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakCharacteristicNotFoundError,
    BleakError,
)
from bleak.uuids import normalize_uuid_str

from drivers.card import cards
from drivers.errors import DriverError, ProtocolFault, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping

    from bleak.backends.client import BaseBleakClient
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData, BaseBleakScanner

    from drivers.base import Driver, Sink

# What BlueZ and D-Bus raise through bleak besides its own errors: a socket that is not there
# or has gone, an answer that never came.
_RADIO_ERRORS = (BleakError, OSError, EOFError, TimeoutError)

_MOST_STRANGERS = 64
"""Phones change their address every few minutes; the list must not grow with them."""

_WHY_NOT = {
    BleakBluetoothNotAvailableReason.NO_BLUETOOTH: "this computer shows no Bluetooth adapter",
    BleakBluetoothNotAvailableReason.POWERED_OFF: "the Bluetooth adapter is switched off",
    BleakBluetoothNotAvailableReason.DENIED_BY_SYSTEM: "the system does not let us use it",
}


@dataclass(frozen=True, slots=True)
class Bound:
    """A device that a person has bound to a box: who reads it, and where its readings go."""

    driver: Driver
    sink: Sink
    device: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A device of our services that nobody has bound; `services` as in cards (`1810`)."""

    address: str
    name: str | None
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: to connect or let go; without any advertisement; between two visits; shown."""

    connect: float = 20.0
    stall: float = 300.0
    rest: float = 1.0
    longest_rest: float = 8.0
    seen: float = 120.0


@dataclass(slots=True)
class _Sighting:
    device: BLEDevice
    seen: Seen
    at: float


@dataclass(slots=True)
class _Rest:
    until: float = 0.0
    failures: int = 0


class Radio:
    """Scans with one adapter and lets the driver of each bound device read it, one by one."""

    def __init__(
        self,
        *,
        scanner_backend: type[BaseBleakScanner] | None = None,
        client_backend: type[BaseBleakClient] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._client_backend = client_backend
        self._scanner_backend = scanner_backend
        self._patience = patience or Patience()
        self._services = {
            normalize_uuid_str(service): service
            for card in cards()
            if card.transport == "gatt"
            for service in card.match.services
        }
        self._bound: Mapping[str, Bound] = {}
        self._strangers: dict[str, _Sighting] = {}
        self._rests: dict[str, _Rest] = {}
        self._called: asyncio.Queue[_Sighting] = asyncio.Queue()
        self._heard_at = 0.0

    @property
    def seen(self) -> tuple[Seen, ...]:
        """Devices of our services in the air now that are not bound; never connected to."""
        oldest = asyncio.get_running_loop().time() - self._patience.seen
        self._strangers = {
            address: each
            for address, each in self._strangers.items()
            if each.at >= oldest and address not in self._bound
        }
        return tuple(each.seen for each in self._strangers.values())

    async def run(self, bound: Mapping[str, Bound]) -> None:
        """Read the devices in `bound` (by address, upper case) until cancelled.

        `bound` may change meanwhile. A device that fails is reported to its sink and tried
        again. Raises `Unavailable` where Bluetooth itself is, for the caller to try again, and
        whatever else a driver raises, such as an error of the store: then readings are in
        danger, and a device had better not be asked for more.
        """
        self._bound = bound
        scanner = BleakScanner(self._hear, backend=self._scanner_backend)
        for each in bound.values():
            each.sink.report("waiting")
        try:
            while True:
                sighting = await self._next(scanner)
                await self._serve(sighting, bound[sighting.seen.address])
        except Unavailable as error:
            for each in bound.values():
                each.sink.report("unavailable", str(error))
            raise

    def _hear(self, device: BLEDevice, said: AdvertisementData) -> None:
        now = asyncio.get_running_loop().time()
        self._heard_at = now
        said_of = {normalize_uuid_str(uuid) for uuid in said.service_uuids}
        services = tuple(short for uuid, short in self._services.items() if uuid in said_of)
        seen = Seen(device.address.upper(), said.local_name or device.name, services)
        sighting = _Sighting(device, seen, now)
        if seen.address in self._bound:
            rest = self._rests.get(seen.address)
            if rest is None or now >= rest.until:
                self._called.put_nowait(sighting)
        elif services:
            self._strangers.pop(seen.address, None)
            self._strangers[seen.address] = sighting
            if len(self._strangers) > _MOST_STRANGERS:
                del self._strangers[next(iter(self._strangers))]

    async def _next(self, scanner: BleakScanner) -> _Sighting:
        """Scan until a bound device calls; a silent stall of the stack restarts the scan."""
        while True:
            # Whoever called before this scan may have fallen silent: connecting would hang.
            self._called = asyncio.Queue()
            self._heard_at = asyncio.get_running_loop().time()
            async with _scanning(scanner, self._patience.connect):
                sighting = await self._call()
            if sighting is not None and sighting.seen.address in self._bound:
                return sighting

    async def _call(self) -> _Sighting | None:
        loop = asyncio.get_running_loop()
        while (silent_at := self._heard_at + self._patience.stall) > loop.time():
            try:
                async with asyncio.timeout_at(silent_at):
                    return await self._called.get()
            except TimeoutError:
                continue
        return None

    async def _serve(self, sighting: _Sighting, bound: Bound) -> None:
        link = _BleakLink(sighting, self._client_backend, self._patience.connect)
        try:
            if await _reported(bound.sink, link.open()):
                bound.sink.report("connected")
                if await _reported(bound.sink, bound.driver.run(link, bound.sink)):
                    bound.sink.report("waiting")
        except Exception:
            bound.sink.report("failed", "a reading that was received may not have been saved")
            raise
        finally:
            await link.close()
        self._let_rest(sighting.seen.address, failed=link.frames == 0)
        if link.stuck:
            raise Unavailable("Bluetooth", "the adapter does not let go of a device")

    def _let_rest(self, address: str, *, failed: bool) -> None:
        rest = self._rests.setdefault(address, _Rest())
        rest.failures = rest.failures + 1 if failed else 0
        pause = min(self._patience.rest * 2**rest.failures, self._patience.longest_rest)
        rest.until = asyncio.get_running_loop().time() + pause


class _BleakLink:
    """A `GattLink` over bleak. `frames` counts what was heard; `stuck`: hanging up failed."""

    def __init__(
        self, sighting: _Sighting, backend: type[BaseBleakClient] | None, patience: float
    ) -> None:
        self.name = sighting.seen.name
        self.frames = 0
        self.stuck = False
        self._what = self.name or sighting.seen.address
        self._patience = patience
        self._closing = False
        self._gone = asyncio.Event()
        self._client = BleakClient(
            sighting.device, lambda _: self._gone.set(), timeout=patience, backend=backend
        )

    async def open(self) -> None:
        """Connect and discover; `Unavailable` where the device does not come."""
        with self._explained("it could not be connected"):
            async with asyncio.timeout(self._patience):
                await self._client.connect()

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
        except _RADIO_ERRORS:
            self.stuck = True
        finally:
            self._gone.set()

    @contextmanager
    def _explained(self, reason: str) -> Iterator[None]:
        try:
            yield
        except BleakCharacteristicNotFoundError:
            raise
        except _RADIO_ERRORS as error:
            raise Unavailable(self._what, reason) from error


async def _reported(sink: Sink, work: Coroutine[None, None, None]) -> bool:
    """Whether `work` ended well; a fault of the device is reported, all else is raised."""
    try:
        await work
    except Unavailable as error:
        sink.report("unavailable", str(error))
        return False
    except DriverError as error:
        sink.report("faulty", str(error))
        return False
    return True


@asynccontextmanager
async def _scanning(scanner: BleakScanner, patience: float) -> AsyncIterator[None]:
    async with _bluetooth(), asyncio.timeout(patience):
        await scanner.start()
    try:
        yield
    except BaseException:
        with suppress(*_RADIO_ERRORS):
            async with asyncio.timeout(patience):
                await scanner.stop()
        raise
    async with _bluetooth(), asyncio.timeout(patience):
        await scanner.stop()


@asynccontextmanager
async def _bluetooth() -> AsyncIterator[None]:
    """Say in plain words that Bluetooth itself is not there."""
    try:
        yield
    except BleakBluetoothNotAvailableError as error:
        reason = _WHY_NOT.get(error.reason, "it is not available now")
        raise Unavailable("Bluetooth", reason) from error
    except (BleakError, TimeoutError) as error:
        raise Unavailable("Bluetooth", "the adapter does not scan") from error
    except (OSError, EOFError) as error:
        raise Unavailable("Bluetooth", "the Bluetooth service does not run") from error
