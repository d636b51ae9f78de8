"""BlueZ over D-Bus: the adapter by its address, bonds, what a crash left behind, recovery.

Facts: BlueZ `doc/org.bluez.Adapter.rst`, `org.bluez.Device.rst`; systemd's
`org.freedesktop.systemd1(5)`.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from dbus_fast import AuthError, BusType, ErrorType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from drivers.errors import Unavailable
from drivers.ladder import Step
from drivers.links.bluez_agent import AGENT_PATH, CAPABILITY, BluezAgent
from drivers.links.stack import Kept, NotPossible
from drivers.links.usb_reset import reset_adapter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from drivers.links.stack import AskPasskey

BLUEZ = "org.bluez"
ADAPTER, DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"
_ROOT = "/org/bluez"
_AGENTS = "org.bluez.AgentManager1"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_SYSTEMD = "org.freedesktop.systemd1"
_EXISTS = "org.bluez.Error.AlreadyExists"
_OFF = 1.0
"""Seconds for which an adapter stays off: less, and some chips keep their state."""
_PATIENCE = 20.0
_DENIED = frozenset(
    {
        ErrorType.ACCESS_DENIED.value,
        ErrorType.INTERACTIVE_AUTHORIZATION_REQUIRED.value,
        ErrorType.AUTH_FAILED.value,
    }
)
_UNKNOWN = frozenset({"org.bluez.Error.DoesNotExist", ErrorType.UNKNOWN_OBJECT.value})


class Refused(Exception):  # noqa: N818 - the peer's word for it
    """A D-Bus call was answered with an error; `name` is that of the error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


class BluezStack:
    """The stack behind one connection to the bus, and one life of BlueZ (`service`).

    A BlueZ that was restarted has forgotten our scan and our agent and says so to nobody (seen
    with BlueZ 5.66 and bleak 3.1): whatever is asked of it raises `Unavailable`, so that the
    radio begins anew.
    """

    def __init__(self, bus: MessageBus, service: str, agent: BluezAgent, kept: Kept) -> None:
        self._bus = bus
        self._service = service
        self._agent = agent
        self._kept = kept

    async def adapter(self) -> str | None:
        """See `Stack.adapter`."""
        path = await self._adapter_path()
        return None if path is None else path.rpartition("/")[2]

    @asynccontextmanager
    async def expecting(self, address: str, ask: AskPasskey | None) -> AsyncIterator[None]:
        """See `Stack.expecting`."""
        # A desktop's agent takes the default away.
        await _register(self._bus, self._service)
        with self._agent.expecting(address, ask):
            yield

    def refused(self, address: str) -> bool:
        """See `Stack.refused`."""
        return self._agent.refused(address)

    async def bonded(self, address: str) -> bool:
        """See `Stack.bonded`."""
        return any(
            bool(_value(known, "Paired")) for known in (await self._devices([address])).values()
        )

    async def forget(self, address: str) -> None:
        """See `Stack.forget`."""
        for path in await self._devices([address]):
            adapter = path.rpartition("/")[0]
            try:
                await self._call(self._service, adapter, ADAPTER, "RemoveDevice", "o", [path])
            except Refused as no:
                if no.name not in _UNKNOWN:
                    raise Unavailable("Bluetooth", "it does not forget a device") from no

    async def let_go(self, addresses: Collection[str]) -> tuple[str, ...]:
        """See `Stack.let_go`."""
        held = {
            path: str(_value(known, "Address"))
            for path, known in (await self._devices(addresses)).items()
            if _value(known, "Connected")
        }
        for path in held:
            with suppress(Refused):  # it has just left by itself, or the ladder will see to it
                await self._call(self._service, path, DEVICE, "Disconnect")
        return tuple(held.values())

    async def climb(self, step: Step) -> None:
        """See `Stack.climb`; the scan is stopped and started by whoever scans."""
        if step is Step.POWER_CYCLE:
            await self._power_cycle()
        elif step is Step.RESET:
            await asyncio.to_thread(reset_adapter, await self.adapter())
        elif step is Step.RESTART_SERVICE:
            await self._restart_service()

    async def _power_cycle(self) -> None:
        path = await self._adapter_path()
        if path is None:
            raise NotPossible("this computer shows no Bluetooth adapter: plug it in again")
        try:
            await self._power(path, on=False)
            await asyncio.sleep(_OFF)
            await self._power(path, on=True)
        except Refused as no:
            raise NotPossible("the adapter can't be switched: see `rfkill list`") from no

    async def _power(self, path: str, *, on: bool) -> None:
        value = [ADAPTER, "Powered", Variant("b", on)]
        await self._call(self._service, path, _PROPERTIES, "Set", "ssv", value)

    async def _restart_service(self) -> None:
        try:
            await self._call(
                _SYSTEMD,
                "/org/freedesktop/systemd1",
                f"{_SYSTEMD}.Manager",
                "RestartUnit",
                "ss",
                ["bluetooth.service", "replace"],
            )
        except Refused as no:
            why = "qafila may not restart it" if no.name in _DENIED else "it can't be restarted"
            remedy = f"{why}: ask an administrator for `systemctl restart bluetooth`"
            raise NotPossible(remedy) from no

    async def _adapter_path(self) -> str | None:
        found = {
            str(_value(interfaces[ADAPTER], "Address")).upper(): path
            for path, interfaces in (await self._objects()).items()
            if ADAPTER in interfaces
        }
        if not found:
            return None
        first = min(found, key=lambda address: found[address])
        if self._kept.address is None:
            self._kept.address = first
        return found.get(self._kept.address, found[first])

    async def _devices(self, addresses: Collection[str]) -> dict[str, Mapping[str, Variant]]:
        wanted = {address.upper() for address in addresses}
        return {
            path: interfaces[DEVICE]
            for path, interfaces in (await self._objects()).items()
            if DEVICE in interfaces and str(_value(interfaces[DEVICE], "Address")).upper() in wanted
        }

    async def _objects(self) -> dict[str, dict[str, Mapping[str, Variant]]]:
        manager = "org.freedesktop.DBus.ObjectManager"
        try:
            (found,) = await self._call(self._service, "/", manager, "GetManagedObjects")
        except Refused as no:
            raise Unavailable("Bluetooth", "its service was stopped or restarted") from no
        objects: dict[str, dict[str, Mapping[str, Variant]]] = found
        return objects

    async def _call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
    ) -> list[Any]:
        return await call(self._bus, destination, path, interface, member, signature, body or [])


