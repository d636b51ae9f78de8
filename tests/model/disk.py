"""The store's outbox behind the face that the state machine knows."""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sync.plan import Plan
from tests.agent.store.truck import UNIT, capture, open_store, power_cut

from .unit import LANE

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sync.contract.hello import Hello
    from sync.contract.receipt import Receipt
    from sync.lane import LaneState, Verdict
    from sync.outbox import Parcel

T = TypeVar("T")
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A crash here is a copy of the files as they stand: nothing hangs on a disk that is slow."""


class DiskUnit:
    """A real store in a folder of its own; a crash is a copy of its files as they stand."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="qafila-model-", dir=_MEMORY)
        self._lives = 0
        self._loop = asyncio.new_event_loop()
        self.plan = Plan()
        self.unit = UNIT
        self._store = open_store(Path(self._folder.name) / "0")
        self._outbox = self._store.outbox("centre")
        self.epoch = self._store.epoch

    def close(self) -> None:
        """Give everything back."""
        self._store.close()
        self._loop.close()
        self._folder.cleanup()

    def record(self, line: bytes, blob: bytes | None) -> None:
        """Save a reading; its line is the store's own, POISON travels in its device name."""
        blobs = () if blob is None else (blob,)
        said = capture(line, blobs=blobs, name=line.decode())
        self._run(self._store.record(said))

    def hello(self) -> Hello:
        """Begin a session."""
        self.plan = Plan()
        return self._run(self._outbox.hello(str(uuid.uuid4())))

    def next_parcel(self, *, chunks: bool) -> Parcel | None:
        """What the plan would send now."""
        if chunks:
            if self.plan.piece(self._outbox._blobs(), 4) is None:
                return None
            return self._run(self._outbox.next_chunk(self.plan, 4))
        if self.plan.stretch(self._outbox._views()) is None:
            return None
        return self._run(self._outbox.next_batch(self.plan, 3000))

    def settle(self, receipt: Receipt) -> Verdict:
        """Apply a receipt."""
        return self._run(self._outbox.settle(receipt))

    def crash(self) -> None:
        """Cut the power, and start again from the files."""
        self._lives += 1
        self._store = power_cut(self._store, Path(self._folder.name) / str(self._lives))
        self._outbox = self._store.outbox("centre")
        self.plan = Plan()

    def state(self) -> LaneState:
        """The clinical lane as it is settled."""
        (found,) = (s for s, _, _ in self._outbox._lanes() if s.lane == LANE)
        return found

    def refused(self) -> set[int]:
        """Records that the centre will never take."""
        return {row[0] for row in self._store.reader.execute("SELECT seq FROM exception")}

    def confirmed_blobs(self) -> set[bytes]:
        """Blobs that the centre holds whole."""
        rows = self._store.reader.execute("SELECT sha256 FROM blob_settled WHERE complete = 1")
        return {bytes(row[0]) for row in rows}

    def _run(self, work: Coroutine[object, object, T]) -> T:
        return self._loop.run_until_complete(work)
