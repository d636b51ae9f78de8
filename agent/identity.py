"""Who we are to the centre, and who it is to us: Ed25519 keys (RFC 8032) in PEM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from agent.errors import KeyMissing
from agent.store.keys import find_key, write_secret

if TYPE_CHECKING:
    from pathlib import Path

NAME = "unit.key"


def make_unit_key(folder: Path) -> Path:
    """Write a new signing key (0400) and its public half; give the path of the public half.

    FileExistsError where one stands: a unit's key is made once.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = write_secret(folder, NAME, pem).with_name("unit.pub")
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return public


def load_unit_key(folder: Path) -> Ed25519PrivateKey:
    """The unit's signing key; KeyMissing with the remedy."""
    path = find_key(folder, NAME)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        raise KeyMissing(f"{path} does not exist: `qafila init` makes one") from None
    except (OSError, ValueError, TypeError):
        raise KeyMissing(f"{path} is not an unencrypted PEM private key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyMissing(f"{path} must hold an Ed25519 key")
    return key


def load_centre_key(path: Path) -> Ed25519PublicKey:
    """The centre's public key, pinned at enrolment; KeyMissing with the remedy."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except FileNotFoundError:
        raise KeyMissing(
            f"$.uplink.centre_key: {path} does not exist: copy the centre's public key there"
        ) from None
    except (OSError, ValueError):
        raise KeyMissing(f"$.uplink.centre_key: {path} is not a PEM public key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyMissing(f"$.uplink.centre_key: {path} must hold an Ed25519 key")
    return key


def load_sealing_key(path: Path) -> X25519PublicKey:
    """The centre's sealing key, which stands second in the same file; KeyMissing."""
    end = b"-----END PUBLIC KEY-----"
    try:
        first, mark, second = path.read_bytes().partition(end)
        key = load_pem_public_key(second) if first and mark and second.strip() else None
    except (OSError, ValueError):
        key = None
    if not isinstance(key, X25519PublicKey):
        raise KeyMissing(
            f"{path} holds no sealing key of the centre: copy the centre's central.pub there anew"
        )
    return key
