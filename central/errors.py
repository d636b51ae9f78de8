"""Errors of the centre, typed by whose fault they are. Messages hold no patient value."""

from __future__ import annotations


class CentreError(Exception):
    """Base of every error the centre raises on purpose; its text is one plain sentence."""


class Misconfigured(CentreError):  # noqa: N818 - says whose fault it is: the settings'
    """The settings or files cannot work as they are: `what` is wrong, `remedy` mends it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}: {remedy}")
        self.what = what
        self.remedy = remedy


class StoreUnavailable(CentreError):  # noqa: N818 - a state of the world, not a mistake
    """The database can't take anything now (disk full, locked): nothing was committed."""


class RecordFault(Exception):  # noqa: N818 - a fault of the peer; the code says which
    """One record will never be taken; it blocks no other.

    `code` is stable; `reason` is one plain sentence and holds no content of the record.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
