"""What the contract refuses: torn, altered, foreign and hostile bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sync.contract.batch import decode_batch
from sync.contract.chunk import decode_chunk
from sync.contract.digest import decode_answer, decode_question
from sync.contract.envelope import (
    ENVELOPE_SIZE,
    INFLATED_MAX,
    Codec,
    Magic,
    inflate,
    open_sealed,
    seal,
)
from sync.contract.errors import ContractFault
from sync.contract.hello import decode_hello
from sync.contract.receipt import decode_receipt
from tests.golden import vectors

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
READERS = {
    "batch-plain": decode_batch,
    "batch-zstd": decode_batch,
    "hello": decode_hello,
    "receipt": decode_receipt,
    "question": decode_question,
    "answer": decode_answer,
}
MAGICS = {
    "batch-plain": Magic.BATCH,
    "batch-zstd": Magic.BATCH,
    "hello": Magic.HELLO,
    "receipt": Magic.RECEIPT,
    "question": Magic.QUESTION,
    "answer": Magic.ANSWER,
}


def zstd_frame(window: int, blocks: int, size: int = 128 << 10) -> bytes:
    """A zstd frame of zeros by hand (RFC 8878): run-length blocks, 4 bytes for each `size`."""
    body = bytearray(b"\x28\xb5\x2f\xfd\x00" + bytes([(window - 10) << 3]))
    for number in range(blocks):
        header = size << 3 | 1 << 1 | (number == blocks - 1)
        body += header.to_bytes(3, "little") + b"\x00"
    return bytes(body)


def code_of(reader: Callable[..., object], *args: object) -> str:
    """The code of the fault that a reader raises."""
    with pytest.raises(ContractFault) as caught:
        reader(*args)
    return caught.value.code


def outcome(reader: Callable[..., object], *args: object) -> object:
    """What a reader gives: its value, or the fault; any other exception goes through."""
    try:
        return reader(*args)
    except ContractFault as fault:
        return fault.code


@pytest.mark.parametrize("name", vectors.SIGNED)
def test_every_truncation_of_a_signed_message_is_refused(name: str) -> None:
    """C-1.5, C-2.2: a torn frame is a fault and nothing else."""
    frame = vectors.golden(name)
    codes = {code_of(READERS[name], frame[:size], vectors.key_of) for size in range(len(frame))}
    assert codes == {"short", "signature"}


@pytest.mark.parametrize("name", vectors.SIGNED)
def test_every_flipped_bit_of_a_signed_message_is_refused(name: str) -> None:
    """C-1.5, C-2.2: the signature covers every bit of magic, codec, key id and body."""
    frame = vectors.golden(name)
    codes = set()
    for bit in range(len(frame) * 8):
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << bit % 8
        codes.add(code_of(READERS[name], bytes(altered), vectors.key_of))
    assert codes == {"magic", "codec", "key", "signature"}


def test_a_torn_chunk_header_is_refused_and_a_torn_chunk_is_never_taken_for_the_whole() -> None:
    """C-5.1, C-5.4: a chunk is unsigned; what is left of one is a shorter piece of the blob."""
    frame, whole = vectors.golden("chunk"), vectors.chunk()
    for size in range(len(frame)):
        if size <= 52:
            assert code_of(decode_chunk, frame[:size]) == "chunk"
        else:
            assert whole.content.startswith(decode_chunk(frame[:size]).content)
            assert decode_chunk(frame[:size]) != whole


def test_every_flipped_bit_of_a_chunk_is_refused_or_shows() -> None:
    """C-5.1, C-5.4: no flip gives the chunk that was sent; the blob's hash finds the others."""
    frame, whole = vectors.golden("chunk"), vectors.chunk()
    for bit in range(len(frame) * 8):
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << bit % 8
        got = outcome(decode_chunk, bytes(altered))
        assert got in {"magic", "chunk"} if isinstance(got, str) else got != whole


@given(st.binary(max_size=4096))
def test_arbitrary_bytes_raise_only_contract_faults(frame: bytes) -> None:
    """C-1.5: a reader survives anything a broker may hand over."""
    for reader in READERS.values():
        code_of(reader, frame, vectors.key_of)
    assert outcome(decode_chunk, frame) in {"chunk", "magic"}


@given(st.sampled_from(sorted(READERS)), st.binary(max_size=200), st.integers(0), st.integers(0))
def test_a_broken_body_behind_a_good_signature_raises_only_contract_faults(
    name: str, scrap: bytes, at: int, width: int
) -> None:
    """C-1.5: a peer that signs nonsense changes nothing."""
    magic, key = MAGICS[name], vectors.CENTRE if name == "receipt" else vectors.UNIT
    body = open_sealed(vectors.golden(name), magic, vectors.key_of)
    start = at % (len(body) + 1)
    body = body[:start] + scrap + body[start + width % 64 :]
    got = outcome(READERS[name], seal(magic, body, key, Codec.PLAIN), vectors.key_of)
    codes = {"short", "header", "version", "lines", "line", "range", "chain"}
    assert got in codes if isinstance(got, str) else got is not None


