"""The radio: one adapter, one scan, one connection at a time.

A device is connected to only where a person has bound its address; others of our services are
shown as seen. Every connection is given up in the end, even one the device has ended itself:
otherwise BlueZ keeps the subscription, confirms the next measurement before we have connected,
and the device forgets it (reproduced in a virtual machine with BlueZ 5.66 and bleak 3.1).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bleak import BleakScanner
from bleak.uuids import normalize_uuid_str

from drivers.bonds import REFUSED, Bonds
from drivers.card import cards
from drivers.errors import DriverError, Unavailable
from drivers.links.bonding import PAIRING_PATIENCE, Bonding, Wanted, begin, retry
from drivers.links.gatt_link import BleakLink
from drivers.links.scan import scanning

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from bleak.args.bluez import BlueZScannerArgs
    from bleak.backends.client import BaseBleakClient
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData, BaseBleakScanner

    from drivers.base import Driver, Sink
    from drivers.links.stack import AskPasskey, Stack

_MOST_BUSY = 3
"""Connections refused in a row with InProgress, after which the stack is stuck (bleak #1603)."""

_MOST_STRANGERS = 64
"""Phones change their address every few minutes; the list must not grow with them."""


class Quiet(Unavailable):
    """Nobody at all was heard for long: the place is quiet, or the scan has stalled."""


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
    """Seconds: to connect or let go; without any advertisement; between two visits; shown.

    `pair`: until a device that is to be paired calls; `look`: between two looks at the adapter.
    """

    connect: float = 20.0
    stall: float = 300.0
    rest: float = 1.0
    longest_rest: float = 8.0
    seen: float = 120.0
    pair: float = 90.0
    look: float = 5.0


@dataclass(slots=True)
class _Sighting:
    device: BLEDevice
    seen: Seen
    at: float
    companies: tuple[int, ...]


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
        stack: Stack | None = None,
        bonds: Bonds | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._stack = stack
        self._bonding = Bonding(stack, bonds or Bonds())
        self._wanted: Wanted | None = None
        self._running = False
        self._busy = 0
        self._adapter: str | None = None
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
        self._running = True
        try:
            await self._read()
        except Quiet:
            raise
        except Unavailable as error:
            for each in bound.values():
                each.sink.report("unavailable", str(error))
            raise
        finally:
            self._running = False
            if self._wanted is not None:
                self._wanted.end(Unavailable("Bluetooth", "it has just stopped"))

    async def pair(self, address: str, ask: AskPasskey) -> None:
        """Pair the device at `address`, as a person wants it; `ask` gets its passkey from them.

        The device has to call within `Patience.pair` seconds. A bond that there was is removed
        first. Raises `Unavailable` where it does not call or Bluetooth does not work, and
        `NeedsPairing` where it refuses twice.
        """
        if not self._running:
            raise Unavailable("Bluetooth", "it does not work just now: see `qafila status`")
        if self._wanted is not None:
            raise Unavailable("Bluetooth", "another device is being paired: wait for it")
        wanted = self._wanted = await begin(self._stack, address.upper(), ask)
        try:
            async with asyncio.timeout(self._patience.pair):
                await wanted.heard.wait()
            await wanted.done
        except TimeoutError:
            raise Unavailable(address, "it does not call: start its pairing first") from None
        finally:
            self._wanted = None

    async def _read(self) -> None:
        options: BlueZScannerArgs = {}
        if self._stack is not None:
            self._adapter = await self._stack.adapter()
            if self._adapter is not None:
                options["adapter"] = self._adapter
            # A crash of ours leaves devices connected, and those no longer call (bluez #89).
            await self._stack.let_go(tuple(self._bound))
            await self._bonding.settle()
        scanner = BleakScanner(self._hear, backend=self._scanner_backend, bluez=options)
        for address, each in self._bound.items():
            self._await(address, each.sink)
        while True:
            sighting = await self._next(scanner)
            address = sighting.seen.address
            if self._wanted is not None and self._wanted.address == address:
                await self._pair(sighting, self._wanted)
            else:
                await self._serve(sighting, self._bound[address])

    def _await(self, address: str, sink: Sink) -> None:
        """Say what a device is waited for to do: to call, or first of all to be paired."""
        remedy = self._bonding.needs_person(address)
        if remedy is None:
            sink.report("waiting")
        else:
            sink.report("needs-pairing", remedy)

    def _hear(self, device: BLEDevice, said: AdvertisementData) -> None:
        now = asyncio.get_running_loop().time()
        self._heard_at = now
        said_of = {normalize_uuid_str(uuid) for uuid in said.service_uuids}
        services = tuple(short for uuid, short in self._services.items() if uuid in said_of)
        seen = Seen(device.address.upper(), said.local_name or device.name, services)
        sighting = _Sighting(device, seen, now, tuple(said.manufacturer_data))
        if self._wanted is not None and self._wanted.address == seen.address:
            self._called.put_nowait(sighting)
        elif seen.address in self._bound:
            if self._bonding.needs_person(seen.address) is not None:
                return
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
        quiet = 0
        while quiet < 2 or self._stack is None:  # noqa: PLR2004 - the scan is restarted once
            # Whoever called before this scan may have fallen silent: connecting would hang.
            self._called = asyncio.Queue()
            self._heard_at = asyncio.get_running_loop().time()
            async with scanning(scanner, self._patience.connect):
                sighting = await self._call()
            if sighting is not None and self._is_ours(sighting.seen.address):
                return sighting
            quiet = quiet + 1 if sighting is None else 0
        raise Quiet("Bluetooth", "nobody at all is heard")

    def _is_ours(self, address: str) -> bool:
        wanted = self._wanted is not None and self._wanted.address == address
        return wanted or address in self._bound

    async def _call(self) -> _Sighting | None:
        loop = asyncio.get_running_loop()
        while (silent_at := self._heard_at + self._patience.stall) > loop.time():
            look_at = min(silent_at, loop.time() + self._patience.look)
            try:
                async with asyncio.timeout_at(look_at):
                    return await self._called.get()
            except TimeoutError:
                await self._look_for_adapter()
        return None

    async def _look_for_adapter(self) -> None:
        """Nobody calls through an adapter that was unplugged, and bleak says nothing of it."""
        if self._stack is not None and await self._stack.adapter() != self._adapter:
            raise Unavailable("Bluetooth", "the adapter was unplugged or has another number now")

    async def _serve(self, sighting: _Sighting, bound: Bound) -> None:
        address = sighting.seen.address
        mending = self._bonding.mending(address)
        link = self._link(sighting, pair=mending)
        try:
            async with self._bonding.answering(address):
                more = PAIRING_PATIENCE if mending else 0.0
                opened = await _reported(bound.sink, link.open(more))
            if opened:
                bound.sink.report("connected")
                if await _reported(bound.sink, bound.driver.run(link, bound.sink)):
                    bound.sink.report("waiting")
        except Exception:
            bound.sink.report("failed", "a reading that was received may not have been saved")
            raise
        finally:
            await link.close()
        self._let_rest(address, failed=link.frames == 0)
        await self._learn(address, link, bound.sink)

    async def _learn(self, address: str, link: BleakLink, sink: Sink) -> None:
        """Draw from a visit what it says of the bond and of the adapter."""
        refused = self._stack is not None and self._stack.refused(address)
        if link.frames:
            self._bonding.worked(address)
        elif link.trouble or refused:
            trouble = REFUSED if refused else link.trouble
            await self._bonding.failed(address, trouble, link.aborted)
            remedy = self._bonding.needs_person(address)
            if remedy is not None:
                sink.report("needs-pairing", remedy)
        self._busy = self._busy + 1 if "InProgress" in link.trouble else 0
        if link.stuck:
            raise Unavailable("Bluetooth", "the adapter does not let go of a device")
        if self._busy >= _MOST_BUSY:
            self._busy = 0
            raise Unavailable("Bluetooth", "the adapter stays busy and connects to nobody")

    async def _pair(self, sighting: _Sighting, wanted: Wanted) -> None:
        stack = self._stack
        if stack is None:
            return
        wanted.heard.set()
        link = self._link(sighting, pair=True)
        try:
            async with stack.expecting(wanted.address, wanted.ask):
                await link.open(PAIRING_PATIENCE)
        except Unavailable as error:
            await link.close()
            await retry(stack, wanted, error)
        else:
            await link.close()
            self._bonding.worked(wanted.address)
            wanted.end()
        finally:
            await link.close()

    def _link(self, sighting: _Sighting, *, pair: bool) -> BleakLink:
        device, name = sighting.device, sighting.seen.name
        return BleakLink(
            device,
            name,
            self._client_backend,
            self._patience.connect,
            pair=pair,
            companies=sighting.companies,
        )

    def _let_rest(self, address: str, *, failed: bool) -> None:
        rest = self._rests.setdefault(address, _Rest())
        rest.failures = rest.failures + 1 if failed else 0
        pause = min(self._patience.rest * 2**rest.failures, self._patience.longest_rest)
        rest.until = asyncio.get_running_loop().time() + pause


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
