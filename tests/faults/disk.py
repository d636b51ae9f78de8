"""A disk that a test can cut the power of: the volatile file system, mounted by a process."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
_CEILING = 30.0
_GRACE = 5.0


def why_not() -> str:
    """Why no such disk can be mounted here; empty where one can."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "power cuts need FUSE: /dev/fuse is missing, or not ours to open"
    if shutil.which("fusermount3") is None or ctypes.util.find_library("fuse3") is None:
        return "power cuts need FUSE: install the package fuse3"
    return ""


class VolatileDisk:
    """`folder` is where it is mounted. A cut leaves it unmounted; `mount` is the next boot."""

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="qafila-disk-")
        here = Path(self._place.name)
        self.backing, self.folder = here / "durable", here / "mounted"
        self._control = here / "control"
        self._process: subprocess.Popen[bytes] | None = None
        self._log = (here / "log").open("ab")
        self.backing.mkdir()
        self.folder.mkdir()

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._unmount()
        self._log.close()
        self._place.cleanup()

    def mount(self) -> None:
        """Boot: what is durable is there, and nothing else."""
        self._control.unlink(missing_ok=True)
        places = (str(self.backing), str(self.folder), str(self._control))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.volatile_fs", *places],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + _CEILING
        while not (self.folder.is_mount() and self._control.exists()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the disk was not mounted: {self._said()}")
            time.sleep(0.01)

    def cut(self, seed: int) -> None:
        """Cut the power. Kill whoever works on it afterwards: to them the disk is gone."""
        self.tell("cut", seed)
        self._unmount()

    def went_dark(self) -> bool:
        """Whether the power is off, now that whoever worked on the disk has ended."""
        if self._process is None:
            return True
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            return False
        self._unmount()
        return True

    def tell(self, *words: object) -> str:
        """Send a command of `volatile_fs`; give its answer, empty where the power went off."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(_CEILING)
            try:
                control.connect(str(self._control))
                control.sendall(" ".join(map(str, words)).encode())
                return control.recv(100).decode()
            except ConnectionError:
                return ""

    def _unmount(self) -> None:
        assert self._process
        self._process.wait(_CEILING)
        self._process = None
        command = ["fusermount3", "-u", "-z", str(self.folder)]
        subprocess.run(command, capture_output=True, check=False)

    def _said(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text("utf-8", "replace")[-2000:]
