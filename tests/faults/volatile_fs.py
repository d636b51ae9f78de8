"""A FUSE file system on which nothing is durable before fsync: power cuts without a machine.

    python -m tests.faults.volatile_fs BACKING MOUNT CONTROL

BACKING holds what is durable: it is read at the start, and written at the cut and at no other
time. CONTROL is a Unix socket, one command a connection: `cut SEED`, `cut-at N SEED` (at the
N-th operation that changes anything), `image FOLDER SEED` (what a cut would leave, written
there; nothing ends), `fail fsync EIO`, `fail write ENOSPC`, `full`, `room BYTES` (so much is
free), `lie` (fsync says yes and does nothing), `heal`. After a cut the process ends with status 9.
"""

from __future__ import annotations

import copy
import errno
import os
import random
import socket
import stat
import sys
import threading
from enum import StrEnum
from pathlib import Path
from typing import Any

from mfusepy import FUSE, FuseOSError, Operations

from tests.faults.volatile import Disk, File, parent

CUT_STATUS = 9
SIZE = 1 << 30


class Fsync(StrEnum):
    """What fsync does."""

    HONEST = "honest"
    LYING = "lying"


class VolatileFs(Operations):  # type: ignore[misc] # mfusepy carries no types
    """The calls of the kernel, on a `Disk`."""

    use_ns = True

    def __init__(self, backing: Path) -> None:
        self.backing = backing
        self.disk = load(backing)
        self.guard = threading.RLock()
        self.failing: dict[str, int] = {}
        self.fsync_is = Fsync.HONEST
        self.limit = SIZE
        self.changes = 0
        self.cut_at: tuple[int, int] | None = None

    def command(self, words: list[str]) -> str:
        """Do what the control socket says."""
        with self.guard:
            match words:
                case ["cut", seed]:
                    self.cut(int(seed))
                case ["image", folder, seed]:
                    save(copy.deepcopy(self.disk), Path(folder), random.Random(int(seed)))
                case ["cut-at", number, seed]:
                    self.cut_at = (self.changes + int(number), int(seed))
                case _:
                    self.ail(words)
            return str(self.changes)

    def ail(self, words: list[str]) -> None:
        """Be ill in the way that is said, or well again."""
        match words:
            case ["fail", what, name]:
                self.failing[what] = getattr(errno, name)
            case ["full"]:
                self.limit = self.disk.used()
            case ["room", count]:
                self.limit = self.disk.used() + int(count)
            case ["lie"]:
                self.fsync_is = Fsync.LYING
            case ["heal"]:
                self.failing.clear()
                self.limit, self.fsync_is = SIZE, Fsync.HONEST
            case _:
                raise ValueError(words)

    def cut(self, seed: int) -> None:
        """Write what the next boot finds, and end at once."""
        save(self.disk, self.backing, random.Random(seed))
        os._exit(CUT_STATUS)

    def change(self, what: str) -> None:
        """Count an operation that changes something; it may be the last, or fail."""
        self.changes += 1
        if self.cut_at and self.changes >= self.cut_at[0]:
            self.cut(self.cut_at[1])
        if what in self.failing:
            raise FuseOSError(self.failing[what])

    def file(self, path: str) -> File:
        if path not in self.disk.names:
            raise FuseOSError(errno.ENOENT)
        return self.disk.names[path]

    def getattr(self, path: str, _fh: int | None = None) -> dict[str, Any]:
        with self.guard:
            common = {"st_uid": os.getuid(), "st_gid": os.getgid()}
            if path in self.disk.folders:
                return common | {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
            file = self.file(path)
            size = len(file.live)
            mode = stat.S_IFREG | file.mode
            blocks = -(-size // 4096) * 8
            return common | {
                "st_mode": mode, "st_nlink": 1, "st_size": size, "st_blocks": blocks
            }  # fmt: skip

    def readdir(self, path: str, _fh: int) -> list[str]:
        with self.guard:
            every = (*self.disk.names, *self.disk.folders)
            inside = [each for each in every if each != "/" and parent(each) == path]
            return [".", "..", *(each.rpartition("/")[2] for each in inside)]

    def create(self, path: str, mode: int, _fi: object = None) -> int:
        with self.guard:
            self.change("write")
            self.disk.create(path, stat.S_IMODE(mode))
            return 0

    def open(self, path: str, _flags: int) -> int:
        with self.guard:
            self.file(path)
            return 0

    def read(self, path: str, size: int, offset: int, _fh: int) -> bytes:
        with self.guard:
            return bytes(self.file(path).live[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, _fh: int) -> int:
        with self.guard:
            self.change("write")
            file = self.file(path)
            growth = max(0, offset + len(data) - len(file.live))
            if growth and self.disk.used() + growth > self.limit:
                raise FuseOSError(errno.ENOSPC)
            file.write(data, offset)
            return len(data)

    def truncate(self, path: str, length: int, _fh: int | None = None) -> int:
        with self.guard:
            self.change("write")
            file = self.file(path)
            if self.disk.used() + length - len(file.live) > max(self.limit, self.disk.used()):
                raise FuseOSError(errno.ENOSPC)
            file.resize(length)
            return 0

    def fallocate(self, path: str, mode: int, offset: int, length: int, fh: int) -> int:
        if mode:
            raise FuseOSError(errno.EOPNOTSUPP)
        with self.guard:
            size = len(self.file(path).live)
        return self.truncate(path, max(size, offset + length), fh)

    def fsync(self, path: str, _datasync: int, _fh: int) -> int:
        with self.guard:
            file = self.file(path)
            try:
                self.change("fsync")
            except FuseOSError:
                file.forget()
                raise
            if self.fsync_is is Fsync.HONEST:
                file.sync()
            return 0

    def fsyncdir(self, path: str, _datasync: int, _fh: int) -> int:
        with self.guard:
            self.change("fsync")
            if self.fsync_is is Fsync.HONEST:
                self.disk.sync_folder(path)
            return 0

    def unlink(self, path: str) -> int:
        with self.guard:
            self.change("unlink")
            self.file(path)
            self.disk.remove(path)
            return 0

    def rename(self, old: str, new: str) -> int:
        with self.guard:
            self.change("rename")
            self.file(old)
            self.disk.rename(old, new)
            return 0

    def mkdir(self, path: str, _mode: int) -> int:
        with self.guard:
            self.disk.folders.add(path)
            return 0

    def rmdir(self, path: str) -> int:
        with self.guard:
            self.disk.folders.discard(path)
            return 0

    def chmod(self, path: str, mode: int) -> int:
        with self.guard:
            if path not in self.disk.folders:
                self.file(path).mode = stat.S_IMODE(mode)
            return 0

    def chown(self, path: str, _uid: int, _gid: int) -> int:
        with self.guard:
            if path not in self.disk.folders:
                self.file(path)
            return 0

    def statfs(self, _path: str) -> dict[str, int]:
        with self.guard:
            free = max(0, self.limit - self.disk.used()) // 4096
            return {
                "f_bsize": 4096,
                "f_frsize": 4096,
                "f_blocks": SIZE // 4096,
                "f_bfree": free,
                "f_bavail": free,
                "f_namemax": 255,
            }


def load(backing: Path) -> Disk:
    """Read what is durable."""
    files, folders = {}, set()
    for path in backing.rglob("*"):
        name = "/" + str(path.relative_to(backing))
        if path.is_dir():
            folders.add(name)
        else:
            files[name] = (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return Disk(files, folders)


def save(disk: Disk, backing: Path, chance: random.Random) -> None:
    """Write what a cut leaves."""
    for path in sorted(backing.rglob("*"), reverse=True):
        if path.is_file():
            path.unlink()
    for folder in sorted(disk.folders - {"/"}):
        (backing / folder[1:]).mkdir(parents=True, exist_ok=True)
    for name, content, mode, _, _ in disk.cut(chance):
        target = backing / name[1:]
        target.write_bytes(content)
        target.chmod(mode)


def listen(fs: VolatileFs, control: Path) -> None:
    """Answer the control socket for ever."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(control))
    server.listen(4)
    while True:
        client, _ = server.accept()
        with client:
            words = client.recv(400).decode().split()
            client.sendall(fs.command(words).encode())


def main(backing: str, mount: str, control: str) -> None:
    """Serve until the cut."""
    fs = VolatileFs(Path(backing))
    threading.Thread(target=listen, args=(fs, Path(control)), daemon=True).start()
    FUSE(fs, mount, foreground=True, nothreads=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
