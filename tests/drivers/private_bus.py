# No `from __future__ import annotations`: dbus_fast reads the signatures off the annotations.
"""A private message bus (a real dbus-daemon) with a small BlueZ on it that calls its agent back."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from dbus_fast import DBusError, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.constants import PropertyAccess
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

BLUEZ, AGENT = "org.bluez", "org.bluez.Agent1"
CUFF = "F1:00:00:00:00:01"
Filter = Annotated[dict[str, Any], DBusSignature("a{sv}")]

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={path}</listen>
<auth>EXTERNAL</auth><policy context="default"><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"""


@asynccontextmanager
async def private_bus(folder: Path) -> AsyncIterator[str]:
    """The address of a bus of our own."""
    config, socket = folder / "bus.conf", folder / "bus"
    config.write_text(_CONFIG.format(path=socket))
    daemon = subprocess.Popen(  # noqa: ASYNC220 - it only starts
        ["dbus-daemon", f"--config-file={config}", "--nofork"]
    )
    try:
        async with asyncio.timeout(30):
            while not await _answers(f"unix:path={socket}"):
                assert daemon.poll() is None
                await asyncio.sleep(0.01)
        yield f"unix:path={socket}"
    finally:
        daemon.terminate()
        daemon.wait()


async def _answers(address: str) -> bool:
    bus = MessageBus(bus_address=address)
    try:
        await bus.connect()
    except OSError:
        return False
    bus.disconnect()
    return True


class Agents(ServiceInterface):
    """`AgentManager1`: who answers for people."""

    def __init__(self, world: "World") -> None:
        super().__init__("org.bluez.AgentManager1")
        self._world = world

    @dbus_method()
    def RegisterAgent(self, path: DBusObjectPath, capability: DBusStr) -> None:  # noqa: N802
        if self._world.agent is not None:
            raise DBusError("org.bluez.Error.AlreadyExists", "Already Exists")
        self._world.agent, self._world.capability = path, capability

    @dbus_method()
    def RequestDefaultAgent(self, path: DBusObjectPath) -> None:  # noqa: N802
        self._world.default = path
        self._world.said.append("default")

    @dbus_method()
    def UnregisterAgent(self, path: DBusObjectPath) -> None:  # noqa: N802
        assert path == self._world.agent
        self._world.agent = self._world.default = None
        self._world.said.append("unregistered")


class Adapter(ServiceInterface):
    """`Adapter1`: it refuses to scan while it is `stuck`, and can be switched."""

    def __init__(self, world: "World", name: str, address: str) -> None:
        super().__init__("org.bluez.Adapter1")
        self._name = name
        self._world = world
        self._address = address

    @dbus_property(access=PropertyAccess.READ)
    def Address(self) -> DBusStr:  # noqa: N802
        return self._address

    @dbus_property()
    def Powered(self) -> DBusBool:  # noqa: N802
        return self._world.powered

    @Powered.setter  # type: ignore[no-redef] # mypy knows the setters of `property` alone
    def Powered(self, on: DBusBool) -> None:  # noqa: N802
        self._world.powered = on
        self._world.said.append(f"powered {on}")

    @dbus_method()
    def SetDiscoveryFilter(self, properties: Filter) -> None:  # noqa: N802
        del properties

    @dbus_method()
    def StartDiscovery(self) -> None:  # noqa: N802
        self._world.said.append("scan")
        self._world.scanned_by = self._name
        if self._world.stuck:
            raise DBusError("org.bluez.Error.InProgress", "Operation already in progress")

    @dbus_method()
    def StopDiscovery(self) -> None:  # noqa: N802
        self._world.said.append("stop")

    @dbus_method()
    def RemoveDevice(self, path: DBusObjectPath) -> None:  # noqa: N802
        self._world.said.append("removed")
        self._world.bus.unexport(path)


class Device(ServiceInterface):
    """`Device1`: connected, and paired, as a crash has left it."""

    def __init__(self, world: "World", address: str) -> None:
        super().__init__("org.bluez.Device1")
        self._world = world
        self._address = address
        self._connected = True

    @dbus_property(access=PropertyAccess.READ)
    def Address(self) -> DBusStr:  # noqa: N802
        return self._address

    @dbus_property(access=PropertyAccess.READ)
    def Connected(self) -> DBusBool:  # noqa: N802
        return self._connected

    @dbus_property(access=PropertyAccess.READ)
    def Paired(self) -> DBusBool:  # noqa: N802
        return True

    @dbus_method()
    def Disconnect(self) -> None:  # noqa: N802
        self._connected = False
        self._world.said.append(f"disconnected {self._address}")


class Systemd(ServiceInterface):
    """systemd's manager, which may not be asked, or may."""

    def __init__(self, world: "World") -> None:
        super().__init__("org.freedesktop.systemd1.Manager")
        self._world = world

    @dbus_method()
    def RestartUnit(self, name: DBusStr, mode: DBusStr) -> DBusObjectPath:  # noqa: N802
        self._world.said.append(f"restart {name} {mode}")
        if not self._world.permits:
            raise DBusError("org.freedesktop.DBus.Error.AccessDenied", "not allowed")
        return "/org/freedesktop/systemd1/job/1"


class World:
    """BlueZ and systemd on one bus. `said` is what they were told, in order."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self.agent: str | None = None
        self.default: str | None = None
        self.capability = ""
        self.powered = True
        self.stuck = False
        self.scanned_by = ""
        self.permits = True
        self.said: list[str] = []

    def adapter(self, name: str, address: str) -> None:
        """Plug an adapter in."""
        self.bus.export(f"/org/bluez/{name}", Adapter(self, name, address))

    def device(self, address: str, adapter: str = "hci0") -> str:
        """Let a device be known; its path."""
        path = f"/org/bluez/{adapter}/dev_{address.replace(':', '_')}"
        self.bus.export(path, Device(self, address))
        return path

    async def ask(self, client: str, member: str, signature: str, *body: object) -> Any:
        """Call our agent, as BlueZ does; its answer, or the name of its error."""
        reply = await self.bus.call(
            Message(
                destination=client,
                path=self.agent,
                interface=AGENT,
                member=member,
                signature=signature,
                body=list(body),
            )
        )
        assert reply is not None
        if reply.message_type is MessageType.ERROR:
            return reply.error_name
        return reply.body[0] if reply.body else None


@asynccontextmanager
async def small_bluez(address: str) -> AsyncIterator[World]:
    """BlueZ and systemd at a bus, with the adapter `hci0`."""
    bus = await MessageBus(bus_address=address).connect()
    world = World(bus)
    bus.export("/org/bluez", Agents(world))
    bus.export("/org/freedesktop/systemd1", Systemd(world))
    world.adapter("hci0", "AA:00:00:00:00:01")
    await bus.request_name(BLUEZ)
    await bus.request_name("org.freedesktop.systemd1")
    try:
        yield world
    finally:
        bus.disconnect()
