"""In the guest: the agent with one line taken out. It never hangs up after a visit.

Python loads it before the agent where PYTHONPATH names this folder. BlueZ then keeps the
subscription, and confirms the next measurement before anybody listens.
"""

from __future__ import annotations

from typing import Any

import bleak


async def never(_: Any) -> None:
    """What hanging up becomes."""


bleak.BleakClient.disconnect = never  # type: ignore[method-assign]
