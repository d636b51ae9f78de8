"""A unit, a network and a centre in simulated time: one whole schedule from one seed.

The code that plans and settles is the product's (`sync.plan`, `sync.lane`, the contract); the
session around it is written anew from `docs/explanation/synchronisation.md`: greet, then two
parcels at a time, time out, reconnect. Nothing sleeps; a second costs nothing.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from sync.answer import speaks_of
from sync.lane import Ignored, RestoredCopy, Why
from sync.outbox import BatchParcel, Parcel

from .centre import ModelCentre
from .unit import LANE, PureUnit

if TYPE_CHECKING:
    from collections.abc import Callable

    from sync.contract.receipt import Receipt

WINDOW = 2
CHUNK_WINDOW = 3
ANSWER_TIMEOUT = 30.0
FAULTY = 120.0
"""Seconds of a schedule in which faults happen; then it has until CEILING to end."""
CEILING = 1200.0
EVENTS_MAX = 100_000


class Violation(AssertionError):  # noqa: N818 - what is broken is a promise
    """A promise is broken; the text says which."""


@dataclass
class Weather:
    """How the network is in one schedule, drawn once."""

    latency: float
    lost: float
    doubled: float
    cuts: float
    crashes: float
    restores: float
    pictures: float
    poison: float

    @classmethod
    def draw(cls, chance: random.Random) -> Weather:
        """Some schedules are calm in one thing and wild in another."""
        some = chance.choice
        return cls(
            latency=some((0.01, 0.6, 5.0)),
            lost=some((0.0, 0.05, 0.4)),
            doubled=some((0.0, 0.1, 0.5)),
            cuts=some((0.0, 0.01, 0.05)),
            crashes=some((0.0, 0.01, 0.03)),
            restores=some((0.0, 0.0, 0.01)),
            pictures=some((0.0, 0.2)),
            poison=some((0.0, 0.1)),
        )


@dataclass
class Simulation:
    """One schedule. `run` raises Violation where a promise is broken."""

    seed: int
    make: Callable[[str], PureUnit] = PureUnit
    now: float = 0.0
    session: int = 0
    greeted: bool = False
    recorded: int = 0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)
    _flying: dict[int, Parcel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.weather = Weather.draw(self.chance)
        self.unit = self.make("test-01")
        self.centre = ModelCentre("test-01")
        self.old: list[Receipt] = []
        self.hello = ""
        self.unproven: set[str] = set()

    def run(self) -> None:
        """Live through the faults, then end in peace."""
        for _ in range(self.chance.randrange(3, 25)):
            self._at(self.chance.uniform(0, FAULTY), self._record)
        self._at(0.0, self._connect)
        self._at(1.0, self._trouble)
        self._at(FAULTY, self._be_calm)
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            if self.now > CEILING:
                break
            if next(self._order) > EVENTS_MAX:
                raise Violation("it never comes to rest")
            event()
        self._judge()

    def _at(self, delay: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), event))

    def _happens(self, odds: float) -> bool:
        return odds > 0 and self.chance.random() < odds

    def _record(self) -> None:
        self.recorded += 1
        name = b"POISON %d" if self._happens(self.weather.poison) else b"reading %d"
        picture = self._happens(self.weather.pictures)
        self.unit.record(name % self.recorded, b"picture %d" % self.recorded if picture else None)
        self._send()

    # The unit's side of the link.

    def _connect(self) -> None:
        """A new session: everything of the one before is forgotten."""
        self.session += 1
        self.greeted = False
        self._flying.clear()
        self.unproven.clear()
        self._greet()
        session = self.session
        self._at(ANSWER_TIMEOUT, lambda: self._lose_patience(session))

    def _greet(self) -> None:
        hello = self.unit.hello()
        self.hello = hello.session
        for parcel in self._flying.values():  # the model's hello begins a new plan
            self.unit.plan.depart(parcel.place, 0)
        self._travel(lambda: self._tell(*self.centre.greet(hello)))

    def _lose_patience(self, session: int) -> None:
        if session == self.session and not self.greeted:
            self._connect()

    def _send(self) -> None:
        while self.greeted:
            batches = sum(isinstance(each, BatchParcel) for each in self._flying.values())
            chunks = len(self._flying) - batches
            parcel = self.unit.next_parcel(chunks=False) if batches < WINDOW else None
            if parcel is None and chunks < CHUNK_WINDOW:
                parcel = self.unit.next_parcel(chunks=True)
            if parcel is None:
                return
            self._depart(parcel)

    def _depart(self, parcel: Parcel) -> None:
        number, session = next(self._order), self.session
        self._flying[number] = parcel
        for _ in range(2 if self._happens(self.weather.doubled) else 1):
            self._travel(lambda: self._tell(self._take(parcel)))
        self._at(ANSWER_TIMEOUT, lambda: self._land(session, number))

    def _land(self, session: int, number: int) -> None:
        """Answered or given up: pending again, unless a receipt has settled it."""
        if session == self.session and number in self._flying:
            self.unit.plan.arrive(self._flying.pop(number).place)
            self._send()

    def _hear(self, receipt: Receipt) -> None:
        """Whichever session listens when it arrives hears it: the topic is the same."""
        verdict = self.unit.settle(receipt)
        if isinstance(verdict, RestoredCopy):
            raise Violation("the unit takes itself for a restored copy")
        self._check()
        if isinstance(verdict, Ignored) and verdict.why is not Why.REPEATED:
            if verdict.why is Why.UNPROVEN and receipt.central_epoch not in self.unproven:
                self.unproven.add(receipt.central_epoch)
                self._greet()
            return
        self.greeted |= receipt.answers == self.hello
        for number, parcel in list(self._flying.items()):
            if speaks_of(receipt, parcel.place):
                self._land(self.session, number)
        self._send()

    # The network and the centre.

    def _travel(self, arrive: Callable[[], None]) -> None:
        """One way, in any order; what is under way survives its session, as at a broker."""
        if not self._happens(self.weather.lost):
            self._at(self.chance.uniform(0, 2 * self.weather.latency), arrive)
        elif self._happens(0.5):
            self._at(ANSWER_TIMEOUT * self.chance.uniform(0, 4), arrive)  # a broker held it back

    def _take(self, parcel: Parcel) -> Receipt:
        if isinstance(parcel, BatchParcel):
            return self.centre.take_batch(parcel.batch)
        return self.centre.take_chunk(parcel.chunk, (self.unit.epoch, LANE))

    def _tell(self, *receipts: Receipt) -> None:
        self.old += receipts
        for receipt in receipts:
            again = self.chance.choice(self.old) if self._happens(self.weather.doubled) else receipt
            for each in {id(each): each for each in (receipt, again)}.values():
                self._travel(partial(self._hear, each))

    # What goes wrong.

    def _trouble(self) -> None:
        weather = self.weather
        if self._happens(weather.cuts):
            self._connect()
        if self._happens(weather.crashes):
            self.unit.crash()
            self._connect()
        if self._happens(0.05):
            self.centre.back_up()
        if self._happens(weather.restores):
            self.centre.restore()
        if self.now < FAULTY:
            self._at(1.0, self._trouble)

    def _be_calm(self) -> None:
        pictures, poison = self.weather.pictures, self.weather.poison
        self.weather = Weather(0.1, 0.0, 0.0, 0.0, 0.0, 0.0, pictures, poison)
        self._connect()

    # What must be true.

    def _check(self) -> None:
        """Promise 2, at every step: what is settled was committed."""
        state = self.unit.state()
        ever = self.centre.ever.get(state.central_epoch or "", set())
        settled = ((1, state.through), *state.ahead) if state.through else state.ahead
        for first, last in settled:
            for seq in range(first, last + 1):
                if (state.epoch, LANE, seq) not in ever:
                    raise Violation(f"{seq} is settled and was never committed")
        held = self.centre.held_ever.get(state.central_epoch or "", set())
        if not self.unit.confirmed_blobs() <= held:
            raise Violation("a blob is confirmed that was never whole")

    def _judge(self) -> None:
        """Promises 3 and 4, at the end: everything is there once, as it was saved."""
        self._check()
        entries = self.centre.ledger.entries.get((self.unit.epoch, LANE), {})
        lines = [entries[seq][2] for seq in sorted(entries)]
        if lines != self.unit.lines:
            raise Violation(f"{len(self.unit.lines)} saved, {len(lines)} at the centre")
        if self.unit.state().pending:
            raise Violation(f"never settled: {self.unit.state().pending}")
        if self.unit.confirmed_blobs() != set(self.unit.blobs):
            raise Violation("a picture never arrived whole")
