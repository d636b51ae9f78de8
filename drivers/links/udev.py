"""Which serial devices are plugged in, and which of them is meant. Reads sysfs, never a daemon.

A device is known by its serial number if it has one, else by the USB socket it sits in: the
number of `/dev/ttyUSB…` tells nothing, since the kernel gives it away anew at each plugging.
Where there is no sysfs (a container), only paths are known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BY_SERIAL = "serial:"
BY_PORT = "port:"

_INTERFACE = re.compile(r"\d+-([\d.]+:\d+\.\d+)\Z")
_HELD_TOGETHER = "/"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One serial port of the system.

    `port` is the physical socket as udev's ID_PATH writes it, interface included, None for a
    port that is no USB device. `serial` is the device's own number, `ids` `vvvv:pppp`, and
    `interface` two digits.
    """

    path: str
    port: str | None = None
    serial: str | None = None
    ids: str | None = None
    interface: str | None = None

    @property
    def socket(self) -> str | None:
        """The socket alone: two interfaces of one device share it."""
        return self.port and self.port.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bound device is now: the path to open, who it is, and what a person should know."""

    path: str
    identity: str
    remark: str = ""


def candidates(sysfs: Path = Path("/sys"), dev: Path = Path("/dev")) -> tuple[Candidate, ...]:
    """The USB serial ports that are plugged in now; none where there is no sysfs."""
    try:
        ports = sorted((sysfs / "class" / "tty").iterdir())
    except OSError:
        return ()
    return tuple(found for port in ports if (found := _candidate(port, dev)) is not None)


def locate(at: str, known: Sequence[Candidate]) -> Place:
    """Where the device that is bound to `at` is: a path, `serial:NUMBER` or `port:ID_PATH`.

    `serial:NUMBER/INTERFACE` picks one port of a device that has several; without it the first
    is meant. Raises `Unavailable` where it is not plugged in, or where several cables claim to
    be it: then nothing is guessed.
    """
    if at.startswith(BY_SERIAL):
        return _by_serial(at, known)
    if at.startswith(BY_PORT):
        found = next((each for each in known if each.port == at.removeprefix(BY_PORT)), None)
        if found is None:
            raise Unavailable(at, "nothing is plugged in here")
        return Place(found.path, identity(found, known), _remark(found, known))
    return _by_path(at, known)


def identity(candidate: Candidate, known: Sequence[Candidate]) -> str:
    """Who a plugged device is: its serial number, or its socket where that is not its alone.

    The first port of a device is the device; its further ones carry their interface.
    """
    if not candidate.serial or _twins(candidate, known):
        return f"{BY_PORT}{candidate.port or candidate.path}"
    ports = [each.interface or "" for each in known if each.serial == candidate.serial]
    number = f"{BY_SERIAL}{candidate.serial}"
    if candidate.interface in {None, min(ports, default="")}:
        return number
    return f"{number}{_HELD_TOGETHER}{candidate.interface}"


def _by_serial(at: str, known: Sequence[Candidate]) -> Place:
    number, _, interface = at.removeprefix(BY_SERIAL).partition(_HELD_TOGETHER)
    same = sorted(
        (each for each in known if each.serial == number), key=lambda each: each.interface or ""
    )
    if len({each.socket for each in same}) > 1:
        ports = ", ".join(f"{BY_PORT}{each.port}" for each in same)
        raise Unavailable(at, f"several devices say this serial number: bind one of {ports}")
    wanted = [each for each in same if interface in {"", each.interface}]
    if not wanted:
        raise Unavailable(at, "no device with this serial number is plugged in")
    return Place(wanted[0].path, identity(wanted[0], known))


def _by_path(at: str, known: Sequence[Candidate]) -> Place:
    real = str(Path(at).resolve())
    found = next((each for each in known if each.path == real), None)
    if found is None:
        return Place(at, f"{BY_PORT}{at}")
    return Place(at, identity(found, known), _remark(found, known))


def _twins(candidate: Candidate, known: Iterable[Candidate]) -> list[Candidate]:
    """The other plugged devices that show exactly the same of themselves."""
    return [
        each
        for each in known
        if (each.ids, each.serial, each.interface)
        == (candidate.ids, candidate.serial, candidate.interface)
        and each.socket != candidate.socket
    ]


def _remark(candidate: Candidate, known: Iterable[Candidate]) -> str:
    twins = _twins(candidate, known)
    if not twins:
        return ""
    others = ", ".join(sorted(each.port or each.path for each in twins))
    return (
        f"Another cable looks exactly like this one ({others}): only the USB sockets tell them "
        "apart, so leave each in its own."
    )


def _candidate(port: Path, dev: Path) -> Candidate | None:
    """The candidate of an entry of class/tty; None for one that is no USB device."""
    try:
        device = (port / "device").resolve(strict=True)
    except OSError:
        return None
    above = [device, *device.parents]
    interface = next((each for each in above if (each / "bInterfaceNumber").is_file()), None)
    board = next((each for each in above if (each / "idVendor").is_file()), None)
    if interface is None or board is None:
        return None
    return Candidate(
        path=str(dev / port.name),
        port=_id_path(interface),
        serial=_text(board / "serial"),
        ids=f"{_text(board / 'idVendor')}:{_text(board / 'idProduct')}",
        interface=_text(interface / "bInterfaceNumber"),
    )


def _id_path(interface: Path) -> str | None:
    """ID_PATH as udev's path_id makes it: `pci-0000:00:14.0-usb-0:1.4:1.0`."""
    chain = _INTERFACE.search(interface.name)
    root = next((each for each in interface.parents if re.fullmatch(r"usb\d+", each.name)), None)
    if chain is None or root is None:
        return None
    host = root.parent
    try:
        bus = (host / "subsystem").resolve(strict=True).name
    except OSError:
        return None
    return f"{bus}-{host.name}-usb-0:{chain[1]}"


def _text(file: Path) -> str | None:
    try:
        return file.read_text("utf-8", errors="replace").strip() or None
    except OSError:
        return None
