"""The receipt: what the centre has committed, signed with its key (contract, part 7).

It is the only message that settles anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from sync.contract.chunk import BLOB_MAX
from sync.contract.envelope import Codec, Magic, SigningKey, open_sealed, seal
from sync.contract.errors import ContractFault
from sync.contract.fields import Hash, Lane, Message, Seq, Through, Unit, Uuid, decode, encode
from sync.contract.ranges import Ranges, is_normal

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

RECEIPT_MAX = 64 << 10
"""The most bytes of a receipt's body (C-7.8)."""
MISSING_MAX = 64
REFUSED_MAX = 64
CHUNKS_MAX = 64
HAVE_MAX = 16
"""The most entries of `missing`, `refused`, `chunks`, and of one blob's `have` (C-7.8)."""
REASON_MAX = 200


class Refusal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record that the centre will never take (`last` absent), or a stretch it wants smaller.

    A refused record is settled and counted by `through`; a refused stretch is not (C-7.5).
    """

    seq: Seq
    code: str
    reason: Annotated[str, msgspec.Meta(max_length=REASON_MAX)]
    last: Seq | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the centre holds of a blob: byte ranges, both ends included (C-7.6)."""

    sha256: Hash
    size: Annotated[int, msgspec.Meta(ge=1, le=BLOB_MAX)]
    have: Ranges

    @property
    def complete(self) -> bool:
        """Whether the whole blob is committed."""
        return self.have == ((0, self.size - 1),)


class Receipt(Message, frozen=True, kw_only=True):
    """Lane by lane, what is settled.

    `through`: every seq up to it is taken, refused or lost; `head_hash` is the chain's value
    there. `last` bounds what this receipt speaks of: of [through + 1, last] all is taken but
    the ranges in `missing`. `serial` grows with every receipt of a lane and central epoch.
    `answers` is the session of the hello it answers.
    """

    central_epoch: Uuid
    serial: Seq
    unit: Unit
    epoch: Uuid
    lane: Lane
    through: Through
    head_hash: Hash
    last: Through
    missing: Ranges = ()
    refused: tuple[Refusal, ...] = ()
    chunks: tuple[Held, ...] = ()
    backed_up_through: Through | None = None
    answers: Uuid | None = None


def encode_receipt(receipt: Receipt, key: SigningKey, codec: Codec = Codec.PLAIN) -> bytes:
    """The receipt as a frame; ContractFault `range` or `inflate` where it breaks the contract."""
    check_receipt(receipt)
    body = encode(receipt) + b"\n"
    if len(body) > RECEIPT_MAX:
        raise ContractFault("inflate", f"a receipt has at most {RECEIPT_MAX} bytes")
    return seal(Magic.RECEIPT, body, key, codec)


def decode_receipt(frame: bytes, key_of: Callable[[bytes], Ed25519PublicKey | None]) -> Receipt:
    """Verify and read a receipt; ContractFault with the code of the broken clause."""
    body = open_sealed(frame, Magic.RECEIPT, key_of)
    if len(body) > RECEIPT_MAX:
        raise ContractFault("inflate", f"a receipt has at most {RECEIPT_MAX} bytes")
    receipt = decode(body, Receipt)
    check_receipt(receipt)
    return receipt


def check_receipt(receipt: Receipt) -> None:
    """Raise ContractFault `range` for a receipt that contradicts itself."""
    if receipt.last < receipt.through:
        raise ContractFault("range", "last is below through")
    if len(receipt.missing) > MISSING_MAX or not is_normal(receipt.missing):
        raise ContractFault("range", "missing is out of order, overlaps or is too long")
    if receipt.missing and (
        receipt.missing[0][0] <= receipt.through or receipt.missing[-1][1] > receipt.last
    ):
        raise ContractFault("range", "missing lies outside through and last")
    if len(receipt.refused) > REFUSED_MAX or len(receipt.chunks) > CHUNKS_MAX:
        raise ContractFault("range", "refused or chunks is too long")
    if any(r.last is not None and r.last < r.seq for r in receipt.refused):
        raise ContractFault("range", "a refused stretch ends before it begins")
    for held in receipt.chunks:
        _check_held(held)


def _check_held(held: Held) -> None:
    if len(held.have) > HAVE_MAX or not is_normal(held.have):
        raise ContractFault("range", "have is out of order, overlaps or is too long")
    if held.have and (held.have[0][0] < 0 or held.have[-1][1] >= held.size):
        raise ContractFault("range", "have lies outside the blob")
