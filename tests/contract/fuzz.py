"""Fuzzed frames through every codec, in turns for so many seconds.

    python -m tests.contract.fuzz SEED SECONDS

It says `broken DRIVER WORDS` of each codec that raises anything but its own error, with what
repeats it, and at the end `DRIVER COUNT` of each.
"""

from __future__ import annotations

import os
import sys
import time
from random import Random
from typing import TYPE_CHECKING

from drivers import DRIVERS
from drivers.base import Decoded, NoReading
from drivers.card import card, decoder
from drivers.errors import ProtocolFault
from tests.contract.cases import Case, cases, codec, held_to
from tests.model.schedules import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drivers.base import Measurement

FUZZED = int(os.environ.get("QAFILA_FUZZED", "10000"))
"""Fuzzed frames a codec, at the most; a million in `make soak` and `make soak-codecs`."""
LONGEST_NOISE = 300
_TURN = 400
"""Frames that one codec gets from one seed."""


def judge(case: Case, raw: bytes) -> str:
    """The outcome of a frame; anything but a fault or a legal outcome fails the test."""
    try:
        outcome = decoder(case.driver, case.source)(raw, name=case.device)
    except ProtocolFault as fault:
        require_plain(fault, raw)
        return "rejected"
    if isinstance(outcome, NoReading):
        assert outcome.reason.endswith("."), outcome.reason
        if outcome.report is not None:
            require_failure(case.driver, outcome.report)
        return "no-reading"
    assert isinstance(outcome, Decoded)
    assert outcome.readings
    for reading in outcome.readings:
        require_legal(case.driver, reading)
    return "reading"


def require_plain(fault: ProtocolFault, raw: bytes) -> None:
    assert fault.reason.endswith("."), fault.reason
    assert fault.offset is None or 0 <= fault.offset <= len(raw)


def require_failure(driver: str, report: Measurement) -> None:
    assert report.kind in card(driver).kinds
    assert report.absent
    assert report.raw
    assert not report.values
    assert not report.blobs
    assert report.coded is None


def require_legal(driver: str, reading: Measurement) -> None:
    its = card(driver)
    assert reading.kind in its.kinds
    assert reading.raw
    assert {value.code for value in reading.values} <= {each.code for each in its.measures}
    assert all(value.value.is_finite() and value.unit for value in reading.values)
    assert all(blob.content and blob.media_type and blob.role for blob in reading.blobs)
    assert reading.values or reading.blobs or reading.duration
    assert reading.absent is None
    assert reading.device_time is None or reading.device_time.tzinfo is None
    assert reading.device_time is not None or not reading.clock_trusted


def fuzzed(driver: str, chance: Random, count: int) -> Iterator[tuple[Case, bytes]]:
    """Noise, and captures with bytes changed, dropped, doubled and put together anew."""
    known = cases(driver)
    for number in range(count):
        case = chance.choice(known)
        if number % 4 == 0:
            yield case, chance.randbytes(chance.randrange(LONGEST_NOISE))
            continue
        raw = bytearray(case.raw)
        for _ in range(chance.randint(1, 4)):
            at, end = sorted(chance.randrange(len(raw) + 1) for _ in range(2))
            end = min(end, at + 8)
            spare = chance.choice(known).raw
            cut = chance.randrange(len(spare) + 1)
            raw[at:end] = chance.choice(
                [chance.randbytes(end - at), b"", raw[at:end] * 2, spare[cut : cut + 8]]
            )
        yield case, bytes(raw)


def decode_fuzzed(driver: str, seed: int, count: int) -> set[str]:
    """Decode so many frames one by one; the outcomes there were."""
    return {judge(case, raw) for case, raw in fuzzed(driver, Random(seed), count)}


def feed_noise(driver: str, seed: int, count: int) -> None:
    """Feed so many frames as one stream, begun anew after each fault."""
    framer = codec(driver).Framer()
    for _, raw in fuzzed(driver, Random(seed), count):
        try:
            framer.feed(raw)
        except ProtocolFault:
            framer = codec(driver).Framer()


def main(seed: str, seconds: str) -> int:
    """Fuzz; give the exit code."""
    chance, end = Random(int(seed)), time.monotonic() + float(seconds)
    broken, count = False, 0
    while count == 0 or (time.monotonic() < end and count < FUZZED):
        for driver in DRIVERS:
            broken |= not _hold(driver, chance.randrange(1 << 40))
        count += _TURN
    for driver in DRIVERS:
        say(driver, count)
    return int(broken)


def _hold(driver: str, seed: int) -> bool:
    """Give a codec its frames; whether it stood them."""
    try:
        decode_fuzzed(driver, seed, _TURN)
        if driver in held_to("byte-by-byte"):
            feed_noise(driver, seed, _TURN // 4)
    except Exception as fault:  # noqa: BLE001 - whatever it is, the others go on
        again = f"make soak-codecs FUZZ_SEED={seed} FUZZED={_TURN}"
        say("broken", driver, f"{again}: {fault!r}")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
