"""What is plugged into a serial port: the ladder from hints to a conclusion, never a guess. Pure.

What the USB identity says only orders the tries: converters share it. A device is recognised
by frames that its own codec finds sound: first by listening at each rate, then, where nothing
speaks by itself, by a question that changes nothing in any device. Whatever is not recognised
so is unknown, and a person is told what was heard. Time and bytes are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from drivers.framing import Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from drivers.card import Card

LISTEN_S = 2.0
ANSWER_S = 1.0
ENOUGH = 65536
"""Bytes after which a step is over: a device may go on for ever."""

FRAMES = 8
"""So many sound frames are no accident."""

_SPOILED = 20  # one byte in so many may belong to no frame once the first one is found
_TEXT = frozenset(range(0x20, 0x7F)) | {0x09, 0x0A, 0x0D}


class Framing(Protocol):
    """A codec's framer; an event is a sound frame or a `Skipped`."""

    def feed(self, chunk: bytes) -> Sequence[Any]:
        """Take bytes as they came; give what they completed, in order."""


class Verdict(Enum):
    """How a recognition ended."""

    RECOGNISED = "recognised"
    SILENT = "silent"
    TEXT = "text"
    UNREADABLE = "unreadable"
    SEVERAL = "several"


@dataclass(frozen=True, slots=True)
class Listen:
    """Listen at a rate for so many seconds, and say nothing."""

    baud: int
    seconds: float = LISTEN_S


@dataclass(frozen=True, slots=True)
class Probe:
    """Say `content` at a rate, then listen for so many seconds."""

    baud: int
    content: bytes
    driver: str
    seconds: float = ANSWER_S


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The end: `drivers` is one name where it is recognised, the rivals for `SEVERAL`."""

    verdict: Verdict
    drivers: tuple[str, ...]
    sentence: str


class Recognition:
    """The ladder for one port. Do what `step` says, `hear` what comes, `elapse` when it is over.

    `ids` is the USB identity (`vvvv:pppp`) if there is one; `framers` are the codecs' own, by
    driver. Only cards with a framer take part.
    """

    def __init__(
        self,
        ids: str | None,
        cards: Sequence[Card],
        framers: Mapping[str, Callable[[], Framing]],
    ) -> None:
        self._ids = ids
        known = [each for each in cards if each.name in framers]
        self._cards = sorted(known, key=lambda each: ids not in each.match.usb)
        self._framers = framers
        self._heard = bytearray()
        self._count = 0
        self._spoke = False
        self._text = True
        self._evidence: dict[str, _Evidence] = {}
        self._ladder = self._climb()
        self.step: Listen | Probe | Conclusion = next(self._ladder)

    def hear(self, raw: bytes) -> None:
        """Take bytes that came during this step."""
        if isinstance(self.step, Conclusion) or not raw:
            return
        self._spoke = True
        self._text = self._text and _TEXT.issuperset(raw)
        self._count += len(raw)
        self._heard += raw[: ENOUGH - len(self._heard)]
        for evidence in self._evidence.values():
            evidence.take(raw)
        if self._count >= ENOUGH:
            self.elapse()

    def elapse(self) -> None:
        """This step is over: go on to the next."""
        if not isinstance(self.step, Conclusion):
            self.step = next(self._ladder)

    def _climb(self) -> Iterator[Listen | Probe | Conclusion]:
        rates = list(dict.fromkeys(each.baud for each in self._cards))
        first_was_silent = False
        for number, baud in enumerate(rates):
            yield from self._listen(baud)
            first_was_silent = first_was_silent or (number == 0 and not self._count)
            if fitting := self._fitting():
                yield self._concluded(fitting)
        if first_was_silent and rates:
            # Boards that reset themselves at the opening were still starting at the first rate.
            yield from self._listen(rates[0])
            if fitting := self._fitting():
                yield self._concluded(fitting)
        if not self._spoke:
            yield from self._ask()
        yield self._unknown()

    def _listen(self, baud: int) -> Iterator[Listen]:
        self._begin({each.name for each in self._cards if each.baud == baud})
        yield Listen(baud)

    def _ask(self) -> Iterator[Probe | Conclusion]:
        for card in self._cards:
            if not card.match.probe:
                continue
            self._begin({card.name})
            yield Probe(card.baud, bytes.fromhex(card.match.probe), card.name)
            answered = bytes.fromhex(card.match.answer) in self._heard
            if answered and self._evidence[card.name].sound:
                yield self._concluded([card])

    def _begin(self, drivers: set[str]) -> None:
        self._heard.clear()
        self._count = 0
        self._evidence = {name: _Evidence(self._framers[name]()) for name in sorted(drivers)}

    def _fitting(self) -> list[Card]:
        return [
            card
            for card in self._cards
            if card.name in self._evidence and self._evidence[card.name].fits
        ]

    def _concluded(self, cards: Sequence[Card]) -> Conclusion:
        names = tuple(each.name for each in cards)
        titles = " and of ".join(each.title for each in cards)
        if len(cards) == 1:
            return Conclusion(Verdict.RECOGNISED, names, f"It speaks as this does: {titles}.")
        return Conclusion(
            Verdict.SEVERAL, names, f"unknown device: what it says is sound speech of {titles}."
        )

    def _unknown(self) -> Conclusion:
        if not self._spoke:
            return Conclusion(
                Verdict.SILENT,
                (),
                "unknown device: it says nothing, by itself or when asked. Is it switched on, "
                "and is anything at the end of this cable?",
            )
        if self._text:
            return Conclusion(
                Verdict.TEXT,
                (),
                "unknown device: it sends lines of text, as a barcode scanner or a console does.",
            )
        return Conclusion(
            Verdict.UNREADABLE,
            (),
            "unknown device: it speaks, and no driver can read it at any rate.",
        )


class _Evidence:
    """How well what is heard fits one driver's frames."""

    def __init__(self, framer: Framing) -> None:
        self._framer = framer
        self.sound = 0
        self._sound_bytes = 0
        self._spoiled = 0

    @property
    def fits(self) -> bool:
        """Whether enough came, and nearly all of it was sound."""
        return self.sound >= FRAMES and self._spoiled * _SPOILED <= self._sound_bytes

    def take(self, raw: bytes) -> None:
        """Bytes before the first sound frame count for nothing: one joins in the middle."""
        for event in self._framer.feed(raw):
            if not isinstance(event, Skipped):
                self.sound += 1
                self._sound_bytes += len(event.raw)
            elif self.sound:
                self._spoiled += len(event.raw)
