"""Comparing what is settled: the unit's question and the centre's answer (contract, part 11).

Neither settles anything. A stretch is compared by one digest over the leaves of its seqs.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import msgspec

from sync.contract.envelope import Codec, Magic, SigningKey, open_sealed, seal
from sync.contract.errors import ContractFault
from sync.contract.fields import HASH_SIZE, Hash, Lane, Message, Seq, Unit, Uuid, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

STRETCHES_MAX = 64
"""The most stretches of one question (C-11.3)."""
COMPARED_MAX = 16_384
"""The most seqs of one question, over all its stretches (C-11.3)."""
NOTHING = bytes(HASH_SIZE)
"""The leaf of a seq of which the reader has nothing (C-11.2)."""

ABSENT, OTHER = "absent", "other"
"""What the centre has of a single seq that differs: nothing sound, or a sound other record."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch, both ends included, and its digest; `day` is the UTC date of its records."""

    first: Seq
    last: Seq
    digest: Hash
    day: Annotated[str, msgspec.Meta(max_length=10)] | None = None


class Question(Message, frozen=True, kw_only=True):
    """What a unit has settled of one lane, in order of seq; `question` is new with each."""

    unit: Unit
    epoch: Uuid
    lane: Lane
    question: Uuid
    stretches: tuple[Compared, ...]


class Differing(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the question that is not equal; a single seq has ABSENT or OTHER."""

    first: Seq
    last: Seq
    found: str | None = None


class Answer(Message, frozen=True, kw_only=True):
    """Every stretch of the question that is not named here is equal at the centre."""

    central_epoch: Uuid
    unit: Unit
    epoch: Uuid
    lane: Lane
    question: Uuid
    differs: tuple[Differing, ...] = ()


def digest(leaves: Iterable[bytes]) -> bytes:
    """The digest of a stretch: SHA-256 over its leaves, 32 bytes each (C-11.2)."""
    return hashlib.sha256(b"".join(leaves)).digest()


def encode_question(question: Question, key: SigningKey, codec: Codec = Codec.ZSTD) -> bytes:
    """The question as a frame; ContractFault `range` where it breaks the contract."""
    check_question(question)
    return seal(Magic.QUESTION, encode(question) + b"\n", key, codec)


def decode_question(frame: bytes, key_of: Callable[[bytes], Ed25519PublicKey | None]) -> Question:
    """Verify and read a question; ContractFault with the code of the broken clause."""
    question = decode(open_sealed(frame, Magic.QUESTION, key_of), Question)
    check_question(question)
    return question


def encode_answer(answer: Answer, key: SigningKey, codec: Codec = Codec.PLAIN) -> bytes:
    """The answer as a frame; ContractFault `range` where it breaks the contract."""
    check_answer(answer)
    return seal(Magic.ANSWER, encode(answer) + b"\n", key, codec)


def decode_answer(frame: bytes, key_of: Callable[[bytes], Ed25519PublicKey | None]) -> Answer:
    """Verify and read an answer; ContractFault with the code of the broken clause."""
    answer = decode(open_sealed(frame, Magic.ANSWER, key_of), Answer)
    check_answer(answer)
    return answer


def check_question(question: Question) -> None:
    """Raise ContractFault `range` for a question out of order or beyond its bounds."""
    spans = [(each.first, each.last) for each in question.stretches]
    _check_spans(spans)
    if not spans or sum(last - first + 1 for first, last in spans) > COMPARED_MAX:
        raise ContractFault("range", f"a question is about 1 to {COMPARED_MAX} records")


def check_answer(answer: Answer) -> None:
    """Raise ContractFault `range` for an answer out of order or beyond its bounds."""
    _check_spans([(each.first, each.last) for each in answer.differs])


def _check_spans(spans: list[tuple[int, int]]) -> None:
    if len(spans) > STRETCHES_MAX:
        raise ContractFault("range", f"at most {STRETCHES_MAX} stretches are compared at once")
    reversed_ = any(last < first for first, last in spans)
    if reversed_ or any(after[0] <= before[1] for before, after in pairwise(spans)):
        raise ContractFault("range", "the stretches are out of order or overlap")
