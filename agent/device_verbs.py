"""What the control socket lets a person do with devices: pair, bind, forget, take a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.binding import Bindings, device_of
from agent.control import RequestWrong, text
from agent.pairings import Pairings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.control import Verb
    from agent.stations import Stations
    from agent.store.store import Store
    from config.model import Settings

_PASSKEY_DIGITS = 6
_OF_DEVICE = ("name", "driver", "at", "box", "calibration_due")


class DeviceVerbs:
    """The verbs, by the words in which they are asked for."""

    def __init__(self, store: Store, stations: Stations, settings: Settings) -> None:
        self._stations = stations
        self._bindings = Bindings(store, stations, settings)
        self._pairings = Pairings(stations.air.pair)

    def verbs(self) -> dict[str, Verb]:
        """Each verb under its name."""
        return {
            "pair": self._pair,
            "pairing": self._pairing,
            "passkey": self._passkey,
            "bind": self._bind,
            "forget": self._forget,
            "snapshot": self._snapshot,
        }

    async def _pair(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"stage": await self._pairings.begin(text(asked, "address"))}

    async def _pairing(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"stage": await self._pairings.look()}

    async def _passkey(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        digits = text(asked, "passkey")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _PASSKEY_DIGITS):
            raise RequestWrong("passkey: give the six digits that the device shows")
        return {"stage": await self._pairings.give(int(digits))}

    async def _bind(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        device = device_of({key: text(asked, key) for key in _OF_DEVICE if asked.get(key)})
        await self._bindings.bind(device, text(asked, "actor"))
        return {"bound": device.name}

    async def _forget(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        name = text(asked, "device")
        await self._bindings.forget(name, text(asked, "actor"))
        return {"forgotten": name}

    async def _snapshot(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        stored = await self._stations.snapshot(text(asked, "device"))
        return {"record": str(stored.record_id)}
