"""Serial devices on the real USB stack: plugged in, read, torn out, and nobody else's hands."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.vm.guest import eventually
from tests.vm.image import ADMIN, LAB
from tests.vm.plugged import Ecg, Thermometer, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.vm.truck import Truck

RECOGNISED = 3.0
"""Seconds by the guest's clock, from the kernel's first word of the device to its port opened."""
EMULATED = 4.0
"""How many times as long an emulated processor may take, where the computer does nothing else."""
QUIET = 0.7
"""Seconds that Python takes to start on such a one (`testbed.md`, B); now more: it is as busy."""
SECONDS_OF_ECG = 12.0
THERMOMETER = """
[[devices]]
name = "box1-suretemp"
driver = "suretemp"
box = "1"
at = "/dev/qafila/serial-port2"
"""
ECG = """
[[devices]]
name = "box1-ecg"
driver = "healthypi6"
box = "1"
at = "/dev/qafila/ecg-id-ECG0001"
"""
OPENED = """
pid=$(systemctl show --value -p MainPID qafila)
until ls -l /proc/$pid/fd | grep -q {port}; do sleep 0.05; done
cat /proc/uptime
"""

HOLD = """
import os, time
os.open("/dev/ttyUSB0", os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
print("held", flush=True)
time.sleep(3600)
"""
"""Whoever holds a port keeps its number from being given away again."""


@pytest.fixture(scope="module")
def unit(truck: Truck) -> Truck:
    """The agent at work, with two places for devices, and nothing plugged in."""
    truck.furnish(THERMOMETER + ECG)
    truck.start()
    return truck


@pytest.fixture(scope="module")
def thermometer(unit: Truck) -> Iterator[Thermometer]:
    with Thermometer(unit.folder / "thermometer") as module:
        yield module


def plug(unit: Truck, thermometer: Thermometer, port: str) -> float:
    """Plug it in; seconds by the guest's clock until the agent has its port open."""
    unit.machine.plug_serial("thermometer", thermometer.path)
    opened = float(unit.guest.run(OPENED.format(port=port)).split()[0])
    told = re.findall(r"\[ *([\d.]+)\] usb \S+: new full-speed USB device", unit.guest.run("dmesg"))
    return opened - float(told[-1])


def start_of_python(unit: Truck) -> float:
    """Seconds by the guest's clock: how busy this computer is."""
    begin, end = unit.guest.run("cat /proc/uptime; python3 -c pass; cat /proc/uptime").splitlines()
    return float(end.split()[0]) - float(begin.split()[0])


def raws(unit: Truck, device: str) -> list[str]:
    return list(unit.centre.readings(device).elements())


def test_thermometer_is_recognised_and_read(
    unit: Truck, thermometer: Thermometer, tell: Callable[[str], None]
) -> None:
    eventually(lambda: unit.shown("box1-suretemp")["state"] == "unavailable")
    busy = max(1.0, start_of_python(unit) / QUIET)
    seconds = plug(unit, thermometer, "ttyUSB0")
    tell(
        f"a thermometer was recognised after {seconds:.2f} s by the guest's clock, "
        f"on a computer {busy:.1f} times as slow as a quiet one"
    )
    assert seconds < RECOGNISED * EMULATED * busy
    thermometer.measure(Decimal("310.15"))
    (raw,) = eventually(lambda: raws(unit, "box1-suretemp") or None)
    assert raw in {digest(each) for each in thermometer.said}


def test_thermometer_that_is_torn_out_in_mid_frame_is_read_as_another_tty(
    unit: Truck, thermometer: Thermometer
) -> None:
    """T44."""
    thermometer.put_back()
    with_old_number_taken = unit.guest.listen(f"python3 -c '{HOLD}'")
    try:
        assert with_old_number_taken.stdout is not None
        assert with_old_number_taken.stdout.readline() == "held\n"
        thermometer.measure(Decimal("311.15"), torn=True)
        eventually(lambda: not thermometer.torn)
        unit.machine.unplug_serial("thermometer")
        eventually(lambda: unit.shown("box1-suretemp")["state"] == "unavailable")
        before = len(raws(unit, "box1-suretemp"))
        plug(unit, thermometer, "ttyUSB1")
        eventually(lambda: len(raws(unit, "box1-suretemp")) > before)
    finally:
        with_old_number_taken.kill()
        with_old_number_taken.communicate()
    assert all(
        raw in {digest(each) for each in thermometer.said} for raw in raws(unit, "box1-suretemp")
    )


def test_ports_belong_to_us_and_modem_manager_and_brltty_leave_them_alone(unit: Truck) -> None:
    guest = unit.guest
    guest.run("systemctl is-active ModemManager")
    properties = guest.run("udevadm info -q property -n /dev/ttyUSB1")
    assert "ID_MM_DEVICE_IGNORE=1" in guest.run(
        "port=$(udevadm info -q path -n /dev/ttyUSB1); udevadm info -q property -p ${port%/*/*/*/*}"
    )
    assert "ID_MM_PORT_IGNORE=1" in properties
    assert guest.run("stat -c '%G %a' /dev/ttyUSB1").split() == ["qafila", "660"]
    takers = guest.run("systemctl list-units --all --no-legend 'brltty*'; pgrep -a brltty || true")
    assert "running" not in takers
    log = guest.run("journalctl --no-pager -o cat -u ModemManager")
    assert "ttyUSB" not in log


def test_ecg_over_cdc_acm_is_recorded_whole(unit: Truck) -> None:
    with Ecg() as ecg:
        socket = attach(unit, ecg.port)
        assert ecg.opened.wait(300), "nobody opens the port"
        # What a port held before it was opened is dropped, as the last one's rest might be.
        eventually(lambda: unit.shown("box1-ecg")["state"] in {"connected", "waiting"})
        ecg.record(SECONDS_OF_ECG)
        lines = eventually(lambda: unit.centre.lines("box1-ecg") or None)  # its silence ends it
        detach(unit, socket)
        # A recording begins with the first block of the ECG; the device says its vitals before.
        whole = b"".join(ecg.blocks[1:])
        assert [each["raw"]["sha256"] for each in lines] == [digest(whole)]
        assert "ttyACM" not in unit.guest.run("journalctl --no-pager -o cat -u ModemManager")


def attach(unit: Truck, port: int) -> str:
    """Plug in what is exported at a port; give the number of its virtual socket."""
    return unit.guest.run(f"python3 {LAB}/attach.py {ADMIN}.2 {port} 1-1").strip()


def detach(unit: Truck, socket: str) -> None:
    """Pull it out."""
    unit.guest.run(f"echo {socket} > /sys/devices/platform/vhci_hcd.0/detach")
