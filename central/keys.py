"""The centre's keys, to sign receipts and to open sealed files; the public keys of units. PEM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
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
SEALING = "central-seal.key"
PUBLIC = "central.pub"
_OTHERS = 0o077


def create_key(folder: Path) -> None:
    """Make both keys (mode 0400) and, beside them, the file of public keys that units pin."""
    path = folder / PRIVATE
    if path.exists():
        raise Misconfigured(f"{path} exists", "choose a folder that holds no centre")
    public = []
    for name, key in (
        (PRIVATE, Ed25519PrivateKey.generate()),
        (SEALING, X25519PrivateKey.generate()),
    ):
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_durably(folder / name, [secret], 0o400)
        half = key.public_key()
        public.append(half.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    write_durably(folder / PUBLIC, public, 0o444)


def load_key(folder: Path) -> Ed25519PrivateKey:
    """Load the signing key; Misconfigured where it is missing, open to others, or no key."""
    key = _load_secret(folder / PRIVATE)
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(
            f"{folder / PRIVATE} holds no Ed25519 private key in PEM", "bring it back from a backup"
        )
    return key


def load_sealing_key(folder: Path) -> X25519PrivateKey:
    """Load the key that opens sealed files; raises as `load_key`."""
    key = _load_secret(folder / SEALING)
    if not isinstance(key, X25519PrivateKey):
        raise Misconfigured(
            f"{folder / SEALING} holds no X25519 private key in PEM", "bring it back from a backup"
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


def _load_secret(path: Path) -> object:
    text = _read(path, "bring it back from a backup, or run qafila-central init on a new folder")
    if path.stat().st_mode & _OTHERS:
        raise Misconfigured(f"{path} can be read by others", f"run chmod 0400 {path}")
    try:
        return load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _read(path: Path, remedy: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"{path} can't be read ({error.strerror})", remedy) from None
