"""The uplink: next, deliver, settle, for as long as there is a link; and after it, again.

Structured code is the state machine: a lost link is an exception, the end is cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from sync.backoff import Backoff
from sync.outbox import Link, LinkLost, LinkRefused, Outbox
from sync.session import Session, UplinkState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from sync.contract.envelope import SigningKey


class Uplink:
    """One destination. `connect` opens a link; `route` returns when the kernel has a new one."""

    def __init__(
        self,
        outbox: Outbox,
        connect: Callable[[], AbstractAsyncContextManager[Link]],
        key: SigningKey,
        centre_key: Ed25519PublicKey,
        route: Callable[[], Awaitable[None]],
    ) -> None:
        self._outbox = outbox
        self._connect = connect
        self._key = key
        self._centre_key = centre_key
        self._route = route
        self.state = UplinkState()

    async def run(self) -> None:
        """Keep a session going for ever; ends by cancellation only."""
        backoff = Backoff(random.uniform)
        while True:
            # In a task of its own: before Python 3.11.3 a task group may leave its task half
            # cancelled, and then a time-out in it ends as a cancellation that nobody asked for
            # (gh-102780; Debian 12 has 3.11.2).
            stood = await asyncio.create_task(self._attempt())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.wait(stood)):
                    await self._route()

    async def _attempt(self) -> float:
        """One connection; gives the seconds for which it stood, a live centre behind it."""
        session: Session | None = None
        self.state.show("connecting")
        try:
            async with self._connect() as link:
                self.state.connections += 1
                session = Session(link, self._outbox, self._key, self._centre_key, self.state)
                await session.run()
        except* LinkLost as lost:
            self.state.show("waiting", _words(lost))
        if session is None or session.greeted is None:
            return 0.0
        return asyncio.get_running_loop().time() - session.greeted


def _words(group: BaseExceptionGroup[LinkLost]) -> str:
    """What to tell people: a refusal before anything that came with it."""
    ends = sorted(_each(group), key=lambda end: not isinstance(end, LinkRefused))
    return str(ends[0])


def _each(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _each(inner)
    else:
        yield error
