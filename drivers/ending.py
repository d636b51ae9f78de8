"""How a visit ends: what was heard is seen through, whoever is in a hurry."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine


async def see_through(work: Coroutine[None, None, None]) -> None:
    """Await `work` to its end, which is near; a cancellation meanwhile is raised after it.

    What was heard is already forgotten by the device, so stopping the agent must not lose it.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
