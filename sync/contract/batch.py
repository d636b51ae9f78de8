"""The batch: a signed, contiguous stretch of one lane's log (contract, part 4)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync.contract.envelope import Codec, Magic, SigningKey, open_sealed, seal
from sync.contract.errors import ContractFault
from sync.contract.fields import GENESIS, Hash, Lane, Message, Seq, Unit, Uuid, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LINE_MAX = 256 << 10
"""The most bytes of one record (C-4.3)."""
LINES_MAX = 4096
"""The most records of one batch (C-4.3)."""


class Header(Message, frozen=True, kw_only=True):
    """The first line. `first` and `last` are included; the hashes are lower-case hex.

    `prev_hash` is the chain's value before `first`, `head_hash` its value at `last`.
    """

    unit: Unit
    epoch: Uuid
    lane: Lane
    first: Seq
    last: Seq
    prev_hash: Hash
    head_hash: Hash


@dataclass(frozen=True, slots=True)
class Batch:
    """A header and its records' exact bytes; record i has seq `header.first + i`."""

    header: Header
    lines: tuple[bytes, ...]

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Each record with its seq."""
        return iter(enumerate(self.lines, self.header.first))


def link(previous: bytes, line: bytes) -> bytes:
    """One step of the chain: SHA-256(previous hash ‖ record bytes) (C-4.4)."""
    return hashlib.sha256(previous + line).digest()


def chain(previous: bytes, lines: Iterable[bytes]) -> tuple[bytes, ...]:
    """The chain's value at each record."""
    hashes = []
    for line in lines:
        previous = link(previous, line)
        hashes.append(previous)
    return tuple(hashes)


def check_line(line: bytes) -> None:
    """Raise ContractFault `line` for bytes that can't stand as a record on the wire."""
    if not line or len(line) > LINE_MAX:
        raise ContractFault("line", f"a record has 1 to {LINE_MAX} bytes")
    if b"\n" in line:
        raise ContractFault("line", "a record is one line")


def gather(
    unit: str, epoch: str, lane: str, first: int, previous: bytes, lines: Iterable[bytes]
) -> Batch:
    """Build a batch over exact record bytes; ContractFault `line` or `lines`."""
    kept = tuple(lines)
    for line in kept:
        check_line(line)
    _check_count(len(kept))
    header = Header(
        unit=unit,
        epoch=epoch,
        lane=lane,
        first=first,
        last=first + len(kept) - 1,
        prev_hash=previous.hex(),
        head_hash=chain(previous, kept)[-1].hex(),
    )
    return Batch(header, kept)


def encode_batch(batch: Batch, key: SigningKey, codec: Codec = Codec.ZSTD) -> bytes:
    """The batch as a frame; ContractFault `inflate` where it exceeds the bound."""
    body = b"".join(line + b"\n" for line in (encode(batch.header), *batch.lines))
    return seal(Magic.BATCH, body, key, codec)


def decode_batch(frame: bytes, key_of: Callable[[bytes], Ed25519PublicKey | None]) -> Batch:
    """Verify, inflate and take apart a frame; every clause of part 4 holds for what comes back.

    Raises ContractFault with the code of the first clause that is broken.
    """
    body = open_sealed(frame, Magic.BATCH, key_of)
    if not body.endswith(b"\n"):
        raise ContractFault("lines", "the last line is torn")
    head, *lines = body[:-1].split(b"\n")
    header = decode(head, Header)
    if header.first > header.last:
        raise ContractFault("range", "first is beyond last")
    _check_count(len(lines))
    if len(lines) != header.last - header.first + 1:
        raise ContractFault("lines", "the header counts other records than follow")
    for line in lines:
        check_line(line)
    batch = Batch(header, tuple(lines))
    if header.first == 1 and header.prev_hash != GENESIS.hex():
        raise ContractFault("chain", "the first record of a lane follows on the genesis")
    if chain(bytes.fromhex(header.prev_hash), lines)[-1].hex() != header.head_hash:
        raise ContractFault("chain", "head_hash is not the hash of these records")
    return batch


def _check_count(count: int) -> None:
    if not 1 <= count <= LINES_MAX:
        raise ContractFault("lines", f"a batch has 1 to {LINES_MAX} records")
