"""`status.json`: how the unit is, every few seconds, for whoever may not open the database.

No patient data; readable by the unit's group; replaced in one step, so nobody reads half.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NAME = "status.json"
VERSION = 1
_TABLES = ("written", "disk", "store", "uplink", "devices")


def write(folder: Path, status: dict[str, Any]) -> None:
    """Replace the file. It need not outlive a power cut, so nothing is fsynced."""
    fresh = folder / f".{NAME}.fresh"
    number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    with os.fdopen(number, "wb") as file:  # a bare write may stop half-way on a full disk
        file.write(json.dumps(status, indent=1).encode())
    fresh.replace(folder / NAME)


def read(folder: Path) -> tuple[dict[str, Any], float]:
    """The status and its age in seconds; OSError or ValueError where there is none to read."""
    path = folder / NAME
    status = json.loads(path.read_bytes())
    if not isinstance(status, dict) or status.get("version") != VERSION:
        raise ValueError("status.json was written by another version")
    if not all(isinstance(status.get(key), dict) for key in _TABLES):
        raise ValueError("status.json is not whole")
    return status, _age(status, path)


def moment() -> dict[str, Any]:
    """When this is: by a clock that no one can set, and by the one on the wall."""
    return {"boottime": time.clock_gettime(time.CLOCK_BOOTTIME), "wall": time.time()}


def _age(status: dict[str, Any], path: Path) -> float:
    """Age by the boot's clock; after a reboot by the wall's, which may be wrong."""
    written = status["written"]
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - written["boottime"]
    if age >= 0 and status.get("boot") == _boot():
        return float(age)
    return max(0.0, time.time() - path.stat().st_mtime)


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
        return file.read().strip()
