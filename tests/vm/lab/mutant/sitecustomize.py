"""In the guest: the agent with one line taken out. It never hangs up after a visit.

Python loads it before the agent where PYTHONPATH names this folder. BlueZ then keeps the
subscription, and confirms the next measurement before anybody listens.
"""

from __future__ import annotations

import bleak


async def never(self: bleak.BleakClient) -> None:
    """What hanging up becomes."""
    del self


bleak.BleakClient.disconnect = never  # type: ignore[method-assign] # this is the mutation
