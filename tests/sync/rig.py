"""A real unit and a real centre, for tests of what lies between them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.capture import Capture
from agent.clock import now
from agent.store.figures import figures
from agent.store.store import Store
from central import report
from central.keys import create_key, load_key
from central.ledger import Ledger
from central.receiver import Receiver
from central.settings import Broker as CentralBroker
from central.store import create, open_store
from drivers.base import Blob, Device, Measurement, Value
from sync.mqtt import Broker, MqttLink, Will, connect
from sync.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from drivers.base import Stored
    from sync.outbox import Link

UNIT = "azilal-03"
ROOT = f"qafila/v1/{UNIT}"
HOST = "127.0.0.1"
DESTINATION = "centre"
CEILING = 60.0


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition; the ceiling is there for a hang, not to measure anything."""
    deadline = time.monotonic() + CEILING
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        await asyncio.sleep(0.01)


def paho_threads() -> int:
    """How many connections have a thread of their own now."""
    return sum(each.name.startswith("paho") for each in threading.enumerate())


async def no_route() -> None:
    """Stand in for a kernel whose routes never change."""
    await asyncio.Event().wait()


class Unit:
    """A store with its outbox, and the keys of both sides."""

    def __init__(self, folder: Path, centre: Centre) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.centre_key = centre.key.public_key()
        self.store = Store.open(folder, secrets.token_hex(48), UNIT, "clinical")
        self.outbox = self.store.outbox(DESTINATION)
        self.saved: dict[str, None] = {}
        centre.enrol(UNIT, self.key)

    async def record(self, *blobs: bytes, kind: str = "body-temperature") -> Stored:
        """Take a reading, with pictures or without."""
        stored = await self.store.record(capture(blobs, kind))
        self.saved[str(stored.record_id)] = None
        return stored

    async def record_many(self, count: int, kind: str = "body-temperature") -> None:
        """Take many readings in one commit."""
        for stored in await self.store.record_all([capture((), kind) for _ in range(count)]):
            self.saved[str(stored.record_id)] = None

    def uplink(
        self,
        connecting: Callable[[], AbstractAsyncContextManager[Link]],
        route: Callable[[], Awaitable[None]] = no_route,
        cap: int | None = None,
    ) -> Uplink:
        return Uplink(self.outbox, connecting, self.key, self.centre_key, route, cap=cap)

    @contextlib.asynccontextmanager
    async def online(
        self, port: int, keepalive: int = 30, route: Callable[[], Awaitable[None]] = no_route
    ) -> AsyncIterator[Uplink]:
        """Run an uplink to a broker on this machine for as long as the block lasts."""
        broker = Broker(HOST, port, UNIT, ROOT, keepalive=keepalive)
        async with running(self.uplink(connector(broker), route)) as uplink:
            yield uplink

    def pending(self) -> int:
        found: int = figures(self.store.reader, DESTINATION)["pending"]
        return found

    def alarms(self) -> dict[str, int]:
        shown = figures(self.store.reader, DESTINATION)["alarms"]
        return {each["code"]: each["count"] for each in shown}

    def blobs(self) -> int:
        """How many blobs are not complete at the centre yet."""
        found: int = figures(self.store.reader, DESTINATION)["blobs_pending"]
        return found

    def confirmed(self) -> bool:
        """Whether everything that was recorded is confirmed, pictures included."""
        return self.pending() == 0 and self.blobs() == 0

    async def settled(self, what: str = "confirmation of everything") -> None:
        await until(self.confirmed, what)


def capture(blobs: tuple[bytes, ...] = (), kind: str = "body-temperature") -> Capture:
    measurement = Measurement(
        kind=kind,
        raw=secrets.token_bytes(12),
        values=(Value(code="150364", value=Decimal("36.0"), unit="Cel"),),
        blobs=tuple(Blob(content, "image/jpeg", "photograph") for content in blobs),
    )
    device = Device("ble:F1:00:00:00:00:01", "thermometer")
    return Capture(measurement, device, now(), "1", "clinical", "1")


def state(said: str, session: str) -> Will:
    told = {"contract": 1, "unit": UNIT, "session": session, "state": said}
    return Will("up/state", json.dumps(told).encode())


def connector(broker: Broker) -> Callable[[], AbstractAsyncContextManager[MqttLink]]:
    def connecting() -> AbstractAsyncContextManager[MqttLink]:
        session = str(uuid.uuid4())
        return connect(broker, birth=state("online", session), will=state("offline", session))

    return connecting


@contextlib.asynccontextmanager
async def running(uplink: Uplink) -> AsyncIterator[Uplink]:
    """Run an uplink beside the block; it ends by cancellation and by nothing else."""
    task = asyncio.create_task(uplink.run())
    try:
        yield uplink
        assert not task.done(), task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Centre:
    """A centre in a folder: as a ledger, as a receiver in a thread, or as a process."""

    def __init__(self, folder: Path, origin: str = "clinical") -> None:
        self.folder = folder
        folder.mkdir()
        create(folder, origin)
        create_key(folder)
        self.key = load_key(folder)

    def enrol(self, unit: str, key: Ed25519PrivateKey) -> None:
        with contextlib.closing(open_store(self.folder)) as store, store.transaction():
            store.enrol(unit, key.public_key().public_bytes_raw())

    @contextlib.contextmanager
    def ledger(self) -> Iterator[Ledger]:
        with contextlib.closing(open_store(self.folder)) as store:
            yield Ledger(store)

    @contextlib.contextmanager
    def receiving(self, port: int) -> Iterator[Receiver]:
        """Receive in a thread of this process."""
        with self.ledger() as ledger:
            ready = threading.Event()
            broker = CentralBroker(HOST, port)
            receiver = Receiver(ledger, self.key, "clinical", broker, ready.set)
            thread = threading.Thread(target=receiver.run)
            thread.start()
            try:
                assert ready.wait(CEILING)
                yield receiver
            finally:
                receiver.stop()
                thread.join(CEILING)
                assert not thread.is_alive()

    def process(self, port: int) -> CentreProcess:
        (self.folder / "central.toml").write_text(f'[broker]\nhost = "{HOST}"\nport = {port}\n')
        return CentreProcess(self.folder)

    def records(self) -> list[str]:
        """The id of every record held, in order of arrival; one that is held twice stands twice."""
        return [record for _, record, _ in report.records(self.folder)]

    def whole_blobs(self) -> set[str]:
        """The hashes of complete blobs, computed from their bytes."""
        return {each.content_sha256 for each in report.blobs(self.folder) if each.complete}


class CentreProcess:
    """`python -m central run`, to be killed as a power cut would."""

    def __init__(self, folder: Path) -> None:
        root = str(Path(__file__).resolve().parents[2])
        self._log = (folder / "run.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "central", "run", str(folder)],
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | {"PYTHONPATH": root},
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(CEILING)
        assert self._process.stdout
        self._process.stdout.close()
        self._log.close()


def conserved(unit: Unit, centre: Centre, *pictures: bytes) -> None:
    """Assert that all that was saved is at the centre, once, and nothing else is."""
    assert sorted(centre.records()) == sorted(unit.saved)
    assert {hashlib.sha256(each).hexdigest() for each in pictures} <= centre.whole_blobs()


@dataclass
class Place:
    """A unit and a centre, each in its folder."""

    unit: Unit
    centre: Centre


@contextlib.contextmanager
def place(folder: Path) -> Iterator[Place]:
    centre = Centre(folder / "centre")
    unit = Unit(folder / "unit", centre)
    try:
        yield Place(unit, centre)
    finally:
        unit.store.close()
