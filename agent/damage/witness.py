"""What stands beside the database, so that its loss is noticed and a wrong key is not called one.

No secret and no patient data: who the unit is, its epoch, the tables and where each begins.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from agent.store.files import write_durably

if TYPE_CHECKING:
    from pathlib import Path

    from agent.store.connection import Connection

NAME = "qafila.witness"


class Witness(msgspec.Struct, frozen=True):
    """What the last orderly opening found. `roots` are first pages by table; `check` a MAC."""

    unit: str
    origin: str
    epoch: str
    generation: int
    roots: dict[str, int]
    check: str = ""

    def fits(self, key: str) -> bool:
        """Whether it was written with this key; false too where its bytes are damaged."""
        return hmac.compare_digest(self.check, _check(self, key))


def read(folder: Path) -> Witness | None:
    """The witness; None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=Witness)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def keep(folder: Path, key: str, connection: Connection, generation: int) -> None:
    """Write what is true of the database now, where it isn't written yet; durable.

    A full disk is passed over: a unit must start on it, and the next start writes it.
    """
    name, origin, epoch = connection.execute("SELECT name, origin, epoch FROM unit").fetchone()
    roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE rootpage > 0"))
    found = Witness(name, origin, epoch, generation, roots)
    found = msgspec.structs.replace(found, check=_check(found, key))
    if found == read(folder):
        return
    with suppress(OSError):
        write_durably(folder / NAME, msgspec.json.encode(found))


def _check(witness: Witness, key: str) -> str:
    said = msgspec.json.encode(msgspec.structs.replace(witness, check=""))
    return hmac.digest(bytes.fromhex(key), b"qafila witness\n" + said, hashlib.sha256).hex()
