"""Sealed exports on sticks with the kernel's own FAT and exFAT, mounted by our rules and units."""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.vm import page
from tests.vm.centre import central
from tests.vm.guest import eventually
from tests.vm.image import SOURCE
from tests.vm.place import ROOT
from tests.vm.stick import Stick

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.vm.room import Device
    from tests.vm.truck import Truck

PAGE = ROOT / "docs" / "how-to" / "carry-by-stick.md"
SECTION = "A stick that stays plugged in"
SOCKET, ELSEWHERE = 3, 4
"""The socket that the administrator named, and one that nobody did."""
FOLDER = f"/run/qafila-export/port{SOCKET}"
HALF_WRITTEN = f"until ls -AR {FOLDER} 2>/dev/null | grep -q part; do sleep 0.05; done"
SLOW = 8192
AT_CENTRE = f"/dev/qafila/storage-port{ELSEWHERE}"
TAKE = f"""set -e
until [ -e {AT_CENTRE} ]; do sleep 0.1; done
mount -o ro {AT_CENTRE} /mnt
tar --create --directory /mnt . | base64
umount /mnt
"""
GIVE = f"""set -e
mount {AT_CENTRE} /mnt
base64 --decode | tar --extract --no-same-owner --directory /mnt
umount /mnt
"""


@pytest.fixture(scope="module")
def cuff(truck: Truck) -> Device:
    """A cuff, the agent at work, and a socket for sticks as the page says; no network at all."""
    device = truck.room.device("cuff", 1)
    truck.machine.set_link(up=False)
    truck.furnish(device.settings + f'\n[export]\nfolder = "{FOLDER}"\n')
    script = page.commands(SECTION, PAGE)
    assert "port1.3" in script, "the page names another socket by now"
    truck.guest.run(
        f"exec 2>&1; cd {SOURCE}; set -eux\n{script.replace('port1.3', f'port{SOCKET}')}"
    )
    truck.plug_radio()
    truck.start()
    return device


def shown(truck: Truck) -> dict[str, Any]:
    """What the agent last wrote of the stick."""
    return {"state": "", "detail": "", "pending": None, **truck.guest.status().get("export", {})}


def await_whole(truck: Truck, readings: int) -> None:
    """Return once everything that waits is on the stick: so many readings at the least."""
    eventually(
        lambda: shown(truck)["state"] == "whole" and shown(truck)["pending"] >= readings,
        words=f"the stick is {shown(truck)}",
    )


def await_state(truck: Truck, state: str, words: str = "") -> None:
    """Return once the stick is in a state, for a reason."""
    eventually(
        lambda: shown(truck)["state"] == state and words in shown(truck)["detail"],
        words=f"the stick is {shown(truck)}",
    )


def bring_to_centre(truck: Truck, stick: Stick, folder: Path) -> None:
    """Pull it out, import what is on it with the centre's own program, and put receipts on it.

    Another socket of the same machine stands for the computer at the centre.
    """
    stick.pull()
    await_state(truck, "unavailable")
    folder.mkdir()
    stick.plug(truck.machine, ELSEWHERE)
    tar = ("tar", "--directory", str(folder))
    taken = base64.b64decode(truck.guest.run(TAKE))
    subprocess.run([*tar, "--extract", "--no-same-owner"], input=taken, check=True)
    central("import", str(truck.centre.folder), str(folder))
    given = subprocess.run([*tar, "--create", "."], check=True, capture_output=True).stdout
    truck.guest.run(GIVE, base64.b64encode(given).decode())
    stick.pull()


@pytest.mark.parametrize("kind", ["vfat", "exfat"])
def test_readings_travel_by_stick_alone(
    kind: str, truck: Truck, cuff: Device, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    stick = Stick(tmp_path / "stick", kind)
    before = truck.at_centre(cuff).total()
    truck.measure(cuff, 3)
    stick.plug(truck.machine, SOCKET)
    await_whole(truck, 3)
    waited = shown(truck)["pending"]
    bring_to_centre(truck, stick, tmp_path / "carried")
    assert truck.at_centre(cuff) == cuff.told
    assert truck.at_centre(cuff).total() == before + 3
    stick.plug(truck.machine, SOCKET)
    eventually(
        lambda: shown(truck)["state"] == "whole" and shown(truck)["pending"] < waited,
        words=f"the receipts settle nothing: {shown(truck)}",
    )
    stick.pull()
    await_state(truck, "unavailable")
    assert truck.centre.doubled() == 0
    tell(f"{kind}: {waited} records waited, {shown(truck)['pending']} after there and back")


@pytest.mark.parametrize("kind", ["vfat", "exfat"])
def test_stick_that_is_pulled_out_half_way_loses_nothing(
    kind: str, truck: Truck, cuff: Device, tmp_path: Path
) -> None:
    stick = Stick(tmp_path / "stick", kind)
    truck.measure(cuff, 3)
    stick.plug(truck.machine, SOCKET, rate=SLOW)
    truck.guest.run(HALF_WRITTEN)
    stick.pull()
    await_state(truck, "unavailable")
    stick.plug(truck.machine, SOCKET)
    await_whole(truck, 3)
    assert "part" not in truck.guest.run(f"ls -AR {FOLDER}")
    bring_to_centre(truck, stick, tmp_path / "carried")
    assert truck.at_centre(cuff) == cuff.told
    assert truck.centre.doubled() == 0


@pytest.mark.usefixtures("cuff")
def test_stick_that_is_switched_to_read_only_is_said(truck: Truck, tmp_path: Path) -> None:
    stick = Stick(tmp_path / "stick", "vfat")
    stick.plug(truck.machine, SOCKET, read_only=True)
    await_state(truck, "asking", "it can't be written")
    stick.pull()
    await_state(truck, "unavailable")


def test_stick_that_is_full_is_said(truck: Truck, cuff: Device, tmp_path: Path) -> None:
    truck.measure(cuff, 1)
    stick = Stick(tmp_path / "stick", "exfat", size=8)
    stick.plug(truck.machine, SOCKET)
    await_state(truck, "asking", "it is full")
    stick.pull()
    await_state(truck, "unavailable")


@pytest.mark.usefixtures("cuff")
def test_stick_with_another_file_system_is_left_alone(truck: Truck, tmp_path: Path) -> None:
    stick = Stick(tmp_path / "stick", "ext4")
    stick.plug(truck.machine, SOCKET)
    eventually(lambda: truck.guest.run("ls /dev/sd?1 2>/dev/null || true").strip())
    truck.guest.run("udevadm settle")
    assert "qafila-export" not in truck.guest.run("cat /proc/mounts")
    assert shown(truck)["state"] == "unavailable"
    stick.pull()


def test_stick_that_is_in_its_socket_at_the_start_is_written_to(
    truck: Truck, cuff: Device, tmp_path: Path
) -> None:
    """The sandbox of the service makes what was mounted before it read-only, but for this."""
    stick = Stick(tmp_path / "stick", "exfat")
    stick.plug(truck.machine, SOCKET)
    await_whole(truck, 0)
    waited = shown(truck)["pending"]
    truck.guest.run("systemctl restart qafila")
    cuff.measure()
    cuff.await_told()
    await_whole(truck, waited + 1)
    bring_to_centre(truck, stick, tmp_path / "carried")
    assert truck.at_centre(cuff) == cuff.told
