"""The machine as who tests it sees it: commands by ssh, its clock, its journal, its plug."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from tests.brokers import HOST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.vm.qemu import Qemu

T = TypeVar("T")
BOOT = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.5
CEILING = 600.0
"""Seconds after which something that should have happened hasn't, on a machine that is busy."""


class Failed(AssertionError):  # noqa: N818 - a state of the guest, for a reader of a test
    """A command in the guest ended with an error; the text has what it said."""


class Guest:
    """A running machine, entered as root."""

    def __init__(self, machine: Qemu, identity: Path, folder: Path) -> None:
        self.machine = machine
        self._path = folder / "ssh"
        self._words = [
            *("ssh", "-q", "-i", str(identity), "-p", str(machine.ssh_port)),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=60"),
            *("-o", "ControlMaster=auto", "-o", f"ControlPath={self._path}"),
            *("-o", "ControlPersist=yes", f"root@{HOST}"),
        ]

    def enter(self, ceiling: float = BOOT) -> None:
        """Return once the machine lets us in."""
        eventually(lambda: self._enters() or None, ceiling, "the machine does not let us in")

    def _enters(self) -> bool:
        with suppress(subprocess.TimeoutExpired):
            tried = subprocess.run(
                [*self._words, "true"],
                timeout=40,
                check=False,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            return tried.returncode == 0
        return False

    def run(self, script: str, said: str = "", ceiling: float = CEILING) -> str:
        """Run a script of sh in the guest and give what it prints; Failed."""
        words = [*self._words, script]
        done = subprocess.run(
            words, input=said, capture_output=True, text=True, timeout=ceiling, check=False
        )
        if done.returncode:
            raise Failed(f"{script[:500]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def listen(self, script: str) -> subprocess.Popen[str]:
        """Run a script that goes on; what it prints is read from its `stdout`."""
        words = [*self._words, script]
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def talk(self, script: str) -> subprocess.Popen[str]:
        """Run a script that somebody answers by its `stdin`."""
        pipe = subprocess.PIPE
        words = [*self._words, script]
        return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def write(self, path: str, content: str) -> None:
        """Replace a file."""
        self.run(f"cat > {path}", content)

    def set_clock(self, when: float | None = None) -> None:
        """Set the clock, to that of this machine if nothing is said."""
        self.run(f"date -s @{time.time() if when is None else when:.3f}")

    def uptime(self) -> float:
        """Seconds by the guest's own clock."""
        return float(self.run("cat /proc/uptime").split()[0])

    def status(self) -> dict[str, Any]:
        """What the agent last wrote of itself; empty before it has."""
        said = self.run("cat /var/lib/qafila/status.json 2>/dev/null || echo '{}'")
        found: dict[str, Any] = json.loads(said)
        return found

    def journal(self, *words: str) -> str:
        """The journal of the agent."""
        return self.run(f"journalctl --no-pager -o cat -u qafila {' '.join(words)}")

    def leave(self) -> None:
        """Close the way in, and pull the plug."""
        words = [*self._words, "-O", "exit"]
        subprocess.run(words, capture_output=True, check=False, timeout=30)
        self.machine.kill()


def eventually(look: Callable[[], T | None], ceiling: float = CEILING, words: str = "") -> T:
    """What `look` gives as soon as it is not None (or False); AssertionError after `ceiling`."""
    deadline, pause = time.monotonic() + ceiling, _FIRST_PAUSE
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(words or "what should have happened has not")
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, 1.5 * pause)  # whoever looks takes the processor from the rest
