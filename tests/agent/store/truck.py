"""A state folder and readings that no patient ever had, for tests of the store."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from agent.capture import Capture
from agent.clock import Stamp
from agent.store.keys import load_key, make_key
from agent.store.store import Store
from drivers.base import Blob, Device, Measurement, Value

if TYPE_CHECKING:
    from pathlib import Path

UNIT = "test-01"
CUFF = Device("ble:F1:F1:F1:F1:F1:F1", "blood-pressure", "box1-cuff")
STAMP = Stamp("boot", 1, datetime(2026, 11, 22, 9, tzinfo=UTC), "synchronised")


def open_store(folder: Path) -> Store:
    """Open a folder, making its key the first time."""
    if not (folder / "keys").exists():
        make_key(folder)
    return Store.open(folder, load_key(folder), UNIT, "simulated")


def power_cut(store: Store, fresh: Path) -> Store:
    """What the next boot finds: the files as they are now, without any orderly end."""
    as_it_is(store.folder, fresh)
    store.close()
    return open_store(fresh)


def as_it_is(folder: Path, fresh: Path) -> Path:
    """Copy a state folder while its agent works on it; give the copy."""
    shutil.copytree(folder, fresh, ignore=shutil.ignore_patterns("lock"))
    return fresh


def reading(raw: bytes, *, repeatable: bool = False, blobs: tuple[bytes, ...] = ()) -> Measurement:
    """A temperature; its digits are those of the device."""
    return Measurement(
        kind="body-temperature",
        raw=raw,
        values=(Value("150364", Decimal("36.0"), "Cel"),),
        repeatable=repeatable,
        blobs=tuple(Blob(each, "image/jpeg", "original") for each in blobs),
    )


def tells_a_value(text: str) -> bool:
    """Whether the value of a `reading` stands in a text; in a time of day it is no value."""
    return bool(re.search(r"(?<!:)36\.0(?!\d)", text))


def capture(
    raw: bytes,
    *,
    repeatable: bool = False,
    blobs: tuple[bytes, ...] = (),
    box: str | None = "1",
    frames: tuple[int, ...] = (),
    name: str | None = CUFF.name,
) -> Capture:
    """A reading in its context; the device's name travels in its line."""
    said = reading(raw, repeatable=repeatable, blobs=blobs)
    return Capture(said, replace(CUFF, name=name), STAMP, box, "simulated", "1", frames=frames)
