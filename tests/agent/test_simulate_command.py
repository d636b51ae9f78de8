"""`qafila simulate`: what it prints are settings that hold wherever the agent is started."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

from .unit import CEILING, environment

if TYPE_CHECKING:
    from pathlib import Path


def test_relative_folder_gives_settings_with_absolute_places(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "agent", "simulate", "devices", "--every", "1", "--rounds", "1"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=CEILING,
        check=True,
    )
    devices = tomllib.loads(told.stdout)["devices"]
    places = {each["driver"]: each["at"] for each in devices}
    assert places["healthypi6"] == str((tmp_path / "devices" / "ecg").resolve())
    assert not [at for at in places.values() if not at.startswith(("/", "F", "tcp://"))]
