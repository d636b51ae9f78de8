"""Where a stick's files come from: the store, read on a connection of the caller's own thread."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sqlcipher3 import dbapi2 as sqlite

from agent.export.contents import Contents
from agent.export.slip import Slips
from agent.store import backlog, epochs, settling
from agent.store.connection import open_reader, translate
from agent.store.kept import owed
from sync.contract.batch import encode_batch
from sync.contract.chunk import CHUNK_MAX, Chunk, encode_chunk
from sync.contract.entries import Entry
from sync.contract.fields import LANES
from sync.contract.hello import Hello, encode_hello
from sync.contract.ranges import Ranges, clip, union
from sync.contract.sealed import LOAD_MAX, recipient, seal_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    from agent.export.contents import Place
    from agent.store.connection import Connection
    from agent.store.store import Store
    from sync.contract.envelope import SigningKey

BATCH_BUDGET = 192 << 10
"""Bytes of record lines in one batch, before compression."""
SPANS_MAX = 128
"""The most ranges of one file, so that its slip stays within bounds."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is to be carried, and by which keys a file of this unit for this centre is known."""

    epoch: str
    pending: Contents
    unit_key: bytes
    recipient: bytes


@dataclass(frozen=True, slots=True)
class Judged:
    """What a file holds, and what of it is still wanted at the centre."""

    contents: Contents
    wanted: Contents


class Source(Protocol):
    """What a stick is filled from. Every call is blocking."""

    def open(self) -> Opening:
        """What is pending now."""

    def judge(self, slips: Sequence[bytes]) -> list[Judged | None]:
        """What files hold, by their slips; None for one that isn't ours."""

    def seal(self, wanted: Contents) -> tuple[bytes, Contents]:
        """A file with as much of this as it takes, and what that is; nothing: it can't be read."""


class StoreSource:
    """The pending of one destination. Raises StoreError where the database can't be read."""

    def __init__(
        self, store: Store, destination: str, key: SigningKey, centre: X25519PublicKey
    ) -> None:
        self._folder, self._key_of_store = store.folder, store.key
        self._unit, self._origin = store.unit, store.origin
        self._destination = destination
        self._key = key
        self._centre = centre
        self._slips = Slips(store.key)

    def open(self) -> Opening:
        """See `Source.open`."""
        with self._reading() as connection:
            (epoch,) = connection.execute("SELECT epoch FROM unit").fetchone()
            return Opening(
                epoch,
                pending(connection, self._destination),
                self._key.public_key().public_bytes_raw(),
                recipient(self._centre),
            )

    def judge(self, slips: Sequence[bytes]) -> list[Judged | None]:
        """See `Source.judge`."""
        with self._reading() as connection:
            return [self._judge(connection, each) for each in slips]

    def seal(self, wanted: Contents) -> tuple[bytes, Contents]:
        """See `Source.seal`."""
        with self._reading() as connection:
            packing = _Packing(connection, self._hello(connection), self._key)
            packing.take_records(self._unit, wanted)
            packing.take_pieces(wanted)
            home = settling.state_id(connection)
        if not packing.taken:
            return b"", Contents()
        slip = self._slips.lock(home, packing.taken)
        return seal_file(packing.entries, slip, self._key, self._centre), packing.taken

    def _hello(self, connection: Connection) -> Entry:
        hello = Hello(
            unit=self._unit,
            session=settling.carried_question(connection, self._destination).session,
            origin=self._origin,
            lanes=backlog.offers(connection, self._destination),
        )
        return Entry("up/hello", encode_hello(hello, self._key))

    def _judge(self, connection: Connection, slip: bytes) -> Judged | None:
        said = self._slips.unlock(slip)
        if said is None:
            return None
        home, contents = said
        ours = home == settling.state_id(connection)
        return Judged(contents, wanted(connection, self._destination, contents, ours=ours))

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        connection = open_reader(self._folder, self._key_of_store)
        try:
            yield connection
        except sqlite.Error as error:
            raise translate(error) from None
        finally:
            connection.close()


