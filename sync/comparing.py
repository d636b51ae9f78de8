"""Comparing with the centre what is settled, day by day, until every record that differs is named.

A stretch that differs is cut and asked about again; nothing is settled or sent because of it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from sync.contract.digest import (
    ABSENT,
    STRETCHES_MAX,
    Compared,
    Differing,
    Question,
    encode_question,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sync.contract.digest import Answer
    from sync.contract.envelope import SigningKey
    from sync.contract.ranges import Range, Ranges

    Say = Callable[[str, bytes], Awaitable[None]]
    """Publishes a payload on a channel; LinkLost, LinkRefused."""

ANSWER_TIMEOUT = 60.0
"""Seconds until a centre that does not answer is taken for one that can't compare."""
NAMED_MAX = 1000
"""The most records that one comparison names; then it ends and says so."""


@dataclass(frozen=True, slots=True)
class Span:
    """Settled seqs, both ends included, and the UTC date of their records, None where unknown."""

    first: int
    last: int
    day: str | None

    def parts(self) -> tuple[Span, ...]:
        """The span cut into as many parts as one question takes."""
        size = -(-(self.last - self.first + 1) // STRETCHES_MAX)
        return tuple(
            Span(first, min(self.last, first + size - 1), self.day)
            for first in range(self.first, self.last + 1, size)
        )


@dataclass(frozen=True, slots=True)
class Named:
    """One record on which unit and centre differ; `found` is the centre's word for it."""

    epoch: str
    lane: str
    seq: int
    day: str | None
    found: str | None


@dataclass(slots=True)
class Comparison:
    """What one comparison came to; `answered` is False where the centre did not say a word.

    `records` and `days` were compared, `differing` holds what is not equal, in order; `whole` is
    False where there was more than could be named.
    """

    records: int = 0
    days: set[tuple[str, str | None]] = field(default_factory=set)
    differing: list[Named] = field(default_factory=list)
    answered: bool = True
    whole: bool = True

    def name(self, named: Named) -> None:
        """Note a record that differs, once."""
        known = any(
            (each.epoch, each.lane, each.seq) == (named.epoch, named.lane, named.seq)
            for each in self.differing
        )
        if not known and len(self.differing) < NAMED_MAX:
            self.differing.append(named)
        elif not known:
            self.whole = False


class Books(Protocol):
    """What a comparison asks of a store: digests of what is settled, over the bytes it holds."""

    async def due(self) -> None:
        """Return when it is time: once a day, or when a person asks."""

    def doubt(self) -> None:
        """The centre contradicts us: it is time, unless there was a comparison just now."""

    def meet(self, central_epoch: str) -> None:
        """A centre was heard: where it is another one than before, it is time."""

    async def lanes(self) -> tuple[tuple[str, str, int], ...]:
        """Every epoch and lane of which something is settled, with the last seq that is."""

    async def page(self, epoch: str, lane: str, span: Range) -> tuple[Compared, ...]:
        """The settled stretches of a span, by day, as many as a question takes; or none."""

    async def digests(self, epoch: str, lane: str, spans: Sequence[Span]) -> tuple[Compared, ...]:
        """The same of given spans."""

    async def conclude(self, comparison: Comparison) -> None:
        """Keep the result, say what became of each record, and raise an alarm where due."""


class Unanswered(Exception):  # noqa: N818 - a state of the world, not a mistake
    """The centre said nothing to a question."""


class Comparing:
    """The comparisons of one connection."""

    def __init__(self, say: Say, packet_max: int, books: Books, key: SigningKey, unit: str) -> None:
        self._say = say
        self._packet_max = packet_max
        self._books = books
        self._key = key
        self._unit = unit
        self._found = Comparison()
        self._question = ""
        self._answer: asyncio.Future[Answer] | None = None

    async def run(self) -> None:
        """Compare whenever it is due, until cancelled."""
        while True:
            await self._books.due()
            await self._books.conclude(await self._compare())

    def hear(self, answer: Answer) -> None:
        """Take an answer that was verified; one to another question is of no use any more."""
        waiting = self._answer
        if waiting and not waiting.done() and answer.question == self._question:
            waiting.set_result(answer)

    def recall(self, epoch: str, lane: str, recalled: Ranges) -> None:
        """Name what a receipt makes pending again: it may be whole before it is asked about."""
        seqs = (seq for first, last in recalled for seq in range(first, last + 1))
        for seq in islice(seqs, NAMED_MAX):
            self._found.name(Named(epoch, lane, seq, None, ABSENT))

    async def _compare(self) -> Comparison:
        found = self._found = Comparison()
        try:
            for epoch, lane, last in await self._books.lanes():
                await self._compare_lane(epoch, lane, last, found)
        except Unanswered:
            found.answered = False
        return found

    async def _compare_lane(self, epoch: str, lane: str, last: int, found: Comparison) -> None:
        """Up to what was settled when it began: readings may come faster than answers."""
        stretches = await self._books.page(epoch, lane, (1, last))
        while stretches and found.whole:
            found.records += sum(each.last - each.first + 1 for each in stretches)
            found.days |= {(lane, each.day) for each in stretches}
            await self._examine(epoch, lane, stretches, found)
            stretches = await self._books.page(epoch, lane, (stretches[-1].last + 1, last))

    async def _examine(
        self, epoch: str, lane: str, stretches: Sequence[Compared], found: Comparison
    ) -> None:
        """Ask about stretches, and about the parts of those that differ, down to the records."""
        waiting = deque(await self._ask(epoch, lane, stretches))
        while waiting:
            differing, day = waiting.popleft()
            if not found.whole:
                return
            if differing.first == differing.last:
                named = Named(epoch, lane, differing.first, day, differing.found)
                found.name(named)
                continue
            parts = Span(differing.first, differing.last, day).parts()
            narrower = await self._books.digests(epoch, lane, parts)
            waiting.extendleft(reversed(await self._ask(epoch, lane, narrower)))

    async def _ask(
        self, epoch: str, lane: str, stretches: Sequence[Compared]
    ) -> list[tuple[Differing, str | None]]:
        """The stretches that differ, each with its day; Unanswered."""
        self._question = str(uuid.uuid4())
        question = Question(
            unit=self._unit,
            epoch=epoch,
            lane=lane,
            question=self._question,
            stretches=tuple(stretches),
        )
        frame = encode_question(question, self._key)
        if len(frame) > self._packet_max:
            return await self._ask_in_halves(epoch, lane, stretches)
        self._answer = asyncio.get_running_loop().create_future()
        await self._say("up/digest", frame)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                answer = await self._answer
        except TimeoutError:
            raise Unanswered from None
        days = {(each.first, each.last): each.day for each in stretches}
        asked = [each for each in answer.differs if (each.first, each.last) in days]
        return [(each, days[each.first, each.last]) for each in asked]

    async def _ask_in_halves(
        self, epoch: str, lane: str, stretches: Sequence[Compared]
    ) -> list[tuple[Differing, str | None]]:
        """Ask within what the broker takes; Unanswered where it takes not even one stretch."""
        half = len(stretches) // 2
        if not half:
            raise Unanswered
        first = await self._ask(epoch, lane, stretches[:half])
        return first + await self._ask(epoch, lane, stretches[half:])
