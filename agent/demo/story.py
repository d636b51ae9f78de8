"""The story: readings with a link, readings without one, the link again, and the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from agent import control
from agent.demo import stage
from agent.demo.comparison import Comparison, Window, compare
from agent.demo.proxy import Link
from agent.demo.world import BOXES, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

PATIENT = "0b8e6a52-7d1f-4f5c-9f43-5b6d3f0c2a11"
"""The opaque id of a patient who does not exist."""
_PATIENCE = 40.0
_OFFLINE = 2.0
_RATE = 400_000.0
"""Bytes a second: a rural link, so that the drain can be seen and cut."""
_CUT_AFTER = 40_000
"""Bytes of the drain that get through before the link breaks again."""


@dataclass(slots=True)
class Story:
    """What has been told so far. `say` shows a line; `pause` waits for whoever watches."""

    folder: Path
    say: Callable[[str], None]
    pause: Callable[[str], Awaitable[None]]
    told: Counter[str] = field(default_factory=Counter)
    cuts: list[Window] = field(default_factory=list)
    shown: str = ""

    async def tell(self) -> Comparison:
        """Set the stage, tell the story, clear the stage, and compare. StageFault."""
        self.told.update(dict.fromkeys(BOXES, 0))
        try:
            async with contextlib.AsyncExitStack() as standing:
                await self._tell(standing)
        except OSError as error:  # whoever should have answered has ended, or never did
            why = error.strerror or "no answer in time"
            raise stage.StageFault(f"{why}: see the logs in {self.folder}") from error
        await stage.once(
            "export",
            self.folder,
            *stage.central_words("export", str(self.folder / "centre"), str(self._blobs)),
        )
        return compare(
            self.folder / "unit", self.folder / "centre", self._blobs, self.told, self.cuts
        )

    @property
    def _blobs(self) -> Path:
        return self.folder / "blobs"

    async def _tell(self, standing: contextlib.AsyncExitStack) -> None:
        port = stage.free_port()
        await standing.enter_async_context(
            stage.process("broker", self.folder, *stage.broker_words(self.folder, port))
        )
        await stage.await_port(port)
        link = await standing.enter_async_context(Link(port, _RATE))
        world = await standing.enter_async_context(World(self.folder))
        settings = await self._found(port, link.port, world)
        await standing.enter_async_context(self._centre())
        await standing.enter_async_context(self._agent(settings))
        await self._ask("open", box="1", patient=PATIENT, actor="demo-nurse")
        self.say("Box 1 has an open consultation. Box 2 has none: its readings go to the tray.")
        await self._with_link(world)
        await self._without_link(world, link)
        await self._again(link)

    async def _found(self, broker: int, link: int, world: World) -> Path:
        """Make the centre's and the unit's keys, and let each know the other's."""
        centre, unit = self.folder / "centre", self.folder / "unit"
        settings = stage.write_settings(self.folder, link, world.radio, world.places(), BOXES)
        await stage.once(
            "init-centre",
            self.folder,
            *stage.central_words("init", str(centre), "--origin", "simulated"),
        )
        (centre / "central.toml").write_text(f'[broker]\nhost = "127.0.0.1"\nport = {broker}\n')
        await stage.once("init-unit", self.folder, *stage.agent_words("init", str(unit)))
        public = unit / "keys" / "unit.pub"
        await stage.once(
            "enrol",
            self.folder,
            *stage.central_words("enrol", str(centre), stage.UNIT, str(public)),
        )
        return settings

    @contextlib.asynccontextmanager
    async def _centre(self) -> AsyncIterator[None]:
        words = stage.central_words("run", str(self.folder / "centre"))
        async with stage.process("centre", self.folder, *words, ready=b"ready"):
            yield

    @contextlib.asynccontextmanager
    async def _agent(self, settings: Path) -> AsyncIterator[None]:
        words = stage.agent_words("run", "--settings", str(settings))
        async with stage.process("agent", self.folder, *words) as running:
            await self._until(
                lambda status: (
                    all(
                        device["state"] in {"waiting", "connected"}
                        for device in status["devices"].values()
                    )
                    and len(status["devices"]) == len(BOXES)
                    and status["uplink"]["state"] == "connected"
                ),
                "the agent, its devices and its uplink",
                running,
            )
            self.say("The agent runs; four devices are in reach; the centre answers.")
            yield

    async def _with_link(self, world: World) -> None:
        await self.pause("measure while the link is up")
        await self._measure(world, times=1, seconds=3.0)
        await self._settled()
        self.say("With the link up, every reading was confirmed by the centre.")

    async def _without_link(self, world: World, link: Link) -> None:
        await self.pause("cut the link")
        await link.cut()
        begun = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        await self._until(
            lambda status: status["uplink"]["state"] != "connected", "the cut to be noticed"
        )
        self.say("The link is cut. The nurses work on.")
        await self._measure(world, times=2, seconds=4.0)
        self.cuts.append((begun, time.clock_gettime_ns(time.CLOCK_BOOTTIME)))

    async def _again(self, link: Link) -> None:
        await self.pause("restore the link")
        await self._restore(link, _CUT_AFTER)
        self.say("The link is back …")
        async with asyncio.timeout(_PATIENCE):
            await link.broken.wait()
        begun = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.say("… and breaks again, in the middle of what it was carrying.")
        await asyncio.sleep(_OFFLINE)
        self.cuts.append((begun, time.clock_gettime_ns(time.CLOCK_BOOTTIME)))
        await self._restore(link)
        await self._settled()
        self.say("The link stands. The centre has confirmed everything.")

    async def _restore(self, link: Link, cut_after: float = inf) -> None:
        """A loopback relay brings no route up, so the agent is told what the kernel would say."""
        await link.restore(cut_after)
        await self._ask("reconnect")

    async def _measure(self, world: World, times: int, seconds: float) -> None:
        """Use all four devices at once, as four hands would."""
        for _ in range(times):
            before = await self._readings()
            await asyncio.gather(
                world.measure_pressure(),
                world.measure_temperature(),
                world.record_ecg(seconds),
                self._ask("snapshot", device="box2-dermatoscope"),
            )
            self.told.update(BOXES.keys())
            await self._until(
                lambda status, before=before: all(  # type: ignore[misc]
                    device["readings"] > before.get(name, 0)
                    for name, device in status["devices"].items()
                ),
                "every reading to be saved",
            )
            self._show(await self._status())

    async def _settled(self) -> None:
        await self._until(
            lambda status: status["store"]["pending"] == 0, "the centre to confirm everything"
        )
        self._show(await self._status())

    async def _readings(self) -> dict[str, int]:
        status = await self._status()
        return {name: device["readings"] for name, device in status["devices"].items()}

    def _show(self, status: dict[str, Any]) -> None:
        store = status["store"]
        figures = (
            f"    on the truck {store['saved']:>3}    confirmed by the centre "
            f"{store['confirmed']:>3}    waiting {store['pending']:>3}    "
            f"in the tray {store['tray']:>3}"
        )
        if figures != self.shown:
            self.say(figures)
        self.shown = figures

    async def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self._ask("status"))["status"]
        return found

    async def _ask(self, verb: str, **fields: str) -> dict[str, Any]:
        answer = await asyncio.to_thread(
            control.ask, self.folder / "run", {"do": verb, **fields}, _PATIENCE
        )
        if not answer["ok"]:
            raise stage.StageFault(answer["error"])
        return answer

    async def _until(
        self,
        true: Callable[[dict[str, Any]], bool],
        what: str,
        running: asyncio.subprocess.Process | None = None,
    ) -> None:
        """Ask for the status until it is as it should be; StageFault where it never is."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if running is not None and running.returncode is not None:
                break
            with contextlib.suppress(OSError, ValueError):
                if true(await self._status()):
                    return
            await asyncio.sleep(0.1)
        raise stage.StageFault(f"waited in vain for {what}: see the logs in {self.folder}")


def as_json(found: Comparison, cuts: int, seconds: float) -> str:
    """The one JSON object that the unattended run ends with."""
    return json.dumps(
        {
            "devices": found.devices,
            "saved": found.saved,
            "confirmed": found.confirmed,
            "at_centre": found.at_centre,
            "lost": found.lost,
            "duplicates": found.duplicates,
            "tray": found.tray,
            "link_cuts": cuts,
            "seconds": round(seconds, 1),
        }
    )
