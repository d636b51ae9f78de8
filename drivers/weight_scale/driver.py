"""The driver of a scale: one GATT session that listens for the sources of its card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.card import card
from drivers.gatt_session import GattDriver
from drivers.weight_scale.codec import decode

if TYPE_CHECKING:
    from drivers.base import Driver


def build(settings: dict[str, object]) -> Driver:
    """The driver of a scale; `Misconfigured` for any setting, since it has none."""
    return GattDriver.of(card("weight-scale"), decode, settings)
