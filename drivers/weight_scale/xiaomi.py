"""What Xiaomi scales send as 2A9C, in a layout of their own. Pure.

Thirteen octets: unit bits, state bits, Date Time (2A08), impedance, weight. Public fact of
openScale's handlers; a frame of such a scale is among the captures.
"""

from __future__ import annotations

from decimal import Decimal

from drivers.base import Decoded, Measurement, NoReading, Outcome, Value
from drivers.medfloat import Reader
from drivers.spot import IMPLAUSIBLE, Bounds, is_plausible, read_clock

POUNDS = 0x01
STEADY = 0x20
CATTY = 0x40
EMPTY = 0x80

_BOUNDS = {
    "kg": Bounds(plausible=(0, 300), possible=(0, 500)),
    "[lb_av]": Bounds(plausible=(0, 661), possible=(0, 1000)),
}


def decode_xiaomi(raw: bytes, quirks: frozenset[str]) -> Outcome:
    """Decode one frame; `ProtocolFault` where it is another. Its impedance is read over.

    A weight that still moves, or that is taken off, is `NoReading`, and so is one in catty,
    which no code of ours names.
    """
    reader = Reader(raw)
    unit_bits, state = reader.unsigned(1), reader.unsigned(1)
    clock = read_clock(reader, present=True, quirks=quirks)
    reader.take(2)
    count = reader.unsigned(2)
    reader.end()
    if not state & STEADY or state & EMPTY or not count:
        return NoReading("The scale has not come to rest, or nothing stands on it.")
    if state & CATTY:
        return NoReading("The scale is set to catty; set it to kilograms.")
    unit = "[lb_av]" if unit_bits & POUNDS else "kg"
    # 1/200 kg is 5 g, 1/100 lb is itself: no digit is lost.
    number = Decimal(count).scaleb(-2) if unit_bits & POUNDS else Decimal(count * 5).scaleb(-3)
    quality = () if is_plausible(number, _BOUNDS[unit], "weight") else (IMPLAUSIBLE,)
    return Decoded(
        (
            Measurement(
                kind="body-weight",
                raw=raw,
                values=(Value("188736", number, unit),),
                repeatable=clock.repeatable,
                device_time=clock.time,
                clock_trusted=clock.trusted,
                quality=quality + clock.quality,
            ),
        )
    )
