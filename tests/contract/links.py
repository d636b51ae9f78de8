"""One link of each transport that can be lost at any await, which no real part can be.

A link plays its frames, then is lost. Every await of a link or of the sink is one turn; the
harness counts turns and acts at one of them: it loses the link, or cancels the driver.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from drivers.errors import DriverError, Unavailable
from tests.contract.sinks import DiskFull, MemorySink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drivers.base import Driver, Stored

PATIENCE_S = 60.0


class FakeLink(ABC):
    """`delivered` is what the driver was given, `closed` whether it let the device go.

    `acknowledged` holds, for each thing said to the device or to who asked for a reading, how
    many readings were on disk at that moment. `questions` are what a card declares as
    commands: they ask and acknowledge nothing.
    """

    name = "fake"

    def __init__(self, frames: Sequence[bytes], sink: MemorySink) -> None:
        self.frames = list(frames)
        self.sink = sink
        self.delivered: list[bytes] = []
        self.closed = False
        self.lost = asyncio.Event()
        self.turn: Callable[[], None] = lambda: None
        self.acknowledged: list[int] = []
        self.questions: frozenset[bytes] = frozenset()

    @abstractmethod
    def attend(self, driver: Driver) -> asyncio.Task[None] | None:
        """What a person does meanwhile, if anything."""

    def acknowledge(self) -> None:
        self.acknowledged.append(len(self.sink.recorded))

    async def step(self) -> None:
        """One await: the loop goes round, and the link may be lost."""
        self.turn()
        await asyncio.sleep(0)
        if self.lost.is_set() or self.closed:
            raise Unavailable(self.name, "it was unplugged")

    async def next_frame(self) -> bytes:
        await self.step()
        if not self.frames:
            self.lost.set()
            raise Unavailable(self.name, "it was unplugged")
        self.delivered.append(self.frames.pop(0))
        return self.delivered[-1]


class FakeGatt(FakeLink):
    """`drivers.gatt_session.GattLink`: indications, then the device hangs up."""

    def __init__(self, frames: Sequence[bytes], sink: MemorySink) -> None:
        super().__init__(frames, sink)
        self._hear: asyncio.Future[Callable[[bytes], None]] = asyncio.Future()
        self._acknowledges: Callable[[str, bytes], bool] = lambda _, __: True

    def attend(self, driver: Driver) -> None:
        """Nobody is needed; a driver that also asks says which of its words acknowledge."""
        self._acknowledges = getattr(driver, "acknowledges", self._acknowledges)

    async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
        assert characteristic
        await self.step()
        if not self._hear.done():
            self._hear.set_result(hear)
        # A fast device indicates before its subscription has returned, and may then be gone.
        await self.step()
        await self.step()

    async def wait_closed(self) -> None:
        hear = await self._hear
        with suppress(Unavailable):
            while True:
                frame = await self.next_frame()
                hear(frame)

    companies = ()

    def has(self, characteristic: str) -> bool:
        """Everything but a clock that could be set and a memory that could be asked."""
        return characteristic not in {"2A08", "2A2B", "2A52"}

    async def read(self, characteristic: str) -> bytes:
        assert characteristic
        await self.step()
        return b"7"

    async def write(self, characteristic: str, content: bytes) -> None:
        assert characteristic
        assert content
        await self.step()
        if self._acknowledges(characteristic, content):
            self.acknowledge()

    async def close(self) -> None:
        self.closed = True
        self.lost.set()
        await asyncio.sleep(0)


class FakeSerial(FakeLink):
    """`drivers.links.serial.SerialLink`: bytes in pieces that heed no frame."""

    def __init__(self, frames: Sequence[bytes], sink: MemorySink) -> None:
        stream = b"".join(frames)
        size = len(stream) // 7 + 1
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        super().__init__(pieces, sink)

    def attend(self, driver: Driver) -> None:  # noqa: ARG002 - nobody is needed
        return None

    async def read(self) -> bytes:
        return await self.next_frame()

    async def write(self, content: bytes) -> None:
        assert content
        await self.step()
        if content not in self.questions:
            self.acknowledge()

    def close(self) -> None:
        self.closed = True
        self.lost.set()


class Asked(Protocol):
    async def snapshot(self) -> Stored: ...


class FakeCamera(FakeLink):
    """`drivers.links.camera.Camera`, and a person who asks for one picture after the other."""

    def __init__(self, frames: Sequence[bytes], sink: MemorySink) -> None:
        settling = list(frames)[:1] * 5
        super().__init__([*settling, *frames], sink)

    def attend(self, driver: Driver) -> asyncio.Task[None]:
        return asyncio.create_task(self._ask(cast("Asked", driver)))

    async def _ask(self, driver: Asked) -> None:
        while True:
            try:
                await driver.snapshot()
                self.acknowledge()
            except (DriverError, DiskFull):
                await asyncio.sleep(0)

    remark = ""

    async def frame(self) -> bytes:
        return await self.next_frame()

    async def pressed(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed = True
        self.lost.set()
        await asyncio.sleep(0)


class FakeFolder(FakeLink):
    """`drivers.links.files.Folder`: whole files, one after the other."""

    def attend(self, driver: Driver) -> None:  # noqa: ARG002 - nobody is needed
        return None

    async def next(self) -> bytes:
        return await self.next_frame()

    def close(self) -> None:
        self.closed = True
        self.lost.set()


LINKS: dict[str, type[FakeLink]] = {
    "gatt": FakeGatt,
    "serial": FakeSerial,
    "camera": FakeCamera,
    "folder": FakeFolder,
}


@dataclass
class Visit:
    """How one run of a driver went. `turns` is how many awaits of link and sink it took."""

    link: FakeLink
    sink: MemorySink
    error: BaseException | None
    left_running: list[str]
    turns: int


class Harness:
    """Runs a driver once on a fake link, and does one thing at one turn."""

    def __init__(
        self, transport: str, frames: Sequence[bytes], sink: MemorySink | None = None
    ) -> None:
        self.sink = sink or MemorySink()
        self.link = LINKS[transport](frames, self.sink)
        self.link.turn = self.sink.turn = self._turn
        self.turns = 0
        self._act: tuple[int, Callable[[], object]] = (0, lambda: None)
        self._run: asyncio.Task[None] | None = None

    async def visit(self, driver: Driver, *, lose_at: int = 0, cancel_at: int = 0) -> Visit:
        """Let the driver run to its end; a turn of 0 never comes, and the link plays out."""
        before = asyncio.all_tasks()
        self._run = asyncio.create_task(driver.run(self.link, self.sink))
        self._act = (cancel_at, self._run.cancel) if cancel_at else (lose_at, self.link.lost.set)
        person = self.link.attend(driver)
        try:
            await asyncio.wait({self._run}, timeout=PATIENCE_S)
            assert self._run.done(), "the driver does not end"
            left = asyncio.all_tasks() - before - {person}
        finally:
            await _end(self._run, person)
        error = _error_of(self._run)
        return Visit(self.link, self.sink, error, [str(each) for each in left], self.turns)

    def _turn(self) -> None:
        self.turns += 1
        number, act = self._act
        if self.turns == number:
            act()


def _error_of(run: asyncio.Task[None]) -> BaseException | None:
    return asyncio.CancelledError() if run.cancelled() else run.exception()


async def _end(*tasks: asyncio.Task[None] | None) -> None:
    started = [task for task in tasks if task]
    for task in started:
        task.cancel()
    await asyncio.wait(started)
