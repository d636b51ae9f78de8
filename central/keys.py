"""The centre's signing key, and reading the public keys of units. Ed25519, PEM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from central.errors import Misconfigured
from central.files import write_durably

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE = "central.key"
PUBLIC = "central.pub"
_OTHERS = 0o077


def create_key(folder: Path) -> None:
    """Make the signing key (mode 0400) and, beside it, the public key that units pin."""
    path = folder / PRIVATE
    if path.exists():
        raise Misconfigured(f"{path} exists", "choose a folder that holds no centre")
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_durably(path, [secret], 0o400)
    write_durably(folder / PUBLIC, [public], 0o444)


def load_key(folder: Path) -> Ed25519PrivateKey:
    """Load the signing key; Misconfigured where it is missing, open to others, or no key."""
    path = folder / PRIVATE
    text = _read(path, "bring it back from a backup, or run qafila-central init on a new folder")
    if path.stat().st_mode & _OTHERS:
        raise Misconfigured(f"{path} can be read by others", f"run chmod 0400 {path}")
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(
            f"{path} holds no Ed25519 private key in PEM", "bring it back from a backup"
        )
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Load a public key; Misconfigured where it is missing or no Ed25519 key in PEM."""
    text = _read(path, "give the path of the unit's public key file")
    try:
        key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise Misconfigured(
            f"{path} holds no Ed25519 public key in PEM",
            "take the public key file that the unit wrote when it was set up",
        )
    return key


def _read(path: Path, remedy: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"{path} can't be read ({error.strerror})", remedy) from None
