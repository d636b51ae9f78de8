"""What a frame says, as plain JSON: behind `qafila decode --json` and every capture. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.base import Decoded
from drivers.card import cards, decoder, driver_of_source
from drivers.errors import DriverError, ProtocolFault

if TYPE_CHECKING:
    from drivers.base import Measurement


class UnknownSource(DriverError):  # noqa: N818 - what was asked for, not a mistake of ours
    """No driver decodes this source; `known` are those that can be asked for."""

    def __init__(self, source: str, known: tuple[str, ...]) -> None:
        super().__init__(f"nothing decodes {source!r}; known sources: {', '.join(known)}")
        self.source = source
        self.known = known


def decode_frame(source: str, raw: bytes, name: str | None) -> dict[str, object]:
    """Decode `raw` as it came from `source` on a device called `name`.

    `source` is a characteristic (`2A35`) or the name of a serial driver, whose `raw` may hold
    several frames. The outcome is `reading`, `no-reading` or `rejected`; the latter two give
    their reason in one plain sentence. Values are text, so that 36.0 stays 36.0.
    `UnknownSource` where no driver decodes the source.
    """
    driver = driver_of_source(source)
    if driver is None:
        raise UnknownSource(source, tuple(known for card in cards() for known in card.sources))
    try:
        outcome = decoder(driver, source)(raw, name=name)
    except ProtocolFault as fault:
        return _said("rejected", fault.reason)
    if isinstance(outcome, Decoded):
        return _said("reading", None, outcome.readings)
    return _said("no-reading", outcome.reason)


def _said(
    outcome: str, reason: str | None, readings: tuple[Measurement, ...] = ()
) -> dict[str, object]:
    return {"outcome": outcome, "reason": reason, "readings": [_plain(each) for each in readings]}


def _plain(reading: Measurement) -> dict[str, object]:
    return {
        "kind": reading.kind,
        "values": [
            {"code": each.code, "value": str(each.value), "unit": each.unit}
            for each in reading.values
        ],
        "device_time": reading.device_time and reading.device_time.isoformat(),
        "clock_trusted": reading.clock_trusted,
        "user_slot": reading.user_slot,
        "site": reading.site,
        "status": list(reading.status),
        "quality": list(reading.quality),
    }
