"""The uplink: next, deliver, settle, for as long as there is a link; and after it, again.

Structured code is the state machine: a lost link is an exception, the end is cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from typing import TYPE_CHECKING

from sync.allowance import Allowance
from sync.backoff import Backoff
from sync.outbox import Link, LinkLost, LinkRefused, Outbox, TakenOver
from sync.session import Session
from sync.uplink_state import UplinkState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from sync.comparing import Books
    from sync.contract.envelope import SigningKey


_ENDED_MAX, _ENDED_WITHIN = 10, 900.0
"""So many links on which the centre answered, and seconds within which that many may not end."""
_TAKEN = "another computer connects under this unit's name: find it, and end one of the two"
_SHORT = (
    "link after link ends soon after the centre answered: look whether another computer connects "
    "under this unit's name"
)


class Uplink:
    """One destination. `connect` opens a link; `route` returns when the kernel has a new one.

    `cap` is the most bytes a second that go up, over all connections; None for no cap.
    """

    def __init__(
        self,
        outbox: Outbox,
        connect: Callable[[], AbstractAsyncContextManager[Link]],
        key: SigningKey,
        centre_key: Ed25519PublicKey,
        route: Callable[[], Awaitable[None]],
        books: Books | None = None,
        cap: int | None = None,
    ) -> None:
        self._outbox = outbox
        self._connect = connect
        self._key = key
        self._centre_key = centre_key
        self._route = route
        self._books = books
        self._allowance = Allowance(cap)
        self._ended: deque[float] = deque(maxlen=_ENDED_MAX)
        self.state = UplinkState()

    async def run(self) -> None:
        """Keep a session going for ever; ends by cancellation only."""
        backoff = Backoff(random.uniform)
        while True:
            # In a task of its own: where the link goes as we are cancelled, the task group within
            # tells of the lost link alone (CPython, TaskGroup.__aexit__), and before Python 3.11.3
            # it may leave its task half cancelled (gh-102780; Debian 12 has 3.11.2).
            stood = await asyncio.ensure_future(self._attempt())
            if _told_to_end():
                raise asyncio.CancelledError
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.wait(stood)):
                    await self._route()

    async def _attempt(self) -> float:
        """One connection; gives the seconds for which it stood, a live centre behind it.

        A place that another has taken is given up at once: two of a name must not fight.
        """
        session: Session | None = None
        taken = False
        self.state.show("connecting")
        try:
            async with self._connect() as link:
                self.state.connections += 1
                session = self._session(link)
                await session.run()
        except* LinkLost as lost:
            self.state.show("waiting", _words(lost))
            taken = any(isinstance(each, TakenOver) for each in _each(lost))
        if taken:
            await self._outbox.alarm("unit-name-taken", _TAKEN)
        if session is None or session.greeted is None:
            return 0.0
        await self._suspect()
        return 0.0 if taken else asyncio.get_running_loop().time() - session.greeted

    async def _suspect(self) -> None:
        """MQTT 3.1.1 has no word for a place that was taken: tell by what happens."""
        now = asyncio.get_running_loop().time()
        self._ended.append(now)
        if len(self._ended) == _ENDED_MAX and now - self._ended[0] < _ENDED_WITHIN:
            self._ended.clear()
            await self._outbox.alarm("links-short", _SHORT)

    def _session(self, link: Link) -> Session:
        parts = (self._outbox, self._key, self._centre_key, self.state)
        return Session(link, *parts, self._books, self._allowance)


def _told_to_end() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


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
