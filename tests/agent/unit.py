"""A unit as it really runs: a settings file, a state folder, and `python -m agent` processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agent import control
from agent.identity import make_unit_key
from agent.store.keys import load_key, make_key
from agent.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

ROOT = Path(__file__).resolve().parents[2]
NAME = "test-01"
T = TypeVar("T")
CEILING = 60.0
"""Seconds after which something that should have happened hasn't."""


def environment(**more: str) -> dict[str, str]:
    """The environment of a process of ours: this source tree, and nothing of systemd."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("QAFILA")}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more


def run_cli(
    *words: str, code: str = "from agent.cli import main; main()"
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=CEILING,
        check=False,
    )


class Unit:
    """One unit's folder. `tables` are further tables of its settings, after [unit]."""

    def __init__(self, folder: Path, tables: str = "") -> None:
        self.folder = folder
        self.state = folder / "state"
        self.runtime = folder / "run"
        self.log = folder / "agent.log"
        self.settings = folder / "unit.toml"
        self.agents: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        for make in (make_key, make_unit_key):
            with contextlib.suppress(FileExistsError):  # a state folder that was made before
                make(self.state)
        self.write(tables)

    def write(self, tables: str) -> None:
        """Write the settings anew."""
        self.settings.write_text(
            f'[unit]\nname = "{NAME}"\norigin = "simulated"\n'
            f'state = "{self.state}"\nruntime = "{self.runtime}"\n{tables}\n',
            "utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self.agents:
            if agent.poll() is None:
                agent.kill()
            agent.wait()

    def start(
        self, *, before: Sequence[str] = (), code: str = "", **more: str
    ) -> subprocess.Popen[bytes]:
        """Start an agent; `code` is Python to run in place of the plain command."""
        program = ("-c", code) if code else ("-m", "agent")
        words = [*before, sys.executable, *program, "run", "--settings", str(self.settings)]
        with self.log.open("ab") as log:
            agent = subprocess.Popen(
                words, stdout=log, stderr=log, env=environment(**more), cwd=ROOT
            )
        self.agents.append(agent)
        return agent

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command with this unit's settings."""
        return run_cli(*words, "--settings", str(self.settings))

    def ask(self, verb: str, **fields: str) -> dict[str, Any]:
        """Ask the running agent."""
        answer = control.ask(self.runtime, {"do": verb, **fields}, CEILING)
        assert answer["ok"], answer
        return answer

    def figures(self) -> dict[str, Any]:
        """The last `status.json`."""
        found: dict[str, Any] = json.loads((self.state / "status.json").read_bytes())
        return found

    def store(self) -> Store:
        """The store, while no agent has it."""
        return Store.open(self.state, load_key(self.state), NAME, "simulated")

    def until(self, true: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Ask for the status until it is as it should be."""
        return until(lambda: self._look(true), f"{what}; the log is {self.log.read_text()}")

    async def soon(self, true: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """`until` for a test whose own loop has devices to play."""
        return await asyncio.to_thread(self.until, true, what)

    def _look(self, true: Callable[[dict[str, Any]], object]) -> dict[str, Any] | None:
        try:
            status: dict[str, Any] = self.ask("status")["status"]
        except (OSError, ValueError):
            assert self.agents[-1].poll() is None, f"the agent ended: {self.log.read_text()}"
            return None
        return status if true(status) else None


def until(found: Callable[[], T | None], what: str) -> T:
    """Look again until something is found."""
    deadline = time.monotonic() + CEILING
    while time.monotonic() < deadline:
        if (value := found()) is not None:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


def end(agent: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> int:
    """Send a signal; give the exit code."""
    agent.send_signal(number)
    return agent.wait(CEILING)


def tables(devices: Mapping[str, tuple[str, str, str]], *more: str) -> str:
    """The settings of devices, each its driver, place and box; and further tables."""
    return "\n".join(
        [
            *more,
            *(
                f'[[devices]]\nname = "{name}"\ndriver = "{driver}"\nat = "{at}"\nbox = "{box}"'
                for name, (driver, at, box) in devices.items()
            ),
        ]
    )
