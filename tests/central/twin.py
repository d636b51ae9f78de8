"""A unit as the centre sees it: a log, blobs and a key, without store, plan or link."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from central.ledger import Inbound
from sync.contract.batch import Batch, chain, encode_batch, gather
from sync.contract.chunk import Chunk, encode_chunk
from sync.contract.envelope import Codec
from sync.contract.fields import GENESIS
from sync.contract.hello import Hello, LaneOffer, encode_hello
from sync.contract.topics import topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sync.contract.hello import Origin

Line = bytes


def new_line(
    kind: str = "observation",
    record: str | None = None,
    blobs: Iterable[tuple[bytes, str]] = (),
    **more: object,
) -> Line:
    """A record's line; `blobs` are contents and roles."""
    references = [
        {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "media_type": "image/jpeg",
            "role": role,
        }
        for content, role in blobs
    ]
    record = record or str(uuid.uuid4())
    return json.dumps({"record": record, "kind": kind, "blobs": references, **more}).encode()


def record_id(line: Line) -> str:
    return str(json.loads(line)["record"])


def agent_line(kind: str, **told: object) -> Line:
    """A line of what the agent has to tell of itself: its content stands under its kind."""
    return new_line(kind, None, (), **{kind: told})


def lost_line(lane: str, seq: int, value: bytes) -> Line:
    lost = {"lane": lane, "seq": seq, "hash": value.hex(), "reason": "the page is unreadable"}
    return new_line("lost", lost=lost)


def cut(content: bytes, size: int = 16 << 10) -> list[Chunk]:
    """A blob as chunks."""
    sha256 = hashlib.sha256(content).digest()
    return [
        Chunk(sha256, len(content), start, content[start : start + size])
        for start in range(0, len(content), size)
    ]


@dataclass
class Twin:
    """One unit and one epoch; lines are numbered from 1 on each lane."""

    unit: str = "azilal-03"
    origin: Origin = "clinical"
    epoch: str = field(default_factory=lambda: str(uuid.uuid4()))
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    lanes: dict[str, list[Line]] = field(default_factory=dict)

    def write(self, *lines: Line, lane: str = "clinical") -> None:
        """Append to a lane."""
        self.lanes.setdefault(lane, []).extend(lines)

    def value(self, seq: int, lane: str = "clinical") -> bytes:
        """The chain's value at a seq."""
        return (GENESIS, *chain(GENESIS, self.lanes.get(lane, [])))[seq]

    def stretch(self, first: int, last: int, lane: str = "clinical") -> Batch:
        lines = self.lanes[lane][first - 1 : last]
        return gather(self.unit, self.epoch, lane, first, self.value(first - 1, lane), lines)

    def batch(self, first: int, last: int, lane: str = "clinical") -> Inbound:
        return self.sealed(self.stretch(first, last, lane))

    def sealed(self, batch: Batch, key: Ed25519PrivateKey | None = None) -> Inbound:
        """A batch as a message, signed with our key or another."""
        frame = encode_batch(batch, key or self.key, Codec.ZSTD)
        return self.message(f"up/log/{batch.header.lane}", frame)

    def chunk(self, chunk: Chunk) -> Inbound:
        return self.message("up/chunk", encode_chunk(chunk))

    def hello(
        self,
        first: int = 1,
        lanes: Sequence[str] = ("clinical",),
        session: str | None = None,
        oldest: int = 1,
    ) -> Inbound:
        offers = tuple(
            LaneOffer(
                epoch=self.epoch,
                lane=lane,
                oldest=oldest,
                first=first,
                last=len(self.lanes.get(lane, [])),
                head_hash=self.value(len(self.lanes.get(lane, [])), lane).hex(),
            )
            for lane in lanes
        )
        hello = Hello(
            unit=self.unit,
            session=session or str(uuid.uuid4()),
            origin=self.origin,
            lanes=offers,
        )
        return self.message("up/hello", encode_hello(hello, self.key))

    def message(self, channel: str, payload: bytes) -> Inbound:
        return Inbound(topic(self.origin, self.unit, channel), payload)
