"""The database of the centre: opening, transactions, units and counters.

All SQL of the centre stands in `schema`, `store`, `logbook`, `blobstore`, `holdings`, `report`.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlcipher3 import dbapi2

from central.blobstore import Blobstore
from central.errors import Misconfigured, StoreUnavailable
from central.holdings import Holdings
from central.logbook import Logbook
from central.schema import COMPARING, TABLES, VERSION
from sync.contract.envelope import key_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

DATABASE = "central.db"
_LOCK_TIMEOUT = 10.0
_WAL_RESET_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))


@dataclass(frozen=True, slots=True)
class EnrolledUnit:
    """A unit that may speak; `public_key` are the 32 raw bytes of an Ed25519 key."""

    unit: str
    public_key: bytes
    origin: str

    def key_of(self) -> Callable[[bytes], Ed25519PublicKey | None]:
        """Find the unit's key by its id (C-2.3)."""
        key = Ed25519PublicKey.from_public_bytes(self.public_key)
        return {key_id(key): key}.get


class Store:
    """One write connection; `log`, `blobs`, `holdings` speak SQL within its transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection
        self.log = Logbook(connection)
        self.blobs = Blobstore(connection)
        self.holdings = Holdings(connection)
        row = connection.execute("SELECT version, central_epoch, origin FROM centre").fetchone()
        if row[0] != VERSION:
            raise Misconfigured(
                f"the database has schema version {row[0]}",
                f"run the version of this program that speaks it (this one speaks {VERSION})",
            )
        self.central_epoch: str = row[1]
        self.origin: str = row[2]

    def close(self) -> None:
        """Let go of the database."""
        self._sql.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all or nothing: after a normal end it is on disk, else nothing changed.

        StoreUnavailable where the disk or a lock stands in the way.
        """
        try:
            self._sql.execute("BEGIN IMMEDIATE")
            yield
            self._sql.execute("COMMIT")
        except dbapi2.DatabaseError as error:
            # Its subclasses, the operational one aside, are mistakes of this program.
            if type(error) not in {dbapi2.OperationalError, dbapi2.DatabaseError}:
                raise
            raise StoreUnavailable(f"the database can't be written now: {error}") from error
        finally:
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Undo what this block changed, and no more, when it raises."""
        self._sql.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            if self._sql.in_transaction:  # a full disk has ended the transaction already
                self._sql.execute("ROLLBACK TO attempt")
                self._sql.execute("RELEASE attempt")
            raise
        self._sql.execute("RELEASE attempt")

    def enrol(self, unit: str, public_key: bytes) -> None:
        """Let a unit speak with this key, and with no other from now on."""
        self._sql.execute(
            "INSERT INTO units (unit, public_key, origin) VALUES (?, ?, ?)"
            " ON CONFLICT (unit) DO UPDATE SET public_key = excluded.public_key",
            (unit, public_key, self.origin),
        )

    def unit(self, unit: str) -> EnrolledUnit | None:
        """Find an enrolled unit."""
        row = self._sql.execute(
            "SELECT unit, public_key, origin FROM units WHERE unit = ?", (unit,)
        ).fetchone()
        return EnrolledUnit(*row) if row else None

    def next_greeting(self, unit: str) -> int:
        """Count a hello of a unit."""
        row = self._sql.execute(
            "UPDATE units SET greetings = greetings + 1 WHERE unit = ? RETURNING greetings",
            (unit,),
        ).fetchone()
        return int(row[0])

    def count(self, unit: str, code: str, times: int = 1) -> None:
        """Count refused messages; `unit` is empty for a stranger."""
        self._sql.execute(
            "INSERT INTO refusals (unit, code, times) VALUES (?, ?, ?)"
            " ON CONFLICT (unit, code) DO UPDATE SET times = times + excluded.times",
            (unit, code, times),
        )

    def begin_epoch(self) -> None:
        """Take a new central epoch: every unit then sends again what is missing here."""
        self.central_epoch = str(uuid.uuid4())
        self._sql.execute("UPDATE centre SET central_epoch = ?", (self.central_epoch,))
        self._sql.execute("UPDATE lanes SET told = 0, backed_up_through = NULL")


def create(folder: Path, origin: str) -> None:
    """Make the database of a new centre; Misconfigured where there is one already."""
    path = folder / DATABASE
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise Misconfigured(f"{path} exists", "choose a folder that holds no centre") from None
    connection = connect(path)
    try:
        connection.executescript(f"BEGIN; {TABLES}")
        connection.execute(
            "INSERT INTO centre VALUES (1, ?, ?, ?)", (VERSION, str(uuid.uuid4()), origin)
        )
        connection.execute("COMMIT")
    finally:
        connection.close()


def open_store(folder: Path) -> Store:
    """Open the database of a centre for writing; Misconfigured where there is none."""
    with _naming_faults(folder), ExitStack() as undo:
        connection = connect(folder / DATABASE)
        undo.callback(connection.close)
        store = Store(connection)
        connection.executescript(COMPARING)
        undo.pop_all()
        return store


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """Read the database of a centre beside whoever writes it; Misconfigured where it can't be."""
    with _naming_faults(folder), closing(connect(folder / DATABASE, read_only=True)) as connection:
        yield connection


@contextmanager
def _naming_faults(folder: Path) -> Iterator[None]:
    try:
        yield
    except dbapi2.DatabaseError as error:
        raise Misconfigured(
            f"{folder / DATABASE} can't be used as a centre's database ({error})",
            "run this as the user who owns it, or bring back a backup",
        ) from None


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the file; durable at every commit. Misconfigured where it is missing."""
    _refuse_wal_reset_bug(tuple(dbapi2.sqlite_version_info))
    if not path.is_file():
        raise Misconfigured(f"{path} is missing", "run qafila-central init first")
    mode = "ro" if read_only else "rw"
    raw = dbapi2.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,  # opened by the command, used by the one worker
        timeout=_LOCK_TIMEOUT,
    )
    connection = cast("sqlite3.Connection", raw)
    if not read_only:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _refuse_wal_reset_bug(version: tuple[int, ...]) -> None:
    """Refuse SQLite 3.7.0 to 3.51.2 but for the branches that were mended."""
    newest, *branches = _WAL_RESET_FIXED
    mended = any(version[:2] == fixed[:2] and version >= fixed for fixed in branches)
    if version < newest and not mended:
        raise Misconfigured(
            f"SQLite {'.'.join(map(str, version))} can corrupt a database in WAL mode",
            "install sqlcipher3 0.6.4 or newer",
        )
