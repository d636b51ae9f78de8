"""A camera's button and its twins: real event bytes on a pipe, a tree as sysfs has it."""

from __future__ import annotations

import asyncio
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from drivers.dermatoscope.driver import Dermatoscope
from drivers.dermatoscope.simulator import lesion
from drivers.errors import Unavailable
from drivers.lab.camera import CameraStream, encode
from drivers.links import button as button_module
from drivers.links.body import Body
from drivers.links.button import Button
from drivers.links.camera import CameraLink
from drivers.links.usb import button_of, twins, usb_device
from tests.contract.sinks import MemorySink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY, CAMERA, VOLUME = 1, 212, 115
SYN = struct.pack("@llHHi", 1, 2, 0, 0, 0)


def event(value: int, code: int = CAMERA, kind: int = KEY) -> bytes:
    return struct.pack("@llHHi", 1, 2, kind, code, value)


PRESS = event(1) + SYN
RELEASE = event(0) + SYN


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is polled has no event
            await asyncio.sleep(0.01)


class Finger:
    """Writes events to a pipe, as the kernel does, and counts what the button makes of them."""

    def __init__(self) -> None:
        read, self.end = os.pipe()
        os.set_blocking(read, False)
        self.button = Button(read)
        self.presses = 0
        self._counting = asyncio.create_task(self._count())

    async def _count(self) -> None:
        while True:
            await self.button.pressed()
            self.presses += 1

    def move(self, *events: bytes) -> None:
        os.write(self.end, b"".join(events))

    async def gone(self) -> BaseException | None:
        await asyncio.wait({self._counting}, timeout=30)
        return self._counting.exception()

    async def lift(self) -> None:
        self._counting.cancel()
        await asyncio.wait({self._counting})
        self.button.close()
        with suppress(OSError):
            os.close(self.end)


async def rested() -> None:
    """Let a reader that is in a hurry do what it must not."""
    for _ in range(10):
        await asyncio.sleep(0.01)


async def test_press_is_heard_and_what_is_no_press_is_not() -> None:
    finger = Finger()
    finger.move(event(1, VOLUME), SYN, RELEASE, event(2), event(1, kind=4), SYN)
    await rested()
    assert finger.presses == 0
    finger.move(PRESS)
    await until(lambda: finger.presses == 1)
    await finger.lift()


async def test_presses_count_without_a_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(button_module, "QUIET_S", 0.0)
    finger = Finger()
    finger.move(PRESS, PRESS, PRESS)
    await until(lambda: finger.presses == 3)
    await finger.lift()


