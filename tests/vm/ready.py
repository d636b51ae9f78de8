"""A machine that has been installed by the page and stands ready: disk, memory, and its centre.

It is booted once; every test goes on from its memory, in seconds. Its agent is stopped, the disk
of its readings is not mounted and empty.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.vm import page
from tests.vm.centre import BROKER, central, found_authority, sign
from tests.vm.guest import Guest
from tests.vm.image import DATA, SOURCE, Image, product
from tests.vm.place import BUILD, HERE, key_of
from tests.vm.qemu import Qemu, overlay

_DATA_OCTETS = 3 << 30  # sparse; below one GiB the unit says that its disk is nearly full
_LOOK = "qafila status || test $? -le 1"
_PARTS = ("qemu.py", "ready.py", "centre.py", "page.py", "guest.py")


@dataclass(frozen=True)
class Ready:
    """Files below `folder`, to be copied or to lie under an overlay; never changed."""

    image: Image
    folder: Path

    @property
    def root(self) -> Path:
        """The disk as it was when the memory was put by."""
        return self.folder / "root.qcow2"

    @property
    def data(self) -> Path:
        """The empty disk of the readings."""
        return self.folder / "data.ext4"

    @property
    def memory(self) -> Path:
        """The memory."""
        return self.folder / "memory"

    @property
    def papers(self) -> Path:
        """The authority's keys and certificates."""
        return self.folder / "papers"

    @property
    def centre(self) -> Path:
        """The centre's folder, with the unit enrolled."""
        return self.folder / "centre"


def ready() -> Ready:
    """The machine, made where its inputs have changed; by one process at a time."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _ready()


def _ready() -> Ready:
    image = product()
    key = key_of(image.disk.parent.name, *(HERE / name for name in _PARTS))
    made = Ready(image, BUILD / f"ready-{key}")
    if not (made.folder / "done").exists():
        for old in BUILD.glob("ready-*"):
            shutil.rmtree(old)
        made.folder.mkdir(parents=True)
        _make(made)
        (made.folder / "done").touch()
    return made


def _make(made: Ready) -> None:
    made.papers.mkdir()
    found_authority(made.papers)
    central("init", str(made.centre))
    with made.data.open("wb") as disk:
        disk.truncate(_DATA_OCTETS)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-L", DATA, str(made.data)], check=True)
    overlay(made.root, made.image.disk, "raw")
    with tempfile.TemporaryDirectory() as folder:
        machine = Qemu(Path(folder), made.image, made.root, f"file={made.data},format=raw")
        guest = Guest(machine, made.image.identity, Path(folder))
        try:
            machine.start()
            guest.enter()
            _install(guest, made)
            guest.run("systemctl stop qafila && umount /var/lib/qafila && sync")
            machine.save(made.memory)
        finally:
            guest.leave()


def _install(guest: Guest, made: Ready) -> None:
    """The page from its third section on; what a person brings or edits is done in between."""
    guest.set_clock()
    guest.run(
        "udevadm settle; install -d /var/lib/qafila;"
        f"mount LABEL={DATA} /var/lib/qafila && rmdir /var/lib/qafila/lost+found"
    )
    _section(guest, made, 3)
    _section(guest, made, 4)
    settings = page.commands(5).replace("BROKER=centre.example", f"BROKER={BROKER}")
    assert BROKER in settings, "the page names the broker otherwise by now"
    names = "\n".join(re.findall(r"(?m)^NAME=.*$", settings)) + "\n"
    _run(guest, made, settings)
    guest.write("/etc/qafila/unit.toml", without_devices(guest.run("cat /etc/qafila/unit.toml")))
    _enrol(guest, made)
    own = [line for line in _statements(page.commands(6)) if not line.startswith("qafila-central")]
    guest.write(f"{SOURCE}/central.pub", (made.centre / "central.pub").read_text())
    _run(guest, made, names + "\n".join(own))
    request = guest.run("cat /etc/qafila/unit.csr")
    certificate = sign(made.papers, request.encode()).decode()
    guest.write("/etc/qafila/unit.crt", certificate)
    guest.write("/etc/qafila/ca.crt", (made.papers / "ca.crt").read_text())
    _run(guest, made, page.commands(7).replace("qafila status", _LOOK))


def _enrol(guest: Guest, made: Ready) -> None:
    """What the page does at the centre, with the centre's own program and in its own folder."""
    (order,) = [line for line in _statements(page.commands(6)) if "qafila-central" in line]
    public = made.folder / "unit.pub"
    public.write_text(guest.run("cat /etc/qafila/unit.pub"))
    words = order.replace("/srv/qafila-central", str(made.centre)).replace("unit.pub", str(public))
    central(*words.split()[1:])


def _section(guest: Guest, made: Ready, number: int) -> None:
    _run(guest, made, page.commands(number))


def _run(guest: Guest, made: Ready, script: str) -> None:
    said = guest.run(f"exec 2>&1; cd {SOURCE}; set -eux\n{script}")
    with (made.folder / "install.log").open("a") as log:
        log.write(said)


def _statements(script: str) -> list[str]:
    return script.replace("\\\n", " ").splitlines()


def without_devices(settings: str) -> str:
    """The settings of the page without the sample's devices."""
    return settings.partition("[[devices]]")[0]
