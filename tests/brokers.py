"""Real brokers as processes, for tests that speak MQTT. Loopback only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOST = "127.0.0.1"
_START_CEILING = 20.0
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
MISSING = "mosquitto is not installed: install the package mosquitto (the broker), no service"


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def find_mosquitto() -> str | None:
    """The broker's program, also where only root's PATH has it."""
    return shutil.which("mosquitto", path=os.pathsep.join((os.environ["PATH"], *_PLACES)))


class Mosquitto:
    """One mosquitto on one port, which stays the same however often it is killed."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        """`options` are further lines of its configuration, after the listener."""
        program = find_mosquitto()
        if program is None:
            raise FileNotFoundError(MISSING)
        self.host = HOST
        self.port = free_port()
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        lines = (
            "per_listener_settings false",
            "user root",  # only read when started as root, which it would give up otherwise
            f"listener {self.port} {HOST}",
            "allow_anonymous true",
            *options,
        )
        self._settings = folder / "mosquitto.conf"
        self._settings.write_text("\n".join(lines) + "\n", "utf-8")

    def start(self) -> None:
        """Run it; return once it accepts connections."""
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-v", "-c", str(self._settings)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_CEILING
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto did not start: {self.log()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it as an administrator would; nothing happens where it doesn't run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def log(self) -> str:
        """What it has said so far."""
        return (self._folder / "mosquitto.log").read_text("utf-8", "replace")

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process:
            process.send_signal(number)
            process.wait(_START_CEILING)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex((HOST, self.port)) == 0
