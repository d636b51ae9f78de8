"""The processes of the demonstration: a broker, the centre, the agent; each as it really runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent.demo.proxy import LOOPBACK
from agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

UNIT = "demo-01"
_READY = 30.0
_ENDING = 15.0


class StageFault(AgentError):  # noqa: N818 - what failed is said in the text
    """A part of the demonstration did not start."""


@contextlib.asynccontextmanager
async def process(
    name: str, folder: Path, *words: str, ready: bytes | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program of ours until the block ends; its output goes to `<name>.log`."""
    with (folder / f"{name}.log").open("ab") as log:
        running = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if ready else log,
            stderr=log,
            env=_environment(),
        )
        try:
            if ready:
                await _await_ready(name, running, ready)
            yield running
        finally:
            await _end(running)


def broker_words(folder: Path, port: int) -> tuple[str, ...]:
    """The command of a broker: mosquitto where it is installed, else the embedded one."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        return (sys.executable, "-m", "agent.demo.broker", str(port))
    settings = folder / "mosquitto.conf"
    settings.write_text(f"listener {port} {LOOPBACK}\nallow_anonymous true\n")
    return (found, "-c", str(settings))


async def await_port(port: int) -> None:
    """Return when somebody listens on a port of this machine."""
    async with asyncio.timeout(_READY):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(LOOPBACK, port)
                writer.close()
                return
            await asyncio.sleep(0.05)


async def once(name: str, folder: Path, *words: str) -> None:
    """Run a command to its end; StageFault where it fails."""
    async with process(name, folder, *words) as running:
        if await running.wait():
            raise StageFault(f"{name} failed: see {folder / name}.log")


def central_words(*words: str) -> tuple[str, ...]:
    """The centre's command line."""
    return (sys.executable, "-m", "central", *words)


def agent_words(*words: str) -> tuple[str, ...]:
    """The agent's command line."""
    return (sys.executable, "-m", "agent", *words)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def write_settings(
    folder: Path,
    port: int,
    radio: str,
    devices: Mapping[str, tuple[str, str]],
    boxes: Mapping[str, str],
) -> Path:
    """Write the unit's settings; give their path."""
    lines = [
        f'[unit]\nname = "{UNIT}"\norigin = "simulated"',
        f'state = "{folder / "unit"}"\nruntime = "{folder / "run"}"',
        f'[uplink]\nhost = "{LOOPBACK}"\nport = {port}\nkeepalive = 10',
        f'centre_key = "{folder / "centre" / "central.pub"}"',
        device_settings(radio, devices, boxes),
    ]
    path = folder / "unit.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def device_settings(
    radio: str, devices: Mapping[str, tuple[str, str]], boxes: Mapping[str, str]
) -> str:
    """The settings that let a simulated unit reach these devices, as TOML."""
    lines = [f'[bluetooth]\nradio = "{radio}"']
    lines += [
        f'[[devices]]\nname = "{name}"\ndriver = "{driver}"\nat = "{at}"\nbox = "{boxes[name]}"'
        for name, (driver, at) in devices.items()
    ]
    return "\n".join(lines)


def _environment() -> dict[str, str]:
    """The environment, with this very program on the module path, installed or not."""
    root = str(Path(__file__).resolve().parents[2])
    return os.environ | {"PYTHONPATH": root, "PYTHONUNBUFFERED": "1"}


async def _await_ready(name: str, running: asyncio.subprocess.Process, ready: bytes) -> None:
    if running.stdout is None:
        raise StageFault(f"{name} has no output to wait for")
    try:
        async with asyncio.timeout(_READY):
            while line := await running.stdout.readline():
                if ready in line:
                    return
    except TimeoutError:
        pass
    raise StageFault(f"{name} did not become ready")


async def _end(running: asyncio.subprocess.Process) -> None:
    if running.returncode is not None:
        return
    running.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_ENDING):
            await running.wait()
    except TimeoutError:
        running.kill()
        await running.wait()
