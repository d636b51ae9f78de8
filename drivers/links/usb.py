"""Which USB device is behind a node, by sysfs: its socket, its identity, its twins, its button.

`system` is where sysfs is mounted. A node is looked up by the name it leads to (`/dev/video0`),
through whatever links udev made.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSTEM: Final = Path("/sys")

KEY_CAMERA: Final = 212
"""The key of <linux/input-event-codes.h> that uvcvideo reports a camera's button as."""

_BITS_A_WORD = 64


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """One USB device. `port` is its chain of sockets (`1-1.4`: bus 1, hub socket 1, socket 4).

    `identity` is what it says of itself: VID, PID, serial number or nothing.
    """

    port: str
    identity: tuple[str, str, str]
    place: Path


def usb_device(node: str, kind: str, system: Path = SYSTEM) -> UsbDevice | None:
    """The USB device of a node, None where there is none. `kind` is `video4linux` or `tty`."""
    return _device_above(system / "class" / kind / Path(node).resolve().name)


def twins(node: str, kind: str, system: Path = SYSTEM) -> tuple[UsbDevice, ...]:
    """Other USB devices of a kind that say of themselves exactly what this one says."""
    own = usb_device(node, kind, system)
    if own is None:
        return ()
    others = {_device_above(each) for each in _listed(system / "class" / kind)}
    alike = (each for each in others if each and each.identity == own.identity)
    return tuple(sorted((each for each in alike if each != own), key=lambda each: each.port))


def button_of(node: str, system: Path = SYSTEM) -> str | None:
    """The name of a camera's button below /dev/input (`event7`), None where it has none.

    It is the input device of the same USB device that has a camera key; names prove nothing.
    """
    camera = usb_device(node, "video4linux", system)
    for event in _listed(system / "class" / "input") if camera else ():
        if event.name.startswith("event") and _device_above(event) == camera and _has_key(event):
            return event.name
    return None


def _device_above(entry: Path) -> UsbDevice | None:
    place = entry.resolve()
    if not place.is_dir():
        return None
    for parent in place.parents:
        if (parent / "idVendor").is_file():
            said = (_said(parent, name) for name in ("idVendor", "idProduct", "serial"))
            return UsbDevice(parent.name, (next(said), next(said), next(said)), parent)
    return None


def _has_key(event: Path) -> bool:
    """The bits of EV_KEY: words of the machine's long in hexadecimal, the highest first."""
    words = _said(event / "device" / "capabilities", "key").split()
    number, bit = divmod(KEY_CAMERA, _BITS_A_WORD)
    with suppress(ValueError, IndexError):
        return bool(int(words[-1 - number], 16) >> bit & 1)
    return False


def _said(folder: Path, name: str) -> str:
    """An attribute in one line; what a device says there need not be text."""
    with suppress(OSError):
        return (folder / name).read_text("utf-8", "replace").strip()
    return ""


def _listed(folder: Path) -> tuple[Path, ...]:
    with suppress(OSError):
        return tuple(sorted(folder.iterdir()))
    return ()
