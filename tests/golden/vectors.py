"""The golden vectors: inputs from `vectors.toml`, bytes from the `.hex` files beside it."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sync.contract.batch import Batch, chain, encode_batch, gather
from sync.contract.chunk import Chunk, encode_chunk
from sync.contract.digest import Answer, Question, digest, encode_answer, encode_question
from sync.contract.entries import Entry, encode_receipts
from sync.contract.envelope import Codec, key_id
from sync.contract.hello import Hello, encode_hello
from sync.contract.receipt import Receipt, encode_receipt
from sync.contract.sealed import seal_file

FOLDER = Path(__file__).parent
INPUTS = tomllib.loads((FOLDER / "vectors.toml").read_text("utf-8"))
KEYS = {
    who: Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    for who, seed in INPUTS["seeds"].items()
}
UNIT, CENTRE = KEYS["unit"], KEYS["centre"]
PUBLIC = {key_id(key.public_key()): key.public_key() for key in KEYS.values()}
SIGNED = ("batch-plain", "batch-zstd", "hello", "receipt", "question", "answer")
NAMES = (*SIGNED, "chunk", "receipts")
SEALING = X25519PrivateKey.from_private_bytes(bytes.fromhex(INPUTS["sealed"]["seed"]))
SLIP = INPUTS["sealed"]["slip"].encode()


def golden(name: str) -> bytes:
    """The committed bytes of a vector."""
    return bytes.fromhex((FOLDER / f"{name}.hex").read_text("ascii"))


def key_of(identity: bytes) -> Ed25519PublicKey | None:
    """Both test keys, as a peer would look them up."""
    return PUBLIC.get(identity)


def batch() -> Batch:
    """The batch that both batch vectors carry."""
    of = INPUTS["batch"]
    lines = [line.encode() for line in of["lines"]]
    previous = bytes.fromhex(of["previous"])
    return gather(of["unit"], of["epoch"], of["lane"], of["first"], previous, lines)


def chunk() -> Chunk:
    """The chunk."""
    of = INPUTS["chunk"]
    blob = bytes.fromhex(of["blob"])
    content = blob[of["offset"] : of["offset"] + of["length"]]
    return Chunk(hashlib.sha256(blob).digest(), len(blob), of["offset"], content)


def hello() -> Hello:
    """The hello; its clinical lane ends with the batch."""
    head = batch().header.head_hash
    lanes = [lane | {"head_hash": lane["head_hash"] or head} for lane in INPUTS["hello"]["lanes"]]
    return msgspec.convert(INPUTS["hello"] | {"lanes": lanes}, Hello)


def receipt() -> Receipt:
    """The receipt, with every field filled."""
    return msgspec.convert(INPUTS["receipt"], Receipt)


def entries() -> tuple[Entry, ...]:
    """What the sealed file carries: the other vectors."""
    return tuple(Entry(*each) for each in _carried())


def _carried() -> list[tuple[str, bytes]]:
    named = INPUTS["sealed"]["entries"]
    return [(channel, golden(name)) for channel, name in named]


def sealed() -> bytes:
    """A sealed file as the code makes it now: another one each time, since HPKE draws a key."""
    return seal_file(entries(), SLIP, UNIT, SEALING.public_key())


def question() -> Question:
    """The question; its second stretch is the batch."""
    whole = batch()
    leaves = chain(bytes.fromhex(whole.header.prev_hash), whole.lines)
    own = digest(leaves).hex()
    of = INPUTS["question"]
    stretches = [each | {"digest": each["digest"] or own} for each in of["stretches"]]
    return msgspec.convert(of | {"stretches": stretches}, Question)


def answer() -> Answer:
    """The answer."""
    return msgspec.convert(INPUTS["answer"], Answer)


def made() -> dict[str, bytes]:
    """Every vector as the code makes it now."""
    return {
        "batch-plain": encode_batch(batch(), UNIT, Codec.PLAIN),
        "batch-zstd": encode_batch(batch(), UNIT, Codec.ZSTD),
        "hello": encode_hello(hello(), UNIT),
        "receipt": encode_receipt(receipt(), CENTRE),
        "question": encode_question(question(), UNIT, Codec.PLAIN),
        "answer": encode_answer(answer(), CENTRE),
        "chunk": encode_chunk(chunk()),
        "receipts": encode_receipts([encode_receipt(receipt(), CENTRE)]),
    }


def write() -> None:
    """Write the bytes, 32 a line."""
    for name, frame in (made() | {"sealed": sealed()}).items():
        lines = [frame[at : at + 32].hex() for at in range(0, len(frame), 32)]
        (FOLDER / f"{name}.hex").write_text("\n".join(lines) + "\n", "ascii")


if __name__ == "__main__":
    write()
