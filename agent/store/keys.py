"""The key of the store: from a systemd credential, or a 0400 file on a development machine.

96 hexadecimal digits: a raw 256-bit key and a 128-bit salt. It is never a passphrase and never
stands in the settings.
"""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING

from agent.errors import KeyMissing

if TYPE_CHECKING:
    from pathlib import Path

NAME = "store.key"
_HEX = re.compile(r"[0-9a-f]{96}")
_OWNER_ONLY = 0o077


def find_key(folder: Path, name: str = NAME) -> Path:
    """Where a key is: the credential systemd hands over, else `keys/` in the state folder."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and (sealed := folder.__class__(credentials, name)).is_file():
        return sealed
    return folder / "keys" / name


def load_key(folder: Path) -> str:
    """The 96 hex digits; KeyMissing with the remedy where there are none."""
    path = find_key(folder)
    try:
        if path.parent.name == "keys" and path.stat().st_mode & _OWNER_ONLY:
            raise KeyMissing(f"{path} is readable by others: chmod 0400 {path}")
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        raise KeyMissing(
            f"{path} does not exist: `qafila init` makes one on a development machine, "
            "a systemd credential holds it on a unit (docs/how-to/install.md)"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyMissing(f"{path} can't be read: {error}") from None
    if not _HEX.fullmatch(text):
        raise KeyMissing(f"{path} must hold 96 hexadecimal digits: 64 of key, 32 of salt")
    return text


def make_key(folder: Path) -> Path:
    """Write a new random key as a 0400 file; FileExistsError where one stands."""
    return write_secret(folder, NAME, (secrets.token_hex(48) + "\n").encode())


def write_secret(folder: Path, name: str, content: bytes) -> Path:
    """Write a secret once, readable by its owner only, durable before this returns."""
    keys = folder / "keys"
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = keys / name
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
    sync_folder(keys)
    return path


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