@given(st.binary(max_size=600))
def test_arbitrary_packed_bytes_raise_only_contract_faults(packed: bytes) -> None:
    """C-2.6: what claims to be zstd and is not is refused."""
    for guess in (packed, zstd.compress(packed)[:-1], b"\x28\xb5\x2f\xfd" + packed):
        got = outcome(inflate, guess)
        assert got == "inflate" or (isinstance(got, bytes) and len(got) <= INFLATED_MAX)


def test_a_stranger_and_a_wrong_key_are_told_apart() -> None:
    """C-2.3, C-2.7: an unknown key id is `key`, a known one with another key is `signature`."""
    frame = vectors.golden("batch-zstd")
    other = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32).public_key()
    assert code_of(decode_batch, frame, lambda _: None) == "key"
    assert code_of(decode_batch, frame, lambda _: other) == "signature"


@pytest.mark.parametrize(
    ("offered", "asked"),
    [(a, b) for a in MAGICS for b in MAGICS if MAGICS[a] != MAGICS[b]],
)
def test_one_message_cannot_be_passed_off_as_another(offered: str, asked: str) -> None:
    """C-2.4: a batch frame offered as a receipt is refused by its magic, and so on."""
    assert code_of(READERS[asked], vectors.golden(offered), vectors.key_of) == "magic"


def test_a_changed_magic_breaks_the_signature_too() -> None:
    """C-2.2, C-2.4: the magic is signed."""
    frame = Magic.RECEIPT + vectors.golden("batch-plain")[4:]
    assert code_of(decode_receipt, frame, vectors.key_of) == "signature"


def test_bytes_after_a_frame_are_refused() -> None:
    """C-2.2, C-2.6: neither a tail behind the signature nor one inside it is let through."""
    assert code_of(decode_batch, vectors.golden("batch-zstd") + b"x", vectors.key_of) == "signature"
    packed = vectors.golden("batch-zstd")[ENVELOPE_SIZE:]
    for tail in (b"x", packed, b"\x50\x2a\x4d\x18\x00\x00\x00\x00"):
        assert code_of(inflate, packed + tail) == "inflate"


@pytest.mark.parametrize("codec", [2, 3, 127, 255])
def test_an_unknown_codec_is_refused_before_anything_is_unpacked(codec: int) -> None:
    """C-2.5: codec numbers beyond 1 are not spoken."""
    frame = bytearray(vectors.golden("batch-plain"))
    frame[4] = codec
    assert code_of(decode_batch, bytes(frame), vectors.key_of) == "codec"


def test_a_body_at_the_bound_passes_and_one_byte_more_does_not() -> None:
    """C-2.6: the bound is 1 MiB, on both codecs and both sides."""
    for codec in Codec:
        frame = seal(Magic.BATCH, bytes(INFLATED_MAX), vectors.UNIT, codec)
        assert open_sealed(frame, Magic.BATCH, vectors.key_of) == bytes(INFLATED_MAX)
        body = bytes(INFLATED_MAX + 1)
        assert code_of(seal, Magic.BATCH, body, vectors.UNIT, codec) == "inflate"
        packed = zstd.compress(body) if codec is Codec.ZSTD else body
        frame = signed(codec, packed)
        assert code_of(open_sealed, frame, Magic.BATCH, vectors.key_of) == "inflate"


def signed(codec: Codec, packed: bytes) -> bytes:
    """A frame as a hostile peer with an enrolled key would sign it."""
    key = vectors.UNIT
    head = vectors.golden("batch-plain")[:4] + bytes([codec])
    head += vectors.golden("batch-plain")[5:13]
    return head + key.sign(head + packed) + packed


BOMB = """
from tests.sync.test_contract_faults import signed, zstd_frame, vectors
from sync.contract.envelope import Codec
from sync.contract.batch import decode_batch
from sync.contract.errors import ContractFault
import re, pathlib
def peak():
    text = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", text)[1])
frame = signed(Codec.ZSTD, zstd_frame(17, 32768))
before = peak()
try:
    decode_batch(frame, vectors.key_of)
except ContractFault as fault:
    print(fault.code, len(frame), peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_bomb_of_four_gigabytes_is_refused_within_a_few_megabytes() -> None:
    """C-2.6: inflating stops at the bound; 128 KiB that say 4 GiB cost next to nothing."""
    told = subprocess.run(
        [sys.executable, "-c", BOMB],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert told[0] == "inflate"
    assert int(told[1]) < 200 << 10
    assert int(told[2]) < 32 << 10


def test_a_frame_that_asks_for_a_vast_window_is_refused() -> None:
    """C-2.6: a window beyond 8 MiB is refused, whatever the body holds; 8 MiB is let through."""
    assert inflate(zstd_frame(23, 1, 100)) == bytes(100)
    for window in (24, 27, 31):
        assert code_of(inflate, zstd_frame(window, 1, 100)) == "inflate"


def test_a_frame_that_claims_a_vast_size_is_refused() -> None:
    """C-2.6: a single segment's claimed size is a window too."""
    claim = b"\x28\xb5\x2f\xfd\xe0" + (1 << 34).to_bytes(8, "little")
    assert code_of(inflate, claim + (100 << 3 | 3).to_bytes(3, "little") + b"\x00") == "inflate"
