"""The demonstrations take long and do little: they run beside the other tests, from the start."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from .unit import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_EMBEDDED = (
    "import shutil; which = shutil.which; "
    "shutil.which = lambda name, *more, **named: "
    "None if name == 'mosquitto' else which(name, *more, **named); "
    "from agent.cli import main; main()"
)
_CEILING = 110


@dataclass
class Demo:
    """One unattended demonstration, under way or over."""

    folder: Path
    process: subprocess.Popen[str]
    told: tuple[str, str] = ("", "")

    def ended(self) -> Demo:
        """Wait for its end."""
        if self.told == ("", ""):
            self.told = self.process.communicate(timeout=_CEILING)
        return self


def _start(folder: Path, *program: str) -> Demo:
    process = subprocess.Popen(
        [sys.executable, *program, "demo", "--once", "--json", "--keep", str(folder)],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return Demo(folder, process)


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Demo]]:
    """One demonstration over mosquitto and one over the embedded broker."""
    folder = tmp_path_factory.mktemp("demo")
    running = {
        "mosquitto": _start(folder / "mosquitto", "-m", "agent"),
        "embedded": _start(folder / "embedded", "-c", _EMBEDDED),
    }
    yield running
    for demo in running.values():
        if demo.process.poll() is None:
            demo.process.terminate()  # it takes its broker, centre and agent with it
        demo.ended()


@pytest.fixture(scope="session", autouse=True)
def _early(request: pytest.FixtureRequest) -> None:
    """Start them with the first test, where any test asks for them."""
    items: list[pytest.Item] = request.session.items
    if any("demos" in getattr(item, "fixturenames", ()) for item in items):
        request.getfixturevalue("demos")
