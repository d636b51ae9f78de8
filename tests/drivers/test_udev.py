"""Which serial device is which: a made-up sysfs as the kernel lays it out, and bindings to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from drivers.errors import Unavailable
from drivers.links.udev import Candidate, candidates, identity, locate

if TYPE_CHECKING:
    from pathlib import Path


class Sysfs:
    """As much of /sys as a USB serial port has: host controller, hub, device, interface, tty."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "class" / "tty").mkdir(parents=True)
        (root / "bus" / "pci").mkdir(parents=True)
        self.host = root / "devices" / "pci0000:00" / "0000:00:14.0"
        self.host.mkdir(parents=True)
        (self.host / "subsystem").symlink_to(root / "bus" / "pci")

    def plug(self, tty: str, chain: str, ids: str, serial: str | None, interface: str) -> None:
        board = self.host / "usb1" / "1-1" / f"1-{chain}"
        board.mkdir(parents=True, exist_ok=True)
        vendor, product = ids.split(":")
        (board / "idVendor").write_text(f"{vendor}\n")
        (board / "idProduct").write_text(f"{product}\n")
        if serial is not None:
            (board / "serial").write_text(f"{serial}\n")
        wire = board / f"1-{chain}:1.{int(interface, 16)}"
        wire.mkdir()
        (wire / "bInterfaceNumber").write_text(f"{interface}\n")
        device = wire / tty
        device.mkdir()
        entry = self.root / "class" / "tty" / tty
        entry.mkdir()
        (entry / "device").symlink_to(device)


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path / "sys")


def found(sysfs: Sysfs, dev: Path) -> tuple[Candidate, ...]:
    return candidates(sysfs.root, dev)


def test_port_is_named_as_udev_names_it(sysfs: Sysfs, tmp_path: Path) -> None:
    sysfs.plug("ttyUSB0", "1.4", "0403:6001", "A105", "00")
    (port,) = found(sysfs, tmp_path)
    assert port == Candidate(
        path=str(tmp_path / "ttyUSB0"),
        port="pci-0000:00:14.0-usb-0:1.4:1.0",
        serial="A105",
        ids="0403:6001",
        interface="00",
    )


def test_ports_that_are_no_usb_devices_are_no_candidates(sysfs: Sysfs, tmp_path: Path) -> None:
    console = sysfs.root / "class" / "tty" / "tty0"
    console.mkdir()
    board = sysfs.root / "devices" / "platform" / "serial8250"
    board.mkdir(parents=True)
    (sysfs.root / "class" / "tty" / "ttyS0").mkdir()
    (sysfs.root / "class" / "tty" / "ttyS0" / "device").symlink_to(board)
    assert found(sysfs, tmp_path) == ()


def test_without_sysfs_only_paths_are_known(tmp_path: Path) -> None:
    assert candidates(tmp_path / "none", tmp_path) == ()
    place = locate("/nowhere/ecg", ())
    assert (place.path, place.identity, place.remark) == ("/nowhere/ecg", "port:/nowhere/ecg", "")
    with pytest.raises(Unavailable, match="no device with this serial number"):
        locate("serial:A105", ())
    with pytest.raises(Unavailable, match="nothing is plugged in here"):
        locate("port:pci-0000:00:14.0-usb-0:1.4:1.0", ())


def test_serial_number_is_found_under_whatever_tty_and_stays_the_same_device(
    tmp_path: Path,
) -> None:
    first, again = Sysfs(tmp_path / "before"), Sysfs(tmp_path / "after")
    first.plug("ttyUSB0", "1.4", "0403:6001", "A105", "00")
    again.plug("ttyUSB0", "1.3", "0403:6001", "B999", "00")
    again.plug("ttyUSB7", "1.2", "0403:6001", "A105", "00")
    before = locate("serial:A105", found(first, tmp_path))
    after = locate("serial:A105", found(again, tmp_path))
    assert (before.path, after.path) == (str(tmp_path / "ttyUSB0"), str(tmp_path / "ttyUSB7"))
    assert before.identity == after.identity == "serial:A105"


def test_device_bound_by_a_path_is_known_by_its_serial_number(sysfs: Sysfs, tmp_path: Path) -> None:
    sysfs.plug("ttyUSB0", "1.4", "0403:6001", "A105", "00")
    stable = tmp_path / "ecg-port1"
    stable.symlink_to(tmp_path / "ttyUSB0")
    place = locate(str(stable), found(sysfs, tmp_path))
    assert (place.path, place.identity) == (str(stable), "serial:A105")


def test_cable_without_a_number_is_known_by_its_socket(sysfs: Sysfs, tmp_path: Path) -> None:
    sysfs.plug("ttyUSB0", "1.4", "1a86:7523", None, "00")
    known = found(sysfs, tmp_path)
    port = "port:pci-0000:00:14.0-usb-0:1.4:1.0"
    assert locate(port, known).path == str(tmp_path / "ttyUSB0")
    assert locate(str(tmp_path / "ttyUSB0"), known).identity == port


def test_two_ports_of_one_device_are_told_apart_by_interface(sysfs: Sysfs, tmp_path: Path) -> None:
    sysfs.plug("ttyACM1", "1.4", "2fe3:0100", "HP6-7", "02")
    sysfs.plug("ttyACM0", "1.4", "2fe3:0100", "HP6-7", "00")
    known = found(sysfs, tmp_path)
    assert locate("serial:HP6-7", known).path == str(tmp_path / "ttyACM0")
    assert locate("serial:HP6-7/02", known).path == str(tmp_path / "ttyACM1")
    assert locate("serial:HP6-7", known).identity == "serial:HP6-7"
    assert locate("serial:HP6-7/02", known).identity == "serial:HP6-7/02"
    assert locate("serial:HP6-7", known).remark == ""


@pytest.mark.parametrize("serial", [None, "0001"])
def test_clone_cables_are_told_apart_by_socket_and_it_is_said(
    sysfs: Sysfs, tmp_path: Path, serial: str | None
) -> None:
    sysfs.plug("ttyUSB0", "1.3", "10c4:ea60", serial, "00")
    sysfs.plug("ttyUSB1", "1.4", "10c4:ea60", serial, "00")
    known = found(sysfs, tmp_path)
    assert {identity(each, known) for each in known} == {
        "port:pci-0000:00:14.0-usb-0:1.3:1.0",
        "port:pci-0000:00:14.0-usb-0:1.4:1.0",
    }
    place = locate("port:pci-0000:00:14.0-usb-0:1.4:1.0", known)
    assert place.path == str(tmp_path / "ttyUSB1")
    assert "looks exactly like this one" in place.remark
    assert "1.3:1.0" in place.remark
    assert locate(str(tmp_path / "ttyUSB0"), known).remark


def test_number_that_two_cables_say_is_no_binding(sysfs: Sysfs, tmp_path: Path) -> None:
    sysfs.plug("ttyUSB0", "1.3", "10c4:ea60", "0001", "00")
    sysfs.plug("ttyUSB1", "1.4", "10c4:ea60", "0001", "00")
    with pytest.raises(Unavailable, match=r"several devices.*1\.3:1\.0, port:.*1\.4:1\.0"):
        locate("serial:0001", found(sysfs, tmp_path))


def test_broken_number_of_a_device_is_read_as_text(sysfs: Sysfs, tmp_path: Path) -> None:
    sysfs.plug("ttyUSB0", "1.3", "10c4:ea60", "x", "00")
    (file,) = sysfs.root.rglob("serial")
    file.write_bytes(b"\xff\xfe\n")
    (port,) = found(sysfs, tmp_path)
    assert port.serial == "\ufffd\ufffd"
