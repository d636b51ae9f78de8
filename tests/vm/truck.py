"""A truck for one module of tests: a machine that stands ready, its devices, and the centre."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from tests.vm.centre import Centre
from tests.vm.guest import Failed, Guest, eventually
from tests.vm.image import ADMIN, DATA, LAB
from tests.vm.qemu import Qemu, overlay
from tests.vm.room import Room

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from tests.vm.ready import Ready
    from tests.vm.room import Device

STATE = "/var/lib/qafila"
SETTINGS = "/etc/qafila/unit.toml"
PATIENT = "/run/systemd/system/qafila.service.d"


class Truck:
    """Restored from the memory that stands ready; the clock is set unless somebody minds."""

    def __init__(self, ready: Ready, folder: Path, data: str | None = None) -> None:
        self.folder = folder
        self._ready = ready
        self._data = data
        self._entered: Guest | None = None

    def __enter__(self) -> Self:
        centre = self.folder / "centre"
        shutil.copytree(self._ready.centre, centre)
        with ExitStack() as opened:
            self.room = opened.enter_context(Room())
            self.centre = opened.enter_context(Centre(self.folder, self._ready.papers, centre))
            opened.callback(self.leave)
            self.restore()
            self._open = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Failed, OSError, subprocess.TimeoutExpired):
            log = self.guest.run("journalctl --no-pager -o short-monotonic")
            (self.folder / "journal.log").write_text(log)
        self._open.close()

    def leave(self) -> None:
        """Pull the plug, where it is in."""
        if self._entered is not None:
            self._entered.leave()

    def restore(self) -> None:
        """A machine out of the memory; its disk of readings is the one that there is."""
        root = overlay(self.folder / "root.qcow2", self._ready.root, "qcow2")
        data = self._data
        if data is None:
            disk = self.folder / "data.qcow2"
            if not disk.exists():
                overlay(disk, self._ready.data, "raw")
            data = f"file={disk},format=qcow2"
        self.machine = Qemu(self.folder, self._ready.image, root, data)
        self.guest = Guest(self.machine, self._ready.image.identity, self.folder)
        self._entered = self.guest
        self.machine.start(self._ready.memory)
        self.guest.enter()

    def furnish(self, settings: str, *, clock: bool = True, patient: bool = True) -> None:
        """Set the clock and the unit's own settings, mount the readings; nothing runs yet.

        A `patient` watchdog does not take an emulated processor that is busy for a stuck agent.
        """
        if patient:
            self.guest.run(
                f"mkdir -p {PATIENT}; printf '[Service]\\nWatchdogSec=10min\\n'"
                f" > {PATIENT}/patient.conf; systemctl daemon-reload"
            )
        if clock:
            self.guest.set_clock()
        given = self.guest.run(f"cat {SETTINGS}")
        lines = [
            "port = " + str(self.centre.port) if each.startswith("port") else each
            for each in given.partition("[[devices]]")[0].splitlines()
        ]
        self.guest.write(SETTINGS, "\n".join([*lines, settings, ""]))
        self.mount()

    def mount(self) -> None:
        """Check the disk of the readings, as a boot does, and mount it; Failed where it can't be.

        A commit block of which some sectors are new makes ext4 refuse its journal until then.
        """
        self.guest.run(
            f"fsck -p LABEL={DATA}; test $? -le 1 && mount LABEL={DATA} {STATE} && "
            f"chown qafila: {STATE}"
        )

    def plug_radio(self) -> None:
        """Plug the adapter in; BlueZ switches it on by itself."""
        self.guest.run(
            "systemctl reset-failed radio 2>/dev/null;"
            f"systemd-run --quiet --unit=radio python3 {LAB}/radio.py {ADMIN}.2 {self.room.port}"
        )
        eventually(self._powered, words="the adapter does not come up")

    def _powered(self) -> bool:
        with suppress(Failed):
            return "Powered: yes" in self.guest.run("bluetoothctl show")
        return False

    def unplug_radio(self) -> None:
        """Pull the adapter out."""
        self.guest.run("systemctl stop radio")

    def start(self) -> None:
        """Start the agent as an administrator does; returns when it says that it is ready."""
        self.guest.run("systemctl start qafila")

    def shown(self, name: str) -> dict[str, Any]:
        """What the agent last wrote of a device; it writes of itself every other second."""
        found = self.guest.status().get("devices", {}).get(name, {})
        return {"state": "", "readings": 0, **found}

    def measure(self, device: Device, count: int) -> None:
        """Measure so often, and return when all of it is saved on the truck."""
        device.measure(count)
        device.await_told()
        eventually(
            lambda: self.shown(f"box1-{device.kind}")["readings"] == device.told.total(),
            words="not everything is saved",
        )

    def mutate(self) -> None:
        """Start the agent anew, with the one line taken out that `lab/mutant` names."""
        folder = "/etc/systemd/system/qafila.service.d"
        self.guest.run(f"mkdir -p {folder}")
        self.guest.write(
            f"{folder}/mutant.conf", f"[Service]\nEnvironment=PYTHONPATH={LAB}/mutant\n"
        )
        self.guest.run("systemctl daemon-reload; systemctl restart qafila")

    def at_centre(self, device: Device) -> Counter[str]:
        """How often the centre holds each frame of a device."""
        return self.centre.readings(f"box1-{device.kind}")

    def await_delivery(self, *devices: Device) -> None:
        """Return once the centre holds all that the devices told; AssertionError else."""

        def delivered(device: Device) -> bool:
            return not device.told - self.at_centre(device)

        for device in devices:
            eventually(
                partial(delivered, device),
                words=f"{device.kind}: told {device.told.total()}, "
                f"at the centre {self.at_centre(device).total()}",
            )
