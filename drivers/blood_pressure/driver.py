"""The driver of a cuff: one GATT session that listens for 2A35."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.blood_pressure.codec import decode
from drivers.card import card
from drivers.gatt_session import GattDriver

if TYPE_CHECKING:
    from drivers.base import Driver


def build(settings: dict[str, object]) -> Driver:
    """A cuff's driver; `Misconfigured` for any setting, since a cuff has none."""
    return GattDriver.of(card("blood-pressure"), decode, settings)
