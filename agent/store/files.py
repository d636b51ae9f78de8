"""Files beside the database that are whole or not there at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.store.keys import sync_folder

if TYPE_CHECKING:
    from pathlib import Path


def write_durably(path: Path, content: bytes, mode: int = 0o640) -> None:
    """Write a file beside its place, make it durable, then put it there in one step. OSError."""
    draft = path.with_name(f".{path.name}.draft")
    number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(number, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(number)
    draft.replace(path)
    sync_folder(path.parent)