class _Packing:
    """Entries for one file, until it is full."""

    def __init__(self, connection: Connection, hello: Entry, key: SigningKey) -> None:
        self._connection = connection
        self._key = key
        self._room = LOAD_MAX - hello.size
        self._spans = 0
        self.entries = [hello]
        self.taken = Contents()

    def take_records(self, unit: str, wanted: Contents) -> None:
        """Most pressing lanes first; a record that can't be read as it was written is left out."""
        for place in sorted(wanted.records, key=_rank):
            for first, last in wanted.records[place]:
                at = first
                while at <= last:
                    batch = backlog.sound_batch(
                        self._connection, unit, place, (at, last), BATCH_BUDGET
                    )
                    if batch is None:
                        at = backlog.next_seq(self._connection, place, at) or last + 1
                        continue
                    frame = encode_batch(batch, self._key)
                    end = batch.header.last
                    held = Contents({place: ((at, end),)})
                    if not self._put(Entry(f"up/log/{place[1]}", frame), held):
                        return
                    at = end + 1

    def take_pieces(self, wanted: Contents) -> None:
        """Bytes of blobs, in chunks."""
        sizes = backlog.sizes(self._connection, wanted.pieces)
        for sha256, spans in wanted.pieces.items():
            for offset, last in _cut(clip(spans, 0, sizes.get(sha256, 0) - 1)):
                name = bytes.fromhex(sha256)
                content = backlog.read_blob(self._connection, name, offset, last)
                if len(content) != last - offset + 1:
                    continue
                chunk = encode_chunk(Chunk(name, sizes[sha256], offset, content))
                held = Contents({}, {sha256: ((offset, last),)})
                if not self._put(Entry("up/chunk", chunk), held):
                    return

    def _put(self, entry: Entry, held: Contents) -> bool:
        if entry.size > self._room or self._spans >= SPANS_MAX:
            return False
        self.entries.append(entry)
        self._room -= entry.size
        self._spans += 1
        self.taken = self.taken.plus(held)
        return True


def pending(connection: Connection, destination: str) -> Contents:
    """Everything that no receipt has settled."""
    lanes = backlog.lanes(connection, destination)
    blobs = backlog.waiting_blobs(connection, destination)
    return Contents(
        {
            (state.epoch, state.lane): spans
            for state, oldest, _ in lanes
            if (spans := owed(connection, destination, state, oldest))
        },
        {sha256.hex(): spans for sha256, (_, spans) in blobs.items() if spans},
    )


def wanted(connection: Connection, destination: str, contents: Contents, *, ours: bool) -> Contents:
    """What of a file no receipt has settled; of a log that we never had (not `ours`), all.

    A blob of ours that is known no more was confirmed, and has aged out.
    """
    if not ours:
        return contents
    blobs = backlog.settled_bytes(connection, destination, contents.pieces)
    settled = Contents(
        {place: _settled(connection, destination, place) for place in contents.records},
        {sha256: blobs.get(sha256, spans) for sha256, spans in contents.pieces.items()},
    )
    return contents.less(settled)


def _settled(connection: Connection, destination: str, place: Place) -> Ranges:
    state = settling.load(connection, destination, *place)
    if state is None:
        return ()
    if epochs.is_closed(connection, place[0]) and not pending(connection, destination).records:
        return ((1, state.last),)  # what it had left has moved into the epoch that followed
    return union(((1, state.through),) if state.through else (), state.ahead)


def _rank(place: Place) -> int:
    return LANES.index(place[1]) if place[1] in LANES else len(LANES)


def _cut(spans: Ranges) -> Iterator[tuple[int, int]]:
    for first, last in spans:
        for offset in range(first, last + 1, CHUNK_MAX):
            yield offset, min(last, offset + CHUNK_MAX - 1)
