"""Decode at start what a crash left undecoded: a device that confirmed it won't say it again."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from itertools import groupby
from typing import TYPE_CHECKING, cast

import structlog

from agent.capture import Capture
from agent.errors import Conflict, StoreError, StoreFull
from agent.store.frames import undecoded
from drivers import DRIVERS
from drivers.base import Device, NoReading, records_of
from drivers.card import card, decoder
from drivers.errors import ProtocolFault

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from agent.store.frames import KeptFrame
    from agent.store.store import Store
    from drivers.base import Measurement, Outcome

_LOG = structlog.get_logger("qafila.recovery")


async def recover(store: Store, only: Collection[int] | None = None) -> int:
    """Decode or quarantine every frame that nobody has decoded; give how many there were.

    `only`: of these frames, where a station may be decoding others just now.

    One that can't be recovered stops neither the others nor the agent; what a full disk leaves
    undecoded waits for the next start.
    """
    frames = [each for each in undecoded(store.reader) if only is None or each.frame in only]
    for _, same in groupby(frames, key=lambda frame: (frame.device, frame.driver)):
        try:
            await _recover_device(store, list(same))
        except StoreFull as full:
            _LOG.error("recovery-postponed", reason=str(full))
            break
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
    for frame in frames:
        decode = decoder(driver, frame.source)
        outcome = _outcome(partial(decode, frame.content, name=frame.name))
        await _settle(store, [frame], outcome)


def _outcome(decode: Callable[[], Outcome]) -> Outcome | ProtocolFault:
    try:
        return decode()
    except ProtocolFault as fault:
        return fault
    except Exception:  # noqa: BLE001 - a bug in one decoder must not keep the unit from starting
        return _our_fault()


def _our_fault() -> ProtocolFault:
    _LOG.exception("recovery-failed")
    return ProtocolFault("the program has a fault here: see the journal")


async def _settle(store: Store, frames: list[KeptFrame], outcome: Outcome | ProtocolFault) -> None:
    fault = outcome if isinstance(outcome, ProtocolFault) else None
    records = () if isinstance(outcome, ProtocolFault) else records_of(outcome)
    if records:
        fault = await _record(store, frames, records)
    for frame in frames:
        if fault is not None:
            await store.conclude(frame.frame, "quarantined", fault.reason)
        elif isinstance(outcome, NoReading) and not records:
            await store.conclude(frame.frame, "no-reading", outcome.reason)


async def _record(
    store: Store, frames: list[KeptFrame], records: Sequence[Measurement]
) -> ProtocolFault | None:
    """Record what was decoded; a fault where it can't become a record."""
    first = frames[0]
    device = Device(first.device, first.driver, first.name)
    numbers = tuple(frame.frame for frame in frames)
    version = card(first.driver).version
    captures = [
        Capture(each, device, first.stamp, first.box, store.origin, version, frames=numbers)
        for each in records
    ]
    try:
        await store.record_all(captures)
    except Conflict as conflict:
        return ProtocolFault(str(conflict))
    except StoreError:
        raise
    except Exception:  # noqa: BLE001 - as above: what can't be recorded is kept and shown
        return _our_fault()
    return None
