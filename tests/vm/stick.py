"""A USB stick as a shop sells it: one partition, and a file system that the kernel knows."""

from __future__ import annotations

import struct
import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vm.qemu import Qemu

FORMATS = {
    "vfat": (0x0C, ("mkfs.vfat", "-F", "32")),
    "exfat": (0x07, ("mkfs.exfat",)),
    "ext4": (0x83, ("mkfs.ext4", "-q", "-F")),
}
"""The type of the partition (as in an MBR), and what formats it."""
_HEAD = 1 << 20
_SECTOR = 512
_ANY_CHS = b"\xfe\xff\xff"


class Stick:
    """A stick of so many MiB. It can be plugged in more than once, and is in one socket then."""

    def __init__(self, path: Path, kind: str, size: int = 64) -> None:
        self.path = path
        self._machine: Qemu | None = None
        self._nodes: list[str] = []
        system, format_it = FORMATS[kind]
        inside = path.with_suffix(".partition")
        with inside.open("wb") as made:
            made.truncate(size << 20)
        subprocess.run([*format_it, str(inside)], check=True, stdout=subprocess.DEVNULL)
        head = bytearray(_HEAD)
        sectors = (_HEAD // _SECTOR, (size << 20) // _SECTOR)
        struct.pack_into("<B3sB3sII", head, 446, 0, _ANY_CHS, system, _ANY_CHS, *sectors)
        head[510:512] = b"\x55\xaa"
        path.write_bytes(head + inside.read_bytes())
        inside.unlink()

    def plug(
        self, machine: Qemu, socket: int, *, read_only: bool = False, rate: int | None = None
    ) -> None:
        """Plug it into a socket; it may be switched to read-only, or write so slowly (bytes/s)."""
        self._machine = machine
        name = f"stick{socket}"
        file: dict[str, Any] = {"driver": "file", "filename": str(self.path)}
        self._add(f"{name}-file", **file, **{"read-only": read_only})
        if rate is not None:
            group = f"{name}-rate{time.monotonic_ns()}"
            limits = {"bps-write": rate}
            machine.tell("object-add", id=group, **{"qom-type": "throttle-group", "limits": limits})
            throttle = {"driver": "throttle", "throttle-group": group, "file": self._nodes[-1]}
            self._add(f"{name}-slow", **throttle)
        place = {"bus": "usb.0", "port": str(socket), "drive": self._nodes[-1]}
        machine.tell("device_add", driver="usb-storage", id=name, **place)
        self._name = name

    def pull(self) -> None:
        """Pull it out, whatever it is doing."""
        machine, self._machine = self._machine, None
        assert machine is not None, "it is not plugged in"
        machine.tell("device_del", id=self._name)
        while self._nodes:
            machine.tell_once_free("blockdev-del", **{"node-name": self._nodes.pop()})

    def _add(self, node: str, **options: Any) -> None:
        assert self._machine is not None
        self._machine.tell("blockdev-add", **{"node-name": node}, **options)
        self._nodes.append(node)
