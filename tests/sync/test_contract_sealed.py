"""Sealed files and files of receipts: the bytes, and whatever is wrong with them."""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from sync.contract.entries import FILE_MAX, Entry, decode_receipts, encode_receipts, pack, unpack
from sync.contract.envelope import ENVELOPE_SIZE, Codec, Magic, envelope_head, key_id, sign
from sync.contract.errors import ContractFault
from sync.contract.sealed import (
    LOAD_MAX,
    PAD,
    SLIP_MAX,
    folders,
    open_file,
    recipient,
    seal_file,
    slip_of,
    take_apart,
)
from tests.golden import vectors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SEALED = vectors.golden("sealed")


def code(content: bytes, secret: X25519PrivateKey = vectors.SEALING) -> str:
    """The code with which a file is refused."""
    with pytest.raises(ContractFault) as raised:
        open_file(content, vectors.key_of, secret)
    return raised.value.code


def test_the_golden_file_opens_to_the_golden_messages() -> None:
    """C-10.3, C-10.6: and what is sealed now opens to the same."""
    for content in (SEALED, vectors.sealed()):
        assert open_file(content, vectors.key_of, vectors.SEALING) == vectors.entries()
        assert slip_of(content) == vectors.SLIP


def extract(salt: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), material, "sha256")


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand for at most 32 bytes (RFC 5869)."""
    return hmac.digest(key, info + b"\x01", "sha256")[:length]


def labelled_extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return extract(salt, b"HPKE-v1" + suite + label + material)


def labelled_expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return expand(key, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)


def open_by_hand(enc: bytes, ciphertext: bytes, info: bytes) -> bytes:
    """HPKE's base mode with nothing but RFC 9180 and the three algorithms that the page names."""
    kem = b"KEM" + struct.pack(">H", 0x0020)
    public = vectors.SEALING.public_key().public_bytes_raw()
    shared = vectors.SEALING.exchange(X25519PublicKey.from_public_bytes(enc))
    prk = labelled_extract(kem, b"", b"eae_prk", shared)
    secret = labelled_expand(kem, prk, b"shared_secret", enc + public, 32)
    suite = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0003)
    context = (
        b"\x00"
        + labelled_extract(suite, b"", b"psk_id_hash", b"")
        + labelled_extract(suite, b"", b"info_hash", info)
    )
    key_secret = labelled_extract(suite, secret, b"secret", b"")
    key = labelled_expand(suite, key_secret, b"key", context, 32)
    nonce = labelled_expand(suite, key_secret, b"base_nonce", context, 12)
    return ChaCha20Poly1305(key).decrypt(nonce, ciphertext, b"")


def test_a_reader_written_from_the_page_alone_opens_a_file() -> None:
    """C-10.3, C-10.4, C-10.5, C-10.6: the page and the RFC say enough."""
    head, signature, body = SEALED[:13], SEALED[13:77], SEALED[77:]
    assert head[:5] == b"QFLS\x00"
    assert head[5:] == hashlib.sha256(vectors.UNIT.public_key().public_bytes_raw()).digest()[:8]
    vectors.UNIT.public_key().verify(signature, head + body)
    sealing = vectors.SEALING.public_key().public_bytes_raw()
    assert body[:8] == hashlib.sha256(sealing).digest()[:8]
    end = 10 + int.from_bytes(body[8:10], "big")
    enc, ciphertext = body[end : end + 32], body[end + 32 :]
    content = open_by_hand(enc, ciphertext, b"qafila sealed file 1" + head + body[:end])
    found, at = [], 0
    while at < len(content) and content[at]:
        name = content[at + 1 : at + 1 + content[at]]
        at += 1 + len(name)
        length = int.from_bytes(content[at : at + 4], "big")
        found.append((name.decode(), content[at + 4 : at + 4 + length]))
        at += 4 + length
    assert found == [(each.channel, each.frame) for each in vectors.entries()]
    assert not content[at:].strip(b"\0")


def test_every_flipped_bit_and_every_truncation_of_a_file_is_refused() -> None:
    """C-10.3, C-10.7: signed over everything; a torn file is refused as a whole."""
    refused = {
        code(bytes([*SEALED[:at], SEALED[at] ^ (1 << at % 8), *SEALED[at + 1 :]]))
        for at in [*range(200), *range(200, len(SEALED), 997)]
    }
    assert refused <= {"magic", "codec", "key", "signature"}
    for length in [*range(200), *range(200, len(SEALED), 997)]:
        assert code(SEALED[:length]) in {"short", "signature"}


def test_a_file_for_another_centre_is_told_from_a_damaged_one() -> None:
    """C-10.7: the recipient says to whom it is sealed."""
    assert code(SEALED, X25519PrivateKey.generate()) == "recipient"


def resealed(body: bytes, key: Ed25519PrivateKey) -> bytes:
    return sign(envelope_head(Magic.SEALED, Codec.PLAIN, key), body, key)