async def call(
    bus: MessageBus,
    destination: str,
    path: str,
    interface: str,
    member: str,
    signature: str,
    body: list[Any],
) -> list[Any]:
    """Call a method and give its answer; `Refused`, or `Unavailable` where none comes."""
    message = Message(
        destination=destination,
        path=path,
        interface=interface,
        member=member,
        signature=signature,
        body=body,
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            reply = await bus.call(message)
    except (OSError, EOFError, TimeoutError) as error:
        raise Unavailable("Bluetooth", "the Bluetooth service does not answer") from error
    if reply is None:
        raise Unavailable("Bluetooth", "the Bluetooth service does not answer")
    if reply.message_type is MessageType.ERROR:
        raise Refused(reply.error_name or "", str(reply.body[0]) if reply.body else "")
    return list(reply.body)


@asynccontextmanager
async def open_stack(
    bus_address: str | None = None, kept: Kept | None = None
) -> AsyncIterator[BluezStack]:
    """BlueZ, with our agent as its default one meanwhile; `Unavailable` where there is none.

    `kept` remembers the adapter from one opening to the next; `bus_address` is that of another
    bus than the system's.
    """
    bus = MessageBus(bus_address=bus_address, bus_type=BusType.SYSTEM)
    try:
        await bus.connect()
    except (OSError, EOFError, AuthError) as error:
        raise Unavailable("Bluetooth", "this computer's message bus does not answer") from error
    try:
        agent = BluezAgent()
        bus.export(AGENT_PATH, agent)
        await _register(bus, BLUEZ)
        service = await _owner(bus)
        try:
            yield BluezStack(bus, service, agent, kept or Kept())
        finally:
            with suppress(Refused, Unavailable):  # BlueZ has gone, and our agent with it
                await call(bus, service, _ROOT, _AGENTS, "UnregisterAgent", "o", [AGENT_PATH])
    finally:
        bus.disconnect()


async def _register(bus: MessageBus, service: str) -> None:
    try:
        try:
            words = [AGENT_PATH, CAPABILITY]
            await call(bus, service, _ROOT, _AGENTS, "RegisterAgent", "os", words)
        except Refused as no:
            if no.name != _EXISTS:
                raise
        await call(bus, service, _ROOT, _AGENTS, "RequestDefaultAgent", "o", [AGENT_PATH])
    except Refused as no:
        raise Unavailable("Bluetooth", "the Bluetooth service does not run") from no


async def _owner(bus: MessageBus) -> str:
    """Who BlueZ is on the bus in this life of it: a name that is never given twice."""
    daemon = "org.freedesktop.DBus"
    path = "/org/freedesktop/DBus"
    try:
        (name,) = await call(bus, daemon, path, daemon, "GetNameOwner", "s", [BLUEZ])
    except Refused as no:
        raise Unavailable("Bluetooth", "the Bluetooth service does not run") from no
    return str(name)


def _value(properties: Mapping[str, Variant], name: str) -> Any:
    found = properties.get(name)
    return None if found is None else found.value
