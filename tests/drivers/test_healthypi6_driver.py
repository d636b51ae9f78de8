"""The HealthyPi 6 driver: what arrived is stored, whatever ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from pydicom import dcmread

from drivers.base import Decoded, Identity, Measurement, RawFrame, Stored, Value
from drivers.card import build, card
from drivers.errors import Misconfigured, ProtocolFault, Unavailable
from drivers.healthypi6 import driver as driver_module
from drivers.healthypi6.codec import recover
from drivers.healthypi6.driver import HealthyPi6
from drivers.healthypi6.samples import Channel
from drivers.healthypi6.simulator import Mishap, Planned, simulate
from drivers.lab.pty import PtyHost
from drivers.links.serial import SerialLink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Full(Exception):  # noqa: N818 - as the store says it
    """The store's disk is full."""


@dataclass
class Ledger:
    """A store in memory. `holds` stops an act until set; acts in `fails` raise `Full`."""

    fails: frozenset[str] = frozenset()
    holds: dict[str, asyncio.Event] = field(default_factory=dict)
    kept: list[bytes] = field(default_factory=list)
    recorded: list[Measurement] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    aside: list[tuple[bytes, str]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)

    async def keep(self, frame: RawFrame) -> int:
        await self._turn("keep")
        assert frame.source in card("healthypi6").sources
        self.kept.append(frame.raw)
        return len(self.kept) - 1

    async def record(self, measurement: Measurement, frames: tuple[int, ...] = ()) -> Stored:
        await self._turn("record")
        self.recorded.append(measurement)
        self.settled += frames
        return Stored(uuid4(), new=True)

    async def pass_over(self, frame: int, reason: str) -> None:
        raise NotImplementedError

    async def quarantine(self, frame: RawFrame | int, reason: str) -> None:
        await self._turn("quarantine")
        assert isinstance(frame, RawFrame)
        self.aside.append((frame.raw, reason))

    def report(self, state: str, detail: str = "") -> None:
        del detail
        self.states.append(state)

    def identify(self, identity: Identity) -> None:
        raise NotImplementedError

    def show(self, values: tuple[Value, ...]) -> None:
        raise NotImplementedError

    def note(self, kind: str, detail: str) -> None:
        raise NotImplementedError

    async def _turn(self, act: str) -> None:
        self.begun.append(act)
        await asyncio.sleep(0)
        if act in self.holds:
            await self.holds[act].wait()
        if act in self.fails:
            raise Full

    def is_square(self) -> bool:
        """Every kept frame is settled once, and the readings hold exactly what was kept."""
        whole = b"".join(self.kept) == b"".join(each.raw for each in self.recorded)
        return whole and self.settled == list(range(len(self.kept)))


class Script:
    """A link that gives its chunks and then raises, or waits for ever if it has no end."""

    name = "script"

    def __init__(self, chunks: Iterable[bytes], end: Exception | None = None) -> None:
        self._chunks = list(chunks)
        self._end = end
        self.closed = False

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        if self._chunks:
            return self._chunks.pop(0)
        if self._end:
            raise self._end
        await asyncio.Event().wait()
        raise AssertionError

    def close(self) -> None:
        self.closed = True


GONE = Unavailable("script", "the device was unplugged")


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[PtyHost]:
    made = PtyHost(tmp_path / "ecg")
    made.plug()
    yield made
    made.unplug()


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncIterator[None]:
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def until(condition: Callable[[], object]) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("what was waited for never came")


def blocks(seconds: float, *mishaps: Planned) -> list[bytes]:
    return [raw for _, raw in simulate(seconds, mishaps)]


def sent_ecg(parts: Iterable[bytes]) -> int:
    return sum(16 for raw in parts if raw[:4] == b"DBLK" and raw[20] == Channel.ECG)


def samples_in(reading: Measurement) -> int:
    group, *_ = dcmread(BytesIO(reading.blobs[0].content)).WaveformSequence
    return int(group.NumberOfWaveformSamples)


async def test_tail_is_stored_before_the_lost_link_is_reported() -> None:
    link, sink = Script(blocks(1.0), GONE), Ledger()
    with pytest.raises(Unavailable):
        await HealthyPi6().run(link, sink)
    (reading,) = sink.recorded
    assert samples_in(reading) == sent_ecg(blocks(1.0))
    assert reading.quality == ("cut-short",)
    assert reading.kind in card("healthypi6").kinds
    assert sink.is_square()
    assert link.closed


