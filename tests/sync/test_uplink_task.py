"""What an attempt leaves of a cancellation must not end the uplink."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from sync.outbox import LinkLost
from sync.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def test_cancellation_that_an_attempt_leaves_does_not_reach_the_wait_after_it() -> None:
    """Before Python 3.11.3 a task group leaves one, and the next time-out would end the task."""
    left: list[int] = []

    @asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            raise LinkLost("the link was lost") from None
        yield None

    async def route() -> None:
        task = asyncio.current_task()
        assert task is not None
        left.append(task.cancelling())
        await asyncio.sleep(0)

    key: Any = None
    running = asyncio.create_task(Uplink(key, connect, key, key, route).run())
    async with asyncio.timeout(30):
        while len(left) < 2:  # noqa: ASYNC110 - the uplink tells nobody
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert left[:2] == [0, 0]
