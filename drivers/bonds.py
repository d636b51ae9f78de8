"""What the failed visits of a device say of its bond: pure, and kept over the stack's lives."""

from __future__ import annotations

from enum import Enum

ABORTS_OF_A_VISIT = 8
"""Connections aborted in a row, after which a visit has seen enough."""
REFUSED = "pairing refused"
"""What a visit ended in where the device wanted to be paired and nobody did."""
_ENOUGH = 3 * ABORTS_OF_A_VISIT
"""A single abort is the weather; so many without a frame between them are a bond that is gone."""
_REFUSALS = (
    REFUSED,
    "AuthenticationFailed",
    "key-missing",
    "Insufficient Authentication",
    "Insufficient Encryption",
    "NotPaired",
    "NotPermitted",
)


class Bond(Enum):
    """What is to be done about a bond. WANTED: there is none, and the device demands one."""

    SOUND = "sound"
    STALE = "stale"
    LOST = "lost"
    WANTED = "wanted"


class Bonds:
    """Tells a stale bond from bad reception, address by address; re-paired once, then asked.

    It outlives the stack, which may die in the very visit that gives it evidence (Linux 6.1 kills
    BlueZ's daemon as it closes the channel of a connection that was aborted).
    """

    def __init__(self) -> None:
        self._refused: set[str] = set()
        self._aborted: dict[str, int] = {}
        self._mended: set[str] = set()
        self.mending: set[str] = set()
        """Devices whose next connection has to pair as well."""
        self.lost: dict[str, str] = {}
        """Devices that are not connected to before a person has paired them, and why."""

    def failed(self, address: str, error: str, aborted: int) -> None:
        """A visit ended in the stack's `error`, after so many connections that were `aborted`.

        Error texts: `org.bluez.Error.AuthenticationFailed`, `le-connection-abort-by-…` (which is
        worth a whole visit of them), ATT's «Insufficient Authentication».
        """
        if "le-connection-abort" in error:
            aborted = max(aborted, ABORTS_OF_A_VISIT)
        if any(words in error for words in _REFUSALS):
            self._refused.add(address)
        self._aborted[address] = self._aborted.get(address, 0) + aborted

    @property
    def suspects(self) -> tuple[str, ...]:
        """Devices about whose bonds something may have to be done: see `judge`."""
        worn = {address for address, count in self._aborted.items() if count >= _ENOUGH}
        return tuple(sorted(self._refused | worn))

    def judge(self, address: str, *, bonded: bool) -> Bond:
        """What the failures of a suspect mean, which the stack keeps a bond with or doesn't.

        STALE: remove the bond and pair once more (`mend`). LOST: that has been done already, and
        a person has to pair it, as with WANTED (`give_up`).
        """
        if not bonded:
            return Bond.WANTED if address in self._refused else Bond.SOUND
        return Bond.LOST if address in self._mended else Bond.STALE

    def mend(self, address: str) -> None:
        """The bond was removed; the next connection pairs."""
        self.acquit(address)
        self._mended.add(address)
        self.mending.add(address)

    def give_up(self, address: str, why: str) -> None:
        """A person is needed."""
        self.acquit(address)
        self.mending.discard(address)
        self.lost[address] = why

    def acquit(self, address: str) -> None:
        """What was held against its bond says nothing of it."""
        self._refused.discard(address)
        self._aborted.pop(address, None)

    def worked(self, address: str) -> None:
        """A visit brought something: the bond is sound, and may be mended once again."""
        self.acquit(address)
        self._mended.discard(address)
        self.mending.discard(address)
        self.lost.pop(address, None)