async def test_link_lost_after_every_read_loses_no_block() -> None:
    parts = blocks(0.4)
    for count in range(len(parts)):
        sink = Ledger()
        with pytest.raises(Unavailable):
            await HealthyPi6().run(Script(parts[:count], GONE), sink)
        assert sink.is_square()
        assert sum(map(samples_in, sink.recorded)) == sent_ecg(parts[:count])


async def test_link_lost_within_a_block_sets_the_stump_aside() -> None:
    parts = blocks(0.4)
    sink = Ledger()
    with pytest.raises(Unavailable):
        await HealthyPi6().run(Script([*parts[:-1], parts[-1][:100]], GONE), sink)
    assert sink.aside == [(parts[-1][:100], "The stream held a block that is cut short.")]
    assert sink.is_square()


async def test_restart_parts_two_readings_each_with_its_own_frames() -> None:
    parts = blocks(3.0, Planned(1.0, Mishap.RESTART), Planned(2.0, Mishap.GAP))
    sink = Ledger()
    with pytest.raises(Unavailable):
        await HealthyPi6().run(Script(parts, GONE), sink)
    assert [reading.quality for reading in sink.recorded] == [
        ("restarted",),
        ("blocks-missing", "gaps", "cut-short"),
    ]
    assert sink.is_square()


async def test_recording_ends_by_itself_when_the_device_falls_silent() -> None:
    link, sink = Script(blocks(1.0)), Ledger()
    running = asyncio.create_task(HealthyPi6().run(link, sink))
    await until(lambda: sink.recorded and sink.states[-1] == "waiting")
    assert sink.recorded[0].quality == ()
    assert sink.states == ["connected", "waiting", "recording", "waiting"]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(sink.recorded) == 1
    assert sink.is_square()


async def test_reading_carries_the_rate_the_device_said_and_is_dated_by_the_host() -> None:
    sink = Ledger()
    with pytest.raises(Unavailable):
        await HealthyPi6(lambda: NOON).run(Script(blocks(2.0), GONE), sink)
    (reading,) = sink.recorded
    assert [(value.code, str(value.value)) for value in reading.values] == [
        ("147842", "72"),
        ("150456", "97.5"),
    ]
    assert not reading.repeatable
    assert (reading.device_time, reading.clock_trusted) == (None, False)
    assert str(reading.duration) == str(len(range(0, 2000, 32)) * 0.032)
    (blob,) = reading.blobs
    assert (blob.media_type, blob.role) == ("application/dicom", "recording")
    assert dcmread(BytesIO(blob.content)).AcquisitionDateTime.startswith("20261122115")


async def test_device_without_leads_gives_no_reading() -> None:
    only_finger = [raw for raw in blocks(2.0) if raw[20] != Channel.ECG]
    sink = Ledger()
    with pytest.raises(Unavailable):
        await HealthyPi6().run(Script(only_finger, GONE), sink)
    assert (sink.kept, sink.recorded, sink.aside) == ([], [], [])


async def test_cancelled_driver_stores_what_it_read_and_closes_the_link() -> None:
    parts = blocks(1.0)
    link, sink = Script(parts), Ledger()
    running = asyncio.create_task(HealthyPi6().run(link, sink))
    await until(lambda: not link._chunks)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [reading.quality for reading in sink.recorded] == [("cut-short",)]
    assert samples_in(sink.recorded[0]) == sent_ecg(parts)
    assert sink.is_square()
    assert link.closed


@pytest.mark.parametrize("act", ["keep", "record", "quarantine"])
async def test_act_under_way_when_cancelled_is_done_once_and_not_twice(act: str) -> None:
    parts = [*blocks(0.6, Planned(0.1, Mishap.CORRUPT)), *blocks(0.6)]
    sink = Ledger(holds={act: asyncio.Event()})
    running = asyncio.create_task(HealthyPi6().run(Script(parts), sink))
    await until(lambda: act in sink.begun)
    running.cancel()
    await asyncio.sleep(0)
    sink.holds[act].set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sink.begun.count("record") == len(sink.recorded) == 1
    assert sink.begun.count("keep") == len(sink.kept)
    assert len(sink.aside) == 1
    assert sink.is_square()


@pytest.mark.parametrize("act", ["keep", "record"])
async def test_store_that_never_answers_cannot_hold_up_the_stop(
    act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "STOP_S", 0.1)
    link, sink = Script(blocks(1.0)), Ledger(holds={act: asyncio.Event()})
    running = asyncio.create_task(HealthyPi6().run(link, sink))
    await until(lambda: not link._chunks)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 60)
    assert sink.recorded == []
    assert sink.settled == []
    assert sink.states[-1] == "unavailable"
    assert link.closed


