"""No driver: how the memory is asked for is not among the public facts we have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.errors import Misconfigured

if TYPE_CHECKING:
    from drivers.base import Driver


def build(settings: dict[str, object]) -> Driver:
    """Always `Misconfigured`: records are decoded here, and read by another program."""
    given = "".join(f" (and remove {each})" for each in sorted(settings))
    raise Misconfigured(
        "omron-memory",
        "choose another driver: this one decodes records and can't read a cuff's memory, so take "
        f"a cuff of the standard profile or enter its readings by hand{given}",
    )
