"""The centre's real ledger over a database in memory, for one simulated unit."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlcipher3 import dbapi2

from central.ledger import Inbound, Ledger
from central.schema import TABLES, VERSION
from central.store import Store
from sync.contract.receipt import encode_receipt
from sync.contract.topics import topic

from .log import UNIT

if TYPE_CHECKING:
    import sqlite3

Settled = set[tuple[str, str, int]]
ORIGIN = "simulated"


@cache
def unit_key() -> Ed25519PrivateKey:
    """The key of every simulated unit: making one takes longer than a schedule may."""
    return Ed25519PrivateKey.from_private_bytes(bytes(32))


@cache
def centre_key() -> Ed25519PrivateKey:
    """The key of every simulated centre."""
    return Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)


class MemoryCentre:
    """Commits, and says so with signed receipts; can be backed up and come back older."""

    def __init__(self) -> None:
        self._sql = _database()
        self._sql.executescript(f"BEGIN; {TABLES}")
        self._sql.execute(
            "INSERT INTO centre VALUES (1, ?, '00000000-0000-4000-8000-000000000000', ?)",
            (VERSION, ORIGIN),
        )
        self._sql.execute("COMMIT")
        self._open()
        with self._store.transaction():
            self._store.enrol(UNIT, unit_key().public_key().public_bytes_raw())
        self._left: dict[str, tuple[Settled, set[bytes]]] = {}
        self._backup = _database()
        self.back_up()

    def take(self, channel: str, payload: bytes) -> list[bytes]:
        """Commit one message; give the receipts it earned."""
        message = Inbound(topic(ORIGIN, UNIT, channel), payload)
        receipts = self._ledger.commit([message]).receipts
        return [encode_receipt(each, centre_key()) for each in receipts]

    def back_up(self) -> None:
        """Copy everything to a safe place."""
        self._backup.close()
        self._backup = _database()
        self._sql.backup(self._backup)

    def restore(self) -> None:
        """Come back from the backup; the administrator declares a new central epoch."""
        self._left[self._store.central_epoch] = (self.entries(), self.blobs())
        self._sql.close()
        self._sql = _database()
        self._backup.backup(self._sql)
        self._open()
        with self._store.transaction():
            self._store.begin_epoch()

    def settled(self, central_epoch: str) -> tuple[Settled, set[bytes]]:
        """What was ever committed under a central epoch: seqs, and whole blobs."""
        if central_epoch in self._left:
            return self._left[central_epoch]
        return self.entries(), self.blobs()

    def entries(self) -> Settled:
        """Every seq that is settled here."""
        rows = self._sql.execute(
            "SELECT epoch, lane, seq FROM entries JOIN lanes ON lanes.id = lane_id"
        )
        return set(rows)

    def blobs(self) -> set[bytes]:
        """Every blob that is here whole."""
        return {row[0] for row in self._sql.execute("SELECT sha256 FROM blobs WHERE complete = 1")}

    def lines(self) -> list[bytes]:
        """Every record, once."""
        return [row[0] for row in self._sql.execute("SELECT line FROM records ORDER BY rowid")]

    def close(self) -> None:
        """Let go of the memory."""
        self._sql.close()
        self._backup.close()

    def _open(self) -> None:
        self._store = Store(self._sql)
        self._ledger = Ledger(self._store)


def _database() -> sqlite3.Connection:
    connection: sqlite3.Connection = dbapi2.connect(":memory:", isolation_level=None)
    return connection
