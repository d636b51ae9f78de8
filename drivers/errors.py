"""Errors of drivers, typed by whose fault they are. Messages hold no patient value."""

from __future__ import annotations


class DriverError(Exception):
    """Base of every error a driver raises on purpose."""


class ProtocolFault(DriverError):  # noqa: N818 - a fault of the peer, named as IEEE 11073 names it
    """The device sent bytes that its protocol does not allow.

    `reason` is one plain sentence without values; `offset` is where in the frame it shows,
    or None where no single byte is to blame.
    """

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class Unavailable(DriverError):  # noqa: N818 - a state of the world, not a mistake
    """A port, radio, camera or device is not there now: retry for ever, it may come back."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason


class Misconfigured(DriverError):  # noqa: N818 - says whose fault it is: the settings'
    """The settings cannot work as they are: do not retry, show the remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}: {remedy}")
        self.what = what
        self.remedy = remedy
