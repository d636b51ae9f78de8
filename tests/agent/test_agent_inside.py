"""The composition with its store in hand: the watchdog, the control socket, wrong devices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from agent import control, notify
from agent.app import _Agent
from agent.errors import AgentError, StoreFull
from agent.uplink import Impulse, build_uplink
from config.load import load
from drivers import DRIVERS
from drivers.errors import Misconfigured

from .unit import CEILING, Unit, tables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from agent.store.store import Store


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path / "unit")


@pytest.fixture
def store(unit: Unit) -> Iterator[Store]:
    opened = unit.store()
    yield opened
    opened.close()


@contextlib.asynccontextmanager
async def running(unit: Unit, store: Store) -> AsyncIterator[_Agent]:
    """Run the agent in this process, and stop it as SIGTERM does."""
    agent = _Agent(store, load(unit.settings, DRIVERS))
    task = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        agent._stop.set()
        async with asyncio.timeout(CEILING):
            await task


async def _seen(agent: _Agent, name: str, state: str) -> dict[str, Any]:
    """Every device, once the one called `name` is in that state."""
    async with asyncio.timeout(CEILING):
        while True:
            devices: dict[str, Any] = agent.status()["devices"]
            if devices.get(name, {}).get("state") == state:
                return devices
            await asyncio.sleep(0.02)


class Manager:
    """systemd's end of sd_notify(3): a datagram socket."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(0.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))

    async def next(self, seconds: float = CEILING) -> str:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            return (await loop.sock_recv(self.socket, 4096)).decode()

    def waiting(self) -> list[str]:
        """All that has come, without waiting."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.socket.recv(4096).decode())
        return found


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify", monkeypatch)
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    yield made
    made.socket.close()


async def test_watchdog_is_fed_only_while_the_writer_answers(
    unit: Unit, store: Store, manager: Manager
) -> None:
    held, release = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        held.set()
        release.wait(CEILING)

    async with running(unit, store):
        assert await manager.next() in {"READY=1", "WATCHDOG=1"}
        while await manager.next() != "WATCHDOG=1":
            pass
        stuck = store.writer.submit(hold)
        await asyncio.to_thread(held.wait, CEILING)
        await asyncio.sleep(0.3)  # an answer that was under way
        manager.waiting()
        await asyncio.sleep(1.0)  # ten pings, were they sent by a clock
        assert manager.waiting() == []
        release.set()
        assert await manager.next() == "WATCHDOG=1"
        await asyncio.wrap_future(stuck)
    assert "STOPPING=1" in manager.waiting()


async def test_full_disk_of_another_job_does_not_end_the_agent(
    unit: Unit, store: Store, monkeypatch: pytest.MonkeyPatch, manager: Manager
) -> None:
    answer = store.writer.answer
    refusals = 3

    async def full() -> None:
        nonlocal refusals
        await answer()
        refusals -= 1
        if refusals > 0:
            raise StoreFull("the disk is full")

    async with running(unit, store):
        while await manager.next() != "WATCHDOG=1":
            pass
        monkeypatch.setattr(store.writer, "answer", full)
        while refusals > -2:
            assert await manager.next() == "WATCHDOG=1"


def test_nobody_to_notify_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify.notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "interval"),
    [(None, None, None), ("30000000", None, 15.0), ("30000000", "1", None), ("", None, None)],
)
def test_watchdog_interval_is_half_of_what_systemd_allows(
    usec: str | None, pid: str | None, interval: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_interval() == interval


def test_abstract_socket_of_a_container_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0qafila-test-notify")
        manager.settimeout(CEILING)
        monkeypatch.setenv("NOTIFY_SOCKET", "@qafila-test-notify")
        notify.notify("STATUS=well")
        assert manager.recv(100) == b"STATUS=well"


async def test_one_wrong_bluetooth_device_does_not_silence_the_others(
    unit: Unit, store: Store
) -> None:
    unit.write(
        tables(
            {
                "wrong-place": ("blood-pressure", "/dev/ttyUSB0", "1"),
                "well": ("thermometer", "F2:F2:F2:F2:F2:F2", "2"),
                "wrong-settings": ("thermometer", "F4:F4:F4:F4:F4:F4", "2"),
            },
            '[bluetooth]\nradio = "tcp-client:127.0.0.1:9"',
        )
        + "\nsettings = { colour = 1 }"
    )
    with structlog.testing.capture_logs() as log:
        async with running(unit, store) as agent:
            devices = await _seen(agent, "well", "unavailable")
    assert {name: each["state"] for name, each in devices.items()} == {
        "wrong-place": "misconfigured",
        "well": "unavailable",
        "wrong-settings": "misconfigured",
    }
    assert devices["wrong-place"]["detail"] == "/dev/ttyUSB0 is no Bluetooth address"
    assert devices["wrong-settings"]["detail"].startswith("remove colour")
    wrong = [line["child"] for line in log if line["event"] == "misconfigured"]
    assert sorted(wrong) == ["wrong-place", "wrong-settings"]


async def test_wrong_wired_device_is_left_alone_and_shown(unit: Unit, store: Store) -> None:
    unit.write(
        tables(
            {
                "camera": ("dermatoscope", "tcp://192.0.2.1:1", "1"),
                "ecg": ("healthypi6", "/nowhere/ecg", "1"),
            }
        )
    )
    async with running(unit, store) as agent:
        devices = await _seen(agent, "ecg", "unavailable")
    states = {name: each["state"] for name, each in devices.items()}
    assert states == {"camera": "misconfigured", "ecg": "unavailable"}


@pytest.mark.parametrize("name", ["authority", "certificate", "key"])
def test_missing_certificate_is_told_with_its_setting(
    name: str, unit: Unit, store: Store, tmp_path: Path
) -> None:
    files = {each: tmp_path / f"{each}.pem" for each in ("authority", "certificate", "key")}
    for each, path in files.items():
        if each != name:
            path.write_text("PEM")
    public = unit.state / "keys" / "unit.pub"
    unit.write(
        f'[uplink]\nhost = "h"\ncentre_key = "{public}"\n[uplink.tls]\n'
        + "\n".join(f'{each} = "{path}"' for each, path in files.items())
    )
    with pytest.raises(Misconfigured) as wrong:
        build_uplink(store, load(unit.settings, DRIVERS), Impulse())
    assert wrong.value.remedy.startswith(f"$.uplink.tls.{name}: {files[name]} can't be read")
    files[name].write_text("PEM")
    with pytest.raises(Misconfigured, match=r"\$.uplink.tls: these are no PEM files"):
        build_uplink(store, load(unit.settings, DRIVERS), Impulse())


async def _well(_: object) -> dict[str, Any]:
    return {"answer": 1}


async def _refused(_: object) -> dict[str, Any]:
    raise AgentError("a consultation is open in box 1: close it first")


async def _buggy(_: object) -> dict[str, Any]:
    raise TypeError("unsupported operand")


VERBS = {"well": _well, "refused": _refused, "buggy": _buggy}


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b'{"do": "well"}', {"ok": True, "answer": 1}),
        (b'{"do": "refused"}', "a consultation is open in box 1: close it first"),
        (b'{"do": "buggy"}', "the program has a fault here: see the journal"),
        *(
            (line, 'ask {"do": …} with one of: well, refused, buggy')
            for line in (b"", b"{", b"3", b"[]", b"{}", b'{"do": []}', b'{"do": "x"}', b"[" * 60000)
        ),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_every_line_is_answered_with_a_sentence_at_worst(line: bytes, answer: object) -> None:
    with structlog.testing.capture_logs() as log:
        said = await control.answer(line, VERBS)
    assert said == (answer if isinstance(answer, dict) else {"ok": False, "error": answer})
    assert [each["exc_info"] for each in log] == ([True] if b"buggy" in line else [])


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"do": "open", "box": "1", "patient": "p"}, "open: give actor as text"),
        ({"do": "open", "box": 1, "patient": "p", "actor": "a"}, "open: give box as text"),
        ({"do": "open", "box": "1", "patient": "", "actor": "a"}, "open: give patient as text"),
        ({"do": "close"}, "close: give box as text"),
        ({"do": "readings"}, "readings: give limit as a whole number"),
        ({"do": "pending", "limit": "9"}, "pending: give limit as a whole number"),
        ({"do": "snapshot"}, "snapshot: give device as text"),
        ({"do": "snapshot", "device": "x"}, "x: no device is called so: none"),
    ],
)
async def test_what_is_missing_in_a_request_is_named(
    asked: dict[str, Any], error: str, unit: Unit, store: Store
) -> None:
    async with running(unit, store):
        said = await _ask(unit.runtime, asked)
    assert said == {"ok": False, "error": error}


async def _ask(runtime: Path, asked: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(CEILING):
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(runtime / control.SOCKET)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.write(json.dumps(asked).encode() + b"\n")
            answer: dict[str, Any] = json.loads(await reader.readline())
            writer.close()
            return answer
