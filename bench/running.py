"""An agent as it really runs, for measurements: when it is ready, what it takes."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.agent.unit import CEILING, Unit, end
from tests.brokers import HOST

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.sync.rig import Centre

_TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def agent(unit: Unit) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Run `qafila run`; give the process and the seconds until it told systemd READY=1."""
    manager = unit.folder / "notify"
    manager.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(manager))
        heard.settimeout(CEILING)
        begun = time.perf_counter()
        process = unit.start(NOTIFY_SOCKET=str(manager))
        try:
            while b"READY=1" not in heard.recv(1000):
                pass
            yield process, time.perf_counter() - begun
        finally:
            end(process)


def memory(pid: int, what: str = "VmRSS") -> float:
    """Megabytes that a process has in memory now (`VmRSS`) or had at most (`VmHWM`)."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise LookupError(what)


def cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor time that it has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def entering(unit: Unit, readings: int) -> list[float]:
    """Enter so many readings through the control socket; give the seconds that each took."""
    took = []
    for number in range(readings):
        begun = time.perf_counter()
        unit.ask("enter", box="1", kind="pulse", value=str(60 + number % 40), actor="nurse")
        took.append(time.perf_counter() - begun)
    return took


def uplink_table(port: int, centre: Centre) -> str:
    """The settings of a link to a broker on this computer."""
    return (
        f'[uplink]\nhost = "{HOST}"\nport = {port}\ncentre_key = "{centre.folder / "central.pub"}"'
    )
