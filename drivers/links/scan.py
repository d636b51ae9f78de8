"""A scan that is stopped whatever happens, and Bluetooth's own failures in plain words."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakError,
)

from drivers.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bleak import BleakScanner

# What BlueZ and D-Bus raise through bleak besides its own errors: a socket that is not there
# or has gone, an answer that never came.
RADIO_ERRORS = (BleakError, OSError, EOFError, TimeoutError)

_WHY_NOT = {
    BleakBluetoothNotAvailableReason.NO_BLUETOOTH: "this computer shows no Bluetooth adapter",
    BleakBluetoothNotAvailableReason.POWERED_OFF: "the Bluetooth adapter is switched off",
    BleakBluetoothNotAvailableReason.DENIED_BY_SYSTEM: "the system does not let us use it",
}


@asynccontextmanager
async def scanning(scanner: BleakScanner, patience: float) -> AsyncIterator[None]:
    """Scan meanwhile; start and stop in `patience` seconds each, or `Unavailable`."""
    try:
        # Inside: where we are cancelled while it starts, it may scan already.
        async with _bluetooth(), asyncio.timeout(patience):
            await scanner.start()
        yield
    except BaseException:
        with suppress(*RADIO_ERRORS):
            async with asyncio.timeout(patience):
                await scanner.stop()
        raise
    async with _bluetooth(), asyncio.timeout(patience):
        await scanner.stop()


@asynccontextmanager
async def _bluetooth() -> AsyncIterator[None]:
    """Say in plain words that Bluetooth itself is not there."""
    try:
        yield
    except BleakBluetoothNotAvailableError as error:
        reason = _WHY_NOT.get(error.reason, "it is not available now")
        raise Unavailable("Bluetooth", reason) from error
    except (BleakError, TimeoutError) as error:
        raise Unavailable("Bluetooth", "the adapter does not scan") from error
    except (OSError, EOFError) as error:
        raise Unavailable("Bluetooth", "the Bluetooth service does not run") from error