async def test_bounce_is_one_press(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(button_module, "QUIET_S", 60.0)
    finger = Finger()
    for _ in range(5):
        finger.move(PRESS, RELEASE)
        await asyncio.sleep(0.01)
    await rested()
    assert finger.presses == 1
    await finger.lift()


async def test_events_may_arrive_in_any_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(button_module, "QUIET_S", 0.0)
    finger = Finger()
    for byte in PRESS + RELEASE + PRESS:
        finger.move(bytes([byte]))
        await asyncio.sleep(0)
    await until(lambda: finger.presses == 2)
    await finger.lift()


async def test_button_that_goes_is_unavailable() -> None:
    finger = Finger()
    finger.move(PRESS)
    os.close(finger.end)
    assert isinstance(await finger.gone(), Unavailable)
    assert finger.presses == 1
    await finger.lift()


async def test_button_that_may_not_be_read_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Button.open(str(tmp_path / "event7"))


# A tree with the shape of sysfs: classes are links into the devices.


class System:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.inputs = root / "dev-input"
        self.inputs.mkdir()
        self._bus = root / "devices" / "pci0000:00" / "usb1"

    def usb(self, port: str, serial: str = "", ids: tuple[str, str] = ("a168", "0890")) -> Path:
        device = self._bus / port
        device.mkdir(parents=True)
        names = ("idVendor", "idProduct", "serial")
        for name, said in zip(names, (*ids, serial), strict=True):
            if said:
                (device / name).write_text(f"{said}\n")
        return device

    def video(self, device: Path, name: str) -> str:
        self._node(device, f"{device.name}:1.0/video4linux", "video4linux", name)
        return f"/dev/{name}"

    def event(self, device: Path, name: str, keys: set[int]) -> None:
        node = self._node(device, f"{device.name}:1.0/input/input{name[5:]}", "input", name)
        (node / "device" / "capabilities").mkdir(parents=True)
        words = [sum(1 << key - 64 * n for key in keys if key // 64 == n) for n in range(12)]
        text = " ".join(f"{word:x}" for word in reversed(words)).removeprefix("0 ")
        (node / "device" / "capabilities" / "key").write_text(f"{text}\n")

    def _node(self, device: Path, below: str, kind: str, name: str) -> Path:
        node = device / below / name
        node.mkdir(parents=True)
        folder = self.root / "class" / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(node)
        return node


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_button_is_the_one_of_the_same_usb_device_and_names_prove_nothing(system: System) -> None:
    left, right = system.usb("1-1"), system.usb("1-2")
    keyboard = system.usb("1-3", ids=("046d", "c31c"))
    one, two = system.video(left, "video0"), system.video(right, "video2")
    system.event(keyboard, "event3", {1, 30, 212})
    system.event(right, "event4", {CAMERA})
    system.event(left, "event5", {VOLUME})
    system.event(left, "event6", {CAMERA})
    assert button_of(one, system.root) == "event6"
    assert button_of(two, system.root) == "event4"


def test_camera_without_a_button_has_none(system: System) -> None:
    node = system.video(system.usb("1-1"), "video0")
    system.event(system.usb("1-2"), "event4", {CAMERA})
    assert button_of(node, system.root) is None
    assert button_of("/dev/video9", system.root) is None
    assert button_of("tcp://127.0.0.1:1", system.root) is None


def test_cameras_of_one_identity_are_twins_and_are_told_apart_by_socket(system: System) -> None:
    left, right = system.usb("1-1.4", "0001"), system.usb("1-2", "0001")
    one, two = system.video(left, "video0"), system.video(right, "video2")
    system.video(left, "video1")
    system.video(system.usb("1-3", "0002"), "video4")
    assert [each.port for each in twins(one, "video4linux", system.root)] == ["1-2"]
    assert [each.port for each in twins(two, "video4linux", system.root)] == ["1-1.4"]
    assert twins("/dev/video4", "video4linux", system.root) == ()
    own = usb_device(one, "video4linux", system.root)
    assert own is not None
    assert (own.port, own.identity) == ("1-1.4", ("a168", "0890", "0001"))
    remark = Body.of(one, system.root, system.inputs).remark
    assert "USB socket 1-1.4" in remark
    assert "(USB socket 1-2)" in remark
    assert Body.of("/dev/video4", system.root, system.inputs).remark == ""


async def test_button_that_cannot_be_opened_is_said_when_it_is_waited_for(system: System) -> None:
    device = system.usb("1-1")
    node = system.video(device, "video0")
    system.event(device, "event6", {CAMERA})
    with pytest.raises(Unavailable):
        await Body.of(node, system.root, system.inputs).pressed()


async def test_button_of_the_body_is_the_one_in_the_tree(system: System) -> None:
    device = system.usb("1-1")
    node = system.video(device, "video0")
    system.event(device, "event6", {CAMERA})
    os.mkfifo(system.inputs / "event6")
    body = Body.of(node, system.root, system.inputs)
    end = os.open(system.inputs / "event6", os.O_WRONLY)
    os.write(end, PRESS)
    async with asyncio.timeout(30):
        await body.pressed()
    os.close(end)
    body.close()
    body.close()


FRAMES = [encode(lesion(number, 64, 48)) for number in range(8)]


async def test_each_press_keeps_one_picture_and_a_lost_button_leaves_the_camera_working() -> None:
    sink, driver = MemorySink(), Dermatoscope()
    read, end = os.pipe()
    os.set_blocking(read, False)
    async with CameraStream(FRAMES, 100) as stream:
        camera = await CameraLink.open(stream.url)
        camera._body = Body("This is the camera in USB socket 1-1.", Button(read), None)
        run = asyncio.create_task(driver.run(camera, sink))
        await until(lambda: ("connected", camera.remark) in sink.reports)
        os.write(end, PRESS + RELEASE)
        await until(lambda: len(sink.recorded) == 1)
        os.close(end)
        await until(lambda: bool(sink.notes.get("button")))
        await driver.snapshot()
        run.cancel()
        await asyncio.wait({run})
    assert len(sink.recorded) == 2
    assert sink.recorded[0].raw in FRAMES
    assert sink.notes["button"] == ""


async def test_press_that_gives_only_broken_pictures_is_said() -> None:
    sink, driver = MemorySink(), Dermatoscope()
    read, end = os.pipe()
    os.set_blocking(read, False)
    async with CameraStream([each[:-40] for each in FRAMES], 100) as stream:
        camera = await CameraLink.open(stream.url)
        camera._body = Body("", Button(read), None)
        run = asyncio.create_task(driver.run(camera, sink))
        await until(lambda: ("connected", "") in sink.reports)
        os.write(end, PRESS)
        await until(lambda: bool(sink.notes.get("snapshot")))
        assert not run.done()
        run.cancel()
        await asyncio.wait({run})
    os.close(end)
    assert sink.recorded == []
    assert len(sink.quarantined) == 3


async def test_onlooker_is_given_frames_as_they_pass_and_they_are_kept_nowhere() -> None:
    sink, driver = MemorySink(), Dermatoscope()
    with pytest.raises(Unavailable):
        await driver.next_frame()
    async with CameraStream(FRAMES, 100) as stream:
        run = asyncio.create_task(driver.run(await CameraLink.open(stream.url), sink))
        await until(lambda: bool(sink.reports))
        for _ in range(10):
            assert await driver.next_frame() in FRAMES
        waiting = asyncio.create_task(driver.next_frame())
        stream.flowing.clear()
        await rested()
        await stream.unplug()
        await asyncio.wait({run, waiting}, timeout=60)
    assert waiting.done()
    assert isinstance(run.exception(), Unavailable)
    assert sink.begun == []
    assert driver._viewers == set()
    with suppress(Unavailable):
        waiting.result()
