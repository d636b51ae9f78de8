"""Who calls over the air: bound devices, one by one, and strangers of our services, to be shown."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bleak.uuids import normalize_uuid_str

from drivers.card import cards

if TYPE_CHECKING:
    from collections.abc import Container

    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData

    from drivers.links.bonding import Wanted

_MOST_STRANGERS = 64
"""Phones change their address every few minutes; the list must not grow with them."""


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


@dataclass(frozen=True, slots=True)
class Seen:
    """A device of our services that nobody has bound; `services` as in cards (`1810`)."""

    address: str
    name: str | None
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A device that calls: how bleak knows it, how people do, and when it was heard."""

    device: BLEDevice
    seen: Seen
    at: float
    companies: tuple[int, ...]

    @property
    def address(self) -> str:
        """The address, in capitals."""
        return self.seen.address


@dataclass(slots=True)
class _Rest:
    until: float = 0.0
    failures: int = 0


class Callers:
    """Hears every advertisement. `lost`: bound devices that are not listened to for now.

    `bound` are the addresses that are read, `wanted` is what a person is pairing just now.
    """

    def __init__(self, patience: Patience, lost: Container[str]) -> None:
        self.bound: Container[str] = ()
        self.wanted: Wanted | None = None
        self.silent_since = 0.0
        """When anybody at all was last heard, or the scan was started (loop time)."""
        self._patience = patience
        self._lost = lost
        self._services = {
            normalize_uuid_str(service): service
            for card in cards()
            if card.transport == "gatt"
            for service in card.match.services
        }
        self._strangers: dict[str, Sighting] = {}
        self._rests: dict[str, _Rest] = {}
        self._called: asyncio.Queue[Sighting] = asyncio.Queue()

    @property
    def strangers(self) -> tuple[Seen, ...]:
        """Devices of our services in the air now that are not bound."""
        oldest = _now() - self._patience.seen
        self._strangers = {
            address: each
            for address, each in self._strangers.items()
            if each.at >= oldest and address not in self.bound
        }
        return tuple(each.seen for each in self._strangers.values())

    def listen_anew(self) -> None:
        """A scan begins: who called before may have fallen silent, and connecting would hang."""
        self._called = asyncio.Queue()
        self.silent_since = _now()

    def hear(self, device: BLEDevice, said: AdvertisementData) -> None:
        """Take an advertisement, as bleak gives it."""
        now = self.silent_since = _now()
        said_of = {normalize_uuid_str(uuid) for uuid in said.service_uuids}
        services = tuple(short for uuid, short in self._services.items() if uuid in said_of)
        seen = Seen(device.address.upper(), said.local_name or device.name, services)
        sighting = Sighting(device, seen, now, tuple(said.manufacturer_data))
        if self.answers(seen.address):
            if self.pairing(seen.address) or self._is_rested(seen.address, now):
                self._called.put_nowait(sighting)
        elif seen.address not in self.bound and services:
            self._note_stranger(sighting)

    async def next(self) -> Sighting:
        """The next device that called and is to be connected to."""
        return await self._called.get()

    def answers(self, address: str) -> bool:
        """Whether a device is connected to when it calls."""
        bound = address in self.bound and address not in self._lost
        return bound or self.pairing(address) is not None

    def pairing(self, address: str) -> Wanted | None:
        """What a person wants of a device, where it is the one that is being paired."""
        return self.wanted if self.wanted and self.wanted.address == address else None

    def let_rest(self, address: str, *, failed: bool) -> None:
        """A visit has ended: the next is not before a pause, the longer the more have failed."""
        rest = self._rests.setdefault(address, _Rest())
        rest.failures = rest.failures + 1 if failed else 0
        pause = min(self._patience.rest * 2**rest.failures, self._patience.longest_rest)
        rest.until = _now() + pause

    def _is_rested(self, address: str, now: float) -> bool:
        rest = self._rests.get(address)
        return rest is None or now >= rest.until

    def _note_stranger(self, sighting: Sighting) -> None:
        self._strangers.pop(sighting.address, None)
        self._strangers[sighting.address] = sighting
        if len(self._strangers) > _MOST_STRANGERS:
            del self._strangers[next(iter(self._strangers))]


def _now() -> float:
    return asyncio.get_running_loop().time()
