"""What the uplink asks of a store, and of a link. Neither is known here by more than this."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sync.contract.batch import Batch
    from sync.contract.chunk import Chunk
    from sync.contract.hello import Hello
    from sync.contract.receipt import Receipt
    from sync.lane import Verdict
    from sync.plan import Piece, Plan, Stretch


class LinkLost(Exception):  # noqa: N818 - a state of the world, not a mistake
    """The link is gone; whatever was in flight is pending again. The text is for people."""


class LinkRefused(LinkLost):
    """The broker or the centre refuses this unit: authorisation, certificate, version."""


class TakenOver(LinkLost):
    """The broker gave our place to another connection under the same name."""


@dataclass(frozen=True, slots=True)
class BatchParcel:
    """Records under way."""

    place: Stretch
    batch: Batch


@dataclass(frozen=True, slots=True)
class ChunkParcel:
    """A piece of a blob under way."""

    place: Piece
    chunk: Chunk


Parcel = BatchParcel | ChunkParcel


class Outbox(Protocol):
    """The log and the blobs of one unit, as one destination sees them."""

    async def hello(self, session: str) -> Hello:
        """What there is to offer."""

    async def next_batch(self, plan: Plan, budget: int) -> BatchParcel:
        """Wait for pending records; give at most `budget` bytes of lines, at least one line."""

    async def next_chunk(self, plan: Plan, chunk_size: int) -> ChunkParcel:
        """Wait for pending bytes of a blob; give one chunk."""

    async def settle(self, receipt: Receipt) -> Verdict:
        """Apply a verified receipt in one transaction; the verdict says what it did."""

    def wake(self) -> None:
        """Let whoever waits look again: something that was in flight isn't any more."""

    async def alarm(self, code: str, detail: str) -> None:
        """Keep an alarm where `status` shows it; `detail` holds no patient value."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message from the broker; `channel` is the topic below the unit's root."""

    channel: str
    payload: bytes = field(repr=False)
    retained: bool


class Link(Protocol):
    """One connection to a broker, for as long as it stands."""

    packet_max: int
    """The most bytes of a payload that the broker takes."""
    room: int
    """How many messages it lets be under way at once."""

    async def publish(self, channel: str, payload: bytes) -> None:
        """Hand over at QoS 1, within the broker's receive maximum; LinkLost, LinkRefused."""

    async def receive(self) -> Inbound:
        """Wait for the next message; LinkLost."""
