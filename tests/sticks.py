"""Sticks for tests: small ones, ones that can't be written, and hostile ones."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_REASON = "mounting a small or read-only stick needs root and the right to mount"


class Mounted:
    """A file system of its own, which can be set to read only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def protect(self) -> None:
        """Let it be read and no more."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)


@contextmanager
def mounted(folder: Path, size: str = "64m") -> Iterator[Mounted]:
    """A stick of a size; skips the test where nothing can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(_REASON)
    try:
        yield Mounted(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def spoil(folder: Path, suffix: str, outside: Path) -> None:
    """Fill a folder with what a hostile stick may hold, around the genuine file number 1."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"0000000002.{suffix}").symlink_to(outside)
    (folder / f"0000000003.{suffix}").symlink_to(folder / f"0000000001.{suffix}")
    os.mkfifo(folder / f"0000000004.{suffix}")
    (folder / f"0000000005.{suffix}").mkdir()
    with (folder / f"0000000006.{suffix}").open("wb") as vast:
        vast.truncate(1 << 40 if folder.stat().st_dev != outside.stat().st_dev else 1 << 32)
    (folder / f"0000000007.{suffix}").write_bytes(b"")
    (folder / f"0000000008.{suffix}").write_bytes(os.urandom(5000))
    (folder / f".0000000009.{suffix}.part").write_bytes(b"torn")
    (folder / "..\\..\\evil.sealed").write_bytes(b"climbing")
    (folder / f"99999999999.{suffix}").write_bytes(b"no number of ours")
