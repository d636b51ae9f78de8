"""Who uses the agent in the oracle: people at the control socket, a camera, a stick of pictures.

Nothing here knows the store. What the agent answers goes into the book, and nothing else does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from itertools import count
from typing import TYPE_CHECKING, Any

from agent.control import SOCKET
from config.manual import FORMS
from drivers.dermatoscope.huffman import STANDARD_TABLES
from drivers.dermatoscope.simulator import lesion, without_tables
from drivers.lab.camera import CameraStream, encode
from tests.faults.book import CAMERA, NAMELESS, STICK, Book, Reading, digest

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

BOXES = ("1", "2")
"""The first has an open consultation; what is taken in the second goes to the tray."""
NURSES = 3
_FRAMES, _ON_STICK = 10, 6
_FRAMES_A_SECOND = 6.0
_SMALL, _LARGE = 1_000, 64_000
_PATIENCE = 60.0
_WIDTH, _HEIGHT = 96, 64
_COMMENT = b"\xff\xfe"


class Staff:
    """Everybody who takes readings, by a seed. `work` goes on until `resting` is set."""

    def __init__(self, here: Path, chance: Random, book: Book) -> None:
        self._runtime = here / "run"
        self._stick = here / "stick"
        self._chance = chance
        self._book = book
        self._names = count(1)
        self.resting = asyncio.Event()
        frames = [picture(chance, number) for number in range(_FRAMES)]
        self.camera = CameraStream(frames, _FRAMES_A_SECOND)
        for frame in frames:
            book.shown[digest(frame)] = digest(_with_tables(frame))
        self._stick.mkdir()

    def settings(self) -> str:
        """The tables of the two devices."""
        places = {
            CAMERA: ("dermatoscope", self.camera.url, BOXES[0]),
            STICK: ("picture-import", str(self._stick), BOXES[1]),
        }
        return "\n".join(
            f'[[devices]]\nname = "{name}"\ndriver = "{driver}"\nat = "{at}"\nbox = "{box}"'
            for name, (driver, at, box) in places.items()
        )

    async def ask(self, verb: str, **fields: str) -> dict[str, Any] | None:
        """Ask the agent; None where it is not there, hangs up, or never answers."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._asked({"do": verb, **fields})
        except (OSError, ValueError, TimeoutError):
            return None

    async def _asked(self, request: dict[str, str]) -> dict[str, Any] | None:
        reader, writer = await asyncio.open_unix_connection(self._runtime / SOCKET)
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            line = await reader.readline()
        finally:
            writer.transport.abort()
        answer: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return answer

    async def arrive(self) -> None:
        """Open a consultation in the first box, where none is open."""
        await self.ask("open", box=BOXES[0], patient="oracle-patient", actor=f"{NAMELESS}-0")

    async def work(self) -> None:
        """Take readings, all at once."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(NURSES):
                tasks.create_task(self._enter())
            tasks.create_task(self._photograph())
            tasks.create_task(self._fill_stick())

    async def _enter(self) -> None:
        """Enter readings; an entry whose answer never came is let alone, as people do."""
        while not self.resting.is_set():
            name = f"{NAMELESS}-{next(self._names)}"
            word, typed, box = self._draw()
            self._book.ask(name, Reading(*_told(word, typed), box, digest(typed.encode())))
            answer = await self.ask("enter", box=box, kind=word, value=typed, actor=name)
            self._book.hear(name, answer)
            await asyncio.sleep(self._chance.uniform(0, 0.1) if answer else 0.2)

    async def _photograph(self) -> None:
        while not self.resting.is_set():
            self._book.hear_camera(await self.ask("snapshot", device=CAMERA))
            await asyncio.sleep(self._chance.uniform(0.3, 1.5))

    async def _fill_stick(self) -> None:
        for number in range(_ON_STICK):
            content = _with_tables(picture(self._chance, number))
            self._book.on_stick.add(digest(content))
            fresh = self._stick / f"{number}.part"
            fresh.write_bytes(content)
            fresh.rename(self._stick / f"{number}.jpg")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await self.resting.wait()
                return

    def _draw(self) -> tuple[str, str, str]:
        """A kind, what is typed for it (sign and zeros as they come), and a box."""
        chance, sign = self._chance, self._chance.choice(".,")
        word = chance.choice(("temperature", "weight", "pulse", "blood-pressure"))
        typed = {
            "temperature": f"{chance.randrange(34, 42)}{sign}{chance.randrange(10)}0",
            "weight": f"{chance.randrange(3, 150)}.{chance.randrange(1000):03}",
            "pulse": f"{chance.randrange(40, 180)}",
            "blood-pressure": f"{chance.randrange(100, 190)}/{chance.randrange(50, 99)}",
        }[word]
        return word, typed, chance.choice(BOXES)


def _told(word: str, typed: str) -> tuple[str, tuple[str, ...]]:
    """The kind of what was typed, and its digits as they have to arrive."""
    return FORMS[word].kind, tuple(part.replace(",", ".") for part in typed.split("/"))


def picture(chance: Random, number: int) -> bytes:
    """A frame like no other: noise stands in a comment, so that some are small and some large.

    It is of a camera that leaves out its Huffman tables, as many do.
    """
    frame = without_tables(encode(lesion(number, _WIDTH, _HEIGHT)))
    noise = chance.randbytes(chance.randrange(_SMALL, _LARGE))
    return frame[:2] + _COMMENT + (len(noise) + 2).to_bytes(2, "big") + noise + frame[2:]


def _with_tables(frame: bytes) -> bytes:
    """The same frame with the standard tables (ITU-T T.81, K.3.3) before its scan."""
    scan = frame.rindex(b"\xff\xda")
    return frame[:scan] + STANDARD_TABLES + frame[scan:]
