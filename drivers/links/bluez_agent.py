# No `from __future__ import annotations`: dbus_fast reads the signatures off the annotations.
"""Our own pairing agent of BlueZ (`org.bluez.Agent1`): it answers for a person, never for itself.

bleak registers none, and without one BlueZ refuses every pairing. Facts: BlueZ,
`doc/org.bluez.Agent.rst` and `doc/org.bluez.AgentManager.rst`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from dbus_fast import DBusError
from dbus_fast.annotations import DBusObjectPath, DBusStr, DBusUInt16, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method

AGENT_PATH = "/org/qafila/agent"
CAPABILITY = "KeyboardDisplay"
_REJECTED = "org.bluez.Error.Rejected"
_CANCELED = "org.bluez.Error.Canceled"
_PASSKEYS = range(1_000_000)

AskPasskey = Callable[[], Awaitable[int]]
"""Asks a person for the number that the device shows, 0 to 999999."""


@dataclass
class _Pairing:
    """A pairing that is under way; `tail` ends the D-Bus path of its device."""

    tail: str
    ask: AskPasskey | None
    asking: asyncio.Task[int] | None = None


class BluezAgent(ServiceInterface):
    """Says yes to the one device that a person is pairing just now, and no to all others.

    A number to be compared is accepted as Just Works is: the devices of a box have no key to
    answer with, and a person has started the pairing.
    """

    def __init__(self) -> None:
        super().__init__("org.bluez.Agent1")
        self._pairing: _Pairing | None = None
        self._refused = ""

    @contextlib.contextmanager
    def expecting(self, address: str, ask: AskPasskey | None) -> Iterator[None]:
        """Answer for the device at `address` meanwhile; without `ask` a passkey is refused."""
        pairing = _Pairing(_tail(address), ask)
        self._pairing = pairing
        try:
            yield
        finally:
            self._stop_asking()
            self._pairing = None

    def refused(self, address: str) -> bool:
        """Whether the last answer was a no to pairing the device at `address`; asked for once.

        BlueZ itself does not say so: a subscription that needs a bond just never returns (seen
        with BlueZ 5.66).
        """
        found = self._refused.endswith(_tail(address))
        self._refused = ""
        return found

    @dbus_method()
    def Release(self) -> None:  # noqa: N802 - D-Bus names, here and below
        """BlueZ has let go of us."""
        self._stop_asking()

    @dbus_method()
    def Cancel(self) -> None:  # noqa: N802
        """The request before is void: whoever is being asked need not answer."""
        self._stop_asking()

    @dbus_method()
    def RequestConfirmation(self, device: DBusObjectPath, passkey: DBusUInt32) -> None:  # noqa: N802
        """Accept, where a person is pairing this device."""
        del passkey
        self._expected(device)

    @dbus_method()
    def RequestAuthorization(self, device: DBusObjectPath) -> None:  # noqa: N802
        """Accept Just Works, where a person is pairing this device."""
        self._expected(device)

    @dbus_method()
    def AuthorizeService(self, device: DBusObjectPath, uuid: DBusStr) -> None:  # noqa: N802
        """Refuse: no device has to use a service of ours."""
        raise DBusError(_REJECTED, f"{device} may not use {uuid}")

    @dbus_method()
    async def RequestPasskey(self, device: DBusObjectPath) -> DBusUInt32:  # noqa: N802
        """The number that the device shows, from a person."""
        pairing = self._expected(device)
        if pairing.ask is None:
            raise DBusError(_REJECTED, "nobody is there to read a passkey")
        pairing.asking = asyncio.ensure_future(pairing.ask())
        try:
            passkey = await pairing.asking
        except asyncio.CancelledError:
            raise DBusError(_CANCELED, "nobody needs the passkey any more") from None
        except Exception:  # noqa: BLE001 - whatever a person's side raises is a no
            raise DBusError(_REJECTED, "nobody has given the passkey") from None
        finally:
            pairing.asking = None
        if passkey not in _PASSKEYS:
            raise DBusError(_REJECTED, "a passkey has six digits")
        return passkey

    @dbus_method()
    def RequestPinCode(self, device: DBusObjectPath) -> DBusStr:  # noqa: N802
        """Refuse: PIN codes are of Bluetooth Classic, which no device of ours speaks."""
        raise DBusError(_REJECTED, f"{device} asks for a PIN code")

    @dbus_method()
    def DisplayPinCode(self, device: DBusObjectPath, pincode: DBusStr) -> None:  # noqa: N802
        """Refuse, as `RequestPinCode`."""
        raise DBusError(_REJECTED, f"{device} has no use for a PIN code of {len(pincode)} signs")

    @dbus_method()
    def DisplayPasskey(  # noqa: N802
        self, device: DBusObjectPath, passkey: DBusUInt32, entered: DBusUInt16
    ) -> None:
        """Refuse: no device of a box has keys to type a passkey with."""
        raise DBusError(_REJECTED, f"{device} can't be given {passkey} after {entered} digits")

    def _expected(self, device: str) -> _Pairing:
        pairing = self._pairing
        if pairing is None or not device.endswith(pairing.tail):
            self._refused = device
            raise DBusError(_REJECTED, "no person is pairing this device now")
        return pairing

    def _stop_asking(self) -> None:
        if self._pairing is not None and self._pairing.asking is not None:
            self._pairing.asking.cancel()


def _tail(address: str) -> str:
    """How the D-Bus path of the device at `address` ends."""
    return "/dev_" + address.upper().replace(":", "_")
