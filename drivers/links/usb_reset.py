"""Reset a USB Bluetooth adapter, as if it had been pulled out and put in again.

Facts: Linux `include/uapi/linux/usbdevice_fs.h` (USBDEVFS_RESET is `_IO('U', 20)`) and
`Documentation/ABI/testing/sysfs-bus-usb` (`busnum`, `devnum`).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from drivers.links.stack import NotPossible

_RESET = 0x5514
_BLUETOOTH, _NODES = Path("/sys/class/bluetooth"), Path("/dev/bus/usb")


def reset_adapter(name: str | None, bluetooth: Path = _BLUETOOTH, nodes: Path = _NODES) -> None:
    """Reset the adapter that the kernel calls `name` (`hci0`); blocks; `NotPossible`."""
    node = _node(name, bluetooth, nodes)
    try:
        file = os.open(node, os.O_WRONLY)
        try:
            fcntl.ioctl(file, _RESET, 0)
        finally:
            os.close(file)
    except PermissionError:
        raise NotPossible("qafila may not reset the adapter: plug it out and in again") from None
    except OSError as error:
        raise NotPossible(f"the adapter can't be reset ({error.strerror})") from None


def _node(name: str | None, bluetooth: Path, nodes: Path) -> Path:
    """The device node of the adapter: its `device` is an interface, and that has a parent."""
    if name is None:
        raise NotPossible("this computer shows no Bluetooth adapter: plug it in again")
    device = (bluetooth / name / "device").resolve().parent
    try:
        bus, number = (int((device / each).read_text("ascii")) for each in ("busnum", "devnum"))
    except (OSError, ValueError):
        raise NotPossible("the adapter is no USB device and can't be reset alone") from None
    return nodes / f"{bus:03d}" / f"{number:03d}"
