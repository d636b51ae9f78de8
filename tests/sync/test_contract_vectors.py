"""The golden vectors: this code makes and reads exactly the committed bytes."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from typing import TYPE_CHECKING

import pytest

from sync.contract.batch import decode_batch
from sync.contract.chunk import decode_chunk
from sync.contract.digest import decode_answer, decode_question
from sync.contract.hello import decode_hello
from sync.contract.receipt import decode_receipt
from tests.golden import vectors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.mark.parametrize("name", sorted({*vectors.NAMES} - {"batch-zstd"}))
def test_encoding_gives_exactly_the_committed_bytes(name: str) -> None:
    """C-1.1, C-2.1, C-4.1, C-5.1, C-6.2, C-7.2, C-11.3, C-11.5: the bytes are fixed."""
    assert vectors.made()[name] == vectors.golden(name)


@pytest.mark.parametrize("name", ["batch-plain", "batch-zstd"])
def test_both_batch_vectors_decode_to_the_same_batch(name: str) -> None:
    """C-2.5: how a body is packed changes nothing of what it says."""
    assert decode_batch(vectors.golden(name), vectors.key_of) == vectors.batch()


def test_hello_receipt_and_chunk_vectors_decode_to_their_inputs() -> None:
    """C-5.1, C-6.2, C-7.2: every field comes back as it went in."""
    assert decode_hello(vectors.golden("hello"), vectors.key_of) == vectors.hello()
    assert decode_receipt(vectors.golden("receipt"), vectors.key_of) == vectors.receipt()
    assert decode_chunk(vectors.golden("chunk")) == vectors.chunk()


def test_question_and_answer_vectors_decode_to_their_inputs() -> None:
    """C-11.3, C-11.5: every field comes back as it went in."""
    assert decode_question(vectors.golden("question"), vectors.key_of) == vectors.question()
    assert decode_answer(vectors.golden("answer"), vectors.key_of) == vectors.answer()


def test_records_keep_their_exact_bytes() -> None:
    """C-4.5: 36.0 stays 36.0, an accent keeps its UTF-8, an unknown field stays."""
    lines = decode_batch(vectors.golden("batch-zstd"), vectors.key_of).lines
    assert b'"value":36.0,' in lines[0]
    assert "Température".encode() in lines[0]
    assert b'"of_tomorrow"' in lines[1]


def read_by_hand(frame: bytes, magic: bytes, public: Ed25519PublicKey) -> bytes:
    """Open an envelope with nothing but the tables of the page."""
    head, signature, packed = frame[:13], frame[13:77], frame[77:]
    raw = public.public_bytes_raw()
    assert head[:4] == magic
    assert head[5:13] == hashlib.sha256(raw).digest()[:8]
    public.verify(signature, head + packed)
    assert head[4] in {0, 1}
    return zstd.decompress(packed) if head[4] else packed


@pytest.mark.parametrize("name", ["batch-plain", "batch-zstd"])
def test_a_reader_written_from_the_page_alone_reads_a_batch(name: str) -> None:
    """C-2.1, C-2.2, C-2.3, C-4.1, C-4.2, C-4.4: the page says enough."""
    body = read_by_hand(vectors.golden(name), b"QFLB", vectors.UNIT.public_key())
    header, *lines = body.removesuffix(b"\n").split(b"\n")
    said = json.loads(header)
    assert (said["contract"], said["unit"], said["lane"]) == (1, "azilal-03", "clinical")
    assert (said["first"], said["last"], len(lines)) == (41, 43, 3)
    value = bytes.fromhex(said["prev_hash"])
    for line in lines:
        value = hashlib.sha256(value + line).digest()
    assert value.hex() == said["head_hash"]


def test_a_reader_written_from_the_page_alone_makes_the_digest_of_a_stretch() -> None:
    """C-11.2: SHA-256 over the chain's values, computed from the records' bytes."""
    body = read_by_hand(vectors.golden("batch-plain"), b"QFLB", vectors.UNIT.public_key())
    header, *lines = body.removesuffix(b"\n").split(b"\n")
    value, leaves = bytes.fromhex(json.loads(header)["prev_hash"]), b""
    for line in lines:
        value = hashlib.sha256(value + line).digest()
        leaves += value
    question = json.loads(
        read_by_hand(vectors.golden("question"), b"QFLQ", vectors.UNIT.public_key())
    )
    assert question["stretches"][1]["digest"] == hashlib.sha256(leaves).hexdigest()


def test_a_reader_written_from_the_page_alone_reads_the_other_messages() -> None:
    """C-2.4, C-2.7, C-5.1: magics, keys and layouts are those of the tables."""
    hello = json.loads(read_by_hand(vectors.golden("hello"), b"QFLH", vectors.UNIT.public_key()))
    assert [lane["lane"] for lane in hello["lanes"]] == ["urgent", "clinical"]
    receipt = json.loads(
        read_by_hand(vectors.golden("receipt"), b"QFLR", vectors.CENTRE.public_key())
    )
    assert receipt["answers"] == hello["session"]
    assert receipt["missing"] == [[41, 41]]
    question = json.loads(
        read_by_hand(vectors.golden("question"), b"QFLQ", vectors.UNIT.public_key())
    )
    answer = json.loads(
        read_by_hand(vectors.golden("answer"), b"QFLA", vectors.CENTRE.public_key())
    )
    assert answer["question"] == question["question"]
    assert [each["found"] for each in answer["differs"]] == ["absent", None]
    blob = bytes(range(256))
    wanted = b"QFLC" + hashlib.sha256(blob).digest() + struct.pack(">QQ", 256, 192) + blob[192:]
    assert vectors.golden("chunk") == wanted
