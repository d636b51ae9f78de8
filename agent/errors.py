"""Errors of the agent, typed by whose fault they are. Messages hold no patient value."""

from __future__ import annotations


class AgentError(Exception):
    """Base of every error the agent raises on purpose."""


class StoreError(AgentError):
    """The store could not do what was asked; nothing was changed."""


class StoreFull(StoreError):  # noqa: N818 - a state of the disk, not a mistake
    """The disk is full: the reading was NOT saved. Everything saved before is whole."""


class StoreBroken(StoreError):  # noqa: N818 - a state of the disk, not a mistake
    """The database can't be read or written: damaged, wrong key, or failing disk."""


class StoreDamaged(StoreBroken):
    """The database file itself is damaged; the next start sets it aside and goes on."""


class StoreBusy(StoreError):  # noqa: N818 - a state, not a mistake
    """Another agent works on this state folder."""


class StoreClosed(StoreError):  # noqa: N818 - a state, not a mistake
    """The store is closed."""


class Conflict(StoreError):  # noqa: N818 - a state of the world, not a mistake
    """A reading with this id but other raw bytes is stored already; the newcomer is quarantined."""


class KeyMissing(StoreError):  # noqa: N818 - a state of the machine, not a mistake
    """No key for the store, or one that can't be a key; the text names the remedy."""
