"""The unit's side of pairing on a virtual adapter: the radio's `Stack`, with bumble.

Bonds last as long as the adapter; there is no service to restart and nothing to reset.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bumble.keys import MemoryKeyStore
from bumble.pairing import PairingConfig, PairingDelegate

from drivers.ladder import Step
from drivers.links.stack import NotPossible

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from bumble.device import Connection, Device

    from drivers.lab.bleak_bumble import Backends
    from drivers.links.stack import AskPasskey


class LabStack:
    """Answers bumble's questions about pairing as our BlueZ agent answers BlueZ's."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._expected: str | None = None
        self._ask: AskPasskey | None = None
        self._keys = MemoryKeyStore()
        device.keystore = self._keys
        device.pairing_config_factory = self._config

    async def adapter(self) -> str | None:
        """See `Stack.adapter`: there is but one."""
        return None

    @asynccontextmanager
    async def expecting(self, address: str, ask: AskPasskey | None) -> AsyncIterator[None]:
        """See `Stack.expecting`."""
        self._expected, self._ask = address.upper(), ask
        try:
            yield
        finally:
            self._expected = self._ask = None

    def refused(self, address: str) -> bool:
        """See `Stack.refused`: bumble fails the visit in words."""
        del address
        return False

    async def bonded(self, address: str) -> bool:
        """See `Stack.bonded`."""
        return any(self._named(name, address) for name, _ in await self._keys.get_all())

    async def forget(self, address: str) -> None:
        """See `Stack.forget`."""
        for name, _ in await self._keys.get_all():
            if self._named(name, address):
                await self._keys.delete(name)

    async def let_go(self, addresses: Collection[str]) -> tuple[str, ...]:
        """See `Stack.let_go`."""
        wanted = {address.upper() for address in addresses}
        held = {_address(each): each for each in list(self._device.connections.values())}
        for address in wanted & held.keys():
            await held[address].disconnect()
        return tuple(wanted & held.keys())

    async def climb(self, step: Step) -> None:
        """See `Stack.climb`."""
        if step is not Step.RESTART_SCAN:
            raise NotPossible("a simulated adapter can't be helped: start the simulation again")

    def _config(self, connection: Connection) -> PairingConfig:
        mine = self._expected is not None and _address(connection) == self._expected
        return PairingConfig(
            sc=True,
            mitm=True,
            bonding=True,
            # As they advertise random addresses, bonds are kept under those.
            identity_address_type=PairingConfig.AddressType.RANDOM,
            delegate=_Delegate(self._ask) if mine else _Refusal(),
        )

    @staticmethod
    def _named(name: str, address: str) -> bool:
        return name.upper().partition("/")[0] == address.upper()


class _Delegate(PairingDelegate):
    def __init__(self, ask: AskPasskey | None) -> None:
        super().__init__(PairingDelegate.IoCapability.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT)
        self._ask = ask

    async def get_number(self) -> int | None:
        if self._ask is None:
            return None
        try:
            return await self._ask()
        except Exception:  # noqa: BLE001 - whatever a person's side raises is a no
            return None


class _Refusal(_Delegate):
    def __init__(self) -> None:
        super().__init__(None)

    async def accept(self) -> bool:
        return False

    async def confirm(self, auto: bool = False) -> bool:  # noqa: FBT001, FBT002 - bumble's own
        del auto
        return False


def lab_stack(backends: Backends) -> LabStack:
    """The stack of the adapter behind bleak's backends."""
    device: Device = backends.client.device  # type: ignore[attr-defined]
    return LabStack(device)


def _address(connection: Connection) -> str:
    return connection.peer_address.to_string(with_type_qualifier=False).upper()
