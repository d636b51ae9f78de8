"""When a value that a device repeats every second is a reading. Pure.

A finger in an oximeter gives a hundred frames, and one reading: the latest frame at which the
value had stood for five frames in a row, without a doubt of the device and without a leap.
What comes when the finger is drawn out is no reading any more, and changes nothing.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivers.base import Measurement

ENOUGH = 5
"""Frames in a row that must agree; devices repeat about once a second."""

_SPREAD = {
    "150456": Decimal(2),  # oxygen saturation, %
    "149530": Decimal(10),  # pulse rate by oximeter, /min
    "147842": Decimal(10),  # heart rate, /min
    "150364": Decimal("0.1"),  # body temperature of a patch, degrees Celsius
}
"""By how much values may differ within those frames, by their MDC code.

Any other quantity is carried along: a perfusion index (150488) varies with every breath, and
holds nothing up.
"""


class Settled:
    """Watches one stream of a visit; `reading` is what of it may be stored, if anything."""

    def __init__(self) -> None:
        self.reading: Measurement | None = None
        self._latest: deque[Measurement] = deque(maxlen=ENOUGH)

    def doubt(self) -> None:
        """A frame came that carries no value: what came before it does not count any more."""
        self._latest.clear()

    def watch(self, reading: Measurement) -> None:
        """A frame came that carries values."""
        if reading.quality:
            self.doubt()
            return
        self._latest.append(reading)
        if len(self._latest) == ENOUGH and self._stands():
            self.reading = reading

    def _stands(self) -> bool:
        said: dict[str, list[Decimal]] = {}
        for reading in self._latest:
            for value in reading.values:
                if value.code in _SPREAD:
                    said.setdefault(value.code, []).append(value.value)
        return bool(said) and all(
            len(numbers) >= ENOUGH and max(numbers) - min(numbers) <= _SPREAD[code]
            for code, numbers in said.items()
        )
