"""The driver of a thermometer: one GATT session that listens for 2A1C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.card import card
from drivers.gatt_session import GattDriver
from drivers.thermometer.codec import decode

if TYPE_CHECKING:
    from drivers.base import Driver


def build(settings: dict[str, object]) -> Driver:
    """A thermometer's driver; `Misconfigured` for any setting, since it has none."""
    return GattDriver.of(card("thermometer"), decode, settings)
