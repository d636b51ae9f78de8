"""A unit, a broker and a centre as real processes, and all that lies between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Self

from agent.identity import load_unit_key, make_unit_key
from agent.store.keys import make_key
from tests.brokers import HOST, Mosquitto
from tests.faults.book import Book, Verdict, judge
from tests.faults.disk import ROOT, VolatileDisk, why_not
from tests.faults.scribe import Code
from tests.sync.relay import CONNECT, PUBLISH, Packet, Relay, Way
from tests.sync.rig import Centre, CentreProcess

if TYPE_CHECKING:
    from collections.abc import Callable

UNIT = "oracle-01"
_CEILING = 60.0
_PATIENCE = 150.0
_OLD_RECEIPTS = 40


class World:
    """Everything that faults are done to. Use as `async with`."""

    def __init__(self, seed: int, code: Code = Code.AS_IT_IS) -> None:
        self._code = code
        self.chance = random.Random(seed)
        self.book = Book()
        self.faults: Counter[str] = Counter()
        self.disk = None if why_not() else VolatileDisk()
        self._place = tempfile.TemporaryDirectory(prefix="qafila-oracle-")
        self._here = Path(self._place.name)
        self.centre = Centre(self._here / "centre")
        self.broker = Mosquitto(self._here)
        self.relay = Relay(self.broker.port)
        self._centre_process: CentreProcess | None = None
        self._unit: asyncio.subprocess.Process | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._lives = 0
        self._log = (self._here / "unit.log").open("ab")
        self.old_receipts: deque[bytes] = deque(maxlen=_OLD_RECEIPTS)
        self._dialect = b""

    async def __aenter__(self) -> Self:
        if self.disk:
            self.disk.mount()
        self.broker.start()
        await self.relay.restore()
        make_key(self._state)
        make_unit_key(self._state)
        self.centre.enrol(UNIT, load_unit_key(self._state))
        self._write_settings()
        await self.start_centre()
        await self.start_unit()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill_unit()
        await self.relay.cut()
        await self.kill_centre()
        self.broker.kill()
        if self.disk:
            self.disk.__exit__(None, None, None)
        self._log.close()
        self._place.cleanup()

    @property
    def _state(self) -> Path:
        return (self.disk.folder if self.disk else self._here) / "unit"

    def _write_settings(self) -> None:
        lines = [
            f'[unit]\nname = "{UNIT}"\nstate = "{self._state}"\nruntime = "{self._here / "run"}"',
            f'[uplink]\nhost = "{HOST}"\nport = {self.relay.port}\nkeepalive = 5',
            f'centre_key = "{self.centre.folder / "central.pub"}"',
        ]
        (self._here / "unit.toml").write_text("\n".join(lines) + "\n", "utf-8")

    async def start_unit(self) -> None:
        """Start the feeder; return once its store is open."""
        self._lives += 1
        name = f"{self._lives}-{self.chance.randrange(1 << 30)}"
        words = (str(self._here / "unit.toml"), name, self._code.value)
        self._unit = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.feeder", *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert self._unit.stdout
        async with asyncio.timeout(_CEILING):
            first = await self._unit.stdout.readline()
        assert first == b"ready\n", self.said()
        self._hearing = asyncio.create_task(self._hear(self._unit.stdout))

    async def _hear(self, output: asyncio.StreamReader) -> None:
        while line := await output.readline():
            self.book.hear(line.decode())

    async def kill_unit(self) -> None:
        """kill -9; what it had said before still counts."""
        if self._unit is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._unit.kill()
        await self.unit_ends()

    async def unit_ends(self) -> None:
        """Wait until the unit has ended by itself."""
        assert self._unit
        assert self._hearing
        async with asyncio.timeout(_CEILING):
            await self._unit.wait()
            await self._hearing
        self._unit = None

    def tell_unit(self, *words: object) -> None:
        """Say a line to the feeder."""
        assert self._unit
        assert self._unit.stdin
        self._unit.stdin.write((" ".join(map(str, words)) + "\n").encode())

    async def start_centre(self) -> None:
        """Run `python -m central run`; return once it is subscribed."""
        self._centre_process = await asyncio.to_thread(self.centre.process, self.broker.port)

    async def kill_centre(self) -> None:
        """kill -9."""
        process, self._centre_process = self._centre_process, None
        if process:
            await asyncio.to_thread(process.kill)

    async def restore_centre(self, backup: Path) -> None:
        """Put an older copy of the centre's database in the place of the present one."""
        await self.kill_centre()
        for part in self.centre.folder.glob("central.db*"):
            part.unlink()
        shutil.copyfile(backup, self.centre.folder / "central.db")
        await self.command_centre("restored")
        await self.start_centre()

    async def command_centre(self, word: str, *more: str) -> None:
        """Run a command of the centre to its end."""
        command = (sys.executable, "-m", "central", word, str(self.centre.folder), *more)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=self._log,
            stderr=self._log,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert await process.wait() == 0, self.said()

    def backup_path(self) -> Path:
        """Where the next backup may go."""
        return self._here / f"backup-{time.monotonic_ns()}.db"

    def mind(self, change: Callable[[bytes], bytes]) -> None:
        """Let receipts through as `change` gives them."""

        def pass_on(packet: Packet) -> bytes:
            if packet.kind == CONNECT:
                self._learn_dialect(packet)
            if packet.way is not Way.DOWN or packet.kind != PUBLISH:
                return packet.content
            self.old_receipts.append(packet.content)
            return change(packet.content)

        self.relay.mind = pass_on

    def _learn_dialect(self, packet: Packet) -> None:
        """A receipt of an MQTT 5 connection would be noise in one of MQTT 3.1.1."""
        dialect = packet.content.partition(b"MQTT")[2][:1]
        if dialect != self._dialect:
            self.old_receipts.clear()
        self._dialect = dialect

    async def calm(self, patience: float = _PATIENCE) -> Verdict:
        """End every fault and the feeding; wait until all is there, then a little longer."""
        self.mind(lambda receipt: receipt)
        self.relay._latency, self.relay._rate = 0.0, float("inf")
        self.tell_unit("rest")
        await self.relay.cut()
        await self.relay.restore()
        self.tell_unit("route")
        deadline = time.monotonic() + patience
        while True:
            verdict = await asyncio.to_thread(judge, self.book, self.centre.folder)
            if not verdict.lost or time.monotonic() > deadline:
                break
            self.tell_unit("route")  # one that comes before the loss is noticed is forgotten
            await asyncio.sleep(0.5)
        await asyncio.sleep(1.0)
        return await asyncio.to_thread(judge, self.book, self.centre.folder)

    def said(self) -> str:
        """The end of what the processes logged."""
        self._log.flush()
        return (self._here / "unit.log").read_text("utf-8", "replace")[-3000:]
