"""Decode at start what a crash left undecoded: a device that confirmed it won't say it again."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from itertools import groupby
from typing import TYPE_CHECKING, cast

from agent.capture import Capture
from agent.store.frames import undecoded
from drivers import DRIVERS
from drivers.base import Decoded, Device, NoReading, Outcome
from drivers.card import card, decoder
from drivers.errors import ProtocolFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.store.frames import KeptFrame
    from agent.store.store import Store


async def recover(store: Store) -> int:
    """Decode or quarantine every frame that nobody has decoded; give how many there were."""
    frames = undecoded(store.reader)
    for _, same in groupby(frames, key=lambda frame: (frame.device, frame.driver)):
        await _recover_device(store, list(same))
    return len(frames)


async def _recover_device(store: Store, frames: list[KeptFrame]) -> None:
    driver = frames[0].driver
    if driver not in DRIVERS:
        await _settle(store, frames, ProtocolFault(f"no driver is called {driver} any more"))
        return
    whole = getattr(import_module(f"{DRIVERS[driver]}.codec"), "recover", None)
    if whole is not None:  # one reading spans several frames
        times = [frame.stamp.wall for frame in frames]
        contents = [frame.content for frame in frames]
        await _settle(store, frames, _outcome(lambda: cast("Outcome", whole(contents, times))))
        return
    decode = decoder(driver)
    for frame in frames:
        outcome = _outcome(partial(decode, frame.content, name=frame.name))
        await _settle(store, [frame], outcome)


def _outcome(decode: Callable[[], Outcome]) -> Outcome | ProtocolFault:
    try:
        return decode()
    except ProtocolFault as fault:
        return fault


async def _settle(store: Store, frames: list[KeptFrame], outcome: Outcome | ProtocolFault) -> None:
    if isinstance(outcome, Decoded):
        first = frames[0]
        device = Device(first.device, first.driver, first.name)
        numbers = tuple(frame.frame for frame in frames)
        await store.record_all(
            [
                Capture(
                    each,
                    device,
                    first.stamp,
                    first.box,
                    store.origin,
                    card(first.driver).version,
                    frames=numbers,
                )
                for each in outcome.readings
            ]
        )
        return
    done = "no-reading" if isinstance(outcome, NoReading) else "quarantined"
    for frame in frames:
        await store.conclude(frame.frame, done, outcome.reason)
