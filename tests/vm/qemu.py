"""One QEMU process and its monitor (QMP): TCG, two processors, two networks, a USB host."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.brokers import HOST, free_port
from tests.vm.image import ADMIN, ADMIN_MAC, LINK, LINK_MAC

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.vm.image import Image

_START = 30.0
_MIGRATION = 300.0
_MEMORY = "1024"


class Qemu:
    """A machine. `root` is its qcow2, `data` what `-drive` calls its second disk."""

    def __init__(self, folder: Path, image: Image, root: Path, data: str) -> None:
        self.ssh_port = free_port()
        self._folder = folder
        self._monitor: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._words = [
            # It ends with us, also where we are killed and can't see to it.
            *(
                "setpriv",
                "--pdeathsig",
                "KILL",
                "--",
                "qemu-system-x86_64",
                "-machine",
                "q35",
                "-accel",
                "tcg,thread=multi,tb-size=512",
            ),
            *("-cpu", "max", "-smp", "2", "-m", _MEMORY),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append"),
            "root=LABEL=root rw console=ttyS0 quiet loglevel=4 mitigations=off nokaslr",
            *("-drive", f"file={root},format=qcow2,if=none,id=root,cache=unsafe"),
            *("-device", "virtio-blk-pci,drive=root"),
            *("-drive", f"{data},if=none,id=data,cache=writeback"),
            *("-device", "virtio-blk-pci,drive=data,serial=data"),
            *("-netdev", f"user,id=admin,net={ADMIN}.0/24,hostfwd=tcp:{HOST}:{self.ssh_port}-:22"),
            *("-device", f"virtio-net-pci,netdev=admin,mac={ADMIN_MAC},romfile="),
            *("-netdev", f"user,id=link,net={LINK}.0/24"),
            *("-device", f"virtio-net-pci,netdev=link,id=link0,mac={LINK_MAC},romfile="),
            *("-device", "virtio-rng-pci", "-device", "qemu-xhci,id=usb"),
            *("-serial", f"file:{folder / 'console.log'}"),
            *("-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"),
        ]

    def start(self, restore: Path | None = None) -> None:
        """Boot, or go on from a memory that `save` has put by."""
        words = [*self._words, *(["-incoming", f"exec:cat {restore}"] if restore else [])]
        with (self._folder / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._connect()
        self.tell("qmp_capabilities")
        if restore:
            self._await("query-status", "paused", _MIGRATION)  # as it was when it was put by
            self.tell("cont")

    def save(self, memory: Path) -> None:
        """Stop and put the memory by; the machine can only be ended after that."""
        self.tell("stop")
        self.tell("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.tell("migrate", uri=f"exec:cat > {memory}")
        self._await("query-migrate", "completed", _MIGRATION)

    def tell(self, command: str, **arguments: Any) -> Any:
        """Give a command to the monitor; RuntimeError where it refuses."""
        assert self._monitor is not None, "the machine does not run"
        order = {"execute": command, "arguments": arguments}
        self._monitor.sendall(json.dumps(order).encode() + b"\n")
        while True:
            answer = json.loads(self._answers.readline())
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def plug_serial(self, name: str, path: Path) -> None:
        """Plug a USB serial converter (FTDI) into socket 2; its other end is a Unix socket."""
        address = {"type": "unix", "data": {"path": str(path)}}
        backend = {"type": "socket", "data": {"addr": address, "server": False}}
        self.tell("chardev-add", id=f"{name}-end", backend=backend)
        place = {"bus": "usb.0", "port": "2"}
        self.tell("device_add", driver="usb-serial", chardev=f"{name}-end", id=name, **place)

    def unplug_serial(self, name: str) -> None:
        """Pull it out, whatever it is doing."""
        self.tell("device_del", id=name)
        self.tell_once_free("chardev-remove", id=f"{name}-end")

    def tell_once_free(self, command: str, **arguments: Any) -> None:
        """Remove what stood behind a device: the device lets go a little after it was pulled."""
        deadline = time.monotonic() + _START
        while True:
            try:
                self.tell(command, **arguments)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def set_link(self, *, up: bool) -> None:
        """Plug the unit's network cable in or out."""
        self.tell("set_link", name="link0", up=up)

    def kill(self) -> None:
        """Pull the plug."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(_START)
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    def _connect(self) -> None:
        deadline = time.monotonic() + _START
        while True:
            monitor = socket.socket(socket.AF_UNIX)
            with suppress(OSError):
                monitor.connect(str(self._folder / "qmp"))
                break
            monitor.close()
            if time.monotonic() > deadline or (self._process and self._process.poll() is not None):
                said = (self._folder / "qemu.log").read_text("utf-8", "replace")
                raise RuntimeError(f"QEMU did not start: {said[-2000:]}")
            time.sleep(0.05)
        self._monitor = monitor
        self._answers = monitor.makefile("rb")
        self._answers.readline()

    def _await(self, query: str, status: str, ceiling: float) -> None:
        deadline = time.monotonic() + ceiling
        while (now := self.tell(query)).get("status") != status:
            if now.get("status") == "failed" or time.monotonic() > deadline:
                raise RuntimeError(f"{query}: {now}")
            time.sleep(0.05)


def overlay(over: Path, under: Path, layout: str) -> Path:
    """A disk that holds only what differs from another one."""
    words: Sequence[str] = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", layout]
    subprocess.run([*words, "-b", str(under), str(over)], check=True)
    return over