@pytest.mark.parametrize("act", ["keep", "record"])
async def test_full_disk_ends_the_driver_and_settles_nothing(act: str) -> None:
    parts = [*blocks(0.5), *blocks(0.5)]
    link, sink = Script(parts, GONE), Ledger(fails=frozenset({act}))
    with pytest.raises(Full):
        await HealthyPi6().run(link, sink)
    assert sink.settled == []
    assert link.closed


async def test_other_device_on_the_port_is_refused_and_what_it_said_is_shown() -> None:
    link, sink = Script([b"$GPGGA,1,2,3*00\r\n" * 60] * 100), Ledger()
    with pytest.raises(ProtocolFault, match="not a HealthyPi 6"):
        await HealthyPi6().run(link, sink)
    assert sink.aside
    assert sink.recorded == []
    assert link.closed


def test_settings_it_does_not_know_are_refused_by_name() -> None:
    assert isinstance(build("healthypi6", {}), HealthyPi6)
    with pytest.raises(Misconfigured, match="baud"):
        build("healthypi6", {"baud": 9600})


async def test_device_unplugged_and_plugged_again_gives_two_readings(host: PtyHost) -> None:
    sink = Ledger()
    for seed in (1, 2):
        host.plug()
        link = SerialLink.open(str(host.path), card("healthypi6").baud)
        running = asyncio.create_task(HealthyPi6().run(link, sink))
        await host.play(simulate(3.0, seed=seed), pace=10)
        await until(lambda: host.heard)
        host.unplug()
        with pytest.raises(Unavailable, match="unplugged"):
            await asyncio.wait_for(running, 30)
        assert len(sink.recorded) == seed
        assert sink.is_square()
    assert all(reading.quality == ("cut-short",) for reading in sink.recorded)


async def test_port_joined_in_the_middle_of_a_block_leaves_nothing_to_look_at(
    host: PtyHost,
) -> None:
    sink, parts = Ledger(), blocks(1.0)
    host.plug()
    await host.say(parts[0][9:])
    link = SerialLink.open(str(host.path), card("healthypi6").baud)
    running = asyncio.create_task(HealthyPi6().run(link, sink))
    for part in parts[1:]:
        await host.say(part)
    await until(lambda: host.heard)
    host.unplug()
    with pytest.raises(Unavailable, match="unplugged"):
        await asyncio.wait_for(running, 30)
    assert sink.aside == []
    assert len(sink.recorded) == 1
    assert sink.is_square()


async def test_live_stream_is_kept_as_it_comes(host: PtyHost) -> None:
    sink = Ledger()
    link = SerialLink.open(str(host.path), card("healthypi6").baud)
    running = asyncio.create_task(HealthyPi6().run(link, sink))
    await host.play(simulate(3.0))
    assert sink.recorded == []
    assert len(sink.kept) >= 2
    host.unplug()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(running, 30)
    assert sink.is_square()


VICTIM = """
import asyncio, os, sys
from drivers.card import build
from drivers.links.serial import SerialLink

class Disk:
    def __init__(self, path):
        self.file = open(path, "ab")
        self.count = 0
    async def keep(self, frame):
        self.file.write(len(frame.raw).to_bytes(4, "little") + frame.raw)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.count += 1
        return self.count
    def report(self, state, detail=""):
        pass

async def main():
    link = SerialLink.open(sys.argv[1], 115200)
    print("open", flush=True)
    await build("healthypi6", {}).run(link, Disk(sys.argv[2]))

asyncio.run(main())
"""


def frames_on(disk: Path) -> list[bytes]:
    rest = disk.read_bytes() if disk.exists() else b""
    frames = []
    while len(rest) >= 4 and len(rest) >= 4 + (size := int.from_bytes(rest[:4], "little")):
        frames.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    return frames


async def test_killed_process_leaves_a_recording_that_can_be_recovered(
    host: PtyHost, tmp_path: Path
) -> None:
    disk = tmp_path / "frames"
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, str(host.path), str(disk), stdout=asyncio.subprocess.PIPE
    )
    assert victim.stdout
    assert await victim.stdout.readline() == b"open\n"
    playing = asyncio.create_task(host.play(simulate()))
    await until(lambda: len(frames_on(disk)) >= 2)
    os.kill(victim.pid, signal.SIGKILL)
    await victim.wait()
    host.unplug()
    await playing
    outcome = recover(frames_on(disk))
    assert isinstance(outcome, Decoded)
    (reading,) = outcome.readings
    stream = b"".join(blocks(60.0))
    begin = stream.find(reading.raw)
    assert 0 <= begin < 100
    assert samples_in(reading) >= 500
    assert reading.quality == ("cut-short",)