def test_nobody_can_sign_anothers_content_as_his_own() -> None:
    """C-10.5: the ciphertext is bound to the key that signed it, and to the slip."""
    assert code(resealed(SEALED[ENVELOPE_SIZE:], vectors.CENTRE)) == "sealed"
    body = bytearray(SEALED[ENVELOPE_SIZE:])
    body[12] ^= 1
    assert code(resealed(bytes(body), vectors.UNIT)) == "sealed"
    body = bytearray(SEALED[ENVELOPE_SIZE:])
    body[-1] ^= 1
    assert code(resealed(bytes(body), vectors.UNIT)) == "sealed"


def test_a_slip_that_reaches_beyond_its_file_is_refused() -> None:
    """C-10.4: whatever it says of its own length."""
    for length in (SLIP_MAX, SLIP_MAX + 1, 0xFFFF):
        body = SEALED[77:85] + struct.pack(">H", length) + SEALED[87:200]
        assert code(resealed(body, vectors.UNIT)) == "short"
    with pytest.raises(ContractFault, match="2097152"):
        seal_file(vectors.entries(), bytes(SLIP_MAX + 1), vectors.UNIT, recipient_key())


def recipient_key() -> X25519PublicKey:
    return vectors.SEALING.public_key()


def test_a_file_within_its_bounds_is_made_and_one_beyond_is_not() -> None:
    """C-10.2: at most 2 MiB with a slip of full length."""
    room = LOAD_MAX - Entry("up/chunk", b"").size
    full = seal_file(
        [Entry("up/chunk", bytes(room))], bytes(SLIP_MAX), vectors.UNIT, recipient_key()
    )
    assert len(full) <= FILE_MAX == 2 << 20
    with pytest.raises(ContractFault, match="2097152"):
        seal_file([Entry("up/chunk", bytes(FILE_MAX))], b"", vectors.UNIT, recipient_key())


def test_sizes_tell_little() -> None:
    """C-10.6: zeros fill up."""
    one, two = (
        seal_file([Entry("up/chunk", bytes(size))], b"", vectors.UNIT, recipient_key())
        for size in (1, PAD - 100)
    )
    assert len(one) == len(two)


def test_a_file_that_is_packed_is_refused() -> None:
    """C-10.3: codec 0, so that nothing can inflate."""
    packed = sign(envelope_head(Magic.SEALED, Codec.ZSTD, vectors.UNIT), b"x", vectors.UNIT)
    assert code(packed) == "codec"


def test_keys_of_a_recipient_are_known_by_their_hash() -> None:
    """C-10.3: as key ids are (C-2.3)."""
    raw = recipient_key().public_bytes_raw()
    assert recipient(recipient_key()) == hashlib.sha256(raw).digest()[:8]
    key = {key_id(vectors.UNIT.public_key()): vectors.UNIT.public_key()}
    assert take_apart(SEALED, key.get)[0] == recipient(recipient_key())


CHANNEL = st.sampled_from(["up/hello", "up/log/clinical", "up/chunk", "up/of-tomorrow"])
ENTRIES = st.lists(st.builds(Entry, CHANNEL, st.binary(min_size=1, max_size=200)), max_size=8)


@given(ENTRIES, st.integers(0, 100))
def test_entries_come_back_as_they_went_in(entries: list[Entry], zeros: int) -> None:
    """C-10.6: in order, whatever fills up behind them."""
    assert unpack(pack(entries) + bytes(zeros)) == tuple(entries)
    assert sum(each.size for each in entries) == len(pack(entries))


@given(st.binary(max_size=300))
def test_arbitrary_content_raises_only_contract_faults(content: bytes) -> None:
    """C-1.5, C-10.6: torn entries, impossible channels, something behind the end."""
    try:
        packed = pack(unpack(content))
    except ContractFault:
        return
    assert content == packed + bytes(len(content) - len(packed))


@pytest.mark.parametrize(
    "content",
    [
        b"\x08up/hello",
        b"\x08up/hello\x00\x00\x00\x00",
        b"\x08up/hello\x00\x00\x00\x05abcd",
        b"\x08up/hello\xff\xff\xff\xffabcd",
        b"\x08UP/HELLO\x00\x00\x00\x01a",
        b"\x08../../e\x00\x00\x00\x00\x01a",
        b"\x00\x00\x01",
    ],
)
def test_entries_that_are_not_whole_are_refused(content: bytes) -> None:
    """C-10.6: torn, empty, without a channel, or with something behind them."""
    with pytest.raises(ContractFault, match="entries"):
        unpack(content)


def test_a_file_of_receipts_is_told_from_all_else() -> None:
    """C-10.9: its magic, then entries; other channels are passed over."""
    frames = (b"one", b"two")
    assert decode_receipts(encode_receipts(frames)) == frames
    other = pack([Entry("down/of-tomorrow", b"x")])
    assert decode_receipts(encode_receipts(frames) + other) == frames
    for content in (b"", SEALED, b"QFLR"):
        with pytest.raises(ContractFault, match="magic"):
            decode_receipts(content)


def test_folders_are_those_of_the_topics() -> None:
    """C-10.1: one below the other."""
    assert folders("clinical", "azilal-03", "up") == ("qafila", "v1", "azilal-03", "up")
    assert folders("simulated", "azilal-03", "down")[:2] == ("qafila-sim", "v1")
