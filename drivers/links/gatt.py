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

from drivers.bonds import REFUSED, Bonds
from drivers.errors import DriverError, Unavailable
from drivers.links.bonding import PAIRING_PATIENCE, Bonding, Wanted, begin, retry
from drivers.links.callers import Callers, Patience
from drivers.links.gatt_link import BleakLink
from drivers.links.scan import scanning

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from bleak.args.bluez import BlueZScannerArgs
    from bleak.backends.client import BaseBleakClient
    from bleak.backends.scanner import BaseBleakScanner

    from drivers.base import Driver, Sink
    from drivers.links.callers import Seen, Sighting
    from drivers.links.stack import AskPasskey, Stack

_MOST_BUSY = 3
"""Connections refused in a row with InProgress, after which the stack is stuck (bleak #1603)."""


class Quiet(Unavailable):
    """Nobody at all was heard for long: the place is quiet, or the scan has stalled."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A device that a person has bound to a box: who reads it, and where its readings go."""

    driver: Driver
    sink: Sink
    device: str


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
        bonds = bonds or Bonds()
        self._bonding = Bonding(stack, bonds)
        self._running = False
        self._busy = 0
        self._adapter: str | None = None
        self._client_backend = client_backend
        self._scanner_backend = scanner_backend
        self._patience = patience or Patience()
        self._callers = Callers(self._patience, bonds.lost)
        self._bound: Mapping[str, Bound] = {}
        self._told: Mapping[str, Bound] = {}

    @property
    def seen(self) -> tuple[Seen, ...]:
        """Devices of our services in the air now that are not bound; never connected to."""
        return self._callers.strangers

    async def run(self, bound: Mapping[str, Bound]) -> None:
        """Read the devices in `bound` (by address, upper case) until cancelled.

        `bound` may change meanwhile. A device that fails is reported to its sink and tried
        again. Raises `Unavailable` where Bluetooth itself is, for the caller to try again, and
        whatever else a driver raises, such as an error of the store: then readings are in
        danger, and a device had better not be asked for more.
        """
        self._bound = self._callers.bound = bound
        self._told = {}
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
            if self._callers.wanted is not None:
                self._callers.wanted.end(Unavailable("Bluetooth", "it has just stopped"))

    async def pair(self, address: str, ask: AskPasskey) -> None:
        """Pair the device at `address`, as a person wants it; `ask` gets its passkey from them.

        The device has to call within `Patience.pair` seconds. A bond that there was is removed
        first. Raises `Unavailable` where it does not call or Bluetooth does not work, and
        `NeedsPairing` where it refuses twice.
        """
        if not self._running:
            raise Unavailable("Bluetooth", "it does not work just now: see `qafila status`")
        if self._callers.wanted is not None:
            raise Unavailable("Bluetooth", "another device is being paired: wait for it")
        wanted = self._callers.wanted = await begin(self._stack, address.upper(), ask)
        try:
            async with asyncio.timeout(self._patience.pair):
                await wanted.heard.wait()
            await wanted.done
        except TimeoutError:
            raise Unavailable(address, "it does not call: start its pairing first") from None
        finally:
            self._callers.wanted = None

    async def _read(self) -> None:
        options: BlueZScannerArgs = {}
        if self._stack is not None:
            self._adapter = await self._stack.adapter()
            if self._adapter is not None:
                options["adapter"] = self._adapter
            # A crash of ours leaves devices connected, and those no longer call (bluez #89).
            await self._stack.let_go(tuple(self._bound))
            await self._bonding.settle()
        scanner = BleakScanner(self._callers.hear, backend=self._scanner_backend, bluez=options)
        while True:
            sighting = await self._next(scanner)
            self._await()  # of what was bound just now: after its visit there is more to say
            if wanted := self._callers.pairing(sighting.address):
                await self._pair(sighting, wanted)
            else:
                await self._serve(sighting, self._bound[sighting.address])

    def _await(self) -> None:
        """Say once of each device, now that we scan, what it is waited for to do.

        That is to call, or first of all to be paired. Before the scan it would be a lie: an
        adapter that is stuck takes its time to refuse it.
        """
        for address, each in self._bound.items():
            if self._told.get(address) is each:
                continue
            remedy = self._bonding.needs_person(address)
            if remedy is None:
                each.sink.report("waiting")
            else:
                each.sink.report("needs-pairing", remedy)
        self._told = dict(self._bound)

    async def _next(self, scanner: BleakScanner) -> Sighting:
        """Scan until a bound device calls; a silent stall of the stack restarts the scan."""
        quiet = 0
        while quiet < 2 or self._stack is None:  # noqa: PLR2004 - the scan is restarted once
            self._callers.listen_anew()
            async with scanning(scanner, self._patience.connect):
                self._await()
                sighting = await self._call()
            if sighting is not None and self._callers.answers(sighting.address):
                return sighting
            quiet = quiet + 1 if sighting is None else 0
        raise Quiet("Bluetooth", "nobody at all is heard")

    async def _call(self) -> Sighting | None:
        loop = asyncio.get_running_loop()
        stall = self._patience.stall
        while (silent_at := self._callers.silent_since + stall) > loop.time():
            look_at = min(silent_at, loop.time() + self._patience.look)
            try:
                async with asyncio.timeout_at(look_at):
                    return await self._callers.next()
            except TimeoutError:
                await self._look_for_adapter()
                self._await()
        return None

    async def _look_for_adapter(self) -> None:
        """Nobody calls through an adapter that was unplugged, and bleak says nothing of it."""
        if self._stack is not None and await self._stack.adapter() != self._adapter:
            raise Unavailable("Bluetooth", "the adapter was unplugged or has another number now")

    async def _serve(self, sighting: Sighting, bound: Bound) -> None:
        address = sighting.address
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
        self._callers.let_rest(address, failed=link.frames == 0)
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

    async def _pair(self, sighting: Sighting, wanted: Wanted) -> None:
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
            if wanted.address in self._bound:
                self._bound[wanted.address].sink.report("waiting")
            wanted.end()
        finally:
            await link.close()

    def _link(self, sighting: Sighting, *, pair: bool) -> BleakLink:
        device, name = sighting.device, sighting.seen.name
        return BleakLink(
            device,
            name,
            self._client_backend,
            self._patience.connect,
            pair=pair,
            companies=sighting.companies,
        )


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
