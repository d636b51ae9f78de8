"""A virtual ether: Bluetooth controllers that hear each other and no one else.

A host in this process takes a controller as its HCI source and sink. A host in another process
opens the transport that `listen` names: each connection to it is an adapter of its own, which
is unplugged when the connection ends. Nothing leaves 127.0.0.1.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from bumble.controller import Controller
from bumble.core import BaseBumbleError
from bumble.device import Device, DeviceConfiguration
from bumble.hci import (
    Address,
    HCI_ErrorCode,
    HCI_LE_Connection_Complete_Event,
    HCI_StatusReturnParameters,
    Role,
)
from bumble.link import LocalLink
from bumble.ll import TerminateInd
from bumble.transport import open_transport
from bumble.transport.common import StreamPacketSink, StreamPacketSource

from drivers.lab.bleak_bumble import Backends, backends_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bumble.hci import HCI_LE_Create_Connection_Cancel_Command
    from bumble.transport.common import TransportSink, TransportSource

LOOPBACK = "127.0.0.1"
UNIT_ADDRESS = "C0:00:00:00:00:01"
"""The random static address of the unit's virtual adapter."""


class Ether:
    """One link of controllers; to be closed from the loop it was made on."""

    def __init__(self) -> None:
        self._link = LocalLink()  # type: ignore[no-untyped-call]
        self._servers: list[asyncio.Server] = []
        self._ports: set[_Port] = set()

    def controller(self, name: str) -> Controller:
        """A new controller for a host in this process: both its HCI source and its HCI sink."""
        # No public address: the link names the sender of a packet by its random one.
        return _Controller(name, link=self._link)

    async def listen(self, port: int = 0) -> str:
        """Offer controllers over HCI on 127.0.0.1 (0: any free port); give the transport's name."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Port(self, self._ports), LOOPBACK, port)
        self._servers.append(server)
        return f"tcp-client:{LOOPBACK}:{server.sockets[0].getsockname()[1]}"

    def unplug(self, controller: Controller) -> None:
        """Take a controller out of the air for good."""
        controller.le_legacy_advertiser.stop()
        for advertising in controller.advertising_sets.values():
            advertising.stop()
        self.lose(controller)
        self._link.controllers.discard(controller)

    def lose(self, controller: Controller) -> None:
        """End every connection of a controller as distance does, unasked, for both sides."""
        for connection in list(controller.le_connections.values()):
            lost = TerminateInd(HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
            with suppress(BaseBumbleError):  # the peer was unplugged before
                connection.send_ll_control_pdu(lost)
            controller.on_le_disconnected(connection, HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)

    async def close(self) -> None:
        """Unplug every controller and stop listening."""
        for server in self._servers:
            server.close()
        for port in list(self._ports):
            port.hang_up()
        for controller in list(self._link.controllers):
            self.unplug(controller)
        for server in self._servers:
            await server.wait_closed()


class _Controller(Controller):
    """bumble's controller, whose cancelling of a connection attempt does what the core says."""

    def on_hci_le_create_connection_cancel_command(
        self, _command: HCI_LE_Create_Connection_Cancel_Command
    ) -> HCI_StatusReturnParameters:
        """Core 6.0, volume 4, part E, 7.8.13: the attempt ends with Unknown Connection.

        bumble 0.0.236 answers and goes on connecting, so that every later attempt is refused.
        """
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is not None:
            asyncio.get_running_loop().call_soon(self._tell_cancelled, pending.peer_address)
        return HCI_StatusReturnParameters(HCI_ErrorCode.SUCCESS)

    def _tell_cancelled(self, peer: Address) -> None:
        self.send_hci_packet(
            HCI_LE_Connection_Complete_Event(
                status=HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                connection_handle=0,
                role=Role.CENTRAL,
                peer_address_type=peer.address_type,
                peer_address=peer,
                connection_interval=0,
                peripheral_latency=0,
                supervision_timeout=0,
                central_clock_accuracy=0,
            )
        )


class _Port(StreamPacketSource):
    """One TCP connection: an adapter plugged into the machine at the other end."""

    def __init__(self, ether: Ether, ports: set[_Port]) -> None:
        super().__init__()
        self._ether = ether
        self._ports = ports
        self._transport: asyncio.WriteTransport | None = None
        self._controller: Controller | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - as asyncio promises
        self._transport = transport
        self._controller = self._ether.controller("tcp")
        self.set_packet_sink(self._controller)
        self._controller.set_packet_sink(StreamPacketSink(transport))
        self._ports.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._controller is not None:
            self._controller.set_packet_sink(None)
            self._ether.unplug(self._controller)
        self._ports.discard(self)

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()


@asynccontextmanager
async def adapter(
    source: TransportSource, sink: TransportSink, address: str = UNIT_ADDRESS
) -> AsyncIterator[Backends]:
    """Give bleak's backends for an adapter at an HCI source and sink, powered on meanwhile."""
    settings = DeviceConfiguration(name="Qafila", address=Address(address))
    device = Device.from_config_with_hci(settings, source, sink)
    await device.power_on()
    try:
        yield backends_of(device)
    finally:
        await device.power_off()


@asynccontextmanager
async def open_adapter(transport: str) -> AsyncIterator[Backends]:
    """Give bleak's backends for the adapter behind a transport, such as `Ether.listen` names."""
    async with await open_transport(transport) as hci, adapter(hci.source, hci.sink) as backends:
        yield backends
