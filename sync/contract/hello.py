"""The hello: what the unit has, said first on every connection (contract, part 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from sync.contract.envelope import Codec, Magic, SigningKey, open_sealed, seal
from sync.contract.errors import ContractFault
from sync.contract.fields import Hash, Lane, Message, Seq, Through, Unit, Uuid, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Origin = Literal["clinical", "simulated"]
HELLO_LANES_MAX = 64


class LaneOffer(msgspec.Struct, frozen=True, kw_only=True):
    """One lane of one epoch.

    From `oldest` on every record is still kept; `first` is the lowest not settled (`last` + 1
    when all are), `last` the highest (0 for an empty lane) and `head_hash` the chain's value there.
    """

    epoch: Uuid
    lane: Lane
    oldest: Seq
    first: Seq
    last: Through
    head_hash: Hash


class Hello(Message, frozen=True, kw_only=True):
    """`session` is new for each connection; the receipts that answer carry it."""

    unit: Unit
    session: Uuid
    origin: Origin
    lanes: tuple[LaneOffer, ...]


def encode_hello(hello: Hello, key: SigningKey, codec: Codec = Codec.PLAIN) -> bytes:
    """The hello as a frame; ContractFault `range` or `inflate` where it breaks the contract."""
    check_hello(hello)
    return seal(Magic.HELLO, encode(hello) + b"\n", key, codec)


def decode_hello(frame: bytes, key_of: Callable[[bytes], Ed25519PublicKey | None]) -> Hello:
    """Verify and read a hello; ContractFault with the code of the broken clause."""
    hello = decode(open_sealed(frame, Magic.HELLO, key_of), Hello)
    check_hello(hello)
    return hello


def check_hello(hello: Hello) -> None:
    """Raise ContractFault `range` for a hello that contradicts itself."""
    if len(hello.lanes) > HELLO_LANES_MAX:
        raise ContractFault("range", f"a hello offers at most {HELLO_LANES_MAX} lanes")
    if len({(lane.epoch, lane.lane) for lane in hello.lanes}) != len(hello.lanes):
        raise ContractFault("range", "the hello offers a lane twice")
    if any(lane.first > lane.last + 1 or lane.oldest > lane.first for lane in hello.lanes):
        raise ContractFault("range", "oldest, first and last of a lane are out of order")
