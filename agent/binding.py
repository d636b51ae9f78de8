"""Bind and forget devices while the agent runs; what `unit.toml` says is never changed by it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec
import structlog

from agent.errors import AgentError
from agent.store.bindings import AlreadyBound, Binding, NotBound, bind, bindings, release
from config.errors import SettingsFault
from config.load import require_place
from config.model import Device
from drivers import DRIVERS

if TYPE_CHECKING:
    from agent.stations import Stations
    from agent.store.connection import Connection
    from agent.store.store import Store
    from config.model import Settings

_LOG = structlog.get_logger("qafila.binding")


class CantBind(AgentError):  # noqa: N818 - says whose fault it is: the asker's
    """What was asked for is no device that could be bound; the text says which word is wrong."""


def bound_devices(connection: Connection, settings: Settings) -> list[Device]:
    """The devices bound by hand, as settings would have them; the settings' own come first."""
    names = {each.name for each in settings.devices}
    places = {each.at.lower() for each in settings.devices}
    found = []
    for each in bindings(connection):
        if each.name in names or each.place.lower() in places or each.driver not in DRIVERS:
            _LOG.warning("binding-ignored", device=each.name, place=each.place)
            continue
        found.append(_device(each))
    return found


class Bindings:
    """Binds to a box and forgets, in the store and in the stations at once."""

    def __init__(self, store: Store, stations: Stations, settings: Settings) -> None:
        self._store = store
        self._stations = stations
        self._origin = settings.unit.origin
        self._fixed = {each.name for each in settings.devices}

    async def bind(self, device: Device, actor: str) -> None:
        """Put a device into its box, by a person. CantBind, AlreadyBound, Misconfigured."""
        from agent.stations import identity_of  # noqa: PLC0415 - it knows this module

        if device.box is None:
            raise CantBind("bind: give the box")
        if device.driver not in DRIVERS:
            raise CantBind(f"bind: no such driver: one of {', '.join(DRIVERS)}")
        try:
            require_place(device.at, self._origin)
        except SettingsFault as fault:
            raise CantBind(f"bind: {fault}") from None
        for each in self._stations.devices:
            if each.name == device.name or each.at.lower() == device.at.lower():
                raise AlreadyBound(_taken(each, fixed=each.name in self._fixed))
        due = device.calibration_due
        binding = Binding(
            identity_of(device),
            device.driver,
            device.name,
            device.box,
            device.at,
            actor,
            None if due is None else due.isoformat(),
        )
        self._stations.check(device)
        await self._store.writer.write(lambda connection: bind(connection, binding))
        self._stations.add(device)

    async def forget(self, name: str, actor: str) -> None:
        """Take a device out of its box, by a person. NotBound."""
        if name in self._fixed:
            raise NotBound(f"{name} is written in unit.toml: take it out there, then restart")
        await self._store.writer.write(lambda connection: release(connection, name, actor))
        await self._stations.remove(name)


def device_of(asked: dict[str, str]) -> Device:
    """The device that the words of a request name; CantBind."""
    try:
        return msgspec.convert(asked, Device, strict=False)
    except msgspec.ValidationError as error:
        words = str(error).replace("`", "'")
        raise CantBind(f"bind: {words}") from None


def _device(binding: Binding) -> Device:
    due = binding.calibration_due
    return Device(
        name=binding.name,
        driver=binding.driver,
        at=binding.place,
        box=binding.box,
        calibration_due=None if due is None else dt.date.fromisoformat(due),
    )


def _taken(device: Device, *, fixed: bool) -> str:
    box = f"box {device.box}" if device.box else "no box"
    remedy = "take it out of unit.toml" if fixed else f"`qafila devices forget {device.name}`"
    return f"{device.name} at {device.at} is bound to {box} already: {remedy} first"
