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

from agent.damage.cipher import PAGE
from agent.damage.image import Image
from agent.identity import load_unit_key, make_unit_key
from agent.store.connection import FILE
from agent.store.keys import load_key, make_key
from tests.agent.store.damage import flip_bit
from tests.brokers import HOST, Mosquitto
from tests.faults.book import Book, Verdict, judge
from tests.faults.disk import ROOT, VolatileDisk, why_not
from tests.faults.launcher import READ
from tests.faults.scribe import Code
from tests.faults.staff import Staff
from tests.sync.relay import CONNECT, PUBLISH, Packet, Relay, Way, payload_at
from tests.sync.rig import Centre, CentreProcess

if TYPE_CHECKING:
    from collections.abc import Callable

UNIT = "oracle-01"
_CEILING = 60.0
_PATIENCE = 150.0
_OLD_RECEIPTS = 40
_STARTS = 3
"""One that goes on, one that looks for what the first stumbled over, and one for good measure."""
_MQTT_5 = b"\x05"


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
        self.centre = Centre(self._here / "centre", "simulated")
        self.broker = Mosquitto(self._here)
        self.relay = Relay(self.broker.port)
        self._centre_process: CentreProcess | None = None
        self._unit: asyncio.subprocess.Process | None = None
        self._working: asyncio.Task[None] | None = None
        self.staff = Staff(self._here, self.chance, self.book)
        self._log = (self._here / "unit.log").open("ab")
        self.old_receipts: deque[bytes] = deque(maxlen=_OLD_RECEIPTS)
        self._dialect = b""

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _begin(self) -> None:
        if self.disk:
            self.disk.mount()
        self.broker.start()
        await self.relay.restore()
        make_key(self.state)
        make_unit_key(self.state)
        self.centre.enrol(UNIT, load_unit_key(self.state))
        await self.staff.camera.plug()
        self._write_settings()
        await self.start_centre()
        await self.start_unit()
        self._working = asyncio.create_task(self.staff.work())

    async def __aexit__(self, *_: object) -> None:
        await self._let_rest()
        await self.kill_unit()
        await self.staff.camera.unplug()
        await self.relay.cut()
        await self.kill_centre()
        self.broker.kill()
        if self.disk:
            self.disk.__exit__(None, None, None)
        self._log.close()
        self._place.cleanup()

    @property
    def state(self) -> Path:
        return (self.disk.folder if self.disk else self._here) / "unit"

    def _write_settings(self) -> None:
        lines = [
            f'[unit]\nname = "{UNIT}"\norigin = "simulated"',
            f'state = "{self.state}"\nruntime = "{self._here / "run"}"',
            f'[uplink]\nhost = "{HOST}"\nport = {self.relay.port}\nkeepalive = 5',
            f'centre_key = "{self.centre.folder / "central.pub"}"',
            self.staff.settings(),
        ]
        (self._here / "unit.toml").write_text("\n".join(lines) + "\n", "utf-8")

    async def start_unit(self) -> None:
        """Start the agent; return once it answers at its control socket."""
        await self._spawn()
        async with asyncio.timeout(_CEILING):
            while await self.staff.ask("ping") is None:
                assert self._unit
                assert self._unit.returncode is None, self.said()
                await asyncio.sleep(0.05)
        await self.staff.arrive()

    async def heal_unit(self) -> None:
        """Start the agent, anew where it ends as systemd does, until every page of it reads."""
        for _ in range(_STARTS):
            await self._spawn()
            if await self._reads_every_page():
                await self.staff.arrive()
                return
        raise AssertionError(self.said())

    async def _reads_every_page(self) -> bool:
        """Wait for that; False where the agent has ended before."""
        assert self._unit
        async with asyncio.timeout(_PATIENCE):
            while not (self._here / READ).exists():
                if self._unit.returncode is not None:
                    await self.unit_ends()
                    return False
                await asyncio.sleep(0.05)
        return True

    async def _spawn(self) -> None:
        (self._here / READ).unlink(missing_ok=True)
        words = (str(self._here / "unit.toml"), self._code.value)
        self._unit = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.launcher", *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    async def kill_unit(self) -> None:
        """kill -9; what it had answered before still counts."""
        if self._unit is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._unit.kill()
        await self.unit_ends()

    async def unit_ends(self) -> None:
        """Wait until the agent has ended, by itself or killed."""
        assert self._unit
        assert self._unit.stdin
        async with asyncio.timeout(_CEILING):
            await self._unit.wait()
            self._unit.stdin.close()
            with contextlib.suppress(ConnectionError):
                await self._unit.stdin.wait_closed()
        self._unit = None

    def flip_bit_on_disk(self) -> None:
        """Flip one bit of a page of the database, or of the newest of a page in its log."""
        with Image(self.state, load_key(self.state)) as image:
            newest = {each.page: each.offset for each in image.log.frames}
            places = {
                FILE: range(0, image.file_pages * PAGE, PAGE),
                f"{FILE}-wal": list(newest.values()),
            }
        name = self.chance.choice([name for name, offsets in places.items() if offsets])
        bit = self.chance.randrange(8 * PAGE)
        flip_bit(self.state / name, self.chance.choice(places[name]) + bit // 8, bit % 8)
        self.book.flips += 1

    def step_clock(self, seconds: int) -> None:
        """Set the wall clock of the agent's computer off by so many seconds."""
        assert self._unit
        assert self._unit.stdin
        self._unit.stdin.write(f"clock {seconds}\n".encode())

    async def tell_route(self) -> None:
        """Let the agent try its link now, as it does when its kernel has a new route."""
        await self.staff.ask("reconnect")

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

    def flip_bits(self, odds: float) -> None:
        """Let so many of the messages through with one bit of their payload flipped."""
        self.mind(lambda receipt: receipt)
        pass_on = self.relay.mind

        def flip(packet: Packet) -> bytes:
            content = bytearray(pass_on(packet))
            if packet.kind == PUBLISH and self.chance.random() < odds:
                start = payload_at(packet.content, has_properties=self._dialect == _MQTT_5)
                if start < len(content):
                    bit = self.chance.randrange(8 * start, 8 * len(content))
                    content[bit // 8] ^= 1 << bit % 8
            return bytes(content)

        self.relay.mind = flip

    async def calm(self, patience: float = _PATIENCE) -> Verdict:
        """End every fault and all work; wait until all is there, then a little longer."""
        self.mind(lambda receipt: receipt)
        self.relay._latency, self.relay._rate = 0.0, float("inf")
        await self._let_rest()
        await self.relay.cut()
        await self.relay.restore()
        deadline, quiet = time.monotonic() + patience, 0
        while True:
            await self.tell_route()  # one that comes before the loss is noticed is forgotten
            verdict = await self._verdict()
            # Twice: the stick goes on telling its pictures, and what comes twice comes late.
            quiet = 0 if verdict.lost or verdict.unsettled else quiet + 1
            if quiet > 1 or time.monotonic() > deadline:
                return verdict
            await asyncio.sleep(1.0)

    async def _let_rest(self) -> None:
        """End all work, and hear the answers that are still to come."""
        self.staff.resting.set()
        working, self._working = self._working, None
        if working:
            await working

    async def _verdict(self) -> Verdict:
        return await asyncio.to_thread(
            judge, self.book, self.centre.folder, await self._unsettled()
        )

    async def _unsettled(self) -> int:
        """How many records and pictures the agent itself still waits for; it must be there."""
        answer = await self.staff.ask("status")
        assert answer, self.said()
        store = answer["status"]["store"]
        return int(store["pending"] + store["blobs_pending"])

    def said(self) -> str:
        """The end of what the processes logged."""
        self._log.flush()
        return (self._here / "unit.log").read_text("utf-8", "replace")[-3000:]
