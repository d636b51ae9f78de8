"""The serial link on real pseudo-terminals: alone on its port, lossless, honest about its end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drivers.errors import Unavailable
from drivers.lab.pty import PtyHost
from drivers.links import serial as serial_link
from drivers.links.serial import SerialLink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

BAUD = 115200


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[PtyHost]:
    made = PtyHost(tmp_path / "ecg")
    made.plug()
    yield made
    made.unplug()


async def read_exactly(link: SerialLink, size: int) -> bytes:
    got = b""
    async with asyncio.timeout(30):
        while len(got) < size:
            got += await link.read()
    return got


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("what was waited for never came")


async def test_every_byte_value_comes_through_unchanged(host: PtyHost) -> None:
    link = SerialLink.open(str(host.path), BAUD)
    said = bytes(range(256)) * 200
    telling = asyncio.create_task(host.say(said))
    assert await read_exactly(link, len(said)) == said
    await telling
    link.close()


async def test_second_opener_is_told_that_another_program_has_it(host: PtyHost) -> None:
    link = SerialLink.open(str(host.path), BAUD)
    with pytest.raises(Unavailable, match="another program has it open"):
        SerialLink.open(str(host.path), BAUD)
    await host.say(b"still mine")
    assert await read_exactly(link, 10) == b"still mine"
    link.close()
    SerialLink.open(str(host.path), BAUD).close()


async def test_other_process_is_kept_out(host: PtyHost) -> None:
    link = SerialLink.open(str(host.path), BAUD)
    code = "import serial, sys; serial.Serial(sys.argv[1], exclusive=True)"
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(host.path), stderr=asyncio.subprocess.PIPE
    )
    _, said = await other.communicate()
    assert other.returncode != 0
    assert b"lock" in said
    link.close()


async def test_absent_port_is_named_in_a_plain_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nothing is plugged in here") as caught:
        SerialLink.open(str(tmp_path / "absent"), BAUD)
    assert caught.value.what == str(tmp_path / "absent")


async def test_file_that_is_no_port_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"?")
    before = open_descriptors()
    with pytest.raises(Unavailable, match="can't be opened"):
        SerialLink.open(str(tmp_path / "text"), BAUD)
    assert open_descriptors() == before


async def test_unplugged_link_raises_in_a_waiting_read(host: PtyHost) -> None:
    link = SerialLink.open(str(host.path), BAUD)
    reading = asyncio.create_task(link.read())
    await asyncio.sleep(0)
    host.unplug()
    with pytest.raises(Unavailable, match="unplugged"):
        await asyncio.wait_for(reading, 30)
    with pytest.raises(Unavailable, match="unplugged"):
        await link.read()
    link.close()


async def test_bytes_taken_before_the_unplugging_are_still_given(host: PtyHost) -> None:
    link = SerialLink.open(str(host.path), BAUD)
    await host.say(b"half a fra")
    await until(lambda: len(link._held) == 10)
    host.unplug()
    await until(lambda: link._ended is not None)
    assert await link.read() == b"half a fra"
    with pytest.raises(Unavailable):
        await link.read()


async def test_device_is_read_again_under_the_same_path_when_replugged(host: PtyHost) -> None:
    for word in (b"first", b"again", b"third"):
        host.plug()
        link = SerialLink.open(str(host.path), BAUD)
        await host.say(word)
        assert await read_exactly(link, 5) == word
        host.unplug()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(link.read(), 30)
        link.close()
        assert not host.path.is_symlink()


async def test_slow_reader_bounds_what_is_held_and_loses_nothing(
    host: PtyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial_link, "_HELD", 10_000)
    link = SerialLink.open(str(host.path), BAUD)
    said = os.urandom(200_000)
    telling = asyncio.create_task(host.say(said))
    await until(lambda: not link._listening)
    assert 10_000 <= len(link._held) < 10_000 + 4096
    assert await read_exactly(link, len(said)) == said
    await telling
    link.close()


async def test_cancelled_read_loses_nothing(host: PtyHost) -> None:
    link = SerialLink.open(str(host.path), BAUD)
    for _ in range(20):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(link.read(), 0.001)
    reading = asyncio.create_task(link.read())
    await asyncio.sleep(0)
    await host.say(b"kept")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await read_exactly(link, 4) == b"kept"
    link.close()


async def test_closing_twice_frees_the_port_and_wakes_the_reader(host: PtyHost) -> None:
    before = open_descriptors()
    link = SerialLink.open(str(host.path), BAUD)
    reading = asyncio.create_task(link.read())
    await asyncio.sleep(0)
    link.close()
    link.close()
    with pytest.raises(Unavailable, match="the port was closed"):
        await asyncio.wait_for(reading, 30)
    assert open_descriptors() == before


async def test_host_waits_for_a_reader_and_ends_when_the_plug_is_pulled(host: PtyHost) -> None:
    playing = asyncio.create_task(host.say(b"x" * 40_000_000))
    done, _ = await asyncio.wait({playing}, timeout=0.3)
    assert not done
    host.unplug()
    await asyncio.wait_for(playing, 30)
    assert not host.plugged


async def test_host_knows_what_is_still_on_the_way(host: PtyHost) -> None:
    link = SerialLink.open(str(host.path), BAUD)
    for _ in range(200):
        await host.say(b"x" * 300)
        assert not host.heard
        await until(lambda: host.heard)
        assert len(await link.read()) == 300
    link.close()
    host.unplug()
    assert not host.heard


async def test_host_keeps_the_pace_it_is_asked_for(host: PtyHost) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await host.play([(0.0, b"a"), (4.0, b"b")], pace=20)
    assert loop.time() - begin >= 0.2


def taken(host: PtyHost, size: int) -> bytes:
    """What the device's end has been told, at most `size` bytes of it."""
    assert host._ends is not None
    try:
        return os.read(host._ends[0], size)
    except BlockingIOError:
        return b""


async def test_every_byte_value_is_said_to_a_device_that_takes_its_time(host: PtyHost) -> None:
    link = SerialLink.open(str(host.path), BAUD)
    said = bytes(range(256)) * 400
    saying = asyncio.create_task(link.write(said))
    heard = b""
    async with asyncio.timeout(30):
        while len(heard) < len(said):
            heard += taken(host, 5000)
            await asyncio.sleep(0)
    await saying
    assert heard == said
    link.close()


async def test_saying_something_to_a_device_that_is_gone_raises(host: PtyHost) -> None:
    link = SerialLink.open(str(host.path), BAUD)
    saying = asyncio.create_task(link.write(b"x" * 1_000_000))
    done, _ = await asyncio.wait({saying}, timeout=0.2)
    assert not done
    host.unplug()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(saying, 30)
    with pytest.raises(Unavailable):
        await link.write(b"again")


async def test_another_rate_drops_what_was_heard_at_the_last(host: PtyHost) -> None:
    link = SerialLink.open(str(host.path), BAUD)
    await host.say(b"garbage")
    await until(lambda: bytes(link._held) == b"garbage")
    link.retune(9600)
    await host.say(b"sound")
    assert await read_exactly(link, 5) == b"sound"
    host.unplug()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(link.read(), 30)
    with pytest.raises(Unavailable):
        link.retune(57600)
